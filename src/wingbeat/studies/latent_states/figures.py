"""Figures of the study of latent states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wingbeat.report.figures.estimates import dot, estimate_line
from wingbeat.report.figures.graph import GraphEdge, GraphFigure, GraphNode
from wingbeat.report.figures.marks import DotFigure
from wingbeat.report.figures.records import LineFigure
from wingbeat.studies.latent_states.found import of, of_task, records
from wingbeat.studies.latent_states.plan import TASKS
from wingbeat.study.analysis import Analysis

if TYPE_CHECKING:
    import pandas as pd

    from wingbeat.report.figures.marks import Dot

NORMS: Final = {False: "without LayerNorm", True: "with LayerNorm"}
SCORES: Final = {"pooled": "one scale for all runs", "each": "each run on its own scale"}


def maps(found: Analysis, task: str) -> tuple[GraphFigure, ...]:
    """Return the training maps of a task, without and with LayerNorm."""
    return tuple(
        training_map(found, task, norm)
        for norm in NORMS
        if len(of_task(found, "nodes", task, norm))
    )


def training_map(found: Analysis, task: str, normalised: bool) -> GraphFigure:
    """Return the states of a condition as a graph: who comes by, how accurate, which way next."""
    runs = int(_row(found, task, normalised)["runs"])
    nodes = of_task(found, "nodes", task, normalised)
    seen = nodes[nodes["runs"] > 0].reset_index(drop=True)
    place = {int(state): i for i, state in enumerate(seen["state"])}
    edges = of_task(found, "edges", task, normalised)
    judged = of_task(found, "detours", task, normalised)
    called = {int(r.state) for r in records(judged) if r.verdict == "detour"}
    ways = tuple(
        GraphEdge(
            place[int(e.source)],
            place[int(e.target)],
            e.runs / runs,
            f"{int(e.runs)}",
            f"{int(e.source)} → {int(e.target)}: {int(e.runs)} of {runs} runs, at step "
            f"{e.step:,.0f} on average; moves {e.moved}",
        )
        for e in records(edges)
    )
    return GraphFigure(
        f"map-{task}-{'norm' if normalised else 'plain'}",
        f"Which way does {TASKS[task].title} go {NORMS[normalised]}?",
        f"Circles are states, from left to right by when runs are in them. Below each: how many of "
        f"the {runs} runs come by, and their mean accuracy there, which is its colour too. Arrows "
        "are ways, with the number of runs that take them: the thicker, the more; those that skip "
        "a state bend above, ways back are dotted. A state that some runs go around is optional; "
        "one that costs them time is marked as a detour.",
        "mean step in the state",
        "accuracy on samples that were not trained on",
        (0.0, 1.0),
        tuple(_node(row, runs, int(row["state"]) in called) for _, row in seen.iterrows()),
        ways,
    )


def _node(row: pd.Series, runs: int, detour: bool) -> GraphNode:
    state, come = int(row["state"]), int(row["runs"])
    below = (f"{come} of {runs}", f"{row['accuracy']:.0%}", *(("detour",) if detour else ()))
    hover = (
        f"state {state}: {come} of {runs} runs, {row['share']:.0%} of all records, accuracy "
        f"{row['accuracy']:.1%}, at step {row['step']:,.0f} on average"
    )
    return GraphNode(
        str(state), below, float(row["step"]), come / runs, float(row["accuracy"]), hover
    )


def scores_figure(found: Analysis) -> DotFigure:
    """Return the number of optional states by how statistics are scaled."""
    rows = _names(found)
    dots = [
        dot(i, one, text, style, text)
        for i, (task, norm) in enumerate(rows)
        for style, (score, text) in enumerate(SCORES.items())
        if (one := of(found, task, norm, f"optional_same_{score}")) is not None
    ]
    return DotFigure(
        "scores",
        "Does the scale make the forks?",
        "Optional states: some runs of a group stay in them for three records, others never come "
        "by. The number of states is the same for both scales. Mean over five groups of base "
        "seeds, with Student's interval of 95 % where groups differ.",
        "",
        "optional states",
        tuple(dots),
        rows=tuple(rows.values()),
    )


def alike_figure(found: Analysis) -> DotFigure:
    """Return how differently two runs spend their time, and how far copies go."""
    rows = _names(found)
    names = {"dissimilarity_pooled": "two base seeds", "apart": "a nudged copy and its reference"}
    dots: list[Dot] = [
        dot(i, one, text, style, text)
        for i, (task, norm) in enumerate(rows)
        for style, (name, text) in enumerate(names.items())
        if (one := of(found, task, norm, name)) is not None
    ]
    return DotFigure(
        "alike",
        "How alike are two runs?",
        "Of two base seeds: total variation between the shares of time they spend in each state. "
        "Of a copy nudged at the start: the share of records in another state than its reference. "
        "0 is the same; the unperturbed twin is at 0 exactly.",
        "",
        "share of the records",
        tuple(dots),
        rows=tuple(rows.values()),
    )


def selection_figure(found: Analysis) -> LineFigure:
    """Return the likelihood of held-out runs over the number of states."""
    lines = []
    for style, ((task, norm), text) in enumerate(_names(found).items()):
        own = of_task(found, "selection", task, norm)
        gain = own["held_out"] - own["held_out"].iloc[0]
        lines.append(estimate_line(text, style, own["states"].tolist(), gain.tolist(), marked=True))
    return LineFigure(
        "selection",
        "How many states are there?",
        "Log-likelihood of held-out runs for each record, above that of one state. A true number "
        "of states is an elbow; a curve that keeps rising says how finely a trend is cut.",
        "number of states",
        "nats a record above one state",
        tuple(lines),
    )


def _names(found: Analysis) -> dict[tuple[str, bool], str]:
    rows = found.tables["conditions"]
    there = [(str(r.task), bool(r.normalised)) for r in records(rows)]
    return {(task, norm): f"{task}, {NORMS[norm]}" for task, norm in there}


def _row(found: Analysis, task: str, normalised: bool) -> pd.Series:
    rows = found.tables["conditions"]
    one: pd.Series = rows[(rows["task"] == task) & (rows["normalised"] == normalised)].iloc[0]
    return one
