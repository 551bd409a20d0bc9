"""The studies of curvature: their tasks, verdicts and pages, at the smallest size that shows it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from published import small_run
from scipy.stats import t

from wingbeat.curvature import Hessian, eigenpairs, relative_change, states_along, threshold
from wingbeat.errors import RequestError
from wingbeat.studies import break_even, edge, lr_phases, phase_diagram
from wingbeat.studies.break_even.claims import conjectures
from wingbeat.studies.lr_phases.claims import MEASURED, by_rate, phase_of, soonest
from wingbeat.studies.lr_phases.plan import usual_rates
from wingbeat.study.finished import series
from wingbeat.study.runner.inline import InlineRunner
from wingbeat.tasks.full_batch import centred, tanh_task, target, two_layer_task

ONLY: Any = {"polyak_rates": (), "nesterov_rates": ()}
QUIET: Any = {"runner": InlineRunner(), "say": lambda _: None}


def page_of(path: Path | None) -> str:
    """The page without its scripts; it must ask the network for nothing."""
    assert path is not None
    text = path.read_text(encoding="utf-8")
    assert "Content-Security-Policy" in text
    bare = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r'(src|href)="https?:', bare)
    return bare


def test_centred_data_have_no_mean_and_unit_size() -> None:
    (x, labels), (other, _) = centred("digits", 300)
    assert float(x.mean(0).abs().max()) < 1e-5
    assert float((x**2).mean()) == pytest.approx(1.0, rel=1e-5)
    assert labels.dtype == torch.int64
    assert other.shape[1] == x.shape[1]


def test_the_target_is_the_published_sum_of_kinks() -> None:
    x = np.linspace(-1, 1, 41)
    relu = lambda z: np.maximum(z, 0)  # noqa: E731
    expected = -relu(x) + relu(2 * (x + 0.3)) - relu(1.5 * (x - 0.4)) + relu(0.5 * (x - 0.8))
    assert np.allclose(target(torch.from_numpy(x)).numpy(), expected)


@pytest.mark.parametrize(("gamma", "prime"), [(0.5, 0.0), (1.75, 0.0), (1.5, 1.0), (0.5, -0.5)])
def test_two_layer_steps_follow_the_flow(gamma: float, prime: float) -> None:
    """The step stays below the stability threshold at the start."""
    task = two_layer_task(128, gamma, prime, time=1.0)
    hessian = Hessian(task)
    top = float(eigenpairs(hessian.at(hessian.start(0))).values[0, 0])
    assert top < threshold(task).value


@pytest.mark.slow
def test_the_slope_has_the_sign_of_its_regime() -> None:
    """NTK scaling: the weights move less in wider nets; condensed: more."""
    for gamma, sign in ((0.5, -1), (1.75, 1)):
        changes = []
        for width in (32, 512):
            task = two_layer_task(width, gamma, 0.0, time=60.0)
            first, last = states_along(task, (0, task.steps), dtype=torch.float32)
            layout = Hessian(task, dtype=torch.float32).layout
            w0, w = (layout.unflatten(m.state.params)["w"] for m in (first, last))
            changes.append(relative_change(w0, w))
        assert sign * math.log(changes[1] / changes[0]) > 0.5


@pytest.mark.slow
def test_edge_study_end_to_end(tmp_path: Path) -> None:
    study, path, tables, *_ = small_run("edge", tmp_path)
    verdict = tables["verdicts"].iloc[0]
    assert (verdict["runs"], verdict["rule"]) == (1, "gradient descent")
    assert verdict["edge"] == int(study.conditions["edge"].iloc[0] == "edge")
    row = study.conditions.iloc[0]
    assert row["threshold"] == pytest.approx(2 / 0.6)
    steps, sharp = series(study, row["key"], "sharpness")
    assert steps[0] == 0
    assert steps[-1] == 60
    assert sharp[0] == pytest.approx(row["sharpness_start"])
    task = tanh_task(0.6, n=60, hidden=(16,), steps=60)
    hessian = Hessian(task)
    top = float(eigenpairs(hessian.at(hessian.start(0))).values[0, 0])
    assert sharp[0] == pytest.approx(top, rel=1e-4)
    text = page_of(path)
    assert str(row["edge"]) in text
    before = (tmp_path / "table.parquet").read_bytes()
    small_run("edge", tmp_path)
    assert (tmp_path / "table.parquet").read_bytes() == before


@pytest.mark.slow
def test_lr_phases_end_to_end(tmp_path: Path) -> None:
    study, path, tables, *_ = small_run("lr_phases", tmp_path)
    assert set(tables["correlations"]["measured"]) == set(MEASURED)
    phases = pd.read_csv(tmp_path / "phases.csv")
    assert phases["phase"].tolist()[1] in ("divergent", "undetermined", "chaotic")
    assert math.isfinite(phases["lambda_max"].iloc[0])
    assert abs(phases["lambda_max"].iloc[0]) < 0.05
    assert phases["sharpness_ratio"].iloc[0] > 0
    assert "Phases" in page_of(path)
    assert len(study.conditions) == 2
    assert soonest(phases) in (0.2, 50.0)


@pytest.mark.parametrize(
    ("row", "phase"),
    [
        ({"final_loss": math.nan}, "divergent"),
        ({"final_loss": 1.0}, "undetermined"),
        ({"final_loss": 1.0, "growth_low": math.nan, "growth_high": math.nan}, "undetermined"),
        ({"final_loss": 1.0, "growth_low": 1.1, "growth_high": 3.0}, "chaotic"),
        ({"final_loss": 1.0, "growth_low": 0.9, "growth_high": 3.0}, "undetermined"),
        ({"final_loss": 1.0, "growth_low": -2.0, "growth_high": 0.9}, "laminar"),
        ({"final_loss": math.nan, "growth_low": 1.1, "growth_high": 3.0}, "divergent"),
    ],
)
def test_phases(row: dict[str, Any], phase: str) -> None:
    assert phase_of(row) == phase


def test_growth_is_what_lies_above_the_same_seeds_slow_drift() -> None:
    """Growth over 100 steps: 3 e-folds above a drift of 1 e-fold, both differing between seeds."""
    drift = {0: 0.004, 1: 0.005, 2: 0.006}
    rows = [
        {"lr": lr, "seed": seed, "steps": 100, "final_loss": 0.1, "final_accuracy": 0.5,
         "final_eval_loss": 0.1, "steps_to_target": 1.0, "sharpness_end": 1.0,
         "sharpness_ratio": 1.0, "convergence_ratio": 1.0,
         "lambda_max": slow * lr / 0.1 + (0.029 + 0.001 * seed if lr == 0.2 else 0.0)}
        for lr in (0.1, 0.2)
        for seed, slow in drift.items()
    ]  # fmt: skip
    phases = by_rate(pd.DataFrame(rows[::-1]))
    assert phases["growth"].tolist() == pytest.approx([0.5, 3.0], abs=1e-12)
    assert phases["background"].tolist() == pytest.approx([0.0, 0.01], abs=1e-12)
    # Student's interval of 2.9, 3.0, 3.1 e-folds; with drifts not paired it would be three times
    # as wide. 2000 draws know its half width to about 2 %.
    half = t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    found = phases[["growth_low", "growth_high"]].iloc[1].tolist()
    assert found == pytest.approx([3.0 - half, 3.0 + half], abs=0.05 * half), "drifts are paired"
    assert phases["phase"].tolist() == ["laminar", "chaotic"]


def test_commands_repeat_what_is_unusual() -> None:
    plan = edge.EdgePlan(rates=(0.1, 0.25), **ONLY, n=100, hidden=(8,))
    told = "wingbeat study edge --lr 0.1 --lr 0.25 --samples 100 --hidden 8"
    assert edge.STUDY.command(plan) == told
    diagram = phase_diagram.DiagramPlan(widths=(8, 16), time=2.0)
    told = "wingbeat study phase-diagram --width 8 --width 16 --time 2"
    assert phase_diagram.STUDY.command(diagram) == told


def test_phase_diagram_end_to_end(tmp_path: Path) -> None:
    _, path, _, claims, _ = small_run("phase_diagram", tmp_path)
    found = pd.read_csv(tmp_path / "slopes.csv")
    assert found["theory"].tolist() == ["linear", "condensed"]
    assert found["slope"].iloc[0] < found["slope"].iloc[1]
    assert [c.ident for c in claims] == ["regime-0.5-0", "regime-1.75-0"]
    assert "condensed" in page_of(path)


@pytest.mark.slow
def test_break_even_end_to_end(tmp_path: Path) -> None:
    study, path, _, told, _ = small_run("break_even", tmp_path)
    rows = study.conditions
    assert (rows["lambda_k_most"] > 0).all()
    assert rows["conditioning"].between(0, 1).all()
    claims = conjectures(rows)
    assert len(claims) == 6
    assert set(claims["ruling"]) <= {"holds", "fails", "undetermined"}
    assert [c.verdict for c in told] == claims["ruling"].tolist()
    assert "λ_K" in page_of(path)


def test_conjectures_are_ruled_by_their_intervals() -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        [
            {
                "lr": lr,
                "batch_size": size,
                "lambda_k_most": size**0.1 / lr + 0.01 * rng.random(),
                "conditioning": lr + 0.001 * rng.random(),
                "lambda_h_most": 1.0 / lr,
            }
            for lr in (0.1, 0.2, 0.4, 0.8)
            for size in (8, 16, 32)
        ]
    )
    claims = conjectures(rows).set_index(["measured", "outcome"])
    assert claims.loc[("lr", "lambda_k_most"), "ruling"] == "holds"
    assert claims.loc[("lr", "conditioning"), "ruling"] == "holds"
    assert claims.loc[("lr", "lambda_h_most"), "ruling"] == "holds"
    assert claims.loc[("batch_size", "conditioning"), "ruling"] == "undetermined"
    flipped = rows.assign(lambda_k_most=-rows["lambda_k_most"])
    against = conjectures(flipped).set_index(["measured", "outcome"])
    assert against.loc[("lr", "lambda_k_most"), "ruling"] == "fails"


@pytest.mark.parametrize(
    "bad",
    [
        lambda: edge.EdgePlan(rates=(), **ONLY),
        lambda: edge.EdgePlan(polyak_rates=(-0.1,)),
        lambda: edge.EdgePlan(steps=1),
        lambda: lr_phases.PhasesPlan("m:f", (0.1,)),
        lambda: usual_rates("wingbeat.tasks.full_batch:tanh_task", "rate"),
        lambda: lr_phases.PhasesPlan("m:f", (0.1, -0.1)),
        lambda: phase_diagram.DiagramPlan(widths=(64,)),
        lambda: break_even.BreakEvenPlan(batch_sizes=(999,)),
        lambda: break_even.BreakEvenPlan(time=1.0),
        lambda: tanh_task(data="mnits"),
        lambda: tanh_task(loss="hinge"),
        lambda: tanh_task(n=10**6),
        lambda: tanh_task(digest="of other data"),
        lambda: two_layer_task(rate=3.0),
    ],
)
def test_bad_plans(bad: Any) -> None:
    with pytest.raises(RequestError):
        bad()
