"""The catapult: what a learning rate above 2 ÷ initial curvature does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Literal

import numpy as np

from wingbeat.curvature.thresholds import gradient_descent
from wingbeat.errors import RequestError

CatapultVerdict = Literal["lazy", "catapult", "divergent", "undetermined"]


@dataclass(frozen=True)
class Catapult:
    """What the start of a run of gradient descent does.

    Attributes:
        verdict: "lazy" (stable from the start), "catapult" (unstable, the loss grows, the
            curvature falls until the run is stable), "divergent", or "undetermined".
        why: in words, with its numbers.
        start: lr × first curvature ÷ the optimizer's constant: in units where 2 is the threshold.
        final: the same at the end; below 2 after a catapult.
        peak: largest loss over the first one; 1 = it never grew.
        peak_step: at which update.
        fallen: last over first curvature; 1 = unchanged.
    """

    verdict: CatapultVerdict
    why: str
    start: float
    final: float
    peak: float
    peak_step: int
    fallen: float


def catapult(
    losses: Sequence[float],
    curvature: Sequence[float],
    lr: float,
    *,
    threshold: float | None = None,
    grown: float = 2.0,
) -> Catapult:
    """Judge a run by its curvature at the start and the course of loss and curvature.

    Args:
        losses: training loss before each update, from the first one on.
        curvature: at the start, at any steps between, and at the end: the Hessian's or the
            tangent kernel's largest eigenvalue.
        lr: learning rate.
        threshold: of the optimizer; None takes 2/lr.
        grown: the loss counts as having grown from this ratio of its peak to the first loss on.

    Raises:
        RequestError: no loss, fewer than two curvatures, or a first curvature that is not
            positive.

    Source:
        Lewkowycz et al., "The large learning rate phase of deep learning: the catapult mechanism"
        (2020), section 2.

    Example:
        >>> course = uv_trajectory(1.0, 2.5, 1.0, 4096, 200)
        >>> found = catapult(course.losses, course.curvature, 1.0)
        >>> found.verdict, found.final < 2
        ('catapult', True)
    """
    loss, bend = np.asarray(losses, dtype=np.float64), np.asarray(curvature, dtype=np.float64)
    if len(loss) < 1 or len(bend) < 2:
        raise RequestError(f"{len(loss)} losses, {len(bend)} curvatures: give 1 and 2 at least")
    if not bend[0] > 0:
        raise RequestError(f"the first curvature is {bend[0]!r}: it must be positive")
    limit = threshold or gradient_descent(lr)
    start, final = 2 * float(bend[0]) / limit, 2 * float(bend[-1]) / limit
    finite = bool(np.isfinite(loss).all() and np.isfinite(bend).all())
    kept = loss[np.isfinite(loss)]
    peak = float(kept.max() / loss[0]) if len(kept) and loss[0] > 0 else nan
    step = int(np.argmax(np.where(np.isfinite(loss), loss, -np.inf)))
    verdict, why = _verdict(finite, start, final, peak, float(loss[-1] / loss[0]), grown)
    return Catapult(verdict, why, start, final, peak, step, float(bend[-1] / bend[0]))


def _verdict(
    finite: bool, start: float, final: float, peak: float, end: float, grown: float
) -> tuple[CatapultVerdict, str]:
    at = f"lr × curvature starts at {start:.3g} (threshold 2)"
    if not finite:
        return "divergent", f"{at}; loss or curvature become infinite"
    if start < 2 and peak < grown:
        return "lazy", f"{at}; the loss grows at most {peak:.3g} times"
    if final < 2 and end < peak and peak >= grown:
        return "catapult", f"{at}; the loss peaks at {peak:.3g} times; the end is at {final:.3g}"
    if final < 2 and start >= 2:
        return "catapult", f"{at}; the end is at {final:.3g} and the loss has hardly grown"
    if end >= grown and end >= 0.5 * peak:
        return "divergent", f"{at}; the loss ends at {end:.3g} times the first one"
    return "undetermined", f"{at}; peak {peak:.3g}, end at {final:.3g}: train longer"


@dataclass(frozen=True)
class UVTrajectory:
    """Output, loss and curvature of the two-layer linear model before each update."""

    outputs: tuple[float, ...]
    losses: tuple[float, ...]
    curvature: tuple[float, ...]


def uv_map(f: float, curvature: float, lr: float, width: int) -> tuple[float, float]:
    """Return output and curvature of the two-layer linear model after one step.

    The model is f = v·u/√n with loss f²/2 (one sample, x = 1, y = 0) and tangent kernel
    λ = (‖u‖² + ‖v‖²)/n. Gradient descent closes on these two numbers exactly:
    f' = f(1 − ηλ + η²f²/n) and λ' = λ + (ηf²/n)(ηλ − 4).

    Source:
        Lewkowycz et al. (2020), equations 6 and 7.

    Example:
        >>> uv_map(2.0, 1.0, 1.0, 100)
        (0.08, 0.88)
    """
    push = lr * f * f / width
    return f * (1 - lr * curvature + lr * push), curvature + push * (lr * curvature - 4)


def uv_trajectory(f: float, curvature: float, lr: float, width: int, steps: int) -> UVTrajectory:
    """Iterate ``uv_map``; it ends early where a number is not finite.

    Example:
        >>> len(uv_trajectory(1.0, 1.0, 1.0, 64, 10).losses)
        11
    """
    outputs, bends = [f], [curvature]
    for _ in range(steps):
        f, curvature = uv_map(f, curvature, lr, width)
        outputs.append(f)
        bends.append(curvature)
        if not (isfinite(f * f) and isfinite(curvature)):
            break
    losses = tuple(f * f / 2 for f in outputs)
    return UVTrajectory(tuple(outputs), losses, tuple(bends))
