"""The study of the break-even point: gradient covariance against learning rate and batch size.

Conjectures tested (Jastrzebski et al. 2020): a larger learning rate or a smaller batch leads to a
smaller largest λ_K along training, and to a better conditioned K.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from wingbeat.errors import RequestError
from wingbeat.report.figures import LineFigure
from wingbeat.report.study_figures import DotFigure
from wingbeat.stats import Estimate
from wingbeat.study.condition import Condition
from wingbeat.study.correlation import correlate
from wingbeat.study.outcome import StudyResult
from wingbeat.study.runner import Runner
from wingbeat.zoo.curvature_study import (
    Say,
    Section,
    Words,
    done,
    dot,
    line,
    mean_of,
    run_grid,
    series,
    table_of,
    write_page,
)
from wingbeat.zoo.curvature_tasks import source, stand_in_alarms

SNAPSHOTS: Final = 20
"""Moments at which gradients and curvature are looked at."""
_INTRO = (
    "A tanh net of widths {} on {} samples, cross-entropy, {} epochs of stochastic gradient "
    "descent. Data: {}."
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
        epochs: passes over the data.
        seeds: base seeds, from 0 on.

    Raises:
        RequestError: an axis without values, or a number out of range.
    """

    rates: tuple[float, ...] = (0.02, 0.1, 0.5)
    batch_sizes: tuple[int, ...] = (16, 64)
    data: str = "digits"
    n: int = 640
    hidden: tuple[int, ...] = (32, 32)
    epochs: int = 20
    seeds: int = 3

    def __post_init__(self) -> None:
        if not self.rates or not self.batch_sizes or min(self.rates) <= 0:
            raise RequestError(f"rates {self.rates}, batches {self.batch_sizes}: give some of each")
        if not 1 <= min(self.batch_sizes) <= max(self.batch_sizes) <= self.n:
            raise RequestError(f"batches {self.batch_sizes}: use 1 to {self.n} samples")
        if self.epochs < 1 or self.seeds < 1:
            raise RequestError(f"epochs {self.epochs}, seeds {self.seeds}: use at least 1")


def conditions(plan: BreakEvenPlan) -> list[Condition]:
    """Return one condition for each learning rate, batch size and base seed.

    Example:
        >>> len(conditions(BreakEvenPlan(seeds=1)))
        6
    """
    found = []
    for lr in plan.rates:
        for size in plan.batch_sizes:
            steps = plan.epochs * -(-plan.n // size)
            found += [
                Condition(
                    factory="wingbeat.zoo.curvature_tasks:tanh_task",
                    arguments={
                        "lr": lr,
                        "batch_size": size,
                        "data": plan.data,
                        "digest": source(plan.data).digest,
                        "n": plan.n,
                        "hidden": list(plan.hidden),
                        "steps": steps,
                        "loss": "cross-entropy",
                    },
                    perturbations=(),
                    record_every=max(1, steps // SNAPSHOTS),
                    metrics=("train_loss", "accuracy"),
                    seeds=(seed,),
                    measures=("wingbeat.zoo.curvature_measures:noise",),
                    tags={"lr": lr, "batch_size": size, "seed": seed},
                )
                for seed in range(plan.seeds)
            ]
    return found


def study_break_even(
    plan: BreakEvenPlan,
    out: str | Path,
    *,
    workers: int | None = None,
    say: Say = print,
    runner: Runner | None = None,
) -> tuple[StudyResult, Path]:
    """Run what is left of the grid and write its page.

    Returns:
        The study and the path of its page.
    """
    study = run_grid(conditions(plan), out, runner=runner, workers=workers, say=say)
    rows = done(study)
    claims = conjectures(rows)
    tables = [("conjectures", "Conjectures", _table(claims))]
    page = write_page(study, _words(plan, claims), _sections(study, rows), tables)
    say(f"report: {page}")
    return study, page


def conjectures(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rank correlations of λ_K and conditioning with learning rate and batch size.

    Expected where the conjectures hold: largest λ_K falls with the learning rate and grows with
    the batch; conditioning the other way round.

    Args:
        rows: finished conditions.
    """
    cells = rows.assign(
        cell=[f"{a}/{b}" for a, b in zip(rows["lr"], rows["batch_size"], strict=True)]
    )
    found = correlate(cells, ["lr", "batch_size"], ["lambda_k_most", "conditioning"], group="cell")
    expected = {
        ("lr", "lambda_k_most"): -1,
        ("batch_size", "lambda_k_most"): 1,
        ("lr", "conditioning"): 1,
        ("batch_size", "conditioning"): -1,
    }
    signs = [expected[a, b] for a, b in zip(found["measured"], found["outcome"], strict=True)]
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
                ", ".join(map(str, plan.hidden)), plan.n, plan.epochs, source(plan.data).label
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
    usual, words = BreakEvenPlan(), ["wingbeat study break-even"]
    words += [f"--lr {v:g}" for v in plan.rates] * (plan.rates != usual.rates)
    words += [f"--batch-size {v}" for v in plan.batch_sizes] * (
        plan.batch_sizes != usual.batch_sizes
    )
    words += [f"--hidden {v}" for v in plan.hidden] * (plan.hidden != usual.hidden)
    for name in ("data", "n", "epochs", "seeds"):
        if getattr(plan, name) != getattr(usual, name):
            words.append(f"--{name} {getattr(plan, name)}")
    return " ".join(words)


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
        epochs = [s / float(r["steps_per_epoch"]) for s in steps]
        lines.append(line(f"η = {r['lr']:g}, S = {r['batch_size']}", style, epochs, values))
    return LineFigure(name, title, "First base seed.", "epoch", label, tuple(lines), log_y=True)


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
                f"{r['outcome']} with {r['measured']}",
                Estimate(r["value"], r["low"], r["high"], r["reason"]),
                "+" if r["expected"] > 0 else "−",
                r["ruling"],
                int(r["n"]),
            )
            for _, r in claims.iterrows()
        ],
    )
