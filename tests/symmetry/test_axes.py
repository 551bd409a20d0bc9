"""The forest of axes: splitting, cutting and tying."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.symmetry.axes import (
    AxisKind,
    factors,
    find_root,
    leaf,
    leaves,
    pin,
    product,
    segments,
    total,
    wild,
)
from wingbeat.symmetry.blocks import blocks
from wingbeat.symmetry.cut import cut
from wingbeat.symmetry.reshape import regroup
from wingbeat.symmetry.unify import broadcast, split, unify

SIZES = st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)


def free(*axes):
    return all(not found.reason for axis in axes for found in leaves(axis))


def test_a_leaf_takes_over_structure():
    heads, inner, flat = leaf(4), leaf(6), leaf(24)
    unify(product([heads, inner]), flat, "add")
    assert [f.size for f in factors(flat)] == [4, 6]
    assert factors(flat)[0] is find_root(heads)


def test_the_common_refinement_of_two_products():
    a, b = product([leaf(4), leaf(6)]), product([leaf(2), leaf(12)])
    unify(a, b, "add")
    assert [f.size for f in factors(a)] == [f.size for f in factors(b)] == [2, 2, 6]
    assert [find_root(x) for x in factors(a)] == [find_root(x) for x in factors(b)]


def test_products_without_a_common_refinement_are_pinned():
    a, b = product([leaf(4), leaf(6)]), product([leaf(6), leaf(4)])
    unify(a, b, "channel shuffle")
    assert {x.reason for x in leaves(a)} == {x.reason for x in leaves(b)} == {"channel shuffle"}


def test_sums_are_cut_where_either_is():
    a, b = total([leaf(2), leaf(5)]), total([leaf(4), leaf(3)])
    unify(a, b, "add")
    assert [s.size for s in segments(a)] == [2, 2, 3]
    assert free(a, b)


def test_a_wild_axis_ties_nothing():
    zeros, one, two = wild(5), leaf(5), leaf(5)
    assert unify(zeros, one, "add") is one
    assert unify(zeros, two, "add") is two
    assert find_root(one) is not find_root(two)


def test_a_wild_factor_becomes_a_leaf_of_whoever_meets_it():
    """Repeated key-value heads: query heads are (group, repeat), the repeat being free."""
    groups, queries = leaf(2), leaf(6)
    unify(product([groups, wild(3)]), queries, "matmul")
    outer, inner = factors(queries)
    assert outer is find_root(groups)
    assert inner.kind is AxisKind.LEAF
    assert not inner.reason


def test_a_pin_spreads_to_what_a_leaf_becomes():
    flat = leaf(6)
    pin(flat, "output")
    heads = leaf(2)
    unify(flat, product([heads, leaf(3)]), "add")
    assert find_root(heads).reason == "output"


@settings(max_examples=60, deadline=None)
@given(shape=SIZES, order=st.randoms())
def test_regrouping_and_back_changes_nothing(shape, order):
    axes = [leaf(n) for n in shape]
    flat = regroup(axes, (prod(shape),), "view")
    again = regroup(flat, shape, "view")
    assert [find_root(a) for a in again] == [find_root(a) for a in axes]
    assert free(*axes)


@settings(max_examples=60, deadline=None)
@given(outer=st.integers(1, 4), inner=st.integers(1, 4))
def test_split_is_row_major(outer, inner):
    axis = leaf(outer * inner)
    found = split(axis, outer)
    assert found is not None
    assert [part.size for part in found] == [outer, inner]


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4), data=st.data())
def test_a_cut_keeps_every_entry(sizes, data):
    axis = total([leaf(n) for n in sizes])
    place = data.draw(st.integers(1, sum(sizes) - 1))
    found = cut(axis, place)
    assert found is not None
    assert [part.size for part in found] == [place, sum(sizes) - place]


def test_a_product_is_cut_only_between_its_rows():
    axis = product([leaf(3), leaf(2)])
    assert cut(axis, 3) is None
    found = cut(axis, 4)
    assert found is not None
    assert [part.size for part in found] == [4, 2]


def test_sizes_that_do_not_divide_are_pinned_with_the_reason():
    six = leaf(6)
    regroup([product([leaf(3), six])], (9, 2), "view (view_3)")
    assert free(six)  # 6 splits into 3 and 2
    two, five = leaf(2), leaf(5)
    out = regroup([product([two, five])], (5, 2), "view (view_4)")
    assert {found.reason for axis in (two, five, *out) for found in leaves(axis)} == {
        "view (view_4)"
    }


def test_broadcasting_aligns_from_the_right():
    batch, rows, columns, bias = leaf(2), leaf(3), leaf(4), leaf(4)
    out = broadcast([(batch, rows, columns), (bias,)], (2, 3, 4), "add")
    assert [find_root(a) for a in out] == [find_root(batch), find_root(rows), find_root(columns)]
    assert find_root(bias) is find_root(columns)


def test_blocks_cover_a_tensor_once():
    axis = total([product([leaf(2), leaf(3)]), leaf(4)])
    numbers = torch.arange(50).reshape(10, 5)
    parts = blocks([axis, leaf(5)], {})
    seen = torch.cat([part.view(numbers).flatten() for part in parts])
    assert sorted(seen.tolist()) == list(range(50))


@pytest.mark.parametrize("size", [1, 7])
def test_an_axis_of_size_one_is_nothing(size):
    assert (leaf(size) is leaf(size)) == (size == 1)
