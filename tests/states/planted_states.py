"""Runs whose states are planted: clear chains, one smooth switch, a fork with a detour."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from wingbeat.analyses.states import RunSeries

needs_hmmlearn = pytest.mark.skipif(
    find_spec("hmmlearn") is None, reason="needs hmmlearn: pip install 'wingbeat[states]'"
)


def rng(seed=0):
    return np.random.default_rng(seed)


def chain(runs, length, seed, p01=0.05, p10=0.1):
    r, paths = rng(seed), []
    for _ in range(runs):
        path = [0]
        while len(path) < length:
            stay = r.uniform() >= (p01, p10)[path[-1]]
            path.append(path[-1] if stay else 1 - path[-1])
        paths.append(path)
    paths = np.array(paths)
    return paths, 5.0 * paths[..., None] + 0.5 * r.normal(size=(runs, length, 1))


def series(values):
    runs, steps, size = values.shape
    return RunSeries(
        tuple(f"r{i}" for i in range(runs)),
        tuple(f"s{i}" for i in range(size)),
        tuple(range(0, 10 * steps, 10)),
        values,
    )


def switching(runs=20, length=60, seed=0):
    """One smooth switch at a time of the run's own: one path, no fork."""
    r = rng(seed)
    at = r.uniform(15, 45, runs)
    t = np.arange(length)
    shape = 1 / (1 + np.exp(-(t[None] - at[:, None]) / 2))
    slopes = r.normal(size=3)
    x = shape[..., None] * slopes + 0.03 * r.normal(size=(runs, length, 3))
    return x, 10 * at


def forking(runs=20, length=60, seed=0, delay=10.0, inner=25):
    """Three states; every other run passes through the middle one, and then converges later."""
    r = rng(seed)
    through = np.arange(runs) % 2 == 0
    leave = r.integers(8, 12, runs)
    end = np.where(through, inner, leave)
    t = np.arange(length)[None]
    state = np.where(t < leave[:, None], 0, np.where(t < end[:, None], 1, 2))
    means = np.array([[0, 0, 0], [3, -3, 0], [0, 3, 3]], dtype=float)
    x = means[state] + 0.3 * r.normal(size=(runs, length, 3))
    times = 10.0 * (30 + r.uniform(0, 20, runs) + delay * through)
    return x, times, state
