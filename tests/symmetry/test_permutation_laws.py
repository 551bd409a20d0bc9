"""The permutations of a model form a group, and act on state dicts as one."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from symmetry_models import CASES, noisy_state, seeded
from symmetry_nets import mlp

from wingbeat.errors import RequestError
from wingbeat.symmetry import permutation_spec

NAMES = ("mlp", "grouped", "vit")
SEEDS = st.integers(0, 10_000)


@cache
def spec_of(name):
    case, model = CASES[name], seeded(name)
    return permutation_spec(model, case.inputs(), outputs=case.outputs), noisy_state(model)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(NAMES), one=SEEDS, two=SEEDS, three=SEEDS)
def test_group_laws(name, one, two, three):
    spec, _ = spec_of(name)
    p, q, r = (spec.random(seed) for seed in (one, two, three))
    assert p.compose(q).compose(r) == p.compose(q.compose(r))
    assert p.compose(spec.identity()) == p == spec.identity().compose(p)
    assert p.compose(p.inverse()) == spec.identity() == p.inverse().compose(p)
    assert p.compose(q).inverse() == q.inverse().compose(p.inverse())
    assert p.inverse().inverse() == p


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(NAMES), one=SEEDS, two=SEEDS)
def test_it_acts_on_weights_as_a_group(name, one, two):
    spec, state = spec_of(name)
    p, q = spec.random(one), spec.random(two)
    assert same(p.compose(q).apply(state), p.apply(q.apply(state)))
    assert same(p.inverse().apply(p.apply(state)), state)
    assert same(spec.identity().apply(state), state)


def slow_wreath(weight, heads, inner):
    """Rows (h, d) of a projection, moved with plain loops."""
    count, size = inner.shape
    out = torch.empty_like(weight)
    for h in range(count):
        for d in range(size):
            out[h * size + d] = weight[int(heads[h]) * size + int(inner[h, d])]
    return out


def test_heads_are_moved_as_blocks_with_an_inner_permutation_each():
    spec, state = spec_of("grouped")
    p = spec.random(4)
    group, inner = spec.groups[0], next(g for g in spec.groups if g.shape == (4, 6))
    rows = slow_wreath(state["depth.weight"], p.arrays[group.name], p.arrays[inner.name])
    assert torch.equal(p.apply(state)["depth.weight"], rows)


def test_fixed_points():
    spec, _ = spec_of("mlp")
    assert spec.identity().fixed_point_share == 1.0
    name = spec.groups[0].name
    swap = torch.arange(33)
    swap[[0, 1]] = swap[[1, 0]]
    p = spec.permutation({name: swap})
    assert p.fixed_point_share == pytest.approx((31 + 21) / 54)
    assert p.fixed_point_shares()[name] == pytest.approx(31 / 33)


def test_an_inner_entry_stays_only_if_its_head_does():
    spec, _ = spec_of("grouped")
    p = spec.permutation({spec.groups[0].name: [1, 0, 2, 3]})
    shares = p.fixed_point_shares()
    assert {shares[g.name] for g in spec.groups if g.parents} == {0.5}


def test_the_same_seed_gives_the_same_permutation_and_seeds_differ():
    spec, _ = spec_of("vit")
    assert spec.random(3) == spec.random(3) != spec.random(4)
    assert hash(spec.random(3)) == hash(spec.random(3))


def test_apply_lists_what_does_not_fit():
    spec, state = spec_of("mlp")
    p = spec.random(0)
    broken = {k: v for k, v in state.items() if k != "2.bias"} | {"head.weight": torch.ones(2)}
    broken["0.weight"] = torch.ones(3, 3)
    with pytest.raises(RequestError) as error:
        p.apply(broken)
    for part in ("missing: 2.bias", "unknown: head.weight", "0.weight has (3, 3)"):
        assert part in str(error.value)
    assert p.apply({"2.bias": state["2.bias"]}, strict=False).keys() == {"2.bias"}


def test_inputs_are_not_modified_and_what_does_not_move_is_shared():
    spec, state = spec_of("mlp")
    before = {key: value.clone() for key, value in state.items()}
    moved = spec.random(1).apply(state)
    assert same(state, before)
    assert moved["4.bias"] is state["4.bias"]


def test_wrong_arrays_are_refused():
    spec, _ = spec_of("mlp")
    name = spec.groups[1].name
    for array in ([0] * 21, list(range(20)), [list(range(21))]):
        with pytest.raises(RequestError, match=name):
            spec.permutation({name: array})
    with pytest.raises(RequestError, match="no group"):
        spec.permutation({"nothing": [0]})


def test_permutations_of_different_models_do_not_compose():
    spec, _ = spec_of("mlp")
    other = permutation_spec(mlp(3, 4, 2), torch.ones(1, 3))
    with pytest.raises(RequestError, match="different specifications"):
        spec.random(0).compose(other.random(0))
