"""The study of the edge of stability: full-batch gradient descent with three kinds of momentum.

The sharpness rises until the optimizer's threshold and stays there (Cohen et al. 2021). Small
defaults run in minutes; ``--data cifar10 --n 5000`` is the paper's setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from wingbeat.errors import RequestError
from wingbeat.report.figures import Guide, Line, LineFigure
from wingbeat.report.study_figures import DotFigure
from wingbeat.study.condition import Condition
from wingbeat.study.outcome import StudyResult
from wingbeat.study.runner import Runner
from wingbeat.zoo.curvature_study import (
    DEFINITIONS,
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

SNAPSHOTS: Final = 60
"""Moments at which the sharpness is measured."""
RULES: Final[dict[str, dict[str, Any]]] = {
    "gradient descent": {},
    "Polyak 0.9": {"momentum": 0.9},
    "Nesterov 0.9": {"momentum": 0.9, "nesterov": True},
}
"""Optimizers by name, as arguments of the task."""
_INTRO = (
    "A tanh net of widths {} is trained on {} samples at once ({}), with squared error. Where its "
    "step would become too long for the curvature, the curvature stops rising."
)


@dataclass(frozen=True)
class EdgePlan:
    """What was asked of the study.

    Args:
        rates: learning rates of gradient descent.
        momentum_rates: learning rates of the two kinds of momentum; empty leaves them out.
        data: "digits" or "cifar10".
        n: training samples.
        hidden: widths.
        steps: updates.
        seeds: base seeds, from 0 on.

    Raises:
        RequestError: no learning rate, or a number out of range.
    """

    rates: tuple[float, ...] = (0.2, 0.3, 0.4)
    momentum_rates: tuple[float, ...] = (0.3,)
    data: str = "digits"
    n: int = 500
    hidden: tuple[int, ...] = (64, 64)
    steps: int = 2000
    seeds: int = 1

    def __post_init__(self) -> None:
        if not self.rates or min((*self.rates, *self.momentum_rates)) <= 0:
            raise RequestError(f"rates are {self.rates}: give positive learning rates")
        if self.steps < 2 or self.seeds < 1:
            raise RequestError(f"steps {self.steps}, seeds {self.seeds}: use 2 and 1 at least")


def conditions(plan: EdgePlan) -> list[Condition]:
    """Return one condition for each optimizer, learning rate and base seed.

    Example:
        >>> [c.tags["rule"] for c in conditions(EdgePlan(rates=(0.1,)))]
        ['gradient descent', 'Polyak 0.9', 'Nesterov 0.9']
    """
    pairs = [("gradient descent", lr) for lr in plan.rates]
    pairs += [(rule, lr) for rule in list(RULES)[1:] for lr in plan.momentum_rates]
    return [
        Condition(
            factory="wingbeat.zoo.curvature_tasks:tanh_task",
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
            measures=("wingbeat.zoo.curvature_measures:sharpness",),
            tags={"rule": rule, "lr": lr, "seed": seed},
        )
        for rule, lr in pairs
        for seed in range(plan.seeds)
    ]


def study_edge(
    plan: EdgePlan,
    out: str | Path,
    *,
    workers: int | None = None,
    say: Say = print,
    runner: Runner | None = None,
) -> tuple[StudyResult, Path]:
    """Run what is left of the study and write its page.

    Returns:
        The study and the path of its page.
    """
    study = run_grid(conditions(plan), out, runner=runner, workers=workers, say=say)
    rows = done(study)
    page = write_page(study, _words(plan, rows), _sections(study, rows), [_table(rows)])
    say(f"report: {page}")
    return study, page


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
    usual, words = EdgePlan(), ["wingbeat study edge"]
    words += [f"--lr {lr:g}" for lr in plan.rates] * (plan.rates != usual.rates)
    words += [f"--momentum-lr {lr:g}" for lr in plan.momentum_rates] * (
        plan.momentum_rates != usual.momentum_rates
    )
    words += [f"--hidden {width}" for width in plan.hidden] * (plan.hidden != usual.hidden)
    for name in ("data", "n", "steps", "seeds"):
        if getattr(plan, name) != getattr(usual, name):
            words.append(f"--{name} {getattr(plan, name)}")
    return " ".join(words)


def _sections(study: StudyResult, rows: pd.DataFrame) -> list[Section]:
    ratios, losses = [], []
    for style, (_, row) in enumerate(rows.sort_values(["rule", "lr", "seed"]).iterrows()):
        name = f"{row['rule']}, η = {row['lr']:g}" + (
            f", seed {row['seed']}" if row["seed"] else ""
        )
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
        "recorded step.",
        "step",
        "sharpness ÷ threshold",
        tuple(lines),
        (Guide("threshold", 1.0),),
    )


def _loss_figure(lines: Sequence[Line]) -> LineFigure:
    return LineFigure(
        "loss",
        "Training loss",
        "Training loss at the recorded steps.",
        "step",
        "training loss",
        tuple(lines),
        log_y=True,
    )


def _rates_figure(rows: pd.DataFrame) -> DotFigure:
    dots = []
    for style, (rule, own) in enumerate(rows.groupby("rule", sort=True)):
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


def _table(rows: pd.DataFrame) -> tuple[str, str, Any]:
    heads = (
        "run",
        "verdict",
        "reached at step",
        "sharpness ÷ threshold from then on",
        "loss rises",
    )
    cells = [
        (
            f"{r['rule']}, η = {r['lr']:g}, seed {r['seed']}",
            r["edge"],
            float(r["reached"]),
            float(r["hover"]),
            f"{100 * float(r['uneven']):.0f} % of the steps" if r["uneven"] == r["uneven"] else "",
        )
        for _, r in rows.sort_values(["rule", "lr", "seed"]).iterrows()
    ]
    return "verdicts", "Verdicts", table_of(heads, cells)
