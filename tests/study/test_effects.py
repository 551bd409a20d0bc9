"""Effects, leaderboard and best: closed forms, an unbalanced grid, undefined values."""

from __future__ import annotations

import itertools
from math import isnan, nan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wingbeat.errors import RequestError
from wingbeat.study.effects import best_of, leaderboard, marginal_effects

numbers = st.lists(st.floats(-5, 5), min_size=3, max_size=3)


@settings(max_examples=25, deadline=None)
@given(numbers, numbers, st.sets(st.integers(0, 8), max_size=5))
def test_an_additive_result_has_its_own_effects(a: list, b: list, gone: set) -> None:
    """y = a_i + b_j: the effect is a_i − a_0 exactly, also where cells are missing."""
    cells = [c for k, c in enumerate(itertools.product(range(3), range(3))) if k not in gone]
    cells = [(0, 0), *[c for c in cells if c != (0, 0)]]
    table = pd.DataFrame(cells, columns=["i", "j"])
    table["y"] = [a[i] + b[j] for i, j in cells]
    found = marginal_effects(table, ["i", "j"], "y")
    for row in found[found.axis == "i"].itertuples():
        matched = [j for i, j in cells if i == row.level and (0, j) in cells]
        assert row.pairs == (0 if row.level == 0 else len(matched))
        if row.level and not matched:
            assert isnan(row.effect)
            assert row.effect_reason == "not_matched"
        else:
            assert row.effect == pytest.approx(a[row.level] - a[0], abs=1e-12)
        slow = [a[i] + b[j] for i, j in cells if i == row.level]
        assert row.mean == pytest.approx(sum(slow) / len(slow), abs=1e-12)


def test_the_interval_of_a_level_is_that_of_a_mean() -> None:
    """Without several base seeds: Student's interval, to what 2,000 resamples give."""
    x = np.random.default_rng(0).normal(3.0, 1.0, 40)
    found = marginal_effects(pd.DataFrame({"i": 0, "y": x}), ["i"], "y").iloc[0]
    half = stats.t.ppf(0.975, 39) * x.std(ddof=1) / 40**0.5
    assert found["mean"] == pytest.approx(x.mean())
    assert found["high"] - found["mean"] == pytest.approx(half, rel=0.05)


def test_pairs_remove_what_seeds_have_in_common() -> None:
    rng = np.random.default_rng(1)
    shared = {seed: rng.normal(0, 10) for seed in range(6)}
    rows = [
        {"lr": lr, "seed": s, "y": shared[s] + lr + rng.normal(0, 0.01)}
        for lr in (0.0, 1.0)
        for s in shared
    ]
    found = marginal_effects(pd.DataFrame(rows), ["lr", "seed"], "y").iloc[1]
    assert found["effect"] == pytest.approx(1.0, abs=0.02)
    assert 0 < found["effect_high"] - found["effect_low"] < 0.1
    assert found["high"] - found["low"] > 5


def test_undefined_values_are_counted_not_averaged() -> None:
    table = pd.DataFrame(
        {
            "lr": [1, 1, 2, 2],
            "seed": [0, 1, 0, 1],
            "y": [1.0, 3.0, nan, nan],
            "y_reason": ["", "", "diverged", "diverged"],
        }
    )
    found = marginal_effects(table, ["lr", "seed"], "y")
    first, second = found.iloc[0], found.iloc[1]
    assert (first["mean"], first["n"], first["undefined"]) == (2.0, 2, 0)
    assert isnan(second["mean"])
    assert (second["reason"], second["n"], second["undefined"]) == ("diverged", 0, 2)
    assert (second["effect_reason"], second["pairs"]) == ("not_matched", 0)
    board = leaderboard(table, ["lr", "seed"], "y")
    assert board["lr"].tolist() == [1, 2]
    assert board["rank"].tolist() == [1, pd.NA]


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(8)))
def test_the_order_of_rows_decides_nothing(order: list) -> None:
    table = pd.DataFrame(
        {"i": [0, 0, 0, 0, 1, 1, 1, 1], "seed": [0, 1, 2, 3] * 2, "y": np.arange(8.0) ** 2}
    )
    board = leaderboard(table, ["i", "seed"], "y")
    turned = leaderboard(table.iloc[list(order)], ["i", "seed"], "y")
    assert board["i"].tolist() == turned["i"].tolist() == [0, 1]
    assert board["mean"].tolist() == pytest.approx(turned["mean"].tolist())


def test_best_and_worst() -> None:
    table = pd.DataFrame({"lr": [1, 2, 3], "y": [0.3, nan, 0.2]})
    assert best_of(table, "y")["lr"] == 3
    assert best_of(table, "y", lowest=False)["lr"] == 1
    board = leaderboard(table, ["lr"], "y", lowest=False)
    assert board["lr"].tolist() == [1, 3, 2]


def test_levels_that_are_missing_are_levels() -> None:
    """An argument that only some conditions have: None is its other level."""
    table = pd.DataFrame({"w": [None, 3.0], "y": [1.0, 5.0]}, dtype=object)
    found = marginal_effects(table, ["w"], "y")
    assert found["effect"].tolist() == [0.0, 4.0]


def test_errors() -> None:
    table = pd.DataFrame({"lr": [1], "loss": [nan]})
    with pytest.raises(RequestError, match="did you mean 'loss'"):
        best_of(table, "los")
    with pytest.raises(RequestError, match="undefined in all 1"):
        best_of(table, "loss")
    with pytest.raises(RequestError, match="no rows"):
        leaderboard(table[:0], ["lr"], "loss")
