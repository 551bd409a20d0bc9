"""Displacement of features against lag: closed forms of noise, walks and drift."""

from __future__ import annotations

import numpy as np
import pytest

from wingbeat.errors import RequestError
from wingbeat.metrics.drift import displacements
from wingbeat.metrics.structure import structure_function


def rng(seed=0):
    return np.random.default_rng(seed)


def test_it_is_the_mean_square_in_units_of_the_variance():
    every = rng().normal(size=(4, 10, 3)) + 5.0
    found = displacements(list(every))
    for i in range(4):
        for j in range(4):
            total = square = 0.0
            for n in range(10):
                for u in range(3):
                    a = every[i, n, u] - every[i, :, u].mean()
                    b = every[j, n, u] - every[j, :, u].mean()
                    total += (a - b) ** 2 / 30
            square = np.mean([every[t, :, u].var() for t in range(4) for u in range(3)])
            assert found[i, j] == pytest.approx(total / square, rel=1e-12)
    assert (np.diag(found) == 0).all()
    assert displacements(list(1e-3 * every)) == pytest.approx(found, rel=1e-12)
    turned = np.linalg.qr(rng(1).normal(size=(3, 3)))[0]
    assert displacements([x @ turned + 7 for x in every]) == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_descent_with_noise_at_rest_is_displaced_by_its_correlation(rho):
    """W' = ρW + √(1 − ρ²)·noise in each unit (ρ = 1 − ηh of a mode): 2(1 − ρ^lag)."""
    r = rng(2)
    x = r.normal(size=(50, 20))
    w, every = r.normal(size=(20, 4000)), []
    for _ in range(7):
        every.append(x @ w)
        w = rho * w + np.sqrt(1 - rho**2) * r.normal(size=w.shape)
    found = displacements(every)
    for lag in (1, 2, 4):
        mean = np.mean([found[t, t + lag] for t in range(7 - lag)])
        assert mean == pytest.approx(2 * (1 - rho**lag), rel=0.02)


@pytest.mark.parametrize(
    ("kind", "slope", "verdict"),
    [("jitter", 0.0, "supported"), ("walk", 1.0, "contradicted"), ("one way", 2.0, "contradicted")],
)
def test_slopes_tell_jitter_diffusion_and_one_way_apart(kind, slope, verdict):
    r, t = rng(3), np.arange(30)
    x, start = r.normal(size=(40, 10)), r.normal(size=(10, 300))
    every = []
    for _ in range(4):  # four replicas
        noise = 0.01 * r.normal(size=(30, 10, 300))
        way = {
            "jitter": noise,
            "walk": np.cumsum(noise, axis=0),
            "one way": t[:, None, None] * noise[0],
        }[kind]
        every.append(displacements([x @ (start + own) for own in way]))
    found = structure_function(np.array(every), t)
    assert found.slope.value == pytest.approx(slope, abs=0.05)
    assert found.confined == verdict


def test_what_has_no_displacement():
    broken = [np.eye(3), np.full((3, 3), np.nan), 2 * np.eye(3)]
    found = displacements(broken)
    assert np.isnan(found[1]).all()
    assert found[0, 2] > 0
    assert np.isnan(displacements([np.ones((3, 2))] * 2)).all()
    same = displacements([np.eye(3)] * 2)
    assert (same == 0).all()
    with pytest.raises(RequestError, match="at least one"):
        displacements([])
    with pytest.raises(RequestError, match="same units"):
        displacements([np.eye(3), np.ones((3, 2))])
    with pytest.raises(RequestError, match="same samples"):
        displacements([np.eye(3), np.ones((4, 3))])
