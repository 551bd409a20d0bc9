"""Trees, loops and their distances against closed forms and the slow definitions."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from math import ceil, pi, sin, sqrt

import numpy as np
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

from wingbeat.errors import CONSTANT, TOO_FEW_POINTS, RequestError
from wingbeat.metrics.dimension import path_dimension
from wingbeat.metrics.persistence import betti, gudhi, longest, persistence, total_persistence
from wingbeat.metrics.rtd import rtd, rtd_lite
from wingbeat.metrics.topology import (
    distances,
    landmarks,
    scaled_tree_length,
    tree_edges,
    tree_length,
)


def bottleneck(first, second, dimension=1):
    """Return the largest move of a bar that matches two diagrams, as hera computes it."""
    bars = (first.of(dimension), second.of(dimension))
    return float(gudhi("hera").bottleneck_distance(*bars, delta=0.0))


needs_gudhi = pytest.mark.skipif(
    find_spec("gudhi") is None, reason="needs gudhi: pip install 'wingbeat[topology]'"
)


def rng(seed=0):
    return np.random.default_rng(seed)


def polygon(n, radius=1.0, at=0.0):
    turn = 2 * pi * np.arange(n) / n
    return radius * np.c_[np.cos(turn), np.sin(turn)] + [at, 0.0]


# trees


def prim(apart):
    """Grow the tree point by point."""
    inside, edges = {0}, []
    while len(inside) < len(apart):
        i, j = min(
            ((i, j) for i in inside for j in range(len(apart)) if j not in inside),
            key=lambda pair: apart[pair],
        )
        inside.add(j)
        edges.append(apart[i, j])
    return np.sort(edges)


def test_edges_are_those_of_prims_tree_and_of_another_library():
    x = rng().normal(size=(25, 3))
    x[7] = x[3]  # an edge of length 0, which a sparse matrix would take for none
    apart = distances(x)
    assert tree_edges(apart) == pytest.approx(prim(apart), abs=1e-12)
    other = minimum_spanning_tree(squareform(pdist(np.delete(x, 7, axis=0)))).sum()
    assert tree_length(x) == pytest.approx(other, abs=1e-12)


@pytest.mark.parametrize("n", [4, 7, 30])
def test_the_tree_of_a_polygon(n):
    assert tree_edges(distances(polygon(n))) == pytest.approx(2 * sin(pi / n), abs=1e-12)


def test_shift_rotation_scale_and_order():
    x = rng().normal(size=(40, 4))
    q = np.linalg.qr(rng(1).normal(size=(4, 4)))[0]
    moved = 3 * x @ q + 1e7
    assert tree_length(moved) == pytest.approx(3 * tree_length(x), rel=1e-7)
    assert scaled_tree_length(3 * x @ q) == pytest.approx(scaled_tree_length(x), abs=1e-12)
    assert tree_length(x[rng(2).permutation(40)]) == pytest.approx(tree_length(x), abs=1e-12)
    assert scaled_tree_length(np.eye(6)) == pytest.approx(1.0, abs=1e-12)
    assert np.isnan(scaled_tree_length(np.ones((5, 2))))
    assert np.isnan(tree_length(np.array([[0.0], [np.nan]])))


@pytest.mark.parametrize(("d", "slope"), [(2, 0.5), (5, 0.8), (20, 0.95)])
def test_trees_grow_with_the_number_of_points_as_theory_says(d, slope):
    sizes = (125, 250, 500, 1000)
    lengths = [np.mean([tree_length(rng(r).uniform(size=(n, d))) for r in range(3)]) for n in sizes]
    found = np.polyfit(np.log(sizes), np.log(lengths), 1)[0]
    assert found == pytest.approx(slope, abs=0.04)


@pytest.mark.parametrize(("d", "value"), [(1, 0.018), (2, 0.100), (10, 0.485), (50, 0.765)])
def test_the_scaled_tree_is_a_dimension_in_disguise(d, value):
    found = np.mean([scaled_tree_length(rng(r).normal(size=(300, d))) for r in range(3)])
    assert found == pytest.approx(value, rel=0.06)


def test_angles_are_a_metric_and_free_of_length():
    x = rng().normal(size=(20, 5))
    apart = distances(x, "angle")
    assert apart == pytest.approx(distances(x * rng(1).uniform(1, 9, (20, 1)), "angle"), abs=1e-7)
    assert (apart[:, None] <= apart[:, :, None] + apart[None] + 1e-9).all()
    with pytest.raises(RequestError, match="angle"):
        distances(x, "cosine")


# loops; gudhi is the extra "topology" and part of the extra "dev"


@needs_gudhi
@pytest.mark.parametrize("n", [4, 5, 6, 9, 12, 20, 100])
def test_bars_of_a_polygon(n):
    found = persistence(distances(polygon(n)))
    assert found.lengths(0) == pytest.approx(np.full(n - 1, 2 * sin(pi / n)), abs=1e-12)
    expected = [[2 * sin(pi / n), 2 * sin(pi * ceil(n / 3) / n)]]
    assert found.of(1) == pytest.approx(np.array(expected), abs=1e-12)
    assert total_persistence(found) == longest(found) > 0
    assert np.isinf(found.of(0)[:, 1]).sum() == 1


@needs_gudhi
@pytest.mark.parametrize(("n", "voids"), [(6, 1), (9, 2), (12, 3)])
def test_voids_of_a_polygon(n, voids):
    bars = persistence(distances(polygon(n)), (0, 1, 2)).of(2)
    expected = [sqrt(3), 2 * sin(pi * (n // 3 + 1) / n)]
    assert bars == pytest.approx(np.tile(expected, (voids, 1)), abs=1e-12)


@needs_gudhi
def test_a_simplex_has_no_loop_and_a_torus_has_two():
    simplex = persistence(np.ones((6, 6)) - np.eye(6), (0, 1, 2))
    assert simplex.lengths(0).tolist() == [1.0] * 5
    assert not simplex.of(1).size
    assert not simplex.of(2).size
    apart = distances(polygon(8))
    torus = np.maximum(np.kron(apart, np.ones((8, 8))), np.kron(np.ones((8, 8)), apart))
    bar = [2 * sin(pi / 8), 2 * sin(3 * pi / 8)]
    assert persistence(torus).of(1) == pytest.approx(np.array([bar, bar]), abs=1e-12)


@needs_gudhi
def test_two_polygons_apart():
    both = np.concatenate([polygon(12), polygon(12, 2.0, at=10.0)])
    found = persistence(distances(both))
    bar = 2 * sin(4 * pi / 12) - 2 * sin(pi / 12)
    assert found.lengths(1) == pytest.approx([2 * bar, bar], abs=1e-12)
    assert found.lengths(0)[0] == pytest.approx(7.0)
    assert [betti(found, s, 0) for s in (0.1, 0.6, 3.0, 8.0)] == [24, 13, 2, 1]
    assert betti(found, 1.2, 1) == 2


@needs_gudhi
def test_bars_in_degree_zero_are_the_tree_and_copies_leave_none():
    x = rng().normal(size=(60, 8))
    assert persistence(distances(x)).lengths(0).sum() == pytest.approx(tree_length(x), abs=1e-12)
    twice = np.concatenate([x, x])
    assert len(persistence(distances(twice)).lengths(0)) == 59
    far = polygon(60) + 1e7  # where distances made of inner products would break the loop
    assert len(persistence(distances(far)).lengths(1)) == 1


@needs_gudhi
@pytest.mark.parametrize("size", [1e-3, 1e-2, 1e-1])
def test_diagrams_move_by_twice_the_points_at_most(size):
    x = polygon(60)
    for seed in range(10):
        turn = rng(seed).uniform(0, 2 * pi, 60)
        moved = x + size * np.c_[np.cos(turn), np.sin(turn)]
        for d in (0, 1):
            pair = (persistence(distances(x)), persistence(distances(moved)))
            assert 0 < bottleneck(*pair, d) <= 2 * size
    assert bottleneck(pair[0], pair[0]) == 0.0


@needs_gudhi
@pytest.mark.parametrize("count", [20, 50, 100])
def test_landmarks_are_off_by_twice_their_radius_at_most(count):
    turn = rng(3).uniform(0, 2 * pi, 300)
    x = np.c_[np.cos(turn), np.sin(turn)] + 0.05 * rng(4).normal(size=(300, 2))
    apart = distances(x)
    found = landmarks(apart, count)
    assert apart[:, found.places].min(axis=1).max() == found.radius
    part = apart[np.ix_(found.places, found.places)]
    assert bottleneck(persistence(apart), persistence(part)) <= 2 * found.radius
    assert landmarks(apart, 300).radius == 0.0
    with pytest.raises(RequestError, match="use 1 to 300"):
        landmarks(apart, 301)


def test_too_many_points_and_a_missing_library_are_refused(monkeypatch):
    with pytest.raises(RequestError, match="take landmarks"):
        persistence(np.zeros((5, 5)), most=4)
    monkeypatch.setitem(sys.modules, "gudhi.sklearn.rips_persistence", None)
    with pytest.raises(RequestError, match=r"wingbeat\[topology\]"):
        persistence(np.zeros((2, 2)))


# divergence of two representations


@needs_gudhi
def test_divergences_of_the_same_and_of_a_moved_cloud_are_zero():
    x = rng().normal(size=(60, 3))
    q = np.linalg.qr(rng(1).normal(size=(3, 3)))[0]
    assert rtd_lite(x, x) == rtd(x, x) == 0.0
    assert rtd_lite(x, 5 * x @ q + 2) == pytest.approx(0.0, abs=1e-9)
    assert rtd(x, 5 * x @ q + 2) == pytest.approx(0.0, abs=1e-9)
    assert np.isnan(rtd_lite(x, np.ones((60, 2))))


@needs_gudhi
def test_the_light_divergence_is_that_of_its_formula_and_bounds_the_other():
    for seed in range(5):
        x, y = rng(seed).normal(size=(40, 2)), rng(seed + 50).normal(size=(40, 4))
        r, s = (d / np.quantile(d, 0.9) for d in (distances(x), distances(y)))
        tree = [prim(d).sum() for d in (r, s, np.minimum(r, s))]
        assert rtd_lite(x, y) == pytest.approx((tree[0] + tree[1]) / 2 - tree[2])
        assert rtd_lite(x, y) == pytest.approx(rtd_lite(y, x), abs=1e-12)
        assert rtd(x, y) == pytest.approx(rtd(y, x), abs=1e-9)
        assert 0 < rtd_lite(x, y) <= rtd(x, y) + 1e-9


@needs_gudhi
@pytest.mark.long
def test_two_unrelated_clouds_have_the_published_divergence():
    x, y = rng(0).uniform(size=(1000, 2)), rng(1).uniform(size=(1000, 2))
    assert rtd(x, y, subsets=2) == pytest.approx(35.55, abs=1.0)


# dimension of a path


@pytest.mark.parametrize(("d", "value"), [(1, 1.0), (2, 1.97), (3, 2.78)])
def test_the_dimension_of_uniform_cubes(d, value):
    found = np.mean([path_dimension(rng(r).uniform(size=(800, d))).value for r in range(3)])
    assert found == pytest.approx(value, rel=0.06)


def test_the_dimension_of_a_curve_and_of_a_random_walk():
    t = np.linspace(0, 6, 600)
    curve = np.c_[np.cos(t), np.sin(t), t]
    assert path_dimension(curve).value == pytest.approx(1.0, abs=0.02)
    walk = rng(5).normal(size=(800, 50)).cumsum(axis=0)
    assert path_dimension(walk).value == pytest.approx(2.1, abs=0.25)
    gram = path_dimension(walk @ walk.T, precomputed=True)
    assert gram.value == pytest.approx(path_dimension(walk).value, rel=1e-6)


def test_noise_in_fifty_dimensions_is_read_far_too_low():
    """The reference has 29.8 of independent Gaussians in 50 dimensions."""
    found = [path_dimension(rng(r).normal(size=(600, 50))).value for r in range(3)]
    assert np.mean(found) == pytest.approx(29.8, rel=0.15)


def test_a_dimension_says_why_it_has_no_value():
    assert path_dimension(np.zeros((199, 2))).reason == TOO_FEW_POINTS
    assert path_dimension(np.zeros((200, 2))).reason == CONSTANT
