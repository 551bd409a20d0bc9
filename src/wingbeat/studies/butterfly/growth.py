"""By which law replicas of spawn and perturb part: the second open question of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from wingbeat.errors import BELOW_NOISE_FLOOR
from wingbeat.metrics.growth_law import LAWS, growth_law
from wingbeat.replicas.fork import REFERENCE
from wingbeat.report.figures.estimates import estimate_text
from wingbeat.report.figures.records import Line, LineFigure
from wingbeat.report.figures.table import Table
from wingbeat.report.prose import number, percent
from wingbeat.studies.butterfly.rulings import claim, over_seeds
from wingbeat.study.verdicts import Claim, judge

if TYPE_CHECKING:
    from wingbeat.studies.butterfly.grid import Cell

GROWN: Final = 2.0
"""A distance that never doubles has no law of growth to tell."""
STILL: Final = "none"
"""The law of a distance that stands still."""
COLUMNS: Final = (
    *("intervention", "kind", "size", "time", "seed", "replica", "grown", "law"),
    *("saturating_over_exponential", "power_over_exponential", "saturating_over_power"),
    *("rate", "end", "power", "points", "below_floor", "reason"),
)
LEADS: Final = {
    "saturating_over_exponential": "saturating over exponential",
    "power_over_exponential": "power over exponential",
    "saturating_over_power": "saturating over power",
}


def laws_of(table: pd.DataFrame, cells: Sequence[Cell]) -> pd.DataFrame:
    """Return one row for each replica: by which law its distance to the reference grew.

    Args:
        table: the rows of the runs with a column ``intervention``.
        cells: the grid, whose names are those of the perturbations.

    Returns:
        With the columns `COLUMNS`: the largest distance ÷ that of the nudge, the law, by how many
        nats a point one law foretells better than another, the fitted numbers (updates), and the
        share of points that lie below the noise floor, whose law may be that of rounding.
    """
    rows = []
    l2 = table[(table["metric"] == "l2") & (table["layer"] == "") & (table["a"] == REFERENCE)]
    for cell in cells:
        own = l2[l2["perturbation"] == cell.name].sort_values("step", kind="stable")
        place = {"kind": cell.kind, "size": cell.size, "time": cell.time}
        for (name, seed, replica), group in own.groupby(["intervention", "seed", "b"], sort=False):
            who = {"intervention": name, "seed": seed, "replica": str(replica).rpartition("#")[2]}
            rows.append({**place, **who, **_law(group)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _law(rows: pd.DataFrame) -> dict[str, Any]:
    steps, distances = rows["step"].to_numpy(dtype=float), rows["value"].to_numpy(dtype=float)
    found = growth_law(steps - steps[0], distances)
    if found.best is None:
        return {"points": found.points, "reason": found.reason}
    grown = float(np.nanmax(distances) / distances[0]) if distances[0] > 0 else float("inf")
    bent = found.fits["saturating"].parameters
    return {
        "grown": grown,
        "law": found.best if grown >= GROWN else STILL,
        "saturating_over_exponential": found.lead("saturating", "exponential"),
        "power_over_exponential": found.lead("power", "exponential"),
        "saturating_over_power": found.lead("saturating", "power"),
        "rate": bent["rate"],
        "end": bent["end"],
        "power": found.fits["power"].parameters["power"],
        "points": found.points,
        "below_floor": float((rows["reason"] == BELOW_NOISE_FLOOR).mean()),
        "reason": "",
    }


def law_claims(laws: pd.DataFrame) -> tuple[Claim, ...]:
    """Return the claims about the law of growth, over the replicas whose distance doubled.

    Args:
        laws: as `laws_of` gives them.
    """
    own = _grown(laws)
    floor = float(own["below_floor"].mean()) if len(own) else 0.0
    doubt = f" {percent(floor)} of their points lie below the noise floor." if floor else ""
    both = own[["saturating_over_exponential", "power_over_exponential"]].min(axis=1)
    seeds = [v.groupby(own["seed"]).mean().tolist() for v in (both, own["saturating_over_power"])]
    beaten, lead = map(over_seeds, seeds)
    return (
        claim(
            "growth-exponential",
            "Replicas do not part exponentially.",
            "growth is not that of linearised dynamics (qualitative); why is left open",
            beaten,
            judge(beaten, 0.0, above=True),
            "By how many nats a point both the saturating law and a power of time foretell the "
            "distance better than the exponential does, averaged over the replicas whose distance "
            "doubled. Each law is scored on blocks of time that it was not fitted to." + doubt,
            seeds=seeds[0],
        ),
        claim(
            "growth-saturates",
            "Their distance saturates rather than rises as a power of time.",
            "",
            lead,
            judge(lead, 0.0, above=True),
            "By how many nats a point the saturating law foretells the distance better than the "
            "power of time does, averaged over replicas." + doubt,
            seeds=seeds[1],
        ),
    )


def _grown(laws: pd.DataFrame) -> pd.DataFrame:
    own = laws[(laws["intervention"] == "standard") & (laws["reason"] == "")]
    return own[own["grown"] >= GROWN]


def law_table(laws: pd.DataFrame) -> Table:
    """Return one row for each cell: how much it grew, the share of each law, and the leads."""
    heads = ("perturbation", "replicas", "grown, times", *LAWS, *LEADS.values(), "below floor")
    rows = []
    known = laws[laws["reason"] == ""]
    for place, own in known.groupby(["intervention", "kind", "size", "time"], sort=False):
        name, kind, size, time = map(str, place)
        words = f"{kind} {float(size):g} at {100 * float(time):g} %"
        shares = (percent(float((own["law"] == law).mean())) for law in LAWS)
        leads = (
            estimate_text(found)
            for lead in LEADS
            if (found := over_seeds(own[lead].groupby(own["seed"]).mean().tolist())) is not None
        )
        floor = percent(float(own["below_floor"].mean()))
        here = words if name == "standard" else f"{words}, {name}"
        rows.append(
            (here, str(len(own)), number(float(own["grown"].median())), *shares, *leads, floor)
        )
    return Table(heads, tuple(rows))


def law_figure(table: pd.DataFrame, cell: Cell) -> list[LineFigure]:
    """Return the median distance of a cell since its nudge, and the laws fitted to it."""
    own = table[(table["metric"] == "l2") & (table["layer"] == "") & (table["a"] == REFERENCE)]
    own = own[(own["perturbation"] == cell.name) & (own["intervention"] == "standard")]
    if not len(own):
        return []
    middle = own.groupby("step")["value"].median()
    times, distances = middle.index.to_numpy(dtype=float), middle.to_numpy(dtype=float)
    times = times - times[0]
    found = growth_law(times, distances)
    if found.best is None:
        return []
    drawn = [Line("measured", "measured", 0, tuple(times), tuple(distances), marked=True)]
    drawn += [
        Line(law, law, 1 + k, tuple(times), tuple(found.fits[law](times)))
        for k, law in enumerate(law for law in LAWS if law != STILL)
    ]
    return [
        LineFigure(
            key="growth_law",
            title=f"By which law the distance grows: {cell.kind} {cell.size:g}",
            caption="Standard recipe, nudged at "
            f"{100 * cell.time:g} % of training: median over replicas and base seeds, and each law "
            "fitted to it in the logarithm of the distance. Scores are of each replica by itself.",
            x_label="updates since the nudge",
            y_label="L2 distance (weight units)",
            lines=tuple(drawn),
            log_y=True,
        )
    ]
