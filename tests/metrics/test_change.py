"""A fall at one moment: closed forms, and how often it is claimed where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from wingbeat.errors import RequestError
from wingbeat.metrics.change import change
from wingbeat.study.finished import over_seeds
from wingbeat.study.verdicts import HOLDS, all_of, judge

STEP = np.array([3.0, 3, 3, 0, 0, 0, 0, 0])
LINE = np.linspace(3, 0, 8)


def test_a_step_is_found_with_its_size_and_place():
    found = change(np.stack([STEP, STEP + 5, 2 * STEP]))
    assert found.fall.tolist() == [3.0, 3.0, 6.0]
    assert found.place.tolist() == [2.5, 2.5, 2.5]
    x = np.arange(8) - 3.5
    line = (x @ STEP) ** 2 / (x @ x) / ((STEP - STEP.mean()) ** 2).sum()
    assert found.sharpness == pytest.approx([1 - line] * 3)


def test_an_even_decline_is_no_step():
    found = change(np.stack([LINE, LINE + 1, LINE - 2]))
    assert found.fall == pytest.approx([LINE[:4].mean() - LINE[4:].mean()] * 3)
    # Two levels of four explain 16/21 of a line of eight points.
    assert found.sharpness == pytest.approx([16 / 21 - 1] * 3)


def test_the_place_is_taken_from_the_other_runs():
    early, late = np.array([3.0, 0, 0, 0]), np.array([3.0, 3, 3, 0])
    found = change(np.stack([early, late, late]))
    assert found.fall[0] == pytest.approx(early[:3].mean() - 0)
    assert found.place.tolist() == [0.5, 2.5, 2.5]


def test_the_place_is_where_the_fall_is_half_over():
    slow = np.array([[4.0, 4, 3, 0, 0, 0]])
    levels = (11 / 3, 0.0)
    assert change(slow).place == pytest.approx([2 + (3 - sum(levels) / 2) / 3])
    late = np.array([[4.0, 4, 4, 4, 0.5, 0, 0]])
    middle = (4 + 0.5 / 3) / 2
    assert change(late).place == pytest.approx([3 + (4 - middle) / 3.5])


def test_what_rises_or_stays_or_stands_alone_has_no_place():
    up = change(np.stack([-STEP, -STEP]))
    assert (up.fall < 0).all()
    assert np.isnan(up.place).all()
    still = change(np.ones((3, 4)))
    assert np.isnan([still.fall, still.sharpness, still.place]).all()
    alone = change(STEP[None])
    assert np.isnan([alone.fall, alone.sharpness]).all()
    assert alone.place.tolist() == [2.5]
    broken = change(np.stack([STEP, STEP, np.where(STEP > 0, np.nan, 0)]))
    assert np.isnan(broken.fall[2])
    assert np.isnan(broken.place[2])


@pytest.mark.parametrize("values", [np.ones(4), np.ones((2, 2)), np.ones((0, 4))])
def test_what_is_no_course_is_refused(values):
    with pytest.raises(RequestError, match="three moments"):
        change(values)


@pytest.mark.parametrize(
    ("mean", "noise", "rate"),
    [(0 * LINE, 1.0, (0, 0.03)), (LINE, 0.5, (0, 0.03)), (STEP, 0.5, (0.9, 1))],
    ids=["nothing", "even decline", "step"],
)
def test_how_often_a_transition_is_claimed(mean, noise, rate):
    rng, claimed = np.random.default_rng(0), 0
    for _ in range(100):
        found = change(mean + noise * rng.normal(size=(5, 8)))
        verdict = all_of(
            judge(over_seeds(found.fall), 1.0, above=True),
            judge(over_seeds(found.sharpness), 0.0, above=True),
        )
        claimed += verdict == HOLDS
    assert rate[0] <= claimed / 100 <= rate[1]


def test_where_nothing_changes_the_fall_is_none_on_average():
    rng = np.random.default_rng(1)
    falls = [change(rng.normal(size=(5, 8))).fall.mean() for _ in range(200)]
    assert abs(np.mean(falls)) < 3 * np.std(falls) / 200**0.5
