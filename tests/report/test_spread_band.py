"""The band of the spread's curve, and what its caption says it is."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from report_cases import FakeResult, perturbation, table
from scipy import stats

from wingbeat.report.figures.curves import spread_figure
from wingbeat.report.pages.run import first_figure

NAME = "g-0.1@0"


def run(*, names: tuple[str, ...] = (NAME,), low: float = 0.5) -> FakeResult:
    rows = []
    for name in names:
        for step, value in ((0, 1.0), (10, 4.0)):
            rows += [["spread", step, name, "", "", "", value, ""]]
            rows += [["spread_low", step, name, "", "", "", low * value, ""]]
            rows += [["spread_high", step, name, "", "", "", 3.0 * value, ""]]
    return FakeResult(table(rows), perturbations=tuple(perturbation(n) for n in names))


def seeded(values: list[list[float]]) -> FakeResult:
    """A result of several base seeds, a row of values for each, a step each."""
    frames = [
        table([["spread", s, NAME, "", "", "", v, ""] for s, v in enumerate(own)]).assign(seed=seed)
        for seed, own in enumerate(values)
    ]
    return FakeResult(pd.concat(frames, ignore_index=True), perturbations=(perturbation(NAME),))


def test_copies_of_one_base_seed_have_the_interval_of_the_table() -> None:
    figure = spread_figure(run())
    assert figure.lines[0].low == (0.5, 2.0)
    assert figure.lines[0].high == (3.0, 12.0)
    assert "Band: 95 % interval of what as many copies, nudged anew, have on average" in (
        figure.caption
    )
    assert "no interval" not in figure.caption
    assert figure.title == f"The spread of {NAME} changed ×4 from step 0 to step 10"


def test_a_step_without_an_interval_breaks_the_band_alone() -> None:
    found = run()
    frame = found.table.copy()
    frame.loc[(frame.metric == "spread_low") & (frame.step == 10), "value"] = math.nan
    line = spread_figure(found.but(table=frame)).lines[0]
    assert line.y == (1.0, 4.0)
    assert line.high[0] == 3.0
    assert math.isnan(line.low[1])
    assert math.isnan(line.high[1])


def test_a_result_of_before_has_no_band_and_says_so() -> None:
    found = run()
    old = found.but(table=found.table[found.table.metric == "spread"])
    figure = spread_figure(old)
    assert figure.lines[0].low is None
    assert "One value a step: no interval is drawn." in figure.caption


def test_several_base_seeds_have_students_interval_of_their_geometric_mean() -> None:
    values = [[1.0, 2.0], [2.0, 9.0], [4.0, 7.0], [3.0, 5.0]]
    figure = spread_figure(seeded(values))
    line, logs = figure.lines[0], np.log(values)
    low, high = stats.t.interval(0.95, 3, logs.mean(axis=0), stats.sem(logs, axis=0))
    assert line.y == pytest.approx(stats.gmean(values, axis=0))
    # The bootstrap's deviation is known within 2 %: 2,000 draws.
    assert np.log(line.low) == pytest.approx(low, abs=0.03 * float((high - low).max()))
    assert np.log(line.high) == pytest.approx(high, abs=0.03 * float((high - low).max()))
    assert "geometric mean over base seeds; band: its 95 % interval" in figure.caption
    assert figure.title.startswith(f"The median spread of {NAME}") is False


def test_two_base_seeds_keep_their_range() -> None:
    figure = spread_figure(seeded([[1.0, 2.0], [2.0, 9.0]]))
    assert figure.lines[0].low == (1.0, 2.0)
    assert "band: smallest to largest" in figure.caption
    assert "interval" not in figure.caption


def test_many_perturbations_have_their_bands_below_and_the_first_screen_says_where() -> None:
    names = tuple(f"g-{i}@0" for i in range(6))
    told = first_figure(run(names=names)).caption
    assert "Bands: see How far apart." in told
    assert "Bands:" not in first_figure(run()).caption
