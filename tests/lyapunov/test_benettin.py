"""Two orbits, rescaled, against exact exponents and the tangent estimate."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import systems
import torch
from numpy.testing import assert_allclose
from systems import vector

from wingbeat.errors import RequestError
from wingbeat.lyapunov import benettin, max_exponent


def test_two_orbits_agree_with_the_tangent() -> None:
    start = vector(0.1, 0.1)
    twin = benettin(systems.henon, start, 1000, 1e-8, discard=200)
    tangent = max_exponent(systems.henon, start, 1000, discard=200)
    assert twin.exponent == pytest.approx(tangent.maximum, abs=1e-5)
    assert twin.error == pytest.approx(tangent.errors[0], rel=0.1)
    assert_allclose(twin.history[-1], twin.exponent)


@pytest.mark.parametrize("every", [1, 4])
def test_logistic(every: int) -> None:
    found = benettin(systems.logistic, vector(0.3), 2100, 1e-9, discard=100, every=every)
    assert found.exponent == pytest.approx(log(2), abs=0.015)
    assert found.times[-1] == 2000


def test_too_small_a_distance_is_refused() -> None:
    with pytest.raises(RequestError, match="rounding hides"):
        benettin(systems.henon, torch.tensor([0.5, 0.5]), 100, 1e-9)
    with pytest.raises(RequestError, match="positive"):
        benettin(systems.henon, vector(0.5, 0.5), 100, 0.0)


def test_distance_is_measured_after_rounding() -> None:
    found = benettin(lambda x, t: x * 1.0, torch.full((3,), 1.5), 50, 1e-5)
    assert found.exponent == 0.0
    assert found.realised == pytest.approx(1e-5, rel=0.05)
    assert found.realised != 1e-5
    assert found.noise == pytest.approx(torch.finfo(torch.float32).eps * 1.5 * 3**0.5 / 1e-5)


def test_orbits_that_meet_have_no_exponent() -> None:
    found = benettin(lambda x, t: torch.zeros_like(x), vector(0.5), 10, 1e-6)
    assert found.reason == "below_noise_floor"
    assert np.isnan(found.exponent)


def test_divergence_keeps_what_was_found() -> None:
    found = benettin(lambda x, t: 0.5 * x if t < 7 else x / 0.0, vector(1.0), 20, 1e-8)
    assert found.reason == "diverged"
    assert found.diverged_at == 7
    assert np.isnan(found.exponent)
    assert found.partial == pytest.approx(log(0.5))


def test_a_map_that_draws_gives_both_the_same_numbers() -> None:
    torch.manual_seed(0)
    found = benettin(lambda x, t: 0.5 * x + torch.randn_like(x), vector(1.0, 2.0), 100, 1e-6)
    assert found.exponent == pytest.approx(log(0.5), abs=1e-6)


def test_dictionaries_and_clocks() -> None:
    def step(s: dict[str, torch.Tensor], t: int) -> dict[str, torch.Tensor]:
        return {"a": s["a"] * (2.0 if t % 2 else 0.25), "b": s["b"] * (2.0 if t % 2 else 0.25)}

    found = benettin(step, {"a": vector(1.0), "b": vector(1.0, 2.0)}, 10, 1e-6)
    assert found.exponent == pytest.approx(log(0.5) / 2, abs=1e-6)
    assert set(found.final) == {"a", "b"}


def test_jumps_are_seen_by_two_orbits_only() -> None:
    # x / 2 with jumps at every thousandth: locally contracting, globally not
    def step(x: torch.Tensor, t: int) -> torch.Tensor:
        return torch.remainder(0.5 * x + torch.floor(1000 * x) * 0.618, 1.0)

    found = benettin(step, vector(0.2), 600, 1e-3)
    tangent = max_exponent(step, vector(0.2), 600)
    assert tangent.maximum == pytest.approx(log(0.5), abs=1e-9)
    assert found.exponent > tangent.maximum + 0.5
