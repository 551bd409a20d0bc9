from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import weight_space as slow

from wingbeat.errors import RequestError
from wingbeat.metrics import path_length, velocity


def test_equals_the_loops_for_every_replica():
    points = np.random.default_rng(0).normal(size=(5, 3, 12))
    steps = [0, 1, 4, 10, 20]
    hops = np.array(
        [[slow.distance(points[t + 1, i], points[t, i]) for i in range(3)] for t in range(4)]
    )
    speed = hops / np.diff(steps)[:, None]
    np.testing.assert_allclose(path_length(points), hops.sum(axis=0), rtol=1e-13)
    found = velocity(points, steps)
    np.testing.assert_allclose(found.each, speed, rtol=1e-13)
    np.testing.assert_allclose(found.mean, speed.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(found.std, speed.std(axis=0), rtol=1e-12)


def test_a_circle_has_its_polygon_length_and_a_steady_speed():
    angle = np.linspace(0, 2 * np.pi, 13)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert path_length(points) == pytest.approx(12 * 2 * np.sin(np.pi / 12), rel=1e-13)
    found = velocity(points, np.arange(13) * 10)
    assert found.mean == pytest.approx(0.2 * np.sin(np.pi / 12), rel=1e-13)
    assert found.std == pytest.approx(0.0, abs=1e-15)


def test_never_shorter_than_the_straight_line_and_zero_at_rest():
    points = np.random.default_rng(1).normal(size=(6, 8))
    assert path_length(points) >= slow.distance(points[0], points[-1])
    assert path_length(np.repeat(points[:1], 4, axis=0)) == 0.0
    assert path_length(points[::-1]) == pytest.approx(float(path_length(points)), rel=1e-13)


def test_half_precision_tensors():
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.bfloat16)
    assert path_length(points) == 5.0


def test_one_snapshot_has_no_length():
    assert np.isnan(path_length(np.zeros((1, 2, 3)))).tolist() == [True, True]
    found = velocity(np.zeros((1, 2, 3)), [0])
    assert found.each.shape == (0, 2)
    assert np.isnan(found.mean).all()
    assert np.isnan(found.std).all()


def test_bad_requests_are_refused():
    with pytest.raises(RequestError, match="must increase"):
        velocity(np.zeros((3, 2)), [0, 2, 2])
    with pytest.raises(RequestError, match="for 3 snapshots"):
        velocity(np.zeros((3, 2)), [0, 2])
    with pytest.raises(RequestError, match="one snapshot"):
        path_length(np.zeros((0, 2)))
    with pytest.raises(RequestError, match="snapshots"):
        path_length(np.zeros(2))
