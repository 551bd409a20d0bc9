"""What the spawn-and-perturb study found: one value a replica, one estimate a cell, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from wingbeat.errors import BELOW_NOISE_FLOOR, DIVERGED, NOT_TRAINED
from wingbeat.measure.table import COLUMNS
from wingbeat.replicas.fork import REFERENCE
from wingbeat.stats import Estimate, bootstrap
from wingbeat.studies.butterfly.grid import Cell
from wingbeat.studies.butterfly.growth import laws_of
from wingbeat.study.ranges import AT_LEAST_0, SHARE, Range, kept

if TYPE_CHECKING:
    from wingbeat.studies.butterfly.plan import ButterflyPlan
    from wingbeat.study.outcome import StudyResult

QUANTITIES: Final = {
    "barrier_train": "barrier, training loss",
    "barrier_error_train": "barrier, training error",
    "barrier_test": "barrier, test loss",
    "barrier_error_test": "barrier, test error",
    "l2_start": "L2 at the fork",
    "l2": "L2 at the end",
    "disagreement": "disagreement",
    "barrier_between": "barrier between replicas of a cell",
    "l2_aligned": "L2 at the end, aligned",
    "fixed_point_share": "units that alignment leaves in place",
    "barrier_aligned_train": "barrier, training loss, aligned",
    "barrier_aligned_error_train": "barrier, training error, aligned",
    "barrier_aligned_test": "barrier, test loss, aligned",
    "barrier_aligned_error_test": "barrier, test error, aligned",
    "angular_cka": "angle between representations (radian)",
    "ensemble_diversity": "disagreement ÷ error rate",
    "ensemble_loss_gain": "gain of the ensemble in loss",
    "ensemble_accuracy_gain": "gain of the ensemble in accuracy",
}
"""What is measured of a replica at the end, and how tables call it. 0 = the same place, one basin,
the same predictions; all at least 0 but the gains, which are of a cell's replicas together."""
SHARES: Final = (
    *("barrier_error_train", "barrier_error_test", "disagreement", "fixed_point_share"),
    *("barrier_aligned_error_train", "barrier_aligned_error_test"),
)
"""Those of at most 1."""
GAINS: Final = ("ensemble_loss_gain", "ensemble_accuracy_gain")
"""Those that may be below 0, one number for the replicas of a cell and base seed."""
OF_CELL: Final = ("intervention", "kind", "size", "time", "step")
VALUES: Final = (*OF_CELL, "seed", "replica", "quantity", "value", "reason")


@dataclass(frozen=True)
class ButterflyFindings:
    """What the study has found so far, finished or not.

    Attributes:
        plan: what was asked.
        study: the records.
    """

    plan: ButterflyPlan
    study: StudyResult

    @cached_property
    def table(self) -> pd.DataFrame:
        """The tidy rows of all conditions, with their intervention."""
        if not len(self.study.table):
            return pd.DataFrame(columns=["key", "seed", *COLUMNS, "intervention"])
        names = self.study.conditions.set_index("key")["intervention"]
        return self.study.table.assign(intervention=self.study.table["key"].map(names))

    @cached_property
    def values(self) -> pd.DataFrame:
        """One row for each replica and quantity; the columns are ``VALUES``."""
        return values_of(self.table, self.plan.every_cell)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row for each cell and quantity; see ``summarised``."""
        floors = self.study.conditions.groupby("intervention")
        known = "noise_floor" in self.study.conditions
        floor = {str(k): float(v) for k, v in floors["noise_floor"].max().items()} if known else {}
        return summarised(self.values, floor)

    @cached_property
    def laws(self) -> pd.DataFrame:
        """One row for each replica: by which law its distance grew; see ``growth.laws_of``."""
        return laws_of(self.table, self.plan.every_cell)

    @property
    def noise_floor(self) -> float:
        """The largest distance of an unperturbed twin from its reference; NaN without a record."""
        found = self.study.conditions
        return float(found["noise_floor"].max()) if "noise_floor" in found else nan


def values_of(table: pd.DataFrame, cells: Sequence[Cell]) -> pd.DataFrame:
    """Return one row for each replica and quantity from the tidy rows of a study.

    Args:
        table: the rows of the runs with a column ``intervention``.
        cells: the grid, whose names are those of the perturbations.

    Returns:
        With the columns ``VALUES``; ``value`` is NaN with a reason where it is undefined.
    """
    parts = []
    if len(table):
        whole = table[table["layer"] == ""]
        ends = whole.groupby("key")["step"].transform("max")
        for cell in cells:
            own = whole[whole["perturbation"] == cell.name]
            parts += _of_cell(own, cell, own["step"] == ends[own.index])
    columns = list(VALUES)
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _of_cell(own: pd.DataFrame, cell: Cell, last: pd.Series[bool]) -> list[pd.DataFrame]:
    to_reference = own["a"] == REFERENCE
    l2 = own[(own["metric"] == "l2") & to_reference]
    if not len(l2):
        return []
    step = int(l2["step"].min())
    shared: dict[str, Any] = {
        "kind": cell.kind,
        "size": cell.size,
        "time": cell.time,
        "step": step,
    }
    chosen = {
        name: own[(own["metric"] == name) & (to_reference | (name in GAINS)) & last]
        for name in QUANTITIES
        if name not in ("l2_start", "barrier_between")
    }
    chosen["l2_start"] = l2[l2["step"] == step]
    chosen["barrier_between"] = own[(own["metric"] == "barrier_train") & ~to_reference & last]
    return [
        rows.assign(**shared, replica=rows["b"].str.rpartition("#")[2], quantity=name)
        for name, rows in chosen.items()
        if len(rows)
    ]


def summarised(values: pd.DataFrame, floor: dict[str, float] | None = None) -> pd.DataFrame:
    """Return one row for each cell and quantity.

    Args:
        values: one row for each replica; see ``VALUES``.
        floor: noise floor of each intervention, in units of L2.

    Returns:
        Mean, 95 % interval over replicas nested in base seeds, standard deviation over all,
        number of values and of base seeds, noise floor, and why a value or interval is missing.
    """
    rows = []
    for place, own in values.groupby([*OF_CELL, "quantity"], sort=False):
        found = mean_of(own, limits(str(place[-1])))
        finite = own["value"].to_numpy(dtype=float)
        rows.append(
            {
                **dict(zip((*OF_CELL, "quantity"), place, strict=True)),
                "value": found.value,
                "low": found.low,
                "high": found.high,
                "sd": float(np.std(finite, ddof=1)) if len(finite) > 1 else nan,
                "n": len(own),
                "seeds": own["seed"].nunique(),
                "noise_floor": (floor or {}).get(str(place[0]), nan),
                "reason": found.reason,
                "interval_reason": found.interval_reason,
            }
        )
    names = [*OF_CELL, "quantity", "value", "low", "high", "sd", "n", "seeds", "noise_floor"]
    return pd.DataFrame(rows, columns=[*names, "reason", "interval_reason"])


def limits(quantity: str) -> Range | None:
    """Return what a quantity of a replica can be; None without limits."""
    if quantity in GAINS:
        return None
    return SHARE if quantity in SHARES else AT_LEAST_0


def mean_of(rows: pd.DataFrame, within: Range | None = AT_LEAST_0) -> Estimate:
    """Return the mean over replicas with an interval nested in base seeds, inside its range.

    Undefined where one replica's value is: it would be a mean over those that did not diverge.

    Example:
        >>> rows = pd.DataFrame({"value": [1.0, 2.0, 3.0], "seed": [0, 0, 0], "reason": ""})
        >>> mean_of(rows).value
        2.0
    """
    values = rows["value"].to_numpy(dtype=float)
    if not len(values):
        return Estimate.undefined(NOT_TRAINED)
    if not np.isfinite(values).all():
        reasons = [r for r in rows["reason"][~np.isfinite(values)] if r]
        return Estimate.undefined(reasons[0] if reasons else DIVERGED)
    if (rows["reason"] == BELOW_NOISE_FLOOR).all():
        return Estimate.undefined(BELOW_NOISE_FLOOR)
    seeds = rows["seed"].astype(int).tolist()
    found = bootstrap(lambda w: w @ values / w.sum(axis=1), len(values), groups=seeds)
    return kept(found, within)


def of_cell(found: ButterflyFindings, name: str) -> pd.DataFrame:
    """Return the tidy rows of one cell of the standard recipe, over all steps and base seeds."""
    own = found.table
    return own[(own["intervention"] == "standard") & (own["perturbation"] == name)]


def band(rows: pd.DataFrame, along: str) -> tuple[tuple[float, ...], ...]:
    """Return x, median, smallest and largest value of rows by a column.

    >>> band(pd.DataFrame({"x": [0, 0, 1], "value": [1.0, 3.0, 5.0]}), "x")
    ((0.0, 1.0), (2.0, 5.0), (1.0, 5.0), (3.0, 5.0))
    """
    groups = rows.groupby(along)["value"]
    middle, low, high = groups.median(), groups.min(), groups.max()
    columns = (middle.index, middle.to_numpy(), low.to_numpy(), high.to_numpy())
    return tuple(tuple(float(v) for v in values) for values in columns)


def records(frame: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows of a table; entries are attributes by column name."""
    return frame.itertuples()


def estimate_of(row: Any) -> Estimate:
    """Return one row of ``ButterflyFindings.cells`` as an estimate."""
    return Estimate(row.value, row.low, row.high, row.reason, row.interval_reason)


def cell_words(row: Any) -> str:
    """Return where a cell lies, as "gaussian 0.01 at 2 %, step 20"."""
    return f"{row.kind} {row.size:g} at {100 * row.time:g} %, step {row.step}"
