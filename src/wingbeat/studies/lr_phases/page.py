"""The page of the study of learning-rate phases."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan
from typing import Any, Final

import numpy as np
import pandas as pd

from wingbeat.errors import REASON_TEXT
from wingbeat.report.figures.estimates import dot, table_of
from wingbeat.report.figures.marks import DotFigure, Section
from wingbeat.report.figures.records import Guide
from wingbeat.studies.curvature import DEFINITIONS
from wingbeat.studies.lr_phases.claims import soonest
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.finished import estimate_in, estimate_of

_MEANINGS: Final = {
    **DEFINITIONS,
    "λ_max": "Largest Lyapunov exponent of the training map with the optimizer's state, 1/step, "
    "from tangent dynamics without any finite perturbation; exactly neutral directions are taken "
    "out.",
    "background": "The exponent of the same base seed at the smallest learning rate of the sweep "
    "times the ratio of the rates: what slow growth along flat directions would give at this rate.",
    "growth": "(λ_max − background, or − 0 where that is negative and at the smallest rate) × "
    "steps: how often a nudge grows e-fold over the whole run, beyond that.",
    "phase": "Divergent: a loss or weight is not finite. Chaotic: the whole interval of the growth "
    "lies above 1, one e-fold. Laminar: it lies below 1. Undetermined: 1 is inside, or there are "
    "too few base seeds for an interval.",
    "spread ratio": "Final ÷ initial spread of copies nudged by 0.1 %, whole weight space.",
}


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows: which rates are in which phase."""
    plan, phases = found.plan, found.tables["phases"]
    best = soonest(phases)
    ranges = ", ".join(f"{name}: {_range(phases, name)}" for name in dict.fromkeys(phases["phase"]))
    steps = phases.loc[phases["lr"] == best, "steps_to_target"]
    return PageContent(
        headline=f"{ranges}." if ranges else "Nothing is finished yet.",
        intro=(f"{plan.factory} with {len(plan.rates)} learning rates, {plan.seeds} base seeds.",),
        facts=(
            ("learning rates", str(len(phases)), f"{plan.rates[0]:g} to {plan.rates[-1]:g}"),
            (
                "fastest",
                f"{best:g}" if isfinite(best) else "none",
                f"{float(steps.iloc[0]):g} steps to the accuracy" if len(steps) else "",
            ),
        ),
        definitions=_MEANINGS,
        sections=sections(phases),
        tables=tables(**found.tables),
    )


def _range(phases: pd.DataFrame, name: str) -> str:
    rates = phases.loc[phases["phase"] == name, "lr"]
    return f"{rates.min():g}" if len(rates) == 1 else f"{rates.min():g} to {rates.max():g}"


_FIGURES: Final = (
    ("lambda_max", "Do nudges grow?", "λ_max, 1/step", "neither growth nor decay", 0.0),
    ("growth", "How far a nudge grows over a run", "ln of growth beyond slow drift", "one e-fold",
     1.0),
    ("sharpness_ratio", "Sharpness late in training", "sharpness ÷ threshold", "threshold", 1.0),
    ("final_loss", "Training loss at the end", "training loss", "", nan),
    ("final_accuracy", "Accuracy on the evaluation data", "accuracy", "", nan),
    ("steps_to_target", "Steps until the accuracy is reached", "steps", "", nan),
    ("convergence_ratio", "Do nudged copies part?", "final ÷ initial spread", "unchanged", 1.0),
)  # fmt: skip


def sections(phases: pd.DataFrame) -> list[Section]:
    """Return the figures: each quantity against the learning rate, coloured by phase."""
    made = tuple(
        _figure(phases, *entry)
        for entry in _FIGURES
        if entry[0] in phases and bool(np.isfinite(phases[entry[0]].astype(float)).any())
    )
    return [("sweep", "Against the learning rate", made)]


def _figure(
    phases: pd.DataFrame, name: str, title: str, label: str, guide: str, at: float
) -> DotFigure:
    styles = {"laminar": 0, "chaotic": 1, "divergent": 3, "undetermined": 4}
    dots = tuple(
        dot(
            float(r["lr"]),
            estimate_in(r, name),
            str(r["phase"]),
            styles[str(r["phase"])],
            f"η = {r['lr']:g}",
        )
        for _, r in phases.iterrows()
    )
    seeds = int(phases["runs"].max())
    return DotFigure(
        name,
        title,
        f"Mean over {seeds} base seeds, interval from three on; no value where a run diverged.",
        "learning rate",
        label,
        dots,
        guides=(Guide(guide, at),) if guide else (),
        log_place=True,
        log_value=name in ("final_loss", "convergence_ratio"),
    )


def tables(phases: pd.DataFrame, correlations: pd.DataFrame) -> Sequence[tuple[str, str, Any]]:
    """Return the phases, and the correlation of what was measured with accuracy and loss."""
    names = [n for n in ("lambda_max", "growth", "sharpness_ratio", "final_accuracy",
                         "steps_to_target") if n in phases]  # fmt: skip
    cells = [
        (
            f"{r['lr']:g}",
            r["phase"],
            *(estimate_in(r, n) for n in names),
        )
        for _, r in phases.iterrows()
    ]
    sweep = table_of(("learning rate", "phase", *names), cells)
    return [
        ("phases", "Phases", sweep),
        ("generalisation", "What goes with accuracy", _pairs(correlations)),
    ]


def _pairs(found: pd.DataFrame) -> Any:
    heads = ("measured", "outcome", "Spearman's correlation", "conditions", "why no interval")
    return table_of(
        heads,
        [
            (r["measured"], r["outcome"],
             estimate_of(r["value"], r["low"], r["high"], r["reason"]),
             int(r["n"]), REASON_TEXT.get(r["reason"], r["reason"]))
            for _, r in found.iterrows()
        ],
    )  # fmt: skip
