"""Figures of the spawn-and-perturb study: which number lies along which axis."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from wingbeat.studies.butterfly.figures import _above_chord, growth, maps, side_by_side
from wingbeat.studies.butterfly.found import VALUES, summarised

TIMES, SIZES = (0.0, 0.1, 0.5), (0.01, 0.2)
LEVEL = {"l2_start": 1.0, "l2": 10.0, "barrier_train": 100.0, "barrier_test": 1000.0,
         "disagreement": 0.001}  # fmt: skip


def value(quantity: str, size: float, time: float, intervention: str = "standard") -> float:
    """No two quantities, sizes, times or recipes have the same value."""
    return LEVEL[quantity] * (1 + size) * (1 + 2 * time) * (1 + 3 * (intervention != "standard"))


def cells(interventions: tuple[str, ...] = ("standard",)) -> pd.DataFrame:
    rows = [
        (name, "gaussian", s, t, int(100 * t), seed, "1", q, value(q, s, t, name), "")
        for name in interventions
        for s in SIZES
        for t in TIMES
        for q in LEVEL
        for seed in range(3)
    ]
    return summarised(pd.DataFrame(rows, columns=list(VALUES)), {"standard": 0.0})


@pytest.mark.parametrize("quantity", ["barrier_train", "barrier_test", "disagreement"])
def test_a_map_has_times_across_and_sizes_down(quantity: str) -> None:
    figure: Any = next(f for f in maps(cells()) if f.key == f"map_{quantity}")
    assert figure.columns == ("0 %", "10 %", "50 %")
    assert figure.rows == ("0.01", "0.2")
    assert figure.x_label.startswith("time")
    assert figure.y_label == "relative size"
    for row, size in enumerate(SIZES):
        for column, time in enumerate(TIMES):
            assert figure.values[row][column] == pytest.approx(value(quantity, size, time))
            assert f"gaussian {size:g} at {100 * time:g} %" in figure.hovers[row][column]


@pytest.mark.parametrize(("place", "quantity"), [(0, "barrier_train"), (1, "l2")])
def test_growth_lies_over_the_perturbations_own_norm(place: int, quantity: str) -> None:
    figure: Any = growth(cells())[place]
    assert figure.key == f"growth_{quantity}"
    assert figure.place_label.startswith("L2 norm of the perturbation")
    drawn = {(d.group, d.place): d.value for d in figure.dots}
    assert len(drawn) == len(TIMES) * len(SIZES)
    for time in TIMES:
        for size in SIZES:
            at = (f"{100 * time:g} %", pytest.approx(value("l2_start", size, time)))
            found = [v for k, v in drawn.items() if k == at]
            assert found == [pytest.approx(value(quantity, size, time))]
    assert figure.log_place
    assert figure.log_value == (quantity == "l2")


def test_interventions_stand_in_rows_by_name() -> None:
    (figure,) = side_by_side(cells(("standard", "AdamW")))
    shown: Any = figure
    assert shown.rows == ("standard", "AdamW")
    for dot in shown.dots:
        name = shown.rows[int(dot.place)]
        time = float(dot.group.split()[0]) / 100
        values = [value("barrier_train", s, time, name) for s in SIZES]
        assert any(dot.value == pytest.approx(v) for v in values), (name, time)


def test_curves_are_taken_above_the_chord() -> None:
    rows = pd.DataFrame(
        {"key": "k", "b": "p#1", "layer": ["alpha=1.0", "alpha=0.0", "alpha=0.5", "alpha=0.25"],
         "value": [4.0, 2.0, 7.0, 3.0]}
    )  # fmt: skip
    found = _above_chord(rows).set_index("alpha")["value"]
    assert found.index.tolist() == [0.0, 0.25, 0.5, 1.0]
    assert found.tolist() == pytest.approx([0.0, 0.5, 4.0, 0.0])


def test_a_cell_of_the_tests_is_as_the_study_names_it() -> None:
    row = SimpleNamespace(**cells().iloc[0].to_dict())
    assert (row.kind, row.size, row.time) == ("gaussian", 0.01, 0.0)
