"""The study of the edge of stability: full-batch gradient descent with three kinds of momentum.

The sharpness rises until the optimizer's threshold and stays there (Cohen et al. 2021). Small
defaults run in minutes; ``--data cifar10 --n 5000`` is the paper's setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Unpack

import pandas as pd

from wingbeat.errors import RequestError
from wingbeat.report.figures import Guide, Line, LineFigure
from wingbeat.report.study_figures import DotFigure
from wingbeat.stats import Estimate
from wingbeat.studies.finding import (
    DEFINITIONS,
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
from wingbeat.study.outcome import StudyResult
from wingbeat.tasks.full_batch import source, stand_in_alarms

SNAPSHOTS: Final = 60
"""Moments at which the sharpness is measured."""
RULES: Final[dict[str, dict[str, Any]]] = {
    "gradient descent": {},
    "Polyak 0.9": {"momentum": 0.9},
    "Nesterov 0.9": {"momentum": 0.9, "nesterov": True},
}
"""Optimizers by name, as arguments of the task."""
MEANS: Final = ("reached", "hover", "uneven")
"""What is averaged over base seeds."""
_INTRO = (
    "A tanh net of widths {} is trained on {} samples at once ({}), with squared error. Where its "
    "step would become too long for the curvature, the curvature stops rising."
)


@dataclass(frozen=True)
class EdgePlan:
    """What was asked of the study.

    Args:
        rates: learning rates of gradient descent.
        polyak_rates: learning rates with Polyak's momentum 0.9; empty leaves it out.
        nesterov_rates: the same with Nesterov's.
        data: "digits" or "cifar10".
        n: training samples.
        hidden: widths.
        steps: updates.
        seeds: base seeds, from 0 on.

    Raises:
        RequestError: no learning rate, or a number out of range.
    """

    rates: tuple[float, ...] = (0.2, 0.3, 0.4)
    polyak_rates: tuple[float, ...] = (0.3,)
    nesterov_rates: tuple[float, ...] = (0.15,)
    data: str = "digits"
    n: int = 500
    hidden: tuple[int, ...] = (64, 64)
    steps: int = 2000
    seeds: int = 3

    def __post_init__(self) -> None:
        every = (*self.rates, *self.polyak_rates, *self.nesterov_rates)
        if not every or min(every) <= 0:
            raise RequestError(f"rates are {every}: give positive learning rates")
        if self.steps < 2 or self.seeds < 1:
            raise RequestError(f"steps {self.steps}, seeds {self.seeds}: use 2 and 1 at least")


def conditions(plan: EdgePlan) -> list[Condition]:
    """Return one condition for each optimizer, learning rate and base seed.

    Example:
        >>> [c.tags["rule"] for c in conditions(EdgePlan(rates=(0.1,), seeds=1))]
        ['gradient descent', 'Polyak 0.9', 'Nesterov 0.9']
    """
    rates = (plan.rates, plan.polyak_rates, plan.nesterov_rates)
    pairs = [(rule, lr) for rule, own in zip(RULES, rates, strict=True) for lr in own]
    return [
        Condition(
            factory="wingbeat.tasks.full_batch:tanh_task",
            arguments={
                "lr": lr,
                **RULES[rule],
                "data": plan.data,
                "digest": source(plan.data).digest,
                "n": plan.n,
                "hidden": list(plan.hidden),
                "steps": plan.steps,
            },
            perturbations=(),
            record_every=max(1, plan.steps // SNAPSHOTS),
            metrics=("train_loss", "accuracy"),
            seeds=(seed,),
            measures=("wingbeat.studies.curvature:sharpness",),
            tags={"rule": rule, "lr": lr, "seed": seed},
        )
        for rule, lr in pairs
        for seed in range(plan.seeds)
    ]


def study_edge(plan: EdgePlan, out: str | Path, **how: Unpack[How]) -> Finding:
    """Run what is left of the study, write ``verdicts.csv`` and the page."""

    def show(study: StudyResult, tables: Tables) -> Shown:
        rows = ordered(done(study))
        shown = [("verdicts", "Verdicts", _table(tables["verdicts"]))]
        return Shown(_words(plan, rows), _sections(study, rows), shown)

    return find(conditions(plan), out, lambda s: {"verdicts": verdicts(done(s))}, show, **how)


def ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows by optimizer in the order of `RULES`, learning rate and seed."""
    place = rows["rule"].map(list(RULES).index)
    return rows.assign(place=place).sort_values(["place", "lr", "seed"])


def verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row an optimizer and learning rate: verdicts, and means over base seeds.

    Args:
        rows: finished conditions.
    """
    found = []
    for (rule, lr), own in ordered(rows).groupby(["rule", "lr"], sort=False):
        row: dict[str, Any] = {"rule": rule, "lr": lr, "runs": len(own)}
        words = [f"{word} ({count})" for word, count in own["edge"].value_counts().items()]
        row |= {"verdict": ", ".join(words), "edge": int((own["edge"] == "edge").sum())}
        row["threshold"] = float(own["threshold"].mean())
        for name in MEANS:
            mean = mean_of(own, name)
            row |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}
        found.append(row)
    return pd.DataFrame(found)


def _words(plan: EdgePlan, rows: pd.DataFrame) -> Words:
    at = int((rows["edge"] == "edge").sum()) if len(rows) else 0
    return Words(
        title="edge of stability",
        headline=f"The sharpness reaches its threshold and stays in {at} of {len(rows)} runs.",
        alarms=stand_in_alarms(plan.data),
        intro=(_INTRO.format(", ".join(map(str, plan.hidden)), plan.n, source(plan.data).label),),
        facts=(
            ("runs", str(len(rows)), f"{plan.steps} updates each"),
            ("at the edge", str(at), "verdict by the course of the sharpness"),
        ),
        definitions=DEFINITIONS,
        command=command_of(plan),
    )


def command_of(plan: EdgePlan) -> str:
    """Return the command line that runs a plan.

    >>> command_of(EdgePlan(n=100))
    'wingbeat study edge --n 100'
    """
    options = {"rates": "lr", "polyak_rates": "polyak-lr", "nesterov_rates": "nesterov-lr"}
    usual = vars(EdgePlan())
    if any(getattr(plan, name) != usual[name] for name in options):
        # Who asks for some rates gets those alone: all of them must be said.
        usual = {**usual, **dict.fromkeys(options, ())}
    return command_line("edge", plan, usual, options)


def _sections(study: StudyResult, rows: pd.DataFrame) -> list[Section]:
    ratios, losses = [], []
    first = rows[rows["seed"] == rows["seed"].min()]
    for style, (_, row) in enumerate(first.iterrows()):
        name = f"{row['rule']}, η = {row['lr']:g}"
        steps, sharp = series(study, row["key"], "sharpness")
        limits = series(study, row["key"], "threshold")[1]
        share = [s / t for s, t in zip(sharp, limits, strict=True)]
        ratios.append(line(name, style, steps, share))
        losses.append(line(name, style, *series(study, row["key"], "loss")))
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
                *(Estimate(r[n], r[f"{n}_low"], r[f"{n}_high"], "not_reached") for n in MEANS),
            )
            for _, r in found.iterrows()
        ],
    )
