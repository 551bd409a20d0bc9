from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_cases import FakeResult, full, perturbation, scalar, table

from wingbeat.report.result_access import (
    ResultCurve,
    base_seeds,
    entry,
    first_name,
    kept,
    labels_in,
    median_curve,
    names,
    owner,
    rows,
    thin,
    undefined_note,
)


def test_median_and_range_of_each_step() -> None:
    frame = table(
        [["l2", 0, "g@0", "reference", f"g@0#{i}", "", v, ""] for i, v in enumerate((1, 2, 9))]
        + [["l2", 5, "g@0", "reference", "g@0#0", "", 4.0, ""]]
    )
    assert median_curve(frame) == ResultCurve((0.0, 5.0), (2.0, 4.0), (1.0, 4.0), (9.0, 4.0))


def test_one_value_a_step_has_no_band() -> None:
    frame = table([["spread", s, "g@0", "", "", "", s + 1.0, ""] for s in (0, 3)])
    assert median_curve(frame) == ResultCurve((0.0, 3.0), (1.0, 4.0), None, None)


def test_positive_makes_zero_undefined_and_nan_is_never_zero() -> None:
    frame = table(
        [
            ["l2", 0, "g@0", "", "", "", 0.0, ""],
            ["l2", 1, "g@0", "", "", "", None, "diverged"],
            ["l2", 2, "g@0", "", "", "", math.inf, "diverged"],
            ["l2", 3, "g@0", "", "", "", 2.0, ""],
        ]
    )
    values = median_curve(frame, positive=True).values
    assert [math.isnan(v) for v in values] == [True, True, True, False]
    assert values[3] == 2.0
    assert median_curve(frame).values[0] == 0.0


@given(st.integers(1, 5000), st.integers(2, 300))
def test_kept_holds_the_ends_and_the_limit(count: int, most: int) -> None:
    found = kept(count, most)
    assert found[0] == 0
    assert found[-1] == count - 1
    assert len(found) == min(count, most)
    assert found == sorted(set(found))


@given(st.integers(2, 400), st.integers(2, 50))
def test_thinning_takes_points_of_the_curve(count: int, most: int) -> None:
    x = tuple(float(i) for i in range(count))
    y = tuple(v * v for v in x)
    short = thin(ResultCurve(x, y, y, y), most)
    assert all(b == a * a for a, b in zip(short.steps, short.values, strict=True))
    assert short.low == short.high == short.values


def test_labels_sort_by_number() -> None:
    frame = table(
        [["train_loss", 0, "", "", b, "", 1.0, ""] for b in ("g@0#10", "g@0#2", "reference")]
    )
    assert labels_in(frame) == ("g@0#2", "g@0#10", "reference")


def test_owner_of_labels_even_with_a_hash_in_the_name() -> None:
    result = FakeResult(table([]), perturbations=(perturbation("a#b"),))
    assert owner(result, "a#b#3") == "a#b"
    assert owner(result, "reference") == "reference"
    assert owner(result, "unknown#1") == "unknown#1"


def test_entry_of_missing_text_none_and_bool_is_undefined() -> None:
    result = FakeResult(
        table([]),
        summary={
            "none": scalar(None, reason="diverged"),
            "text": scalar("divergent"),
            "flag": scalar(True),
            "good": scalar(2.0, 1.0, 3.0) | {"interval_reason": "x"},
            "bare": {"value": 4.0},
        },
    )
    assert not entry(result, "absent").defined
    assert entry(result, "none").reason == "diverged"
    assert not entry(result, "text").defined
    assert not entry(result, "flag").defined
    assert entry(result, "good")[:3] == (2.0, 1.0, 3.0)
    assert entry(result, "good").has_interval
    assert entry(result, "bare").defined
    assert not entry(result, "bare").has_interval


def test_rows_choose_by_layer_label_and_perturbation() -> None:
    result = full(replicas=2)
    one = rows(result, "l2", perturbation="gaussian-0.01@0", label="gaussian-0.01@0#2")
    assert set(one["b"]) == {"gaussian-0.01@0#2"}
    assert list(one["step"]) == sorted(one["step"])
    assert set(rows(result, "spread", layer="head.bias")["layer"]) == {"head.bias"}


def test_names_seeds_and_the_first_perturbation() -> None:
    result = full()
    assert names(result) == ("gaussian-0.01@0", "gaussian-0.0001@500")
    assert first_name(result) == "gaussian-0.01@0"
    assert first_name(result.but(summary={})) is None
    assert base_seeds(result) == ()
    assert base_seeds(result.but(table=result.table.assign(seed=3))) == (3,)


def test_undefined_values_are_counted_by_reason_but_not_before_the_fork() -> None:
    frame = table(
        [
            ["l2", 0, "g", "", "", "", None, "not_yet_forked"],
            ["l2", 1, "g", "", "", "", None, "diverged"],
            ["l2", 2, "g", "", "", "", None, "diverged"],
            ["l2", 3, "g", "", "", "", None, ""],
            ["l2", 4, "g", "", "", "", 1.0, ""],
        ]
    )
    assert undefined_note(frame) == "Undefined and left out: 2 diverged, 1 no reason given."
    assert undefined_note(frame[frame["value"] == 1.0]) == ""


@pytest.mark.parametrize("most", [2, 7])
def test_thinning_keeps_short_curves_as_they_are(most: int) -> None:
    curve = ResultCurve((0.0, 1.0), (5.0, np.inf))
    assert thin(curve, most) == curve
