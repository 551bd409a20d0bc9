"""The tidy table of a run, built column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import NO_PREDICTIONS
from wingbeat.replicas.fork import NULL, REFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

COLUMNS = ("metric", "step", "perturbation", "a", "b", "layer", "value", "reason")


class TableBuilder:
    """Collects rows as whole columns; a row is one defined or undefined value."""

    def __init__(self) -> None:
        self._columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}

    def add(
        self,
        metric: str,
        value: ArrayLike,
        *,
        step: ArrayLike,
        perturbation: ArrayLike = "",
        a: ArrayLike = "",
        b: ArrayLike = "",
        layer: ArrayLike = "",
        reason: ArrayLike = "",
    ) -> None:
        """Add one row for each entry of ``value``; the other columns broadcast against it."""
        values = np.asarray(value, dtype=np.float64)
        given = {"perturbation": perturbation, "a": a, "b": b, "layer": layer, "reason": reason}
        for name, column in given.items():
            filled = np.broadcast_to(np.asarray(column, dtype=object), values.shape)
            self._columns[name].append(filled.ravel())
        self._columns["step"].append(np.broadcast_to(np.asarray(step), values.shape).ravel())
        self._columns["metric"].append(np.full(values.size, metric, dtype=object))
        self._columns["value"].append(values.ravel())

    def table(self) -> pd.DataFrame:
        """Return all rows as a table with the columns of the contract."""
        import pandas as pd  # late: 0.3 s that a run whose table nobody reads need not pay

        joined = {k: np.concatenate(v) if v else np.empty(0) for k, v in self._columns.items()}
        joined["step"] = joined["step"].astype(np.int64)
        return pd.DataFrame(joined, columns=list(COLUMNS))


def object_array(items: Sequence[str]) -> np.ndarray:
    """Return strings as an object array, for broadcasting."""
    out = np.empty(len(items), dtype=object)
    out[:] = list(items)
    return out


def owners(labels: Sequence[str]) -> NDArray[np.object_]:
    """Return for each replica the perturbation it belongs to ("" and "null" for the twins)."""
    return object_array([{REFERENCE: "", NULL: NULL}.get(x, x.rsplit("#", 1)[0]) for x in labels])


def without_absent(made: Callable[[], pd.DataFrame], unasked: Collection[str]) -> pd.DataFrame:
    """Make a table without metrics that nobody asked for and for which there are no classes."""
    table = made()
    absent = table["reason"] == NO_PREDICTIONS
    there = set(table["metric"][~absent])
    gone = [name for name in set(table["metric"][absent]) & set(unasked) if name not in there]
    return table[~table["metric"].isin(gone)].reset_index(drop=True) if gone else table
