"""Errors of exponents beside the scatter over many orbits, in NumPy alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from benchmarks.batch_means import coupled, lorenz, rates, rows
from wingbeat.lyapunov import batch_means_error


def drawn(seed):
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize(
    ("system", "bounds", "before"),
    [("Lorenz flow", (0.8, 3.2), (2.5, 8.0)), ("coupled logistic maps", (0.7, 1.35), None)],
)
def test_errors_are_near_the_scatter_over_orbits(system, bounds, before):
    rng = drawn(1)
    if system == "Lorenz flow":
        found = rates(lorenz, rng.normal(size=(32, 3)) + np.array([0, 0, 25.0]), 2000, 1000)
    else:
        found = rates(coupled, rng.uniform(0.1, 0.9, (48, 6)), 2000, 300)
    for row in rows(system, found, 2000):
        assert bounds[0] < row.now[0] < bounds[1], row
        if before:
            assert before[0] < row.thirty[0] < before[1], row
            assert row.now[0] < 0.75 * row.thirty[0]


@pytest.mark.parametrize("phi", [-0.9, -0.5, 0.0, 0.5, 0.9])
def test_a_process_with_a_known_error(phi):
    exact = 1 / (1 - phi) / np.sqrt(4000)  # long-run deviation of an AR(1) process
    found = [
        batch_means_error(lfilter([1.0], [1.0, -phi], drawn(seed).normal(size=4000)))
        for seed in range(40)
    ]
    assert np.median(found) == pytest.approx(exact, rel=0.2)


def test_what_cancels_over_the_run_has_a_small_error():
    """Differences of a bounded series: the mean is (last − first) ÷ T, not noise ÷ √T."""
    bounded = drawn(0).normal(size=4001)
    found = float(batch_means_error(np.diff(bounded)))
    assert found == pytest.approx(np.sqrt(2) / 4000, rel=0.6)
    assert found < 0.35 * float(batch_means_error(np.diff(bounded), 30))


def test_shapes_and_constants():
    assert batch_means_error(np.ones((100, 2, 3))).shape == (2, 3)
    assert (batch_means_error(np.full((100, 2), 0.1)) == 0).all()
    assert np.isnan(batch_means_error(np.r_[np.ones(50), np.nan]))
    assert np.isnan(batch_means_error(np.ones(20)))
    two = np.stack([drawn(0).normal(size=200), drawn(1).normal(size=200)], axis=1)
    alone = [float(batch_means_error(two[:, i])) for i in range(2)]
    assert batch_means_error(two).tolist() == alone
