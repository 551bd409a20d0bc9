"""The page of the study of latent states."""

from __future__ import annotations

from typing import Final

from wingbeat.report.figures.estimates import table_of
from wingbeat.report.figures.table import Table
from wingbeat.studies.latent_states.claims import detour_text
from wingbeat.studies.latent_states.figures import (
    NORMS,
    alike_figure,
    maps,
    scores_figure,
    selection_figure,
)
from wingbeat.studies.latent_states.found import of, of_task, records
from wingbeat.studies.latent_states.measure import STATES, STAY
from wingbeat.studies.latent_states.plan import GROUPS, RECORDS, TASKS
from wingbeat.study.analysis import Analysis, PageContent

_INTRO: Final = (
    "Do runs of one task pass through the same states, and does a way that some of them skip cost "
    "time? A hidden Markov model is fitted to norms, singular values and moments of the weights of "
    "many runs that differ in their seed alone. With and without LayerNorm."
)


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    plan = found.plan
    return PageContent(
        intro=(_INTRO,),
        facts=(
            ("base seeds", str(plan.seeds), f"of each task; {GROUPS} groups for the intervals"),
            ("records", str(RECORDS), "of each run, about"),
            ("states tried", f"{STATES[0]} to {STATES[-1]}", "BIC on held-out runs"),
        ),
        definitions={
            "state": "Of a Gaussian hidden Markov model with diagonal covariances over statistics "
            "of the weights, on one scale for all runs; a run's path is the likeliest.",
            "converged": "First record with an accuracy of at least "
            + ", ".join(f"{TASKS[t].threshold:g} ({TASKS[t].title})" for t in plan.tasks)
            + " on samples that are not trained on.",
            "detour": f"An optional state on a fork, three runs on either side, visits of {STAY} "
            "records before the first run converges, later convergence by a permutation test, "
            "Holm over states.",
            "intervals": f"95 %, Student's over {GROUPS} disjoint groups of base seeds, each "
            "fitted by itself; of copies over base seeds.",
        },
        sections=(
            *((f"map-{t}", f"The training map: {TASKS[t].title}", maps(found, t))
              for t in plan.tasks),
            ("scores", "Forks and the scale", (scores_figure(found),)),
            ("alike", "Runs and nudged copies", (alike_figure(found),)),
            ("selection", "The number of states", (selection_figure(found),)),
        ),
        tables=(
            ("numbers", "Numbers of all runs", _numbers(found)),
            ("detours", "Detours", _detours(found)),
            ("parting", "From which state on do copies part?", _parting(found)),
        ),
    )  # fmt: skip


def _numbers(found: Analysis) -> Table:
    heads = (
        "task", "states", "optional states", "optional, each run's own scale",
        "dissimilarity", "R² of occupancy", "R² of the last state alone", "converged",
    )  # fmt: skip
    rows = []
    for row in records(found.tables["conditions"]):
        at = (str(row.task), bool(row.normalised))
        given = [of(found, *at, name) or "–" for name in
                 ("optional_same_pooled", "optional_same_each", "dissimilarity_pooled",
                  "occupancy_r2")]  # fmt: skip
        rows.append(
            (_name(*at), int(row.states), *given, float(row.r2_last), f"{row.converged:.0%}")
        )
    return table_of(heads, rows)


def _detours(found: Analysis) -> Table:
    rows = [
        (
            _name(str(r.task), bool(r.normalised)),
            detour_text(found, str(r.task), bool(r.normalised)),
        )
        for r in records(found.tables["conditions"])
    ]
    return table_of(("task", "optional states and what the test says"), rows)


def _parting(found: Analysis) -> Table:
    rows = []
    for r in records(found.tables["conditions"]):
        own = of_task(found, "parting", str(r.task), bool(r.normalised))
        said = ", ".join(
            f"state {int(p.state)}: {int(p.copies)} (step {p.step:,.0f})"
            for p in records(own[own["state"] >= 0])
        )
        apart = of(found, str(r.task), bool(r.normalised), "apart") or "–"
        never = f"{r.never_apart:.0%}"
        rows.append((_name(str(r.task), bool(r.normalised)), apart, never, said or "–"))
    heads = ("task", "records apart", "never part", "part in (mean step)")
    return table_of(heads, rows)


def _name(task: str, normalised: bool) -> str:
    return f"{TASKS[task].title}, {NORMS[normalised]}"
