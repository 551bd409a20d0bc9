"""Covariant vectors: exact for linear maps, covariant by definition, weights by tensor."""

from __future__ import annotations

import numpy as np
import pytest
import systems
import torch
from numpy.testing import assert_allclose
from systems import DOUBLE, vector

from wingbeat.errors import RequestError
from wingbeat.lyapunov import covariant


def test_cat_map_has_the_eigenvectors_of_its_matrix() -> None:
    found = covariant(systems.cat, vector(0.3, 0.41), 20)
    _, axes = np.linalg.eigh(np.array([[2.0, 1.0], [1.0, 1.0]]))
    expected = np.abs(axes[:, ::-1])
    for vectors in found.vectors:
        assert_allclose(np.abs(vectors), expected, atol=1e-10)
    assert_allclose(found.exponents, [systems.CAT_ENTROPY, -systems.CAT_ENTROPY], atol=1e-10)
    assert_allclose(found.smallest_angle, np.pi / 2, atol=1e-6)


def test_vectors_of_a_skew_map_are_eigenvectors_and_not_orthogonal() -> None:
    matrix = vector(2.0, 1.0, 0.3, 0.0, 0.9, 1.0, 0.0, 0.0, 0.2).reshape(3, 3)
    found = covariant(lambda s, t: matrix @ s, torch.zeros(3, dtype=DOUBLE), 10)
    values, axes = np.linalg.eig(matrix.numpy())
    order = np.argsort(-np.abs(values))
    assert_allclose(np.abs(found.vectors[5]), np.abs(axes[:, order]), atol=1e-8)
    assert_allclose(found.exponents, np.log(np.abs(values[order])), atol=1e-8)
    assert (found.smallest_angle < 1.2).all()


def test_henon_vectors_are_carried_into_each_other() -> None:
    found = covariant(systems.henon, vector(0.1, 0.1), 300, discard=100, tail=60)
    x, path = vector(0.1, 0.1), []
    for t in range(401):
        path.append(x)
        x = systems.henon(x, t)
    for i in range(len(found.times) - 1):
        x = float(path[found.times[i]][0])
        moved = np.array([[-2.8 * x, 1.0], [0.3, 0.0]]) @ found.vectors[i]
        size = np.linalg.norm(moved, axis=0)
        assert_allclose(np.log(size), found.growth[i], atol=1e-7)
        assert_allclose(np.abs((moved / size * found.vectors[i + 1]).sum(axis=0)), 1.0, atol=1e-7)


def test_lorenz_neutral_vector_is_the_flow() -> None:
    found = covariant(systems.lorenz, vector(1.0, 1.0, 20.0), 300, discard=1000, tail=1000, every=5)
    s = vector(1.0, 1.0, 20.0)
    for t in range(int(found.times[50])):
        s = systems.lorenz(s, t)
    # along the flow the exponent is exactly 0, and the map commutes with it
    flow = systems.lorenz_flow(s).numpy()
    cosine = abs(found.vectors[50, :, 1] @ flow) / np.linalg.norm(flow)
    assert cosine == pytest.approx(1.0, abs=2e-3)


@pytest.mark.long
def test_lorenz_exponents_in_full() -> None:
    found = covariant(
        systems.lorenz, vector(1.0, 1.0, 20.0), 150_000, discard=2000, tail=2000, every=5
    )
    assert_allclose(found.exponents / systems.LORENZ_STEP, [0.904, 0.0, -14.571], atol=0.02)


def test_weights_by_tensor() -> None:
    def step(s: dict[str, torch.Tensor], t: int) -> dict[str, torch.Tensor]:
        return {"hot": 2.0 * s["hot"], "cold": 0.5 * s["cold"] + 0.0 * s["hot"].sum()}

    start = {"hot": vector(0.0), "cold": vector(0.0, 0.0)}
    found = covariant(step, start, 5, k=2)
    weights = found.weights()
    assert_allclose(weights["hot"], [1.0, 0.0], atol=1e-12)
    assert_allclose(weights["hot"] + weights["cold"], 1.0, atol=1e-12)
    assert found.participation()[0] == pytest.approx(1.0)


def test_undefined() -> None:
    gone = covariant(systems.double_well(2.5), vector(0.5), 10)
    assert gone.reason == "diverged"
    assert np.isnan(gone.vectors).all()
    lost = covariant(systems.quadratic(vector(1.0, 0.5), 1.0), vector(1.0, 1.0), 10)
    assert lost.reason == "constant"
    with pytest.raises(RequestError, match="tail 0"):
        covariant(systems.henon, vector(0.1, 0.1), 10, tail=0)
