"""The edge of stability: does the sharpness rise to the threshold and stay there?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Literal

import numpy as np

from wingbeat.errors import RequestError
from wingbeat.typing import Array

EdgeVerdict = Literal["edge", "reached", "beyond", "sharpening", "stable", "divergent", "undefined"]
"""What a course of the sharpness is called; see ``edge_of_stability``."""


@dataclass(frozen=True)
class Edge:
    """What a course of the sharpness against its threshold shows.

    Attributes:
        verdict: see ``edge_of_stability``.
        why: the verdict's reason in words, with its numbers.
        reached: first recorded step at which the sharpness is at the threshold; None if never.
        sharpening: sharpness when the threshold is reached (or the largest) over the first one;
            above 1: progressive sharpening.
        rising: share of the recorded intervals before that in which the sharpness grew.
        hover: median of sharpness ÷ threshold from then on; 1 = at the edge, NaN if never reached.
        spread: half the width of the central 80 % of that ratio.
        uneven: share of updates from then on in which the loss grew; NaN without losses.
    """

    verdict: EdgeVerdict
    why: str
    reached: int | None
    sharpening: float
    rising: float
    hover: float
    spread: float
    uneven: float


def edge_of_stability(
    steps: Sequence[int],
    sharpness: Sequence[float],
    threshold: Sequence[float] | float,
    losses: Sequence[float] = (),
    *,
    near: float = 0.05,
    hover: tuple[float, float] = (0.9, 1.3),
) -> Edge:
    """Judge the course of the sharpness of a run against its optimizer's threshold.

    Args:
        steps: at which the sharpness was measured, ascending.
        sharpness: the same length; the preconditioned one for adaptive optimizers.
        threshold: one number, or one for each step (schedules change it).
        losses: training loss at every update from 0; without them ``uneven`` is NaN.
        near: the threshold counts as reached at (1 − near) times it.
        hover: the verdict "edge" asks the median ratio after that to lie between these.

    Returns:
        The verdict: "edge" (reached from below, and it stays there), "reached" (and left again,
        as with cross-entropy late in training, or too few points to tell), "beyond" (above it
        from the start: see `catapult`), "sharpening" (rising, not there yet), "stable" (below and
        not rising), "divergent" (a loss or sharpness is not finite), "undefined" (no threshold).

    Raises:
        RequestError: lengths differ, or fewer than two steps.

    Source:
        Cohen et al., "Gradient descent on neural networks typically occurs at the edge of
        stability" (2021), sections 3 and 4.

    Example:
        >>> found = edge_of_stability((0, 10, 20, 30, 40), (5, 12, 20.1, 20.4, 19.8), 20.0)
        >>> found.verdict, found.reached, round(found.hover, 2)
        ('edge', 20, 1.01)
    """
    x = np.asarray(sharpness, dtype=np.float64)
    if len(steps) != len(x) or len(x) < 2:
        msg = f"{len(steps)} steps, {len(x)} values: give two or more, as many of each"
        raise RequestError(msg)
    limit = np.broadcast_to(np.asarray(threshold, dtype=np.float64), x.shape)
    course, ratio = np.asarray(losses, dtype=np.float64), x / limit
    if not (np.isfinite(x).all() and np.isfinite(course).all()):
        place = int(np.argmax(~np.isfinite(x))) if not np.isfinite(x).all() else len(x) - 1
        return Edge("divergent", _divergent(steps[place], x, course), None, nan, nan, nan, nan, nan)
    if not np.isfinite(limit).all():
        why = "no threshold is known for this optimizer"
        return Edge("undefined", why, None, nan, nan, nan, nan, nan)
    there = np.flatnonzero(ratio >= 1 - near)
    first = int(there[0]) if len(there) else None
    return _judged(steps, x, ratio, course, first, hover)


def _divergent(step: int, x: Array, course: Array) -> str:
    if not np.isfinite(x).all():
        return f"the sharpness is not finite at step {step}"
    return f"the loss is not finite at step {int(np.argmax(~np.isfinite(course)))}"


def _judged(
    steps: Sequence[int],
    x: Array,
    ratio: Array,
    course: Array,
    first: int | None,
    hover: tuple[float, float],
) -> Edge:
    top = int(np.argmax(x)) if first is None else first
    growth = float(x[top] / x[0]) if x[0] > 0 else nan
    before = np.diff(x[: top + 1])
    rising = float((before > 0).mean()) if len(before) else nan
    if first is None:
        ends = f"its largest ratio to the threshold is {ratio.max():.3g}, at step {steps[top]}"
        if growth > 1.1 and top >= len(x) // 2:
            why = f"the sharpness has grown {growth:.3g} times; {ends}"
            return Edge("sharpening", why, None, growth, rising, nan, nan, nan)
        why = f"the sharpness stays below; {ends}"
        return Edge("stable", why, None, growth, rising, nan, nan, nan)
    after = ratio[first:]
    low, middle, high = (float(q) for q in np.quantile(after, (0.1, 0.5, 0.9)))
    uneven = _uneven(course, steps[first])
    facts = (steps[first], growth, rising, middle, (high - low) / 2, uneven)
    if first == 0 and ratio[0] > 1:
        why = f"the sharpness starts at {ratio[0]:.3g} times the threshold"
        return Edge("beyond", why, *facts)
    if len(after) >= 3 and hover[0] <= middle <= hover[1]:
        why = (
            f"the sharpness reaches the threshold at step {steps[first]} and stays at "
            f"{middle:.3g} times it (80 % of the time {low:.3g} to {high:.3g})"
        )
        return Edge("edge", why, *facts)
    left = f"its median ratio from then on is {middle:.3g}" if len(after) >= 3 else "too few points"
    return Edge("reached", f"reached at step {steps[first]}; {left}", *facts)


def _uneven(course: Array, step: int) -> float:
    rest = np.diff(course[step:])
    return float((rest > 0).mean()) if len(rest) else nan
