"""The page of the study of the break-even point."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from wingbeat.report.figures.estimates import dot, estimate_line, table_of
from wingbeat.report.figures.marks import DotFigure, Section
from wingbeat.report.figures.records import LineFigure
from wingbeat.studies.break_even.claims import NAMES
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.finished import done, estimate_of, mean_of, series
from wingbeat.study.outcome import StudyResult
from wingbeat.tasks.full_batch import source, stand_in_alarms

_INTRO = (
    "A tanh net of widths {} on {} samples, {}, stochastic gradient descent until learning rate × "
    "steps is {:g}. Data: {}."
)
_MEANINGS: Final = {
    "K": "Covariance of the gradients of 100 single training samples, from their Gram matrix.",
    "λ_K, Tr K": "Largest eigenvalue and trace of K; shown largest over training, and last.",
    "conditioning": "Smallest non-zero over largest eigenvalue of K, in (0, 1]; median over "
    "training. It depends on the number of gradients, here the same everywhere.",
    "λ_H": "Largest eigenvalue of the Hessian of the loss on the same samples.",
    "intervals": "95 %, Student's over base seeds; none below three seeds.",
}
_CURVES: Final = (
    ("lambda_k", "Largest eigenvalue of the gradient covariance", "λ_K"),
    ("conditioning", "Conditioning of the gradient covariance", "λ*_K ÷ λ_K"),
    ("lambda_h", "Largest eigenvalue of the Hessian", "λ_H"),
    ("trace_k", "Trace of the gradient covariance", "Tr K"),
)


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    plan = found.plan
    hidden = ", ".join(map(str, plan.hidden))
    label = source(plan.data).label
    return PageContent(
        intro=(_INTRO.format(hidden, plan.n, plan.loss, plan.time, label),),
        facts=(
            ("learning rates", str(len(plan.rates)), ", ".join(f"{r:g}" for r in plan.rates)),
            ("batch sizes", str(len(plan.batch_sizes)), ", ".join(map(str, plan.batch_sizes))),
        ),
        definitions=_MEANINGS,
        sections=_sections(found.study, done(found.study)),
        tables=[("conjectures", "Conjectures", _table(found.tables["conjectures"]))],
        alarms=stand_in_alarms(plan.data),
    )


def _sections(study: StudyResult, rows: pd.DataFrame) -> list[Section]:
    curves = tuple(_course(study, rows, *entry) for entry in _CURVES)
    sweeps = (
        _sweep(rows, "lambda_k_most", "Largest λ_K over training", "λ_K"),
        _sweep(rows, "conditioning", "Conditioning, median over training", "λ*_K ÷ λ_K"),
        _sweep(rows, "lambda_h_most", "Largest λ_H over training", "λ_H"),
    )
    return [
        ("sweep", "Against learning rate and batch", sweeps),
        ("course", "Over training", curves),
    ]


def _course(
    study: StudyResult, rows: pd.DataFrame, name: str, title: str, label: str
) -> LineFigure:
    lines, first = [], rows[rows["seed"] == rows["seed"].min()].sort_values(["lr", "batch_size"])
    for style, (_, r) in enumerate(first.iterrows()):
        steps, values = series(study, r["key"], name)
        times = [s * float(r["lr"]) for s in steps]
        lines.append(estimate_line(f"η = {r['lr']:g}, S = {r['batch_size']}", style, times, values))
    axis = "learning rate × step"
    return LineFigure(name, title, "First base seed.", axis, label, tuple(lines), log_y=True)


def _sweep(rows: pd.DataFrame, name: str, title: str, label: str) -> DotFigure:
    dots = []
    for style, (size, own) in enumerate(rows.groupby("batch_size", sort=True)):
        for lr, cell in own.groupby("lr"):
            rate, group = float(str(lr)), f"S = {size}"
            dots.append(dot(rate, mean_of(cell, name), group, style, f"η = {rate:g}, {group}"))
    return DotFigure(
        name,
        title,
        "Mean over base seeds with its interval (none below three).",
        "learning rate",
        label,
        tuple(dots),
        log_value=True,
        log_place=True,
    )


def _table(claims: pd.DataFrame) -> Any:
    heads = ("trend", "Spearman's correlation", "conjectured sign", "ruling", "conditions")
    return table_of(
        heads,
        [
            (
                f"{NAMES[r['outcome']]} with {NAMES[r['measured']]}",
                estimate_of(r["value"], r["low"], r["high"], r["reason"]),
                "+" if r["expected"] > 0 else "−",
                r["ruling"],
                int(r["n"]),
            )
            for _, r in claims.iterrows()
        ],
    )
