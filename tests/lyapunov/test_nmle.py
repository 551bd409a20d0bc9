"""The nMLE against a plain loop, and its rules."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from wingbeat.errors import RequestError
from wingbeat.lyapunov import l1_distance, nmle


def plain(distances: np.ndarray) -> list[tuple[float, float]]:
    """Slope and R² of the straightest window for each initialisation, written from the text."""
    found = []
    for perturbations in distances:
        log = np.log(sum(perturbations) / len(perturbations))
        best = (-np.inf, np.nan)
        for m in range(0, 101, 5):
            for w in range(30, 101, 5):
                if m + w > len(log):
                    continue
                t, y = np.arange(m, m + w), log[m : m + w]
                if np.ptp(y) == 0.0:
                    continue
                slope, intercept = np.polyfit(t, y, 1)
                r2 = 1 - ((y - slope * t - intercept) ** 2).sum() / ((y - y.mean()) ** 2).sum()
                if r2 > best[0]:
                    best = (r2, slope)
        found.append((best[1], best[0]))
    return found


def series(inits: int, seed: int = 0) -> np.ndarray:
    """Growth at a rate of its own that saturates, with noise."""
    generator = np.random.Generator(np.random.PCG64(seed))
    rate = generator.uniform(-0.02, 0.4, (inits, 1, 1))
    walk = np.cumsum(rate + generator.normal(0, 0.2, (inits, 5, 201)), axis=-1)
    return np.minimum(1e-8 * np.exp(walk), 3.0)


def test_equal_to_a_plain_loop() -> None:
    distances = series(8)
    found = nmle(distances)
    slopes, r2 = np.array(plain(distances)).T
    assert_allclose(found.slopes, slopes, rtol=1e-8)
    assert_allclose(found.r2, r2, rtol=1e-8)
    accepted = (r2 > 0.9) & (slopes > 0.05)
    assert (found.accepted == accepted).all()
    assert 0 < accepted.sum() < 8
    assert found.mean == pytest.approx(slopes[accepted].mean())
    assert found.deviation == pytest.approx(slopes[accepted].std())
    assert found.share == pytest.approx(accepted.mean())


def test_a_scale_of_the_distances_changes_nothing() -> None:
    a, b = nmle(series(5)), nmle(series(5) * 70.0)
    assert_allclose(a.slopes, b.slopes, rtol=1e-9)
    assert (a.windows == b.windows).all()


def test_the_window_of_growth_is_chosen_not_the_plateau() -> None:
    d = 1e-8 * np.exp(0.3 * np.minimum(np.arange(201), 60))
    found = nmle([[d]])
    assert found.slopes[0] == pytest.approx(0.3, abs=1e-9)
    assert found.windows[0, 0] + found.windows[0, 1] <= 61


def test_slow_growth_is_not_accepted() -> None:
    found = nmle([[1e-8 * np.exp(0.04 * np.arange(201))]])
    assert found.reason == "no_linear_region"
    assert np.isnan(found.mean)
    assert found.share == 0.0


def test_equal_and_diverged_runs_are_not_accepted() -> None:
    growing = 1e-8 * np.exp(0.2 * np.arange(201))
    broken = np.where(np.arange(201) < 20, growing, np.nan)
    found = nmle([[np.zeros(201)], [broken], [growing]])
    assert found.accepted.tolist() == [False, False, True]
    assert np.isnan(found.slopes[:2]).all()
    assert (found.windows[0] == -1).all()


def test_requests() -> None:
    with pytest.raises(RequestError, match="shape"):
        nmle(np.ones(200))
    with pytest.raises(RequestError, match="no window"):
        nmle(np.ones((2, 2, 20)))


def test_l1() -> None:
    assert_allclose(l1_distance(np.ones((2, 3)), np.zeros((2, 3))), [3.0, 3.0])
