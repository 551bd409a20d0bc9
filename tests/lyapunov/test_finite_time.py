"""Finite-time exponents and expansion entropy against closed forms."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import systems
import torch
from numpy.testing import assert_allclose
from systems import DOUBLE, vector

from wingbeat.errors import RequestError
from wingbeat.lyapunov import expansion_entropy, finite_time, max_exponent


def points(count: int, n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, n, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def test_a_linear_map_has_the_singular_values_of_its_power() -> None:
    matrix = vector(1.1, 0.7, 0.0, 0.4, 0.3, -0.2, 0.0, 0.1, 0.9).reshape(3, 3)
    found = finite_time(lambda s, t: matrix @ s, torch.zeros(3, dtype=DOUBLE), 12)
    for t in (1, 5, 12):
        power = np.linalg.matrix_power(matrix.numpy(), t)
        assert found.history[t - 1] == pytest.approx(log(np.linalg.norm(power, 2)) / t, abs=1e-12)
    top = np.linalg.svd(power)[2][0]
    assert abs(found.direction @ top) == pytest.approx(1.0, abs=1e-10)
    assert found.exponent == found.history[-1]


def test_long_times_do_not_overflow_and_reach_the_exponent() -> None:
    found = finite_time(systems.henon, vector(0.1, 0.1), 600)
    tangent = max_exponent(systems.henon, vector(0.1, 0.1), 600)
    # the strongest direction is at least as strong as any tangent, by a bounded factor
    assert found.exponent >= tangent.maximum - 1e-9
    assert found.exponent == pytest.approx(tangent.maximum, abs=1e-2)


def test_several_states() -> None:
    starts = points(3, 2)
    together = finite_time(systems.henon, starts, 6, batched=True)
    assert together.exponent.shape == (3,)
    assert together.direction.shape == (3, 2)
    for i, start in enumerate(starts):
        alone = finite_time(systems.henon, start, 6)
        assert_allclose(together.history[:, i], alone.history, atol=1e-10)


def test_an_orbit_that_leaves_has_none() -> None:
    starts = torch.tensor([[0.1, 0.1], [5.0, 5.0]], dtype=DOUBLE)
    found = finite_time(systems.henon, starts, 40, batched=True)
    assert found.reason == "diverged"
    assert np.isfinite(found.exponent[0])
    assert np.isnan(found.exponent[1])
    assert np.isnan(found.direction[1]).all()
    assert np.isfinite(found.history[0]).all()


def test_expansion_entropy_of_the_cat_map() -> None:
    found = expansion_entropy(systems.cat, points(40, 2), 12)
    assert found.entropy == pytest.approx(systems.CAT_ENTROPY, abs=1e-10)
    assert found.error == pytest.approx(0.0, abs=1e-10)
    assert_allclose(found.remaining, 1.0)


def test_expansion_entropy_of_a_tent_with_a_hole() -> None:
    # slope 4 on [0, 1], where half of each image falls out: H = ln 2, the repeller's entropy
    def step(x: torch.Tensor, t: int) -> torch.Tensor:
        return 4.0 * torch.minimum(x, 1.0 - x)

    found = expansion_entropy(
        step, points(4000, 1), 7, inside=lambda x: (x >= 0) & (x <= 1), window=(1, 7)
    )
    assert found.entropy == pytest.approx(log(2), abs=4 * found.error)
    assert found.error < 0.05
    assert_allclose(found.remaining[:3], [0.5, 0.25, 0.125], atol=0.03)


def test_contraction_has_no_expansion() -> None:
    found = expansion_entropy(lambda x, t: 0.5 * x, points(30, 2), 8)
    assert found.entropy == pytest.approx(0.0, abs=1e-12)


def test_nothing_stays() -> None:
    found = expansion_entropy(lambda x, t: 2 * x + 1, points(5, 1), 6, inside=lambda x: x < 1)
    assert found.reason == "diverged"
    assert np.isnan(found.entropy)
    with pytest.raises(RequestError, match="window"):
        expansion_entropy(systems.cat, points(5, 2), 6, window=(0, 9))
