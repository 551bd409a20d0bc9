"""The study's figures and claims about alignment, representations and ensembles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from wingbeat.cli.main import main
from wingbeat.errors import RequestError
from wingbeat.studies.butterfly import STUDY
from wingbeat.studies.butterfly.beyond import aligned, by_layer, ensembles
from wingbeat.studies.butterfly.beyond_claims import matching, turned
from wingbeat.studies.butterfly.figures import curves, drawn_cells, sections
from wingbeat.studies.butterfly.found import VALUES, ButterflyFindings
from wingbeat.studies.butterfly.grid import parse_kinds
from wingbeat.studies.butterfly.plan import MEASURES, ButterflyPlan, begun, conditions
from wingbeat.study.runner.inline import InlineRunner
from wingbeat.study.verdicts import FAILS, HOLDS, NOT_RUN

QUIET: Any = {"runner": InlineRunner(), "say": lambda _: None}
PLAN = ButterflyPlan(
    "mnist-mlp",
    {"hidden": [8], "samples": 96, "batch_size": 32, "epochs": 4},
    times=(0.0, 0.5),
    sizes=(0.1,),
    kinds=parse_kinds("gaussian"),
    replicas=2,
    seeds=1,
    eval_samples=60,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> ButterflyFindings:
    """A tiny study with every measure."""
    study, *_ = STUDY.run(PLAN, tmp_path_factory.mktemp("beyond"), **QUIET)
    return ButterflyFindings(PLAN, study)


def rows(found: ButterflyFindings, quantity: str, time: float) -> np.ndarray:
    own = found.values[(found.values["quantity"] == quantity) & (found.values["time"] == time)]
    return own["value"].to_numpy(dtype=float)


def test_aligned_and_not_stand_side_by_side(done: ButterflyFindings) -> None:
    for figure, raw in zip(aligned(done), ("barrier_train", "l2"), strict=True):
        assert len(figure.rows) == 2
        by_place = {dot.place: dot for dot in figure.dots}
        assert len(by_place) == 4, "no dot hides another"
        for dot in figure.dots:
            row, time = round(dot.place), (0.0, 0.5)[round(dot.place)]
            name = raw if dot.group == "as it is" else raw.replace("barrier", "barrier_aligned")
            name = "l2_aligned" if dot.group == "aligned" and raw == "l2" else name
            assert dot.value == pytest.approx(rows(done, name, time).mean())
            assert figure.rows[row].startswith("gaussian")
    l2 = aligned(done)[1]
    pairs = {(round(d.place), d.group): d.value for d in l2.dots}
    assert all(pairs[r, "aligned"] <= pairs[r, "as it is"] + 1e-9 for r in (0, 1))


def test_layers_stand_by_name(done: ButterflyFindings) -> None:
    (figure,) = by_layer(done, drawn_cells(done))
    assert len(figure.names) == len(figure.lines[0].y)
    table = done.table[(done.table["metric"] == "angular_cka") & (done.table["step"] == 12)]
    own = table[(table["perturbation"] == "gaussian-0.1@0") & (table["layer"] == figure.names[0])]
    assert figure.lines[0].y[0] == own["value"].median()


def test_gains_stand_over_diversity_and_angle(done: ButterflyFindings) -> None:
    figures = ensembles(done)
    assert [f.key for f in figures] == ["gain_ensemble_diversity", "gain_angular_cka"]
    for figure, quantity in zip(figures, ("ensemble_diversity", "angular_cka"), strict=True):
        for dot, time in zip(figure.dots, (0.0, 0.5), strict=True):
            assert dot.value == rows(done, "ensemble_loss_gain", time)[0]
            assert dot.place == pytest.approx(rows(done, quantity, time).mean())


def test_curves_rise_from_zero_to_the_barrier(done: ButterflyFindings) -> None:
    (figure,) = curves(done)
    for line, time in zip(figure.lines, (0.0, 0.5), strict=True):
        assert abs(line.y[0]) + abs(line.y[-1]) < 1e-12
        heights = rows(done, "barrier_train", time)
        assert max(line.high) == pytest.approx(heights.max(), abs=1e-6)


@pytest.mark.slow
def test_a_folder_begun_without_measures_goes_on_without(tmp_path: Path) -> None:
    bare = replace(PLAN, measures=())
    study, *_ = STUDY.run(bare, tmp_path, **QUIET)
    assert begun(PLAN, tmp_path) == bare
    assert begun(PLAN, tmp_path / "other") == PLAN
    again, page, *_ = STUDY.run(PLAN, tmp_path, **QUIET)
    pd.testing.assert_frame_equal(again.table, study.table)
    found = ButterflyFindings(bare, again)
    assert {part[0] for part in sections(found)} == {"maps", "growth", "curves"}
    text = page.read_text(encoding="utf-8")
    assert "With units permuted" not in text
    assert "--metric none" in text


def test_measures_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = replace(PLAN, measures=("cka",))
    assert conditions(chosen)[0].metrics[-2:] == ("barrier", "cka")
    assert "--metric cka" in STUDY.command(chosen)
    assert "--metric" not in STUDY.command(PLAN)
    with pytest.raises(RequestError, match="did you mean 'l2_aligned'"):
        replace(PLAN, measures=("l2_alligned",))
    words = ["wingbeat", "study", "butterfly", "mnist-mlp", "--metric", "ck"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


def made(*quantities: tuple[str, float, float]) -> pd.DataFrame:
    """Three base seeds, four cells: about ``factor * (cell + 1) + shift`` for each quantity.

    Up to 6 % more, for each quantity and cell in another order of the seeds, so that quotients
    and correlations of two quantities vary over seeds.
    """
    found = []
    for place_of, (quantity, factor, shift) in enumerate(quantities, 1):
        for cell in range(4):
            for seed in range(3):
                more = 0.01 * ((seed + 1) * (cell + 1) * place_of % 7)
                value = factor * (cell + 1) * (1 + more) + shift
                place = ("standard", "gaussian", 10.0**-cell, 0.0, 0, seed, "1")
                found.append((*place, quantity, value, ""))
    return pd.DataFrame(found, columns=list(VALUES))


def test_weight_matching_is_judged_by_what_it_leaves() -> None:
    raw = ("barrier_train", 1.0, 0.0)
    assert matching(made(raw)).verdict == NOT_RUN
    assert matching(made(raw, ("barrier_aligned_train", 0.95, 0.0))).verdict == HOLDS
    assert matching(made(raw, ("barrier_aligned_train", 0.3, 0.0))).verdict == FAILS


def test_angles_and_gains_are_correlated_over_cells() -> None:
    angle = ("angular_cka", 0.1, 0.0)
    rising, falling = ("ensemble_loss_gain", 0.02, 0.0), ("ensemble_loss_gain", -0.02, 0.5)
    assert turned(made(angle)).verdict == NOT_RUN
    assert turned(made(angle, rising)).verdict == HOLDS
    assert turned(made(angle, falling)).verdict == FAILS
    assert set(MEASURES) == {"ensemble", "cka", "l2_aligned", "barrier_aligned"}
