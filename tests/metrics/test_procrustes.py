"""The Procrustes distance against its nuclear-norm form, and as a metric."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import kernels as slow

from wingbeat.errors import RequestError
from wingbeat.metrics.procrustes import procrustes


def normal(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize(("n", "d", "e"), [(20, 3, 3), (20, 2, 7), (6, 30, 4), (5, 12, 40)])
def test_equals_the_nuclear_norm_form(n, d, e):
    x, y = normal(n, d), normal(n, e, 1)
    assert procrustes(x, y) == pytest.approx(slow.procrustes(x, y), abs=1e-7)


def test_closed_forms():
    x = np.array([[1.0], [-1.0], [0.0], [0.0]])
    y = np.array([[0.0], [0.0], [1.0], [-1.0]])
    assert procrustes(x, y) == pytest.approx(math.sqrt(2), abs=1e-12)
    assert procrustes(x, -x) == pytest.approx(0.0, abs=1e-12)
    # the angle between x and x + y is 45 degrees
    assert procrustes(x, x + y) == pytest.approx(math.sqrt(2 - math.sqrt(2)), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), d=st.integers(1, 12), factor=st.floats(1e-3, 1e3))
def test_a_metric_that_rotation_and_order_do_not_change(seed, d, factor):
    x, y, z = normal(8, d, seed), normal(8, 4, seed + 1), normal(8, 3, seed + 2)
    rotation = np.linalg.qr(normal(d, d, seed + 3))[0]
    rows = np.random.default_rng(seed).permutation(8)
    value = procrustes(x, y)
    assert procrustes((factor * x @ rotation + 3.0)[rows], y[rows]) == pytest.approx(
        value, abs=1e-9
    )
    assert procrustes(y, x) == pytest.approx(value, abs=1e-9)
    assert 0 <= value <= math.sqrt(2)
    assert procrustes(x, z) <= value + procrustes(y, z) + 1e-12
    assert procrustes(x, x @ rotation) < 1e-12


def test_small_distances_keep_their_digits():
    x, step = normal(30, 5), normal(30, 5, 1)
    near, nearer = (procrustes(x, x + eps * step) for eps in (1e-9, 1e-10))
    assert near / nearer == pytest.approx(10, rel=1e-3)


def test_what_has_no_value_is_nan():
    x = normal(6, 2)
    assert math.isnan(procrustes(x, np.full((6, 1), 0.3)))
    assert math.isnan(procrustes(x, np.where(x > 0, np.nan, x)))
    assert math.isnan(procrustes(x[:1], x[:1]))
    with pytest.raises(RequestError, match="same samples"):
        procrustes(x, x[:4])
