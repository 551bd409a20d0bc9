"""Expansion entropy: chaos of a map on a region, by how volumes stretch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.errors import DIVERGED, TOO_FEW_POINTS, RequestError
from wingbeat.lyapunov.maps.evolve import plan
from wingbeat.lyapunov.maps.finite_time import jacobian_products
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.lyapunov.maps.states import State, Step


PARTS = 10


@dataclass(frozen=True)
class Expansion:
    """Expansion entropy of a map on a region.

    Attributes:
        entropy: slope of ln E against the number of steps, 1/step; > 0 = chaos.
        error: standard error from ten parts of the sample; NaN with fewer than 20 states.
        log_expansion: ``(T,)``, ln E after 1, …, T steps.
        remaining: ``(T,)``, share of the states that have stayed inside so far.
        window: first and last number of steps of the fit.
        reason: empty; ``diverged`` if no state stayed to the end.
    """

    entropy: float
    error: float
    log_expansion: Array
    remaining: Array
    window: tuple[int, int]
    reason: str = ""


def expansion_entropy(
    step: Step,
    states: State,
    steps: int,
    *,
    inside: Callable[[Any], Any] | None = None,
    window: tuple[int, int] | None = None,
    first: int = 0,
) -> Expansion:
    """Return the expansion entropy H = lim ln E(T) / T.

    E(T) is the mean over initial states of the product of those singular values of the
    derivative over T steps that exceed 1, counting 0 for a state that has left the region.

    Args:
        step: ``step(state, t) -> state``, differentiable and pure.
        states: initial states along a leading axis, drawn uniformly from the region.
        steps: T; of a chaotic map 10 to 30 are enough, because singular values below 1e-16 of
            the largest are lost.
        inside: from all states, with their leading axis, to a boolean for each: whether it
            lies in the region; default: every finite state does. Once outside, always outside.
        window: first and last number of steps for the slope; default the last three quarters.
        first: index of the first step.

    Raises:
        RequestError: as for `spectrum`, and for a window that is not within 1 … steps.

    Source: Hunt and Ott, Defining chaos, Chaos 25 (2015), equations 4 to 7.

    >>> import torch
    >>> double = lambda x, t: torch.remainder(2 * x, 1.0)
    >>> states = torch.rand(50, 1, generator=torch.Generator().manual_seed(0)).double()
    >>> round(expansion_entropy(double, states, 8).entropy, 6), round(float(np.log(2)), 6)
    (0.693147, 0.693147)
    """
    work = plan(states, steps, k=None, discard=0, every=1, batched=True)
    begin, end = window or (max(1, steps // 4), steps)
    if not 1 <= begin < end <= steps:
        raise RequestError(f"window is {(begin, end)}; give two steps within 1 to {steps}")
    stay = np.ones(work.start.shape[0], dtype=bool)
    scale = np.zeros(stay.size)
    growth = np.full((steps, stay.size), -np.inf)
    remaining = np.zeros(steps)
    for t, (x, matrix, taken) in enumerate(jacobian_products(step, work, first)):
        scale += np.nan_to_num(taken)
        stay &= np.isfinite(taken)
        if inside is not None:
            stay &= np.asarray(inside(work.layout.unflatten(x)), dtype=bool).reshape(-1)
        growth[t, stay] = _log_expansion(matrix[stay], scale[stay])
        remaining[t] = stay.mean()
    return _fitted(growth, remaining, (begin, end))


def _log_expansion(matrix: Array, scale: Array) -> Array:
    """Return the sum of the positive logarithms of singular values ``(B,)``."""
    with np.errstate(divide="ignore"):
        logs = np.log(np.linalg.svd(matrix, compute_uv=False)) + scale[:, None]
    found: Array = np.maximum(logs, 0.0).sum(axis=1)
    return found


def _fitted(growth: Array, remaining: Array, window: tuple[int, int]) -> Expansion:
    logs = _log_mean(growth)
    if not np.isfinite(logs[window[1] - 1]):
        return Expansion(np.nan, np.nan, logs, remaining, window, DIVERGED)
    entropy = _slope(logs, window)
    if not np.isfinite(entropy):
        return Expansion(np.nan, np.nan, logs, remaining, window, TOO_FEW_POINTS)
    error = float("nan")
    if growth.shape[1] >= 2 * PARTS:
        slopes = [_slope(_log_mean(part), window) for part in np.array_split(growth, PARTS, axis=1)]
        error = float(np.std(slopes, ddof=1) / np.sqrt(PARTS))
    return Expansion(entropy, error, logs, remaining, window)


def _log_mean(growth: Array) -> Array:
    """Return the logarithm of the mean of exponentials over the second axis."""
    top = growth.max(axis=1)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        found: Array = np.log(np.exp(growth - safe[:, None]).mean(axis=1)) + safe
    return found


def _slope(logs: Array, window: tuple[int, int]) -> float:
    times = np.arange(window[0], window[1] + 1, dtype=np.float64)
    values = logs[window[0] - 1 : window[1]]
    if not np.isfinite(values).all():
        return float("nan")
    away = times - times.mean()
    return float(away @ values / (away @ away))
