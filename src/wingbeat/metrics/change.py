"""Does a quantity fall at one moment, the same in every run, or evenly, or not at all?

A fall is easily made up: the largest value of several noisy ones lies above the others, and the
best place for a step is best for the noise as well. So the place of the step is taken from the
other runs, and the run that is judged has had no part in choosing it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wingbeat.arguments import as_float64
from wingbeat.errors import RequestError
from wingbeat.typing import Array


@dataclass(frozen=True)
class Change:
    """How each of several runs changes with the moment, one value a run.

    Attributes:
        fall: mean before the step less that from it on, the place of the step taken from the other
            runs; 0 on average where nothing changes, whatever the noise.
        sharpness: share of the variance that this step explains, less the share that a straight
            line does; in [−1, 1], above 0 = a step rather than an even decline.
        place: of the step that fits the run itself best, in moments from the first: where the line
            from the last value before it to the first after it is halfway between both levels; NaN
            where it rises or nothing changes.
    """

    fall: Array
    sharpness: Array
    place: Array


def change(values: Array) -> Change:
    """Return how values change along moments, run by run.

    Args:
        values: (runs, moments); logarithms for a quantity that changes by factors.

    Returns:
        `Change`. ``fall`` and ``sharpness`` are NaN for a single run, which has no other to take
        the place from, and where a value is not finite.

    Raises:
        RequestError: no runs, or fewer than three moments.

    Source: least squares with one step at an unknown place, Hinkley, Biometrika 57 (1970); that the
    place is taken from the other runs is ours.

    >>> found = change(np.array([[3.0, 3, 0, 0], [2, 2, 0, 0], [4, 4, 1, 1]]))
    >>> found.fall.tolist(), found.place.tolist()
    ([3.0, 2.0, 3.0], [1.5, 1.5, 1.5])
    """
    y = as_float64(values, "values")
    if y.ndim != 2 or len(y) < 1 or y.shape[1] < 3:
        raise RequestError(
            f"values have shape {y.shape}: give (runs, moments), three moments or more"
        )
    own = [_halfway(row, _place(row)) for row in y]
    fall, sharpness = np.full(len(y), np.nan), np.full(len(y), np.nan)
    for run, row in enumerate(y):
        rest = np.delete(y, run, axis=0)
        place = _place(rest.mean(axis=0)) if len(rest) else 0
        if place and np.isfinite(row).all():
            fall[run] = row[:place].mean() - row[place:].mean()
            sharpness[run] = _explained(row, _step(row, place)) - _explained(row, _line(row))
    return Change(fall, sharpness, np.array(own, dtype=np.float64))


def _place(row: Array) -> int:
    """Return where the second of two levels begins by least squares; 0 where there is no saying."""
    if not np.isfinite(row).all() or np.ptp(row) == 0:
        return 0
    left = [float(((row - _step(row, k)) ** 2).sum()) for k in range(1, len(row))]
    return 1 + int(np.argmin(left))


def _halfway(row: Array, place: int) -> float:
    """Return where a fall is half over, between ``place`` − 1 and ``place``; NaN without a fall."""
    if not place or row[:place].mean() <= row[place:].mean():
        return np.nan
    middle = (row[:place].mean() + row[place:].mean()) / 2
    above, below = row[place - 1], row[place]
    share = (above - middle) / (above - below) if above > below else 0.5
    return float(place - 1 + np.clip(share, 0.0, 1.0))


def _step(row: Array, place: int) -> Array:
    first, second = row[:place].mean(), row[place:].mean()
    return np.asarray(np.where(np.arange(len(row)) < place, first, second))


def _line(row: Array) -> Array:
    at = np.arange(len(row))
    return np.asarray(np.polyval(np.polyfit(at, row, 1), at))


def _explained(row: Array, fit: Array) -> float:
    """Return the share of a row's variance that a fit explains; NaN where nothing varies."""
    whole = float(((row - row.mean()) ** 2).sum())
    return 1 - float(((row - fit) ** 2).sum()) / whole if whole > 0 else np.nan
