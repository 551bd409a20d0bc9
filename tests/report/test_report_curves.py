from __future__ import annotations

import math

import pandas as pd
import pytest
from report_cases import FakeResult, full, perturbation, table

from wingbeat.report.figures.curves import (
    distance,
    local_lyapunov,
    projected_ratio,
    projected_share,
    spread_figure,
)
from wingbeat.report.figures.losses import losses, replica_metrics
from wingbeat.report.figures.records import MOST_FAMILIES, MOST_POINTS, Guide, groups
from wingbeat.report.figures.style import GUIDE_STYLE, NULL_STYLE, REFERENCE_STYLE

NAME = "g-0.1@0"


def hand_made(**changes: object) -> FakeResult:
    """Two replicas, three steps, numbers chosen so that everything can be done by hand."""
    rows = [["spread", s, NAME, "", "", "", v, ""] for s, v in ((0, 1.0), (10, 2.0), (20, 8.0))]
    rows += [["spread_projected", s, NAME, "", "", "", v, ""] for s, v in ((0, 0.5), (20, 1.0))]
    rows += [
        ["projected_variance_kept", s, NAME, "", "", "", v, ""] for s, v in ((0, 0.05), (20, 0.5))
    ]
    rows += [["local_lyapunov", s, NAME, "", "", "", v, ""] for s, v in ((10, 0.07), (20, -0.01))]
    for s, far in ((0, 1.0), (10, 3.0), (20, 5.0)):
        rows += [["l2", s, NAME, "reference", f"{NAME}#{i}", "", far + i - 1, ""] for i in (1, 2)]
        rows += [
            ["train_loss", s, "", "", label, "", v, ""]
            for label, v in (("reference", 1.0), ("null", 1.0), (f"{NAME}#1", 2.0))
        ]
    base = FakeResult(
        table=table(rows), perturbations=(perturbation(NAME, replicas=2),), steps=(0, 10, 20)
    )
    return base.but(**changes)


def test_spread_numbers_title_and_exactly_zero_floor() -> None:
    figure = spread_figure(hand_made())
    assert figure is not None
    assert figure.lines[0].x == (0.0, 10.0, 20.0)
    assert figure.lines[0].y == (1.0, 2.0, 8.0)
    assert figure.lines[0].low is None
    assert figure.log_y
    assert figure.title == f"The spread of {NAME} changed ×8 from step 0 to step 20"
    assert figure.note == "noise floor: exactly 0"
    assert figure.guides == ()
    assert "2 replicas per perturbation" in figure.caption


def test_a_noise_floor_above_zero_is_a_line_and_in_the_key() -> None:
    figure = spread_figure(hand_made(noise_floor=0.25))
    assert figure is not None
    assert figure.guides == (Guide("noise floor: 0.25", 0.25),)
    assert figure.note == ""
    assert groups(figure)[-1].style == GUIDE_STYLE


def test_distance_is_median_and_range_of_the_replicas() -> None:
    figure = distance(hand_made())
    assert figure is not None
    line = figure.lines[0]
    assert line.y == (1.5, 3.5, 5.5)
    assert line.low == (1.0, 3.0, 5.0)
    assert line.high == (2.0, 4.0, 6.0)
    assert figure.title == f"The copies of {NAME} end 5.5 from the reference (median)"


def test_a_null_twin_that_moved_is_drawn_as_a_line_of_its_own() -> None:
    result = hand_made()
    moved = table([["l2", 10, "null", "reference", "null", "", 0.25, ""]])
    both = pd.concat([result.table, moved], ignore_index=True)
    figure = distance(result.but(table=both, noise_floor=0.25))
    assert figure is not None
    assert figure.lines[-1].style == NULL_STYLE
    assert figure.lines[-1].y == (0.25,)


def test_local_exponent_starts_where_its_first_interval_starts() -> None:
    figure = local_lyapunov(hand_made())
    assert figure is not None
    assert figure.stepped
    assert figure.lines[0].x == (0.0, 10.0, 20.0)
    assert figure.lines[0].y == (0.07, 0.07, -0.01)
    assert figure.guides[0].y == 0.0
    assert figure.title == f"{NAME}: the spread grew in 1 of 2 recorded intervals"


def test_projected_ratio_beside_the_full_one() -> None:
    figure = projected_ratio(hand_made())
    assert figure is not None
    assert [line.y for line in figure.lines] == [(1.0, 2.0, 8.0), (1.0, 2.0)]
    assert [line.dash for line in figure.lines] == ["solid", "dot"]
    assert figure.title.endswith("×8 in the full weight space, ×2 in the projection")


def test_projected_share() -> None:
    figure = projected_share(hand_made())
    assert figure is not None
    assert figure.lines[0].y == (0.05, 0.5)
    assert figure.title == "The projection keeps 5 % of the variance at step 0 and 50 % at step 20"


def test_losses_one_line_per_replica_reference_last() -> None:
    figure = losses(hand_made())
    assert figure is not None
    assert [(line.name, line.style) for line in figure.lines] == [
        (f"{NAME}#1", 0),
        ("reference", REFERENCE_STYLE),
    ]
    assert figure.lines[0].y == (2.0, 2.0, 2.0)
    assert "null twin equals the reference" in figure.caption
    moved = losses(hand_made(noise_floor=1e-3))
    assert moved is not None
    assert NULL_STYLE in [line.style for line in moved.lines]


def test_the_reference_is_not_compared_with_itself() -> None:
    rows = [
        ["disagreement", s, "", "reference", label, "", v, ""]
        for s in (0, 10)
        for label, v in (("reference", 0.0), (f"{NAME}#1", 0.25))
    ]
    figure = losses(FakeResult(table(rows), perturbations=(perturbation(NAME),)), "disagreement")
    assert figure is not None
    assert [line.name for line in figure.lines] == [f"{NAME}#1"]
    assert figure.title == "Disagreement at step 10: 0.25"


def test_many_replicas_become_a_median_with_a_band() -> None:
    figure = losses(full(replicas=14), "accuracy")
    assert figure is not None
    assert len(figure.lines) == 3
    assert figure.lines[0].low is not None
    assert "band: smallest to largest" in figure.caption


def test_an_own_measure_of_the_task_is_drawn_too() -> None:
    rows = [["my <f1>", s, "", "", "reference", "", 0.5, ""] for s in (0, 1)]
    result = FakeResult(table(rows), perturbations=(perturbation(NAME),))
    assert replica_metrics(result) == ("my <f1>",)
    figure = losses(result, "my <f1>")
    assert figure is not None
    assert figure.y_label == "my <f1>"


@pytest.mark.parametrize(
    "make", [spread_figure, distance, local_lyapunov, projected_ratio, projected_share]
)
def test_no_rows_no_figure(make: object) -> None:
    empty = FakeResult(table([]), perturbations=(perturbation(NAME),))
    assert make(empty) is None  # type: ignore[operator]
    assert losses(empty) is None


def test_identical_copies_give_an_empty_figure_that_says_so() -> None:
    rows = [["spread", s, NAME, "", "", "", 0.0, ""] for s in (0, 10)]
    figure = spread_figure(FakeResult(table(rows), perturbations=(perturbation(NAME),)))
    assert figure is not None
    assert figure.empty
    assert figure.title == "The spread is exactly 0 at every recorded step"
    assert "2 values of exactly 0" in figure.caption


def test_undefined_values_break_the_line_and_are_counted() -> None:
    rows = [
        ["spread", 0, NAME, "", "", "", 1.0, ""],
        ["spread", 10, NAME, "", "", "", None, "diverged"],
        ["spread", 20, NAME, "", "", "", 4.0, ""],
    ]
    figure = spread_figure(FakeResult(table(rows), perturbations=(perturbation(NAME),)))
    assert figure is not None
    assert math.isnan(figure.lines[0].y[1])
    assert "×4" in figure.title
    assert "1 diverged" in figure.caption


def test_one_replica_has_no_spread_to_draw_but_a_distance() -> None:
    rows = [["spread", s, NAME, "", "", "", None, "too_few_replicas"] for s in (0, 10)]
    rows += [["l2", s, NAME, "reference", f"{NAME}#1", "", 1.0 + s, ""] for s in (0, 10)]
    result = FakeResult(table(rows), perturbations=(perturbation(NAME, replicas=1),))
    drawn, far = spread_figure(result), distance(result)
    assert drawn is not None
    assert drawn.empty
    assert far is not None
    assert far.lines[0].low is None
    assert "band" not in far.caption
    assert "1 replica per perturbation" in far.caption


def test_long_runs_are_thinned_and_say_so() -> None:
    rows = [["spread", s, NAME, "", "", "", 1.0 + s, ""] for s in range(10_000)]
    figure = spread_figure(FakeResult(table(rows), perturbations=(perturbation(NAME),)))
    assert figure is not None
    assert len(figure.lines[0].x) == MOST_POINTS
    assert figure.lines[0].y[-1] == 10_000.0
    assert f"{MOST_POINTS} of 10,000 recorded points" in figure.caption


def test_only_the_first_perturbations_are_drawn_and_the_caption_says_so() -> None:
    names = [f"g{i}@0" for i in range(MOST_FAMILIES + 3)]
    rows = [["spread", s, n, "", "", "", 1.0, ""] for n in names for s in (0, 1)]
    result = FakeResult(table(rows), perturbations=tuple(perturbation(n) for n in names))
    figure = spread_figure(result)
    assert figure is not None
    assert len(figure.lines) == MOST_FAMILIES
    assert f"first {MOST_FAMILIES} of {MOST_FAMILIES + 3} perturbations" in figure.caption


def test_several_base_seeds_give_a_median_and_a_band() -> None:
    rows = [["spread", s, NAME, "", "", "", float(s + k), ""] for k in (1, 3) for s in (0, 10)]
    frame = table(rows).assign(seed=[0, 0, 1, 1])
    figure = spread_figure(FakeResult(frame, perturbations=(perturbation(NAME),)))
    assert figure is not None
    assert figure.lines[0].y == (2.0, 12.0)
    assert figure.lines[0].low == (1.0, 11.0)
    assert "in each of 2 base seeds" in figure.caption
