"""Which regime each place of the phase diagram is in, by slope, and which theory says (Luo 2021).

For each place the relative change of the input weights at several widths: its slope against width
on logarithmic axes is below 0 in the linear and above 0 in the condensed regime.
"""

from __future__ import annotations

import pandas as pd

from wingbeat.curvature.condensation import regime, slope_against_width
from wingbeat.report.figures.estimates import estimate_text
from wingbeat.stats import Estimate
from wingbeat.study.analysis import Analysis, Tables
from wingbeat.study.finished import done, estimate_of
from wingbeat.study.verdicts import Claim, judge


def tables(found: Analysis) -> Tables:
    """Return the slopes, written as ``slopes.csv``."""
    return {"slopes": slopes(done(found.study))}


def tested(found: Analysis) -> tuple[Claim, ...]:
    """Return one claim for each place off the critical line."""
    slopes = found.tables["slopes"]
    return tuple(
        Claim(
            f"regime-{row['gamma']:g}-{row['gamma_prime']:g}",
            f"The net is in the {row['theory']} regime, as theory says of its place.",
            "at infinite width (Luo et al. 2021)",
            f"slope {estimate_text(slope)}",
            judge(slope, 0.0, above=row["theory"] == "condensed"),
            part=f"γ = {row['gamma']:g}, γ' = {row['gamma_prime']:g}",
        )
        for _, row in slopes[slopes["theory"] != "critical"].iterrows()
        for slope in (estimate_of(row["slope"], row["low"], row["high"], row.get("reason")),)
    )


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
