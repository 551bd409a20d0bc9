"""What a report reads: the shape of a result, and curves taken out of its tidy table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from wingbeat.errors import NOT_YET_FORKED

REFERENCE = "reference"
NULL = "null"
NULL_TEXT = "null twin (not nudged)"


class ResultLike(Protocol):
    """What every figure and page needs of a result; `wingbeat.run` returns one."""

    @property
    def table(self) -> pd.DataFrame:
        """Tidy rows: metric, step, perturbation, a, b, layer, value, reason."""

    @property
    def summary(self) -> Mapping[str, Mapping[str, Any]]:
        """Scalars by name, each ``{"value", "low", "high", "reason"}``."""

    @property
    def noise_floor(self) -> float:
        """Largest distance of the null twin from the reference, in weight units."""

    @property
    def behavior(self) -> str:
        """``convergent``, ``divergent`` or ``undetermined``."""

    @property
    def warnings(self) -> Sequence[str]:
        """Messages to read before any number."""

    @property
    def labels(self) -> Sequence[str]:
        """Replica labels, the reference first."""

    @property
    def steps(self) -> Sequence[int]:
        """Recorded steps, ascending."""

    @property
    def condition(self) -> Mapping[str, Any]:
        """What was asked, as plain JSON."""

    @property
    def environment(self) -> Mapping[str, Any]:
        """Fingerprint of how it was executed, as plain JSON."""

    @property
    def perturbations(self) -> Sequence[Mapping[str, Any]]:
        """One mapping per perturbation, with what was really applied."""


class ResultEntry(NamedTuple):
    """One scalar of a summary: its value, interval and, where undefined, the reason."""

    value: float
    low: float
    high: float
    reason: str
    interval_reason: str = ""

    @property
    def defined(self) -> bool:
        """True when the value is a finite number."""
        return math.isfinite(self.value)

    @property
    def has_interval(self) -> bool:
        """True when both ends of the interval are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)


class ResultCurve(NamedTuple):
    """One quantity over training: steps (T,), values (T,), and a band or None."""

    steps: tuple[float, ...]
    values: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None


def as_float(value: object) -> float:
    """Return a number as float, anything else (None, text) as NaN.

    >>> as_float(2), as_float(None)
    (2.0, nan)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return math.nan
    return float(value)


def text_value(result: ResultLike, key: str, perturbation: str | None = None) -> str:
    """Return a textual scalar of the summary, "" where there is none."""
    name = key if perturbation is None else f"{perturbation}/{key}"
    value = result.summary.get(name, {}).get("value")
    return value if isinstance(value, str) else ""


def entry(result: ResultLike, key: str, perturbation: str | None = None) -> ResultEntry:
    """Return a scalar of the summary; NaN where the summary does not hold it.

    Args:
        result: what to read.
        key: name of the scalar, for example ``convergence_ratio``.
        perturbation: name of one perturbation; None reads the unprefixed scalar.
    """
    name = key if perturbation is None else f"{perturbation}/{key}"
    found = result.summary.get(name, {})
    return ResultEntry(
        as_float(found.get("value")),
        as_float(found.get("low")),
        as_float(found.get("high")),
        str(found.get("reason") or ""),
        str(found.get("interval_reason") or ""),
    )


def names(result: ResultLike) -> tuple[str, ...]:
    """Return the names of the perturbations in the order in which they were asked."""
    asked = [str(p.get("name", "")) for p in result.perturbations]
    return tuple(dict.fromkeys(asked))


def first_name(result: ResultLike) -> str | None:
    """Return the first perturbation if the summary knows it by name, else None."""
    found = names(result)
    known = found and any(key.startswith(f"{found[0]}/") for key in result.summary)
    return found[0] if known else None


def base_seeds(result: ResultLike) -> tuple[int, ...]:
    """Return the base seeds of the table, () where it has no such column."""
    if "seed" not in result.table:
        return ()
    return tuple(int(seed) for seed in result.table["seed"].unique())


def owner(result: ResultLike, label: str) -> str:
    """Return the perturbation a replica label belongs to; reference and null to themselves."""
    stem = label.rpartition("#")[0] or label
    return stem if stem in names(result) else label


def rows(
    result: ResultLike,
    metric: str,
    *,
    perturbation: str | None = None,
    label: str | None = None,
    layer: str | None = "",
) -> pd.DataFrame:
    """Return the rows of one metric, sorted by step; `None` for a column means any value."""
    table = result.table
    keep = table["metric"] == metric
    if perturbation is not None:
        keep &= table["perturbation"] == perturbation
    if label is not None:
        keep &= table["b"] == label
    if layer is not None:
        keep &= table["layer"] == layer
    return table[keep].sort_values("step", kind="stable")


def labels_in(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the replica labels of some rows, in order of first appearance by label."""
    found = [str(label) for label in frame["b"].unique()]
    return tuple(sorted(found, key=_natural))


def _natural(label: str) -> tuple[str, int, str]:
    stem, _, number = label.rpartition("#")
    return (stem, int(number), "") if number.isdecimal() else (label, -1, number)


def median_curve(frame: pd.DataFrame, *, positive: bool = False) -> ResultCurve:
    """Return the median over the rows of each step, and their range as a band.

    Args:
        frame: rows of one metric.
        positive: for logarithmic axes; values of 0 and below count as undefined.

    Returns:
        A curve; ``low`` and ``high`` (smallest and largest value of the step) are
        None when no step has more than one value. Steps without any defined value
        are NaN, which breaks the line there.
    """
    values = frame["value"].astype("float64")
    usable = np.isfinite(values) & (values > 0) if positive else np.isfinite(values)
    grouped = values.where(usable).groupby(frame["step"].astype("float64"))
    mid, low, high = grouped.median(), grouped.min(), grouped.max()
    steps = tuple(float(s) for s in mid.index.to_numpy())
    if int(grouped.count().max() if len(mid) else 0) < 2:
        return ResultCurve(steps, _floats(mid))
    return ResultCurve(steps, _floats(mid), _floats(low), _floats(high))


def _floats(values: Iterable[Any]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def thin(curve: ResultCurve, most: int) -> ResultCurve:
    """Keep at most `most` evenly spaced points of a curve, always the first and the last.

    >>> thin(ResultCurve((0.0, 1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0, 9.0)), 3).steps
    (0.0, 2.0, 4.0)
    """
    keep = kept(len(curve.steps), most)
    return ResultCurve(*(None if part is None else tuple(part[i] for i in keep) for part in curve))  # type: ignore[arg-type]


def kept(count: int, most: int) -> list[int]:
    """Return at most `most` evenly spaced indices below `count`, the ends included.

    >>> kept(5, 2), kept(3, 9)
    ([0, 4], [0, 1, 2])
    """
    if count <= most:
        return list(range(count))
    return [int(i) for i in np.unique(np.linspace(0, count - 1, max(2, most)).round())]


def undefined_note(frame: pd.DataFrame) -> str:
    """Return a sentence that counts the undefined values by reason, "" when there are none."""
    missing = frame[~np.isfinite(frame["value"].astype("float64"))]
    # Before its fork a replica has no value by design: nothing worth a remark.
    missing = missing[missing["reason"] != NOT_YET_FORKED]
    if not len(missing):
        return ""
    counts = missing["reason"].replace("", "no reason given").value_counts(sort=False)
    parts = ", ".join(
        f"{count} {str(reason).replace('_', ' ')}" for reason, count in counts.items()
    )
    return f"Undefined and left out: {parts}."
