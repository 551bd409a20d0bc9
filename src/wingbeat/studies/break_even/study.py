"""The study of the break-even point: gradient covariance against learning rate and batch size.

Conjectures tested (Jastrzebski et al. 2020): a larger learning rate or a smaller batch leads to a
smaller largest λ_K along training, and to a better conditioned K; here also to a smaller largest
λ_H. Every run lasts equally long in learning rate × steps: with equal epochs a small learning rate
would be compared before it has got anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Unpack

import pandas as pd

from wingbeat.errors import RequestError
from wingbeat.report.figures import LineFigure
from wingbeat.report.study_figures import DotFigure
from wingbeat.stats import Estimate
from wingbeat.studies.finding import (
    Finding,
    How,
    Section,
    Shown,
    Tables,
    Words,
    command_line,
    done,
    dot,
    find,
    line,
    mean_of,
    series,
    table_of,
)
from wingbeat.study.condition import Condition
from wingbeat.study.correlation import correlate
from wingbeat.study.outcome import StudyResult
from wingbeat.tasks.full_batch import source, stand_in_alarms

SNAPSHOTS: Final = 20
"""Moments at which gradients and curvature are looked at."""
WITH_BATCH: Final = {"lambda_k_most": 1, "conditioning": -1, "lambda_h_most": 1}
"""Sign that each quantity's correlation with the batch size has by the conjectures; with the
learning rate it has the other."""
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


@dataclass(frozen=True)
class BreakEvenPlan:
    """What was asked of the study.

    Args:
        rates: learning rates.
        batch_sizes: samples a step.
        data: "digits" or "cifar10".
        n: training samples.
        hidden: widths of the tanh net.
        time: learning rate × steps, the same for every run.
        loss: "cross-entropy" or "mse".
        seeds: base seeds, from 0 on.

    Raises:
        RequestError: an axis without values, or a number out of range.
    """

    rates: tuple[float, ...] = (0.05, 0.2, 0.8)
    batch_sizes: tuple[int, ...] = (16, 64)
    data: str = "digits"
    n: int = 640
    hidden: tuple[int, ...] = (32, 32)
    time: float = 30.0
    loss: str = "cross-entropy"
    seeds: int = 3

    def __post_init__(self) -> None:
        if not self.rates or not self.batch_sizes or min(self.rates) <= 0:
            raise RequestError(f"rates {self.rates}, batches {self.batch_sizes}: give some of each")
        if not 1 <= min(self.batch_sizes) <= max(self.batch_sizes) <= self.n:
            raise RequestError(f"batches {self.batch_sizes}: use 1 to {self.n} samples")
        if self.time < 2 * max(self.rates) or self.seeds < 1:
            msg = f"time {self.time:g}, seeds {self.seeds}: use two steps of each rate and one seed"
            raise RequestError(msg)


def conditions(plan: BreakEvenPlan) -> list[Condition]:
    """Return one condition for each learning rate, batch size and base seed.

    Example:
        >>> len(conditions(BreakEvenPlan(seeds=1)))
        6
    """
    found = []
    for lr in plan.rates:
        for size in plan.batch_sizes:
            steps = round(plan.time / lr)
            found += [
                Condition(
                    factory="wingbeat.tasks.full_batch:tanh_task",
                    arguments={
                        "lr": lr,
                        "batch_size": size,
                        "data": plan.data,
                        "digest": source(plan.data).digest,
                        "n": plan.n,
                        "hidden": list(plan.hidden),
                        "steps": steps,
                        "loss": plan.loss,
                    },
                    perturbations=(),
                    record_every=max(1, steps // SNAPSHOTS),
                    metrics=("train_loss", "accuracy"),
                    seeds=(seed,),
                    measures=("wingbeat.studies.curvature:noise",),
                    tags={"lr": lr, "batch_size": size, "seed": seed},
                )
                for seed in range(plan.seeds)
            ]
    return found


def study_break_even(plan: BreakEvenPlan, out: str | Path, **how: Unpack[How]) -> Finding:
    """Run what is left of the grid, write ``conjectures.csv`` and the page."""

    def show(study: StudyResult, tables: Tables) -> Shown:
        claims = tables["conjectures"]
        shown = [("conjectures", "Conjectures", _table(claims))]
        return Shown(_words(plan, claims), _sections(study, done(study)), shown)

    return find(conditions(plan), out, lambda s: {"conjectures": conjectures(done(s))}, show, **how)


def conjectures(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rank correlations of λ_K and conditioning with learning rate and batch size.

    Expected where the conjectures hold: largest λ_K and λ_H fall with the learning rate and grow
    with the batch; conditioning the other way round.

    Args:
        rows: finished conditions.
    """
    cells = rows.assign(
        cell=[f"{a}/{b}" for a, b in zip(rows["lr"], rows["batch_size"], strict=True)]
    )
    found = correlate(cells, ["lr", "batch_size"], list(WITH_BATCH), group="cell")
    pairs = zip(found["measured"], found["outcome"], strict=True)
    signs = [WITH_BATCH[b] * (1 if a == "batch_size" else -1) for a, b in pairs]
    rulings = [_ruling(s, r) for s, (_, r) in zip(signs, found.iterrows(), strict=True)]
    return found.assign(expected=signs, ruling=rulings)


def _ruling(sign: int, row: pd.Series[Any]) -> str:
    low, high = sorted((sign * row["low"], sign * row["high"]))
    if low > 0:
        return "supported"
    return "contradicted" if high < 0 else "undetermined"


def _words(plan: BreakEvenPlan, claims: pd.DataFrame) -> Words:
    held = int((claims["ruling"] == "supported").sum())
    return Words(
        title="break-even point",
        headline=f"{held} of {len(claims)} conjectured trends hold with their whole interval.",
        alarms=stand_in_alarms(plan.data),
        intro=(
            _INTRO.format(
                ", ".join(map(str, plan.hidden)),
                plan.n,
                plan.loss,
                plan.time,
                source(plan.data).label,
            ),
        ),
        facts=(
            ("learning rates", str(len(plan.rates)), ", ".join(f"{r:g}" for r in plan.rates)),
            ("batch sizes", str(len(plan.batch_sizes)), ", ".join(map(str, plan.batch_sizes))),
        ),
        definitions=_MEANINGS,
        command=command_of(plan),
    )


def command_of(plan: BreakEvenPlan) -> str:
    """Return the command line that runs a plan.

    >>> command_of(BreakEvenPlan(seeds=1))
    'wingbeat study break-even --seeds 1'
    """
    options = {"rates": "lr", "batch_sizes": "batch-size"}
    return command_line("break-even", plan, vars(BreakEvenPlan()), options)


NAMES: Final = {
    "lambda_k_most": "largest λ_K",
    "conditioning": "conditioning",
    "lambda_h_most": "largest λ_H",
    "lr": "learning rate",
    "batch_size": "batch size",
}
_CURVES: Final = (
    ("lambda_k", "Largest eigenvalue of the gradient covariance", "λ_K"),
    ("conditioning", "Conditioning of the gradient covariance", "λ*_K ÷ λ_K"),
    ("lambda_h", "Largest eigenvalue of the Hessian", "λ_H"),
    ("trace_k", "Trace of the gradient covariance", "Tr K"),
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
        lines.append(line(f"η = {r['lr']:g}, S = {r['batch_size']}", style, times, values))
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
                Estimate(r["value"], r["low"], r["high"], r["reason"]),
                "+" if r["expected"] > 0 else "−",
                r["ruling"],
                int(r["n"]),
            )
            for _, r in claims.iterrows()
        ],
    )
