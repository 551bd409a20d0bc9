"""The study of the phase diagram of two-layer ReLU nets at large width.

For each place (γ, γ') the relative change of the input weights at several widths: its slope
against width on logarithmic axes is below 0 in the linear and above 0 in the condensed regime
(Luo et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Unpack

import pandas as pd

from wingbeat.curvature.condensation import regime, slope_against_width
from wingbeat.errors import RequestError
from wingbeat.report.figures import Guide, LineFigure
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
    table_of,
)
from wingbeat.study.condition import Condition
from wingbeat.study.outcome import StudyResult

_INTRO = (
    "Full-batch gradient descent with small steps on 40 points of a function with four kinks; "
    "widths {}, {} base seeds."
)
_MEANINGS: Final = {
    "γ, γ'": "β₁β₂/α = m^−γ and β₁/β₂ = m^−γ' for width m, output weights of standard deviation "
    "β₁, input weights of β₂ and output scale 1/α. (½, 0) is the NTK, (1, 0) the mean-field "
    "scaling.",
    "relative change": "‖w − w₀‖/‖w₀‖ of the input weights (with biases) at the end of training.",
    "slope": "Of ln relative change against ln width by least squares over all seeds, with its "
    "95 % interval. Below 0: linear; above 0: condensed; 0 within: open at these widths.",
    "directions": "Number of directions that the neurons fall into (those within 0.1 rad joined), "
    "weighted by |a|‖w‖: 1 ÷ the sum of squared shares.",
}


@dataclass(frozen=True)
class DiagramPlan:
    """What was asked of the study.

    Args:
        gammas: values of γ.
        gamma_primes: values of γ'.
        widths: values of m, two or more.
        seeds: base seeds, from 0 on.
        time: length of training, in tens of steps.

    Raises:
        RequestError: fewer than two widths, or an axis without values.
    """

    gammas: tuple[float, ...] = (0.5, 1.0, 1.5, 1.75)
    gamma_primes: tuple[float, ...] = (0.0, 1.0)
    widths: tuple[int, ...] = (64, 256, 1024)
    seeds: int = 3
    time: float = 100.0

    def __post_init__(self) -> None:
        if len(set(self.widths)) < 2 or not self.gammas or not self.gamma_primes:
            raise RequestError(f"widths are {self.widths}: give two or more, and both exponents")
        if self.seeds < 1 or not self.time > 0:
            raise RequestError(f"seeds {self.seeds}, time {self.time}: use 1 and more than 0")


def conditions(plan: DiagramPlan) -> list[Condition]:
    """Return one condition for each place, width and base seed.

    Example:
        >>> len(conditions(DiagramPlan(seeds=1)))
        24
    """
    return [
        Condition(
            factory="wingbeat.tasks.full_batch:two_layer_task",
            arguments={"width": m, "gamma": g, "gamma_prime": p, "time": plan.time},
            perturbations=(),
            record_every=max(1, round(10 * plan.time)),
            metrics=("train_loss",),
            seeds=(seed,),
            measures=("wingbeat.studies.curvature:phase",),
            tags={"gamma": g, "gamma_prime": p, "width": m, "seed": seed},
        )
        for g in plan.gammas
        for p in plan.gamma_primes
        for m in plan.widths
        for seed in range(plan.seeds)
    ]


def slopes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a place: slope with interval, measured and theoretical regime, condensation.

    Args:
        rows: finished conditions.
    """
    found = []
    for place, own in rows.groupby(["gamma", "gamma_prime"], sort=True):
        gamma, prime = (float(str(part)) for part in place)
        slope = slope_against_width(own["width"].tolist(), own["relative_change"].tolist())
        widest = own[own["width"] == own["width"].max()]
        found.append(
            {
                "gamma": gamma,
                "gamma_prime": prime,
                "slope": slope.value,
                "low": slope.low,
                "high": slope.high,
                "reason": slope.reason or slope.interval_reason,
                "measured": measured_regime(slope),
                "theory": regime(gamma, prime),
                "directions_start": float(widest["directions_start"].mean()),
                "directions": float(widest["directions"].mean()),
                "alignment": float(widest["alignment"].mean()),
                "final_loss": float(widest["final_loss"].mean()),
            }
        )
    return pd.DataFrame(found)


def measured_regime(slope: Estimate) -> str:
    """Return "linear", "condensed" or "open" by the interval of a slope.

    >>> measured_regime(Estimate(0.4, 0.3, 0.5)), measured_regime(Estimate(0.0, -0.1, 0.1))
    ('condensed', 'open')
    """
    if slope.high < 0:
        return "linear"
    return "condensed" if slope.low > 0 else "open"


def study_phase_diagram(plan: DiagramPlan, out: str | Path, **how: Unpack[How]) -> Finding:
    """Run what is left of the grid, write ``slopes.csv`` and the page."""

    def show(study: StudyResult, tables: Tables) -> Shown:
        found = tables["slopes"]
        shown = [("slopes", "Slopes", _table(found))]
        return Shown(_words(plan, found), _sections(done(study), found), shown)

    return find(conditions(plan), out, lambda s: {"slopes": slopes(done(s))}, show, **how)


def _words(plan: DiagramPlan, found: pd.DataFrame) -> Words:
    sure = found[found["theory"] != "critical"]
    right = int((sure["measured"] == sure["theory"]).sum())
    wrong = int(((sure["measured"] != "open") & (sure["measured"] != sure["theory"])).sum())
    return Words(
        title="phase diagram of two-layer ReLU nets",
        headline=(
            f"Of {len(sure)} places off the critical line, {right} are in the regime that theory "
            f"says, {wrong} in the other; {len(sure) - right - wrong} are open at these widths."
        ),
        intro=(_INTRO.format(", ".join(map(str, plan.widths)), plan.seeds),),
        facts=(("places", str(len(found)), f"{len(plan.widths)} widths each"),),
        definitions=_MEANINGS,
        command=command_of(plan),
    )


def command_of(plan: DiagramPlan) -> str:
    """Return the command line that runs a plan.

    >>> command_of(DiagramPlan(gammas=(0.5,)))
    'wingbeat study phase-diagram --gamma 0.5'
    """
    options = {"gammas": "gamma", "gamma_primes": "gamma-prime", "widths": "width"}
    return command_line("phase-diagram", plan, vars(DiagramPlan()), options)


def _sections(rows: pd.DataFrame, found: pd.DataFrame) -> list[Section]:
    changes = tuple(_change(float(str(p)), own) for p, own in rows.groupby("gamma_prime"))
    return [("diagram", "Phase diagram", (_slope(found), *changes))]


def _slope(found: pd.DataFrame) -> DotFigure:
    groups = {p: style for style, p in enumerate(sorted(set(found["gamma_prime"])))}
    dots = []
    for _, r in found.iterrows():
        estimate, prime = Estimate(r["slope"], r["low"], r["high"]), r["gamma_prime"]
        hover = f"γ = {r['gamma']:g}, γ' = {prime:g}"
        dots.append(dot(float(r["gamma"]), estimate, f"γ' = {prime:g}", groups[prime], hover))
    return DotFigure(
        "slope",
        "The slope tells the regimes apart",
        "Theory at infinite width: below 0 for γ < 1 or γ' > γ − 1, above 0 beyond.",
        "γ",
        "slope of ln change against ln width",
        tuple(dots),
        guides=(Guide("critical", 0.0),),
    )


def _change(prime: float, rows: pd.DataFrame) -> LineFigure:
    lines = []
    for style, (gamma, own) in enumerate(rows.groupby("gamma")):
        means = [(m, mean_of(cell, "relative_change").value) for m, cell in own.groupby("width")]
        x, y = [float(str(m)) for m, _ in means], [v for _, v in means]
        lines.append(line(f"γ = {gamma:g}", style, x, y, marked=True))
    return LineFigure(
        f"change-{prime:g}",
        f"How far the weights move, by width, for γ' = {prime:g}",
        "Mean over base seeds.",
        "width",
        "‖w − w₀‖ ÷ ‖w₀‖",
        tuple(lines),
        log_y=True,
    )


def _table(found: pd.DataFrame) -> Any:
    heads = ("place", "slope", "measured", "theory", "directions, start", "end", "alignment")
    return table_of(
        heads,
        [
            (
                f"γ = {r['gamma']:g}, γ' = {r['gamma_prime']:g}",
                Estimate(r["slope"], r["low"], r["high"], r["reason"]),
                r["measured"],
                r["theory"],
                float(r["directions_start"]),
                float(r["directions"]),
                float(r["alignment"]),
            )
            for _, r in found.iterrows()
        ],
    )
