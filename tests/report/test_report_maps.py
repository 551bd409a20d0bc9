from __future__ import annotations

import math

import pandas as pd
import pytest
from report_cases import TENSORS, FakeResult, full, perturbation, table

from wingbeat.report.figures.maps import MOST_LAYERS, layers, trajectories
from wingbeat.report.figures.records import MOST_REPLICAS
from wingbeat.report.figures.style import REFERENCE_STYLE

NAME = "g@0"


def walk(**changes: object) -> FakeResult:
    rows = [
        [f"pc{k}", s, "", "", label, "", 100.0 * k + s + offset, ""]
        for offset, label in ((0.0, "reference"), (0.0, "null"), (0.5, f"{NAME}#1"))
        for k in (1, 2, 3)
        for s in (0, 10)
    ]
    rows += [["pca_explained", k, "", "", "", "", v, ""] for k, v in ((1, 0.5), (2, 0.25))]
    return FakeResult(table(rows), perturbations=(perturbation(NAME, replicas=1),)).but(**changes)


def test_coordinates_and_variance_of_two_components() -> None:
    figure = trajectories(walk())
    assert figure is not None
    assert [p.name for p in figure.paths] == [f"{NAME}#1", "reference"]
    assert figure.paths[0].coordinates == ((100.5, 110.5), (200.5, 210.5))
    assert figure.paths[1].style == REFERENCE_STYLE
    assert figure.axes[0] == "PC 1 (weight units, 50 % of variance)"
    assert figure.title == "PC 1 and PC 2 hold 75 % of all variance"


def test_other_components_and_an_unknown_share() -> None:
    figure = trajectories(walk(), (2, 0))
    assert figure is not None
    assert figure.paths[1].coordinates == ((300.0, 310.0), (100.0, 110.0))
    assert figure.axes[0] == "PC 3 (weight units)"
    assert figure.title == "Which way do the copies go?"


def test_a_twin_that_moved_is_drawn() -> None:
    figure = trajectories(walk(noise_floor=0.1))
    assert figure is not None
    assert [p.name for p in figure.paths] == [f"{NAME}#1", "null", "reference"]


def test_a_missing_component_gives_no_figure() -> None:
    result = walk()
    without = result.table[result.table["metric"] != "pc3"]
    assert trajectories(result.but(table=without), (0, 1, 2)) is None
    assert trajectories(result.but(table=without)) is not None


def test_many_replicas_are_cut_and_the_caption_says_so() -> None:
    figure = trajectories(full(names=(NAME,), replicas=30))
    assert figure is not None
    assert len(figure.paths) == MOST_REPLICAS + 1
    assert f"At most {MOST_REPLICAS} replicas" in figure.caption


def test_several_base_seeds_show_the_first_only() -> None:
    first, second = walk().table.assign(seed=4), walk().table.assign(seed=5)
    second["value"] += 1000
    figure = trajectories(walk(table=pd.concat([first, second], ignore_index=True)))
    assert figure is not None
    assert figure.paths[1].coordinates[0] == (100.0, 110.0)
    assert "Only base seed 4 is drawn" in figure.caption


def relative(values: dict[tuple[str, int], float | None]) -> FakeResult:
    rows = [
        ["relative_l2", s, NAME, "reference", f"{NAME}#1", layer, v, "" if v else "constant"]
        for (layer, s), v in values.items()
    ]
    return FakeResult(table(rows), perturbations=(perturbation(NAME, replicas=1),))


def test_layers_are_log10_in_the_order_of_the_model() -> None:
    figure = layers(relative({("z", 0): 0.01, ("a", 0): 0.1, ("z", 10): 1.0, ("a", 10): 0.1}))
    assert figure is not None
    assert figure.layers == ("z", "a")
    assert figure.steps == (0.0, 10.0)
    assert figure.values == ((-2.0, 0.0), (-1.0, -1.0))
    assert figure.limits == (-2.0, 0.0)
    assert figure.title == f"{NAME}: z ends relatively farthest from the reference"


def test_zero_and_undefined_cells_are_blank() -> None:
    figure = layers(relative({("a", 0): 0.0, ("a", 10): 0.1, ("b", 0): None, ("b", 10): None}))
    assert figure is not None
    assert math.isnan(figure.values[0][0])
    assert all(math.isnan(v) for v in figure.values[1])
    assert not figure.empty


def test_spread_per_tensor_is_used_where_there_is_no_relative_distance() -> None:
    rows = [["spread", s, NAME, "", "", "w", v, ""] for s, v in ((0, 0.0), (5, 2.0), (10, 200.0))]
    figure = layers(FakeResult(table(rows), perturbations=(perturbation(NAME),)))
    assert figure is not None
    assert figure.values[0][1:] == pytest.approx((0.0, 2.0))
    assert "×100" in figure.title


def test_each_perturbation_has_its_own_map_and_none_without_tensors() -> None:
    result = full()
    found = layers(result, "gaussian-0.0001@500")
    assert found is not None
    assert found.layers == TENSORS
    assert found.steps[0] == 500.0
    whole = result.table[result.table["layer"] == ""]
    assert layers(result.but(table=whole)) is None


def test_very_many_tensors_are_thinned_and_the_caption_says_so() -> None:
    figure = layers(relative({(f"t{i}", s): 0.1 for i in range(300) for s in range(100)}))
    assert figure is not None
    assert len(figure.layers) == MOST_LAYERS
    assert len(figure.layers) * len(figure.steps) <= 4000
    assert f"{MOST_LAYERS} of 300 tensors" in figure.caption
