"""The page of the study of the phase diagram."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from wingbeat.report.figures.estimates import dot, estimate_line, table_of
from wingbeat.report.figures.marks import DotFigure, Section
from wingbeat.report.figures.records import Guide, LineFigure
from wingbeat.stats import Estimate
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.finished import done, estimate_of, mean_of
from wingbeat.study.verdicts import FAILS, HOLDS

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


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    plan, claims, slopes = found.plan, found.claims, found.tables["slopes"]
    right, wrong = (sum(c.verdict == v for c in claims) for v in (HOLDS, FAILS))
    return PageContent(
        headline=(
            f"Of {len(claims)} places off the critical line, {_are(right)} in the regime that "
            f"theory says, {wrong} in the other; {_are(len(claims) - right - wrong)} open at these "
            "widths."
        ),
        intro=(_INTRO.format(", ".join(map(str, plan.widths)), plan.seeds),),
        facts=(("places", str(len(slopes)), f"{len(plan.widths)} widths each"),),
        definitions=_MEANINGS,
        sections=_sections(done(found.study), slopes),
        tables=[("slopes", "Slopes", _table(slopes))],
    )


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
        lines.append(estimate_line(f"γ = {gamma:g}", style, x, y, marked=True))
    return LineFigure(
        f"change-{prime:g}",
        f"How far the weights move, by width, for γ' = {prime:g}",
        "Mean over base seeds.",
        "width",
        "‖w − w₀‖ ÷ ‖w₀‖",
        tuple(lines),
        log_y=True,
    )


def _are(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"


def _table(found: pd.DataFrame) -> Any:
    heads = ("place", "slope", "measured", "theory", "directions, start", "end", "alignment")
    return table_of(
        heads,
        [
            (
                f"γ = {r['gamma']:g}, γ' = {r['gamma_prime']:g}",
                estimate_of(r["slope"], r["low"], r["high"], r["reason"]),
                r["measured"],
                r["theory"],
                float(r["directions_start"]),
                float(r["directions"]),
                float(r["alignment"]),
            )
            for _, r in found.iterrows()
        ],
    )
