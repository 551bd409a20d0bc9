from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.errors import RequestError
from wingbeat.metrics.basins import METHODS, basins, dendrogram


def blocks(sizes, within, between):
    owner = np.repeat(range(len(sizes)), sizes)
    matrix = np.where(owner[:, None] == owner[None], within, between).astype(float)
    np.fill_diagonal(matrix, 0.0)
    return matrix, owner


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    method=st.sampled_from(METHODS),
    seed=st.integers(0, 1000),
)
def test_separate_blocks_are_found_in_any_order(sizes, method, seed):
    matrix, owner = blocks(sizes, 0.01, 1.0)
    order = np.random.default_rng(seed).permutation(len(owner))
    found = basins(matrix[np.ix_(order, order)], 0.1, method)
    assert found.count == len(sizes)
    same = owner[order][:, None] == owner[order][None]
    np.testing.assert_array_equal(found.labels[:, None] == found.labels[None], same)
    firsts = [list(found.labels).index(k) for k in range(found.count)]
    assert firsts == sorted(firsts), "basins are numbered by their first model"
    assert sorted(found.order()) == list(range(len(owner)))


def test_a_chain_tells_complete_from_single_linkage():
    places = np.array([0.0, 1.0, 2.0, 3.0])
    matrix = np.abs(places[:, None] - places[None])
    assert basins(matrix, 1.0, "single").count == 1
    found = basins(matrix, 1.0, "complete")
    assert found.count == 2
    for k in range(2):
        own = np.flatnonzero(found.labels == k)
        assert matrix[np.ix_(own, own)].max() <= 1.0


def test_the_threshold_itself_belongs_to_the_basin():
    assert basins([[0, 0.02], [0.02, 0]], 0.02).count == 1
    assert basins([[0, 0.0201], [0.0201, 0]], 0.02).count == 2
    assert basins(np.zeros((3, 3)), 0.0).count == 1


def test_a_model_with_undefined_barriers_is_left_out():
    matrix, _ = blocks([3, 2], 0.0, 1.0)
    matrix[1, :] = matrix[:, 1] = np.nan
    found = basins(matrix, 0.1)
    assert found.labels.tolist() == [0, -1, 0, 1, 1]
    assert found.members.tolist() == [0, 2, 3, 4]
    assert found.count == 2
    assert len(found.linkage) == 3


def test_one_model_is_one_basin():
    found = basins([[0.0]])
    assert found.count == 1
    assert dendrogram(found, ["a"]).height.shape == (0, 4)


def test_dendrogram_as_lines():
    found = basins([[0, 0.1, 0.6], [0.1, 0, 0.5], [0.6, 0.5, 0]], 0.2)
    drawn = dendrogram(found, ["a", "b", "c"])
    assert set(drawn.leaves) == {"a", "b", "c"}
    assert sorted(drawn.height.max(axis=1)) == pytest.approx([0.1, 0.6])
    assert drawn.x.min() == 0
    assert drawn.x.max() <= 2
    assert drawn.height.shape == drawn.x.shape == (2, 4)


@pytest.mark.parametrize(
    ("matrix", "hint"),
    [
        (np.zeros((2, 3)), "models, models"),
        ([[0, 1], [2, 0]], "not symmetric"),
        ([[1, 0], [0, 1]], "to itself"),
        ([[0, -1], [-1, 0]], "negative"),
        ([[0, np.inf], [np.inf, 0]], "infinite"),
    ],
)
def test_matrices_that_are_no_barriers_are_refused(matrix, hint):
    with pytest.raises(RequestError, match=hint):
        basins(matrix)


def test_other_bad_requests_are_refused():
    with pytest.raises(RequestError, match="threshold"):
        basins(np.zeros((2, 2)), -0.1)
    with pytest.raises(RequestError, match="did you mean 'complete'"):
        basins(np.zeros((2, 2)), 0.1, "complet")
    with pytest.raises(RequestError, match="2 models"):
        dendrogram(basins(np.zeros((2, 2))), ["a"])
