"""What the spawn-and-perturb study found: one value a replica, one estimate a cell, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from wingbeat.errors import BELOW_NOISE_FLOOR, DIVERGED, NOT_TRAINED
from wingbeat.measure.table import COLUMNS
from wingbeat.replicas.fork import REFERENCE
from wingbeat.report.study_page import Table
from wingbeat.report.words import REASON_TEXT, number
from wingbeat.stats import Estimate, bootstrap
from wingbeat.zoo.butterfly_cells import Cell

if TYPE_CHECKING:
    from wingbeat.study.run import Study
    from wingbeat.zoo.butterfly_plan import Plan

QUANTITIES: Final = {
    "barrier_train": "barrier, training loss",
    "barrier_error_train": "barrier, training error",
    "barrier_test": "barrier, test loss",
    "barrier_error_test": "barrier, test error",
    "l2_start": "L2 at the fork",
    "l2": "L2 at the end",
    "disagreement": "disagreement",
    "barrier_between": "barrier between replicas of a cell",
}
"""What is measured of a replica at the end, and how tables call it. All at least 0; 0 = the same
place, one basin, or the same predictions."""
SHARES: Final = ("barrier_error_train", "barrier_error_test", "disagreement")
"""Those of at most 1."""
MAIN: Final = ("barrier_train", "barrier_test", "l2_start", "l2", "disagreement")
"""Those of the main table."""
OF_CELL: Final = ("intervention", "kind", "size", "time", "step")
VALUES: Final = (*OF_CELL, "seed", "replica", "quantity", "value", "reason")
PUBLISHED: Final[dict[tuple[float, str], tuple[tuple[float, float], ...]]] = {
    (0.0, "batch"): ((1.82, 1.26), (1.82, 1.17), (2.12, 1.12), (2.58, 1.08), (2.43, 0.64)),
    (0.0, "gaussian"): ((1.62, 1.56), (1.18, 1.38), (1.40, 1.48), (1.26, 1.38), (1.46, 1.81)),
    (0.005, "batch"): ((0.48, 0.35), (0.32, 0.09), (0.37, 0.09), (0.52, 0.23), (0.82, 0.27)),
    (0.005, "gaussian"): ((0.28, 0.09), (0.31, 0.04), (0.38, 0.12), (0.35, 0.09), (0.36, 0.03)),
    (0.02, "batch"): ((0.15, 0.04), (0.20, 0.09), (0.18, 0.08), (0.30, 0.14), (0.69, 0.26)),
    (0.02, "gaussian"): ((0.12, 0.02), (0.12, 0.02), (0.16, 0.05), (0.20, 0.06), (0.18, 0.09)),
    (0.1, "batch"): ((0.02, 0.01), (0.02, 0.02), (0.02, 0.01), (0.02, 0.01), (0.06, 0.08)),
    (0.1, "gaussian"): ((0.02, 0.02), (0.02, 0.01), (0.02, 0.02), (0.02, 0.01), (0.02, 0.01)),
    (0.5, "batch"): ((0.0, 0.0),) * 5,
    (0.5, "gaussian"): ((0.0, 0.0),) * 5,
}
"""Barrier of the training loss, mean and standard deviation, by time and kind, for each of
``PUBLISHED_SIZES``: ResNet-20 of width 32 on all of CIFAR-10, 20,000 steps. From stored output of
the authors' notebook; that these are the published figure's values is unverified."""
PUBLISHED_SIZES: Final = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


@dataclass(frozen=True)
class Found:
    """What the study has found so far, finished or not.

    Attributes:
        plan: what was asked.
        study: the records.
    """

    plan: Plan
    study: Study

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
        return values_of(self.table, self.plan.cells)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row for each cell and quantity; see ``summarised``."""
        floors = self.study.conditions.groupby("intervention")
        known = "noise_floor" in self.study.conditions
        floor = {str(k): float(v) for k, v in floors["noise_floor"].max().items()} if known else {}
        return summarised(self.values, floor)

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
        name: own[(own["metric"] == name) & to_reference & last]
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
        found = mean_of(own, 1.0 if place[-1] in SHARES else inf)
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


def mean_of(rows: pd.DataFrame, most: float = inf) -> Estimate:
    """Return the mean over replicas with an interval nested in base seeds, cut at 0 and ``most``.

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
    low, high = np.clip([found.low, found.high], 0.0, most)  # NaN stays NaN
    return Estimate(found.value, float(low), float(high), found.reason, found.interval_reason)


def records(frame: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows of a table; entries are attributes by column name."""
    return frame.itertuples()


def estimate_of(row: Any) -> Estimate:
    """Return one row of ``Found.cells`` as an estimate."""
    return Estimate(row.value, row.low, row.high, row.reason, row.interval_reason)


def in_words(found: Estimate) -> str:
    """Return a value with its interval, or why it is undefined.

    >>> in_words(Estimate(2.0, 1.0, 3.0)), in_words(Estimate(2.0))
    ('2 [1 to 3]', '2 (no interval)')
    """
    if found.reason:
        return f"undefined: {REASON_TEXT.get(found.reason, found.reason)}"
    if not isfinite(found.low):
        return f"{number(found.value)} (no interval)"
    return f"{number(found.value)} [{number(found.low)} to {number(found.high)}]"


def cell_words(row: Any) -> str:
    """Return where a cell lies, as "gaussian 0.01 at 2 %, step 20"."""
    return f"{row.kind} {row.size:g} at {100 * row.time:g} %, step {row.step}"


def main_table(cells: pd.DataFrame, intervention: str) -> Table:
    """Return the cells of an intervention with their main quantities."""
    own = cells[cells["intervention"] == intervention]
    there = [q for q in MAIN if (own["quantity"] == q).any()]
    rows = []
    for _, group in own.groupby(list(OF_CELL), sort=False):
        by_name = {row.quantity: row for row in records(group)}
        first = next(iter(by_name.values()))
        words = (in_words(estimate_of(by_name[q])) if q in by_name else "–" for q in there)
        rows.append((cell_words(first), *words, number(first.noise_floor)))
    heads = ("perturbation", *(QUANTITIES[q] for q in there), "noise floor of L2")
    return Table(heads, tuple(rows))


def beside_published(cells: pd.DataFrame) -> Table:
    """Return our barriers of the standard recipe beside the paper's, mean ± standard deviation.

    Every cell that either of the two has is a row; "–" where one of them has none.
    """
    own = cells[(cells["intervention"] == "standard") & (cells["quantity"] == "barrier_train")]
    here = {(row.time, row.kind, row.size): row for row in records(own)}
    there = {
        (time, kind, size): value
        for (time, kind), known in PUBLISHED.items()
        for size, value in zip(PUBLISHED_SIZES, known, strict=True)
    }
    rows = []
    for time, kind, size in sorted({*here, *there}):
        row, known = here.get((time, kind, size)), there.get((time, kind, size))
        cells_here = ("–", "–")
        if row is not None:
            estimate = estimate_of(row)
            sd = f"{number(row.value)} ± {number(row.sd)}" if not row.reason else "–"
            cells_here = (sd, in_words(estimate))
        said = "–" if known is None else f"{known[0]:.2f} ± {known[1]:.2f}"
        rows.append((f"{100 * time:g} %, {kind}, {size:g}", said, *cells_here))
    heads = ("time, kind, size", "paper", "here, mean ± sd", "here, 95 % interval of the mean")
    return Table(heads, tuple(rows))


def accuracy_of(found: Found) -> pd.DataFrame:
    """Return the references' last test accuracy: intervention, seed, value."""
    own = found.table[(found.table["metric"] == "accuracy") & (found.table["b"] == REFERENCE)]
    if not len(own):
        return pd.DataFrame(columns=["intervention", "seed", "value"])
    last = own.loc[own.groupby("key")["step"].idxmax()]
    return last[["intervention", "seed", "value"]].reset_index(drop=True)
