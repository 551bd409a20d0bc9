"""The catapult: the exact two-number map, its switches, and verdicts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from wingbeat.curvature import catapult, uv_map, uv_trajectory
from wingbeat.errors import RequestError

WIDTH = 4096


@pytest.mark.parametrize("lr", [0.3, 1.7, 2.6, 3.9])
def test_the_map_is_exact_for_gradient_descent_on_the_model(lr: float) -> None:
    """Against autograd on u and v themselves."""
    generator = torch.Generator().manual_seed(0)
    u, v = (
        torch.randn(64, generator=generator, dtype=torch.float64).requires_grad_(True)
        for _ in range(2)
    )
    with torch.no_grad():
        f, curvature = float(u @ v / 8), float((u @ u + v @ v) / 64)
    rate = lr / curvature
    for _ in range(12):
        loss = 0.5 * (u @ v / 8) ** 2
        slopes = torch.autograd.grad(loss, (u, v))
        with torch.no_grad():
            u, v = (w - rate * g for w, g in zip((u, v), slopes, strict=True))
        u.requires_grad_(True)
        v.requires_grad_(True)
        f, curvature = uv_map(f, curvature, rate, 64)
        assert f == pytest.approx(float(u @ v / 8), rel=1e-9, abs=1e-12)
        assert curvature == pytest.approx(float((u @ u + v @ v) / 64), rel=1e-9)


def verdict(start: float) -> Any:
    """The model from f = 1 at lr·λ₀ = start."""
    course = uv_trajectory(1.0, start, 1.0, WIDTH, 1000)
    return catapult(course.losses, course.curvature, 1.0)


def test_the_switches_are_at_two_and_four() -> None:
    for name, start, at in (("lazy", 1.0, 2.0), ("catapult", 3.0, 4.0)):
        low, high = start, start + 2
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (middle, high) if verdict(middle).verdict == name else (low, middle)
        assert low == pytest.approx(at, abs=0.05)


def test_published_course_of_the_reference_run() -> None:
    """Peak and final curvature at n = 4096; the peak depends on f(0), drawn as |N(0,1)| here 1."""
    lazy = verdict(1.99)
    assert lazy.fallen == pytest.approx(1, abs=0.02)
    assert lazy.peak_step == 0
    middle = verdict(2.5)
    assert middle.verdict == "catapult"
    assert middle.final < 2
    assert middle.peak > 100
    assert 0.3 < middle.fallen < 0.8
    assert verdict(3.95).verdict == "catapult"
    assert verdict(4.05).verdict == "divergent"


def test_a_threshold_of_another_optimizer() -> None:
    found = catapult([1.0, 0.5], [30.0, 30.0], 0.1, threshold=38.0)
    assert found.verdict == "lazy"
    assert found.start == pytest.approx(2 * 30 / 38)


@pytest.mark.parametrize(
    ("losses", "curvature", "lr", "expected"),
    [
        ([1.0, 0.5, 0.1], [1.0, 1.1], 1.0, "lazy"),
        ([1.0, 50.0, 0.1], [3.0, 1.5], 1.0, "catapult"),
        ([1.0, math.inf], [3.0, 3.0], 1.0, "divergent"),
        ([1.0, 10.0, 100.0], [3.0, 3.5], 1.0, "divergent"),
        ([1.0, 100.0, 1.5], [3.0, 3.5], 1.0, "undetermined"),
    ],
)
def test_verdicts_of_courses(
    losses: list[float], curvature: list[float], lr: float, expected: str
) -> None:
    found = catapult(losses, curvature, lr)
    assert found.verdict == expected
    assert "threshold 2" in found.why


@pytest.mark.parametrize(
    "bad",
    [
        lambda: catapult([], [1.0, 1.0], 1.0),
        lambda: catapult([1.0], [1.0], 1.0),
        lambda: catapult([1.0], [-1.0, 1.0], 1.0),
        lambda: catapult([1.0], [1.0, 1.0], 0.0),
    ],
)
def test_bad_input(bad: Any) -> None:
    with pytest.raises(RequestError):
        bad()


def test_a_course_that_overflows_ends_early() -> None:
    course = uv_trajectory(1e3, 8.0, 1.0, 16, 500)
    assert len(course.losses) < 500
    assert not np.isfinite(course.losses[-1])
    assert catapult(course.losses, course.curvature, 1.0).verdict == "divergent"
