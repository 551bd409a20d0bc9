"""Numbers made of kernels: distance, angle, rank, alignment, and how distance grows with time."""

from __future__ import annotations

import numpy as np
import pytest

from wingbeat.errors import RequestError
from wingbeat.metrics.kernel import (
    alignment,
    effective_rank,
    kernel_angle,
    kernel_distance,
)
from wingbeat.metrics.structure import structure_function


def test_distance_angle_change_and_rank():
    rng = np.random.default_rng(0)
    a = np.diag([1.0, 0, 0, 0])
    b = np.diag([0, 1.0, 0, 0])
    for phi, psi in ((0.1, 0.4), (0.0, 1e-5), (0.2, 1.3)):
        k, m = (np.cos(p) * a + np.sin(p) * b for p in (phi, psi))
        assert kernel_distance(k, m) == pytest.approx(1 - np.cos(phi - psi), rel=1e-9, abs=1e-16)
        assert kernel_angle(k, m) == pytest.approx(psi - phi, rel=1e-9)
    x = rng.normal(size=(20, 6))
    k = x @ x.T
    assert kernel_distance(k, 3.7 * k) < 1e-15
    assert kernel_distance(k, k) == 0.0
    assert np.isnan(kernel_distance(k, np.zeros_like(k)))
    values = np.linalg.eigvalsh(k)
    assert effective_rank(k) == pytest.approx(values.sum() ** 2 / (values**2).sum())
    h = np.eye(20) - 1 / 20
    other = rng.normal(size=(20, 20))
    m = other @ other.T
    centred = 1 - np.trace(h @ k @ h @ m) / np.sqrt(
        np.trace((h @ k) @ (h @ k)) * np.trace((h @ m) @ (h @ m))
    )
    assert kernel_distance(k, m, centred=True) == pytest.approx(centred, abs=1e-12)


def test_alignment_of_the_labels_and_of_the_identity():
    y = np.array([0, 1] * 8)
    signs = 2.0 * y - 1
    assert alignment(np.outer(signs, signs), y, centred=False) == pytest.approx(1.0, abs=1e-12)
    assert alignment(np.eye(16), y, centred=False) == pytest.approx(0.25, abs=1e-12)
    one_hot = (np.arange(4)[:, None] == np.arange(16) % 4).T.astype(float)
    assert alignment(one_hot @ one_hot.T, np.arange(16) % 4) == pytest.approx(1.0, abs=1e-12)
    assert np.isnan(alignment(np.eye(3), np.zeros(3, int)))
    with pytest.raises(RequestError, match="centred=True"):
        alignment(np.eye(3), np.arange(3), centred=False)


def moving(kind, seed, n=40, steps=120):
    """Kernels that jitter, walk or drift, as vectors; their distances 1 − cosine."""
    rng = np.random.default_rng(seed)
    fixed = rng.normal(size=n)
    fixed *= 1 / np.linalg.norm(fixed)
    noise = rng.normal(size=(steps, n)) * 0.2 / n**0.5
    path = {
        "jitter": fixed + noise,
        "walk": fixed + 0.02 * noise.cumsum(axis=0),
        "drift": fixed + 1e-4 * np.arange(steps)[:, None] * rng.normal(size=n),
    }[kind]
    unit = path / np.linalg.norm(path, axis=1, keepdims=True)
    return ((unit[:, None] - unit[None]) ** 2).sum(axis=2) / 2


@pytest.mark.parametrize(
    ("kind", "slope", "verdict"),
    [("jitter", 0.0, "supported"), ("walk", 1.0, "contradicted"), ("drift", 2.0, "contradicted")],
)
def test_the_structure_function_tells_jitter_walk_and_drift_apart(kind, slope, verdict):
    stack = np.stack([moving(kind, s) for s in range(8)])
    found = structure_function(stack, range(120))
    assert found.slope.value == pytest.approx(slope, abs=0.25)
    assert found.confined == verdict
    if kind == "jitter":
        assert found.plateau == pytest.approx(0.04 / 1.04, rel=0.1)
    alone = structure_function(stack[0], range(120))
    assert alone.confined == "undetermined"


def test_a_memory_shows_as_diffusion_up_to_it_and_as_a_level_beyond():
    """Noise with a memory of 50 steps around a fixed kernel: slope 0.93 up to 25, then level."""
    rng, keep = np.random.default_rng(0), np.exp(-1 / 50)
    stacks = []
    for _ in range(40):
        fixed = rng.normal(size=40)
        fixed /= np.linalg.norm(fixed)
        noise = [rng.normal(size=40)]
        for _ in range(1200):
            noise.append(keep * noise[-1] + np.sqrt(1 - keep**2) * rng.normal(size=40))
        path = fixed + np.array(noise[::5]) * 0.2 / 40**0.5
        unit = path / np.linalg.norm(path, axis=1, keepdims=True)
        stacks.append(((unit[:, None] - unit[None]) ** 2).sum(axis=2) / 2)
    stack = np.stack(stacks)
    short = structure_function(stack[:, :6, :6], range(0, 30, 5))
    assert short.slope.value == pytest.approx(0.9, abs=0.1)
    long = structure_function(stack, range(0, 1201, 5))
    assert long.plateau == pytest.approx(0.0385, rel=0.1)
    assert long.slope.value == pytest.approx(0.0, abs=0.15)
