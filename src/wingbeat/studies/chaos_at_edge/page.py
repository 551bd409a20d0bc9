"""The page of the study of chaos at the edge."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from wingbeat.report.figures.estimates import dot, table_of
from wingbeat.report.figures.marks import DotFigure
from wingbeat.report.figures.records import Guide
from wingbeat.studies.chaos_at_edge.found import KEPT
from wingbeat.studies.chaos_at_edge.plan import TARGETS
from wingbeat.studies.curvature import DEFINITIONS
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.finished import estimate_in

_INTRO: Final = (
    "Full-batch gradient descent with half the squared error on the digits, {} updates, at {} "
    "learning rates from far below the edge of stability to where training breaks down, {} base "
    "seeds each. A run is chaotic where a nudge grows more than e-fold beyond the slow growth "
    "along flat directions, laminar where it does not."
)
_SCEPTIC: Final = (
    "“It is the learning rate, not the chaos.” Therefore two of the claims compare runs at one "
    "and the same rate: what rate and base seed explain is taken off the growth of nudges, the "
    "accuracy and the time, and what is left over is correlated; and speed is also counted in "
    "training time η × updates, in which a longer step alone gains nothing. “The best of "
    "many laminar rates beats the best of few chaotic ones.” One claim compares means at the edge."
)
_MEANINGS: Final = {
    "growth": "(λ − background) × updates: the natural logarithm of how much a nudge grows beyond "
    "what flat directions do. λ is the largest exponent of the training map, by tangent dynamics; "
    "the background is that of the same base seed at the smallest rate, times the ratio of rates.",
    "training time": "η × updates: equal for gradient descent with short steps, whatever the step.",
    "what a sceptic would say": _SCEPTIC,
    "does not show": "Full batch, squared error, small nets, one data set, one length of training. "
    "Nothing here is about noise of batches.",
    **DEFINITIONS,
}
_FIGURES: Final = (
    ("growth", "How much does a nudge grow?", "growth, e-folds", False, 1.0, "an e-fold"),
    ("sharpness_ratio", "Is training at its edge?", "late sharpness ÷ threshold", False, 1.0,
     "threshold"),
    ("steps_to_target", "Which rate is first at the loss?", "updates", True, None, ""),
    ("time_to_target", "And in training time?", "η × updates", True, None, ""),
    ("test_accuracy", "Which rate is best on unseen digits?", "accuracy", False, None, ""),
)  # fmt: skip


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    plan, rates = found.plan, found.tables["rates"]
    runs, chaotic = int(rates["runs"].sum()), int(rates["chaotic"].sum())
    best = float(found.tables["runs"]["test_accuracy"].max())
    return PageContent(
        intro=(_INTRO.format(plan.steps, len(plan.rates), plan.seeds),),
        facts=(
            ("runs", str(runs), f"{plan.steps} updates each"),
            ("chaotic", str(chaotic), f"{int(rates['divergent'].sum())} broke down"),
            ("best accuracy", f"{best:.3f}", "of any run, on 397 unseen digits"),
        ),
        definitions=_MEANINGS,
        sections=[("rates", "Over the learning rate", tuple(_figures(rates)))],
        tables=[("rates", "Means over base seeds", _table(rates))],
        asked=(
            ("losses to reach", ", ".join(f"{n} {TARGETS[n]:g}" for n in plan.nets)),
            ("columns of runs.csv", ", ".join(KEPT)),
        ),
    )


def _figures(rates: pd.DataFrame) -> list[DotFigure]:
    return [
        DotFigure(
            name,
            title,
            "Mean over base seeds with its interval of 95 %. Rates at which a run has no such "
            "value are left out.",
            "learning rate η",
            axis,
            tuple(_dots(rates, name)),
            guides=() if guide is None else (Guide(words, guide),),
            log_value=log,
            log_place=True,
        )
        for name, title, axis, log, guide, words in _FIGURES
    ]


def _dots(rates: pd.DataFrame, name: str) -> list[Any]:
    nets = list(dict.fromkeys(rates["net"]))
    return [
        dot(
            float(r["lr"]), estimate_in(r, name), r["net"], nets.index(r["net"]), f"η = {r['lr']:g}"
        )
        for _, r in rates.iterrows()
    ]


def _table(rates: pd.DataFrame) -> Any:
    heads = (
        "net, η", "laminar, chaotic, broken", "growth", "sharpness ÷ threshold",
        "updates to the loss", "accuracy",
    )  # fmt: skip
    names = ("growth", "sharpness_ratio", "steps_to_target", "test_accuracy")
    return table_of(
        heads,
        [
            (
                f"{r['net']}, {r['lr']:g}",
                f"{r['laminar']}, {r['chaotic']}, {r['divergent']}",
                *(estimate_in(r, n) for n in names),
            )
            for _, r in rates.iterrows()
        ],
    )
