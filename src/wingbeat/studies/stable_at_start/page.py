"""The page of the study of stable settings."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from wingbeat.report.figures.estimates import dot, estimate_text, table_of
from wingbeat.report.figures.marks import Dot, DotFigure
from wingbeat.report.figures.records import Guide
from wingbeat.stats import Estimate
from wingbeat.studies.stable_at_start.found import ASKED, LIMIT, last_calm
from wingbeat.studies.stable_at_start.plan import CHOSEN, LANDMARK, SEARCH
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.finished import estimate_in
from wingbeat.tasks.data.sources import images

_INTRO: Final = (
    "Dense nets with {} hidden layers on {}, {} passes. Optuna (TPE, seed {}) tries {} settings of "
    "learning rate, warm-up, decay, weight decay, optimizer, batch size, width, normalisation and "
    "initial gain with one base seed, for a low barrier at the end of training between the "
    "reference and copies that part from it at the very start, and for accuracy. {} settings of "
    "the frontier that it found, and landmarks, are run again with {} base seeds that it has not "
    "seen: all claims are about those."
)
_SCEPTIC: Final = (
    "“Of that many trials the best is best by luck.” Therefore nothing is judged on runs that the "
    "search has seen; a claim says by how much barriers rise on others. “Nets that do not move "
    "have no barrier.” True, and trivial: hence the floor of accuracy, the linear model (convex, "
    "so without a barrier by its form), the lazy net and the one that hardly trains among the "
    "landmarks, and the claim on movement."
)
_MEANINGS: Final = {
    "barrier": "The largest of four: height of the loss above the line between its ends on the "
    "straight way from the reference's weights to a copy's, in nats, mean over copies; copies "
    "nudged at step 0 or with another batch order from step 0; on training and on unseen images.",
    "calm": f"The whole interval of the barrier over unseen base seeds lies below {LIMIT:g} nats.",
    "frontier": "Trials above the floor of accuracy that no other beats in both barrier and "
    "accuracy. The calmest and the most accurate are its ends, as the search saw them.",
    "aligned": "Barrier after permuting the copy's units to lie as close to the reference's as "
    "was found.",
    "movement": "|w at the end − w at the start| ÷ |w at the start| of the reference.",
    "what a sceptic would say": _SCEPTIC,
    "does not show": "Small dense nets, one easy data set, few passes: what the search can do "
    "where the usual setting has a barrier of nats is another question. A search that finds no "
    "setting does not prove that there is none.",
}


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    plan, tables = found.plan, found.tables
    runs, settings, source = tables["runs"], tables["settings"], images().source
    tried = runs[runs["phase"] == SEARCH]
    count = int((settings["phase"] == CHOSEN).sum()) if len(settings) else 0
    intro = _INTRO.format(
        plan.depth, source.label, plan.epochs, plan.search_seed, plan.trials, count,
        plan.seeds,
    )  # fmt: skip
    return PageContent(
        headline=headline(settings),
        intro=(intro,),
        facts=(
            ("trials", str(len(tried)), f"of {plan.trials}; others broke down"),
            *_reach(settings),
        ),
        definitions=_MEANINGS,
        alarms=(f"Not MNIST: {source.label}.",) * source.stand_in,
        sections=[("frontier", "Barrier against accuracy", tuple(_figures(runs, settings)))],
        tables=[
            ("settings", "Settings, on base seeds that the search has not seen", _table(settings)),
            ("chosen", "What they are", _asked(settings)),
            ("knobs", "What goes with a barrier, over the trials", _knobs(tables["knobs"])),
        ],
    )


def headline(settings: pd.DataFrame) -> str:
    """Return the answer in a sentence; "" before the frontier was run again."""
    own = settings[settings["phase"] == CHOSEN] if len(settings) else settings
    if own.empty:
        return ""
    ends = {k: estimate_text(estimate_in(own.iloc[-1], k)) for k in ("test_accuracy", "barrier")}
    best = (
        f"the most accurate setting, at {ends['test_accuracy']}, has one of {ends['barrier']} nats"
    )
    name = last_calm(settings)
    if not name:
        return f"No setting of the frontier is shown to be without a barrier: {best}."
    reached = own[own["setting"] == name].iloc[0]
    accuracy = estimate_text(estimate_in(reached, "test_accuracy"))
    rest = "which is all of the frontier" if name == own.iloc[-1]["setting"] else best
    return f"Settings remove the barrier at the start up to an accuracy of {accuracy}; {rest}."


def _reach(settings: pd.DataFrame) -> tuple[tuple[str, str, str], ...]:
    """Return the last calm setting and its accuracy as a fact."""
    name = last_calm(settings) if len(settings) else ""
    if not name:
        return (("last calm setting", "none", "on the way from calm to accurate"),)
    row = settings[(settings["setting"] == name) & (settings["phase"] == CHOSEN)].iloc[0]
    accuracy = estimate_text(estimate_in(row, "test_accuracy"))
    return (("last calm setting", name, f"accuracy {accuracy}"),)


def _figures(runs: pd.DataFrame, settings: pd.DataFrame) -> list[DotFigure]:
    tried = runs[(runs["phase"] == SEARCH) & (runs["test_accuracy"] >= 0.5)]
    trials = [
        Dot(r["test_accuracy"], r["barrier"], r["barrier"], r["barrier"], "trial", 3, r["setting"])
        for _, r in tried.iterrows()
    ]
    groups = {CHOSEN: ("chosen, unseen base seeds", 0), LANDMARK: ("landmark", 1)}
    judged = [
        dot(float(r["test_accuracy"]), estimate_in(r, "barrier"), *groups[r["phase"]], r["setting"])
        for _, r in settings.iterrows()
    ]
    guides = (Guide(f"no barrier below {LIMIT:g}", LIMIT),)
    return [
        DotFigure(
            key,
            title,
            caption,
            "accuracy on unseen images",
            "barrier, nats",
            tuple(dots),
            guides=guides,
        )
        for key, title, caption, dots in (
            ("judged", "What does a low barrier cost?",
             "Means over base seeds that the search has not seen, with intervals of 95 %.",
             judged),
            ("searched", "What the search saw", "One base seed each.", trials),
        )
    ]  # fmt: skip


def _table(settings: pd.DataFrame) -> Any:
    columns = ("test_accuracy", "barrier", "aligned", "error", "order_train", "nudge_train",
               "movement")  # fmt: skip
    heads = ("setting", "calm", "barrier in the search", "accuracy", "barrier", "aligned",
             "barrier of the error", "other order, training", "nudge, training",
             "movement")  # fmt: skip
    rows = [
        (r["setting"], r["calm"], float(r["search_barrier"]), *(estimate_in(r, n) for n in columns))
        for _, r in settings.iterrows()
    ]
    return table_of(heads, rows)


def _asked(settings: pd.DataFrame) -> Any:
    rows = [tuple(r[n] for n in ("setting", *ASKED)) for _, r in settings.iterrows()]
    return table_of(("setting", *ASKED), rows)


def _knobs(knobs: pd.DataFrame) -> Any:
    heads = ("setting", "level", "trials", "correlation with barrier", "with accuracy",
             "mean barrier", "mean accuracy")  # fmt: skip
    names = [c for c in map(str, knobs) if c.startswith(("correlation", "mean"))]
    rows = [
        (r["setting"], r["level"], int(r["trials"]), *(Estimate(float(r[n])) for n in names))
        for _, r in knobs.iterrows()
    ]
    return table_of(heads, rows)
