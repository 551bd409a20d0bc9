"""The page of the study of the edge of stability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

from wingbeat.report.figures.estimates import dot, estimate_line, table_of
from wingbeat.report.figures.marks import DotFigure, Section
from wingbeat.report.figures.records import Guide, Line, LineFigure
from wingbeat.studies.curvature import DEFINITIONS
from wingbeat.studies.edge.claims import MEANS, ordered
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.finished import done, estimate_in, mean_of, series
from wingbeat.study.outcome import StudyResult
from wingbeat.tasks.full_batch import source, stand_in_alarms

_INTRO: Final = (
    "A tanh net of widths {} is trained on {} samples at once ({}), with squared error. Where its "
    "step would become too long for the curvature, the curvature stops rising."
)


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    plan, study = found.plan, found.study
    rows = ordered(done(study))
    at = int((rows["edge"] == "edge").sum())
    return PageContent(
        headline=f"The sharpness reaches its threshold and stays in {at} of {len(rows)} runs.",
        intro=(_INTRO.format(", ".join(map(str, plan.hidden)), plan.n, source(plan.data).label),),
        facts=(
            ("runs", str(len(rows)), f"{plan.steps} updates each"),
            ("at the edge", str(at), "verdict by the course of the sharpness"),
        ),
        definitions=DEFINITIONS,
        sections=_sections(study, rows),
        tables=[("verdicts", "Verdicts", _table(found.tables["verdicts"]))],
        alarms=stand_in_alarms(plan.data),
    )


def _sections(study: StudyResult, rows: pd.DataFrame) -> list[Section]:
    ratios, losses = [], []
    first = rows[rows["seed"] == rows["seed"].min()]
    for style, (_, row) in enumerate(first.iterrows()):
        name = f"{row['rule']}, η = {row['lr']:g}"
        steps, sharp = series(study, row["key"], "sharpness")
        limits = series(study, row["key"], "threshold")[1]
        share = [s / t for s, t in zip(sharp, limits, strict=True)]
        ratios.append(estimate_line(name, style, steps, share))
        losses.append(estimate_line(name, style, *series(study, row["key"], "loss")))
    figures = (_ratio_figure(ratios), _loss_figure(losses))
    return [
        ("sharpness", "Sharpness against the threshold", figures),
        ("rates", "Where it settles", (_rates_figure(rows),)),
    ]


def _ratio_figure(lines: Sequence[Line]) -> LineFigure:
    return LineFigure(
        "ratio",
        "Does the sharpness rise to the threshold and hover?",
        "Largest Hessian eigenvalue of the training loss over the optimizer's threshold, at each "
        "recorded step. First base seed.",
        "step",
        "sharpness ÷ threshold",
        tuple(lines),
        (Guide("threshold", 1.0),),
    )


def _loss_figure(lines: Sequence[Line]) -> LineFigure:
    return LineFigure(
        "loss",
        "Training loss",
        "Training loss at the recorded steps. First base seed.",
        "step",
        "training loss",
        tuple(lines),
        log_y=True,
    )


def _rates_figure(rows: pd.DataFrame) -> DotFigure:
    dots = []
    for style, (rule, own) in enumerate(rows.groupby("rule", sort=False)):
        for lr, cell in own.groupby("lr"):
            found = mean_of(cell, "sharpness_ratio")
            rate = float(str(lr))
            dots.append(dot(rate, found, str(rule), style, f"{rule}, η = {rate:g}"))
    return DotFigure(
        "rates",
        "Late in training: is the ratio near 1?",
        "Median of sharpness ÷ threshold over the last third of training.",
        "learning rate",
        "sharpness ÷ threshold, late",
        tuple(dots),
        guides=(Guide("threshold", 1.0),),
        log_place=True,
    )


def _table(found: pd.DataFrame) -> Any:
    heads = (
        "optimizer",
        "verdict (runs)",
        "reached at step",
        "sharpness ÷ threshold from then on",
        "share of the steps on which the loss rises",
    )
    return table_of(
        heads,
        [
            (
                f"{r['rule']}, η = {r['lr']:g}",
                r["verdict"],
                *(estimate_in(r, n) for n in MEANS),
            )
            for _, r in found.iterrows()
        ],
    )
