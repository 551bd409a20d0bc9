from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import weight_space as slow

from wingbeat.errors import RequestError
from wingbeat.metrics import gram, participation_ratio


@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_cross_polytope_fills_its_dimensions_evenly(d):
    points = np.concatenate([np.eye(d, 9), -np.eye(d, 9)])
    assert participation_ratio(points) == pytest.approx(d, rel=1e-12)


@settings(max_examples=80, deadline=None)
@given(
    points=hnp.arrays(
        np.float64, st.tuples(st.integers(2, 7), st.integers(2, 7)), elements=st.integers(-50, 50)
    )
)
def test_equals_the_covariance_eigenvalues_and_stays_in_range(points):
    if (points == points[0]).all():
        assert np.isnan(participation_ratio(points))
        return
    found = participation_ratio(points)
    assert found == pytest.approx(slow.participation_ratio(points), rel=1e-9)
    n, size = points.shape
    assert 1 - 1e-9 <= found <= min(n - 1, size) + 1e-9
    assert participation_ratio(gram(points, centre="first"), precomputed=True) == pytest.approx(
        found, rel=1e-9
    )


def test_symmetries():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(9, 20)) * np.arange(1, 21)
    q, _ = np.linalg.qr(rng.normal(size=(20, 20)))
    expected = participation_ratio(points)
    for same in (points[::-1], points @ q, points * 1e-100, points + 3.0):
        assert participation_ratio(same) == pytest.approx(expected, rel=1e-9)


def test_a_size_at_which_the_peer_gives_one_silently():
    # deep-lyapunov 0.1.2 needs 16 P² bytes and falls back to 1.0 (true value 48.96).
    points = np.random.default_rng(1).standard_normal((50, 60_000), dtype=np.float32)
    assert participation_ratio(points) == pytest.approx(48.96, abs=0.02)


def test_undefined_is_nan_and_not_zero():
    assert np.isnan(participation_ratio(np.ones((4, 3))))
    assert np.isnan(participation_ratio(np.ones((1, 3))))
    assert np.isnan(participation_ratio(np.array([[np.nan], [1.0]])))
    with pytest.raises(RequestError, match=r"\(3,\)"):
        participation_ratio(np.ones(3))
