"""Gradient descent of a real net reaches 2/lr and stays; the verdict on made-up courses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from curvature.curvature_cases import digits_tanh

from wingbeat.curvature import Hessian, against_threshold, edge_of_stability
from wingbeat.errors import RequestError

STEPS = tuple(range(0, 200, 10))


def rising(top: float, noise: float = 0.02) -> np.ndarray:
    """A sharpness that climbs to ``top`` and stays."""
    climb = np.minimum(4 + 0.2 * np.arange(len(STEPS)) ** 1.8, top)
    return climb * (1 + noise * np.sin(np.arange(len(STEPS))) * (climb >= top))


def test_a_course_that_hovers() -> None:
    found = edge_of_stability(STEPS, rising(20.2).tolist(), 20.0)
    assert found.verdict == "edge"
    assert found.reached is not None
    assert found.hover == pytest.approx(1.01, abs=0.02)
    assert found.sharpening == pytest.approx(5, abs=0.3)
    assert found.rising == 1.0


@pytest.mark.parametrize(
    ("course", "threshold", "verdict"),
    [
        (rising(20.0, 0.0), 40.0, "sharpening"),
        (np.full(20, 5.0), 20.0, "stable"),
        (np.linspace(6, 3, 20), 20.0, "stable"),
        (np.linspace(30, 10, 20), 20.0, "beyond"),
        (np.concatenate([np.linspace(5, 21, 5), np.linspace(15, 2, 15)]), 20.0, "reached"),
        (np.concatenate([np.linspace(5, 18, 18), [20.0, 20.1]]), 20.0, "reached"),
        (np.concatenate([np.full(19, 5.0), [math.inf]]), 20.0, "divergent"),
        (np.full(20, 5.0), math.nan, "undefined"),
    ],
)
def test_verdicts(course: np.ndarray, threshold: float, verdict: str) -> None:
    found = edge_of_stability(STEPS, course.tolist(), threshold)
    assert found.verdict == verdict
    assert found.why


def test_a_threshold_that_changes_with_the_schedule() -> None:
    limit = np.where(np.arange(20) < 10, 20.0, 40.0)
    course = np.where(np.arange(20) < 10, 20.2, 40.4)
    course[:3] = 10.0
    found = edge_of_stability(STEPS, course.tolist(), limit.tolist())
    assert found.verdict == "edge"
    assert found.hover == pytest.approx(1.01)


def test_losses_that_grow_at_the_edge_are_counted() -> None:
    losses = [1.0 / (i + 1) for i in range(100)] + [0.01 + 0.001 * (i % 2) for i in range(91)]
    found = edge_of_stability(STEPS, rising(20.2).tolist(), 20.0, losses)
    assert 0.3 < found.uneven < 0.6
    lost = [*losses[:50], math.nan]
    assert edge_of_stability(STEPS, rising(20.2).tolist(), 20.0, lost).verdict == "divergent"


def test_bad_lengths() -> None:
    with pytest.raises(RequestError, match="3 steps, 2 values"):
        edge_of_stability((0, 1, 2), (1.0, 2.0), 3.0)


def _followed(lr: float, steps: int, every: int, hidden: tuple[int, ...], n: int, **more):
    task = digits_tanh(hidden, lr=lr, steps=steps, n=n, **more)
    hessian = Hessian(task, dtype=torch.float64)
    rows = list(against_threshold(task, range(0, steps + 1, every), hessian=hessian))
    losses = [loss for row in rows for loss in row.losses]
    return rows, edge_of_stability(
        [row.step for row in rows],
        [row.curvature for row in rows],
        [row.threshold for row in rows],
        losses,
    )


@pytest.mark.slow
def test_a_small_tanh_net_reaches_the_edge_and_hovers() -> None:
    rows, found = _followed(0.5, 500, 25, (32, 32), 100)
    assert rows[0].threshold == pytest.approx(4.0)
    assert rows[0].curvature < 3.2
    assert found.verdict == "edge"
    assert 0.95 < found.hover < 1.15
    assert found.uneven > 0.1


@pytest.mark.slow
def test_a_small_learning_rate_stays_below() -> None:
    _, found = _followed(0.1, 120, 40, (32, 32), 100)
    assert found.verdict in ("stable", "sharpening")
    assert found.reached is None


@pytest.mark.long
@pytest.mark.parametrize(
    ("lr", "options", "low", "high"),
    [
        (0.3, {}, 0.97, 1.1),
        (0.5, {}, 0.97, 1.1),
        # Rates whose thresholds (7.6 and 9.0) the sharpness can reach on these data, and survive:
        # with Nesterov's momentum 0.2 diverges at the crossing.
        (0.5, {"momentum": 0.9}, 0.9, 1.15),
        (0.15, {"momentum": 0.9, "nesterov": True}, 0.9, 1.15),
    ],
)
def test_the_edge_at_full_length(
    lr: float, options: dict[str, object], low: float, high: float
) -> None:
    _, found = _followed(lr, 2000, 50, (64, 64), 500, options=options)
    assert found.verdict == "edge"
    assert low < found.hover < high
