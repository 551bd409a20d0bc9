"""The covariance of gradients from its Gram matrix against the written-out one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from cases import task
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.curvature import Hessian, break_even, covariance, gradients_at, is_past_break_even
from wingbeat.errors import CONSTANT, DIVERGED, RequestError


def test_the_spectrum_equals_that_of_the_large_matrix() -> None:
    hessian = Hessian(task("mlp"), samples=25)
    gradients = gradients_at(hessian, hessian.start(0))
    found = covariance(gradients)
    centred = gradients - gradients.mean(0)
    large = centred.T @ centred / len(gradients)
    exact = torch.linalg.eigvalsh(large).flip(0)[:24]
    assert torch.allclose(found.eigenvalues, exact[: len(found.eigenvalues)], rtol=1e-8)
    assert len(found.eigenvalues) == 24
    assert found.trace == pytest.approx(float(large.trace()), rel=1e-12)
    assert found.largest == pytest.approx(float(exact[0]), rel=1e-12)
    assert found.conditioning == pytest.approx(float(exact[23] / exact[0]), rel=1e-6)


@pytest.mark.parametrize("name", ["mlp", "transformer", "cnn"])
@pytest.mark.parametrize("size", [1, 5])
def test_gradients_are_those_of_each_batch(name: str, size: int) -> None:
    mode: Any = "eval"
    hessian = Hessian(task(name), samples=20, mode=mode)
    where = hessian.start(0)
    rows = gradients_at(hessian, where, batch_size=size, chunk=3)
    assert len(rows) == 20 // size
    for place in (0, len(rows) - 1):
        part = range(place * size, (place + 1) * size)
        alone = Hessian(task(name), samples=part, mode=mode).gradient(where)[1][0]
        assert torch.allclose(rows[place], alone, atol=1e-12)
    assert torch.allclose(rows.mean(0), hessian.gradient(where)[1][0], atol=1e-12)


def test_the_order_of_the_gradients_does_not_matter() -> None:
    rows = torch.randn(12, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    one, two = covariance(rows), covariance(rows.flip(0))
    assert torch.allclose(one.eigenvalues, two.eigenvalues, rtol=1e-10)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 9), st.integers(1, 12), st.integers(0, 50), st.floats(1e-6, 1e6))
def test_trace_is_the_sum_and_scaling_is_quadratic(l: int, p: int, seed: int, c: float) -> None:  # noqa: E741
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(l, p, generator=generator, dtype=torch.float64)
    found, scaled = covariance(rows), covariance(c * rows)
    assert found.trace == pytest.approx(float(found.eigenvalues.sum()), rel=1e-9)
    assert scaled.trace == pytest.approx(c * c * found.trace, rel=1e-9)
    assert scaled.conditioning == pytest.approx(found.conditioning, rel=1e-6)
    assert len(found.eigenvalues) <= min(l - 1, p)


def test_single_precision_does_not_count_rounding_as_spectrum() -> None:
    base = torch.randn(3, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mixing = torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact, rounded = covariance(mixing @ base), covariance((mixing @ base).float())
    assert len(exact.eigenvalues) == len(rounded.eigenvalues) == 3
    assert rounded.conditioning == pytest.approx(exact.conditioning, rel=1e-4)


def test_equal_gradients_and_broken_ones() -> None:
    same = covariance(torch.ones(4, 3))
    assert same.reason == CONSTANT
    assert same.largest == 0.0
    assert math.isnan(same.conditioning)
    broken = covariance(torch.full((4, 3), torch.nan))
    assert broken.reason == DIVERGED
    assert math.isnan(broken.trace)


def test_break_even_has_both_curvatures() -> None:
    hessian = Hessian(task("mlp"), samples=20)
    where = hessian.start(0)
    found = break_even(hessian, where, tolerance=1e-8)
    exact = float(torch.linalg.eigvalsh(hessian.at(where).dense()[0])[-1])
    assert found.lambda_h == pytest.approx(exact, rel=1e-8)
    assert 0 < found.conditioning <= 1
    broken = break_even(hessian, torch.full((135,), torch.inf))
    assert broken.reason == DIVERGED


def test_noise_makes_a_stable_direction_unstable() -> None:
    assert not is_past_break_even(0.1, 19.0, 0.0, 1000, 10)
    assert is_past_break_even(0.1, 19.0, 400.0, 1000, 10)
    assert not is_past_break_even(0.1, 19.0, 400.0, 1000, 1000)
    with pytest.raises(RequestError):
        is_past_break_even(0.1, 1.0, 1.0, 1, 1)


@pytest.mark.parametrize(
    "bad",
    [
        lambda h: covariance(torch.ones(1, 3)),
        lambda h: gradients_at(h, h.start(0), batch_size=11),
        lambda h: gradients_at(h, torch.zeros(2, 135)),
    ],
)
def test_bad_requests(bad: Any) -> None:
    with pytest.raises(RequestError):
        bad(Hessian(task("mlp"), samples=20))


def test_numbers_agree_with_numpy_loops() -> None:
    rows = np.random.default_rng(0).normal(size=(6, 4))
    mean = rows.mean(axis=0)
    total = np.zeros((4, 4))
    for row in rows:
        total += np.outer(row - mean, row - mean)
    exact = np.linalg.eigvalsh(total / 6)[::-1]
    assert np.allclose(covariance(torch.from_numpy(rows)).eigenvalues.numpy(), exact)
