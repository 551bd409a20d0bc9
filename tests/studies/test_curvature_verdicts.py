"""What the studies of curvature judge and draw, on made-up courses."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from wingbeat.stats import Estimate
from wingbeat.studies import edge
from wingbeat.studies.break_even.claims import conjectures
from wingbeat.studies.break_even.claims import ruling as ruled
from wingbeat.studies.break_even.page import _sweep
from wingbeat.studies.edge.claims import verdicts
from wingbeat.studies.edge.page import _sections
from wingbeat.studies.lr_phases import claims as lr_phases
from wingbeat.studies.lr_phases import page as phases_page
from wingbeat.studies.lr_phases.plan import PhasesPlan
from wingbeat.studies.phase_diagram import claims as regimes
from wingbeat.studies.phase_diagram import page as diagram
from wingbeat.studies.phase_diagram.plan import DiagramPlan
from wingbeat.study.analysis import Analysis
from wingbeat.study.finished import estimate_in, series
from wingbeat.study.runner.inline import InlineRunner

SHARP = {"sharpness": (4.0, 10.0), "threshold": (10.0, 10.0), "loss": (1.0, 0.5)}


def test_the_figure_shows_sharpness_over_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "wingbeat.studies.edge.page.series", lambda study, key, name: ([0, 20], list(SHARP[name]))
    )
    rows = pd.DataFrame(
        [{"rule": "gradient descent", "lr": 0.2, "seed": s, "key": "k", "sharpness_ratio": 0.5 + s}
         for s in range(3)]
    )  # fmt: skip
    (_, _, (ratio, loss)), (_, _, (rates,)) = _sections(Any, rows)
    assert [line.y for line in ratio.lines] == [(0.4, 1.0)]
    assert (ratio.y_label, ratio.guides[0].y) == ("sharpness ÷ threshold", 1.0)
    assert loss.lines[0].y == (1.0, 0.5)
    assert [(d.place, d.value) for d in rates.dots] == [(0.2, 1.5)]


def test_a_small_run_is_judged_by_its_own_numbers(tmp_path: Any) -> None:
    plan = edge.EdgePlan(rates=(0.5,), polyak_rates=(), nesterov_rates=(), n=30, hidden=(4,),
                         steps=9, seeds=1)  # fmt: skip
    study, _, tables, claims, _ = edge.STUDY.run(
        plan, tmp_path, runner=InlineRunner(), say=lambda _: None
    )
    row = study.conditions.iloc[0]
    _, sharp = series(study, row["key"], "sharpness")
    _, limits = series(study, row["key"], "threshold")
    assert limits == pytest.approx([4.0] * len(limits))
    late = (np.array(sharp) / 4.0)[-max(1, len(sharp) // 3) :]
    # torch's median of an even number is the lower of the two in the middle.
    assert row["sharpness_ratio"] == pytest.approx(sorted(late)[(len(late) - 1) // 2])
    assert (row["sharpness_start"], row["sharpness_end"]) == (sharp[0], sharp[-1])
    assert tables["verdicts"]["threshold"].tolist() == pytest.approx([4.0])
    assert tables["verdicts"]["runs"].tolist() == [1]
    assert [(c.ident, c.verdict) for c in claims] == [("edge-gradient-0.5", "undetermined")]


def test_an_edge_is_claimed_where_all_seeds_agree() -> None:
    rows = [{"rule": "gradient descent", "lr": lr, "runs": 3, "edge": at, "hover": 1.0,
             "hover_low": 0.9, "hover_high": 1.1}
            for lr, at in ((0.2, 3), (0.3, 1), (0.4, 0))]  # fmt: skip
    claims = edge.STUDY.claims(Analysis(edge.EdgePlan(), Any, {"verdicts": pd.DataFrame(rows)}))
    assert [c.verdict for c in claims] == ["holds", "undetermined", "fails"]
    assert "1 of 3 runs; sharpness ÷ threshold from then on 1 [0.9 to 1.1]" in claims[1].measured


def test_edge_verdicts_are_counted_per_optimizer_and_rate() -> None:
    rows = pd.DataFrame(
        [{"rule": rule, "lr": lr, "seed": s, "edge": word, "threshold": 2 / lr, "reached": 10.0 + s,
          "hover": 1.0 + 0.01 * s, "uneven": 0.4}
         for rule, lr, words in (("Polyak 0.9", 0.3, ["edge"] * 3),
                                 ("gradient descent", 0.4, ["edge", "stable", "edge"]))
         for s, word in enumerate(words)]
    )  # fmt: skip
    found = verdicts(rows)
    assert found["rule"].tolist() == ["gradient descent", "Polyak 0.9"]
    assert found["edge"].tolist() == [2, 3]
    assert found["verdict"].tolist() == ["edge (2), stable (1)", "edge (3)"]
    assert found["reached"].tolist() == [11.0, 11.0]
    assert found["hover"].tolist() == pytest.approx([1.01, 1.01])


def sweep(slow: dict[int, float], fast: dict[int, float], factor: float = 4.0) -> pd.DataFrame:
    """λ_max at the rates 0.1 and ``factor`` times that, by base seed."""
    usual = {"steps": 100, "final_loss": 0.1, "final_accuracy": 0.5, "final_eval_loss": 0.1,
             "steps_to_target": 1.0, "sharpness_end": 1.0, "sharpness_ratio": 1.0,
             "convergence_ratio": 1.0}  # fmt: skip
    rows = [{"lr": 0.1, "seed": s, "lambda_max": v, **usual} for s, v in slow.items()]
    rows += [{"lr": 0.1 * factor, "seed": s, "lambda_max": v, **usual} for s, v in fast.items()]
    return pd.DataFrame(rows)


HALF = t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
"""Half of Student's interval of three values that lie 0.1 apart."""


def test_the_background_is_scaled_by_the_ratio_of_rates() -> None:
    rows = sweep({0: 0.001, 1: 0.002, 2: 0.003}, {0: 0.023, 1: 0.028, 2: 0.033})
    found = lr_phases.by_rate(rows)
    assert found["background"].tolist() == pytest.approx([0.0, 0.008])
    # By hand: (λ − 4 · slow) · 100 = 1.9, 2.0, 2.1; at the smallest rate λ · 100 itself.
    assert found["growth"].tolist() == pytest.approx([0.2, 2.0])
    assert found["growth_low"].iloc[1] == pytest.approx(2.0 - HALF, abs=0.05 * HALF)
    assert found["phase"].tolist() == ["laminar", "chaotic"]


def test_growth_that_is_equal_for_all_seeds_is_kept_without_an_interval() -> None:
    """Three equal values do not bound a fourth: the value stays, the phase is open."""
    rows = sweep({0: 0.001, 1: 0.002, 2: 0.003}, {0: 0.024, 1: 0.028, 2: 0.032})
    found = lr_phases.by_rate(rows)
    assert found["growth"].tolist() == pytest.approx([0.2, 2.0])
    assert np.isnan(found[["growth_low", "growth_high"]].iloc[1]).all()
    assert found["phase"].tolist() == ["laminar", "undetermined"]
    (_, _, figures), = phases_page.sections(found)  # fmt: skip
    dots = next(f for f in figures if f.key == "growth").dots
    assert [d.value for d in dots] == pytest.approx([0.2, 2.0])


def test_the_table_says_why_a_value_or_an_interval_is_missing() -> None:
    rows = sweep({0: 0.001, 1: 0.002, 2: 0.003}, {0: 0.024, 1: 0.028, 2: 0.032})
    rows["final_loss_reason"] = ""
    rows.loc[0, ["final_loss", "final_loss_reason"]] = [math.nan, "diverged"]
    found = pd.read_csv(io.StringIO(lr_phases.by_rate(rows).to_csv(index=False)))
    assert found["growth_reason"].tolist()[1] == "no_variation"
    assert found["final_loss_reason"].tolist()[0] == "diverged"
    assert estimate_in(found.iloc[1], "growth").interval_reason == "no_variation"
    assert estimate_in(found.iloc[0], "final_loss").reason == "diverged"


def test_a_negative_background_is_not_taken_off() -> None:
    rows = sweep({0: -0.011, 1: -0.01, 2: -0.009}, {0: 0.004, 1: 0.005, 2: 0.006})
    found = lr_phases.by_rate(rows)
    assert found["background"].tolist() == pytest.approx([0.0, -0.04])
    assert found["growth"].tolist() == pytest.approx([-1.0, 0.5])
    assert found["phase"].tolist() == ["laminar", "laminar"]


def test_each_seed_has_its_own_background() -> None:
    rows = sweep({0: 0.0, 1: 0.01, 2: 0.02}, {0: 0.019, 1: 0.06, 2: 0.101}).iloc[::-1]
    found = lr_phases.by_rate(rows)
    # By hand: 1.9, 2.0, 2.1; with one background for all it would be some 40 times as wide.
    assert found["growth_low"].iloc[1] == pytest.approx(2.0 - HALF, abs=0.05 * HALF)
    assert found["growth_high"].iloc[1] == pytest.approx(2.0 + HALF, abs=0.05 * HALF)


def test_outcomes_are_those_of_the_reference(tmp_path: Any) -> None:
    table = pd.DataFrame(
        [("k", "accuracy", step, "reference", "", v) for step, v in ((0, 0.1), (5, 0.8), (9, 0.9))]
        + [("k", "accuracy", step, "p#1", "", 1.0) for step in (0, 5, 9)]
        + [("k", "eval_loss", 9, "reference", "", 0.3)],
        columns=["key", "metric", "step", "a", "b", "value"],
    )
    conditions = pd.DataFrame([{"key": "k", "status": "done"}, {"key": "x", "status": "not run"}])
    study: Any = type("S", (), {"table": table, "conditions": conditions})
    row = lr_phases.with_outcomes(study).iloc[0]
    assert (row["final_accuracy"], row["final_eval_loss"]) == (0.9, 0.3)
    assert row["target"] == pytest.approx(0.855)
    assert row["steps_to_target"] == 9.0
    assert lr_phases.with_outcomes(study, 0.5)["steps_to_target"].tolist() == [5.0]
    assert math.isnan(lr_phases.with_outcomes(study, 0.95)["steps_to_target"].iloc[0])
    study.table = pd.concat([table, table.iloc[[2]].assign(step=12, value=math.nan)])
    assert math.isnan(lr_phases.with_outcomes(study)["final_accuracy"].iloc[0])


def test_the_soonest_rate_has_the_fewest_steps() -> None:
    phases = pd.DataFrame({"lr": [0.1, 0.2, 0.4], "steps_to_target": [90.0, 30.0, math.nan],
                           "phase": ["laminar", "laminar", "chaotic"]})  # fmt: skip
    assert lr_phases.soonest(phases) == 0.2
    assert math.isnan(lr_phases.soonest(phases.assign(steps_to_target=math.nan)))
    plan = PhasesPlan("m:f", (0.1, 0.2, 0.4))
    shown = phases.assign(
        **{f"{n}_{e}": 0.0 for n in ("steps_to_target",) for e in ("low", "high")}
    )
    nothing = pd.DataFrame(columns=["measured", "outcome", "value", "low", "high", "reason", "n"])
    found = Analysis(plan, Any, {"phases": shown.assign(runs=1), "correlations": nothing})
    words = phases_page.content(found)
    assert words.headline == "laminar: 0.1 to 0.2, chaotic: 0.4."
    assert words.facts[1] == ("fastest", "0.2", "30 steps to the accuracy")


def test_phases_are_drawn_at_their_rate_and_value() -> None:
    rows = sweep({0: 0.001, 1: 0.002, 2: 0.003}, {0: 0.023, 1: 0.028, 2: 0.033})
    rows = rows.assign(sharpness_ratio=1 + 0.1 * rows["seed"], final_loss=0.1 + rows["seed"])
    phases = lr_phases.by_rate(rows)
    (_, _, figures), = phases_page.sections(phases)  # fmt: skip
    by_key = {f.key: f for f in figures}
    for name in ("lambda_max", "growth", "sharpness_ratio", "final_loss"):
        dots = [(d.place, d.value, d.low) for d in by_key[name].dots]
        own = zip(phases["lr"], phases[name], phases[f"{name}_low"], strict=True)
        assert dots == [pytest.approx(x) for x in own], name
    assert by_key["growth"].guides[0].y == 1.0
    assert [d.group for d in by_key["growth"].dots] == ["laminar", "chaotic"]


@pytest.mark.parametrize(
    ("slope", "regime"),
    [((-0.4, -0.5, -0.3), "linear"), ((0.4, 0.3, 0.5), "condensed"), ((0.4, -0.1, 0.9), "open"),
     ((-0.4, -0.9, 0.1), "open"), ((0.4, math.nan, math.nan), "open")],
)  # fmt: skip
def test_a_regime_is_measured_by_the_whole_interval(slope: tuple[float, ...], regime: str) -> None:
    assert regimes.measured_regime(Estimate(*slope)) == regime


def test_places_hold_the_slope_and_the_widest_nets() -> None:
    rows = pd.DataFrame(
        [{"gamma": g, "gamma_prime": 0.0, "width": w, "seed": s,
          "relative_change": w**power * (1 + 0.01 * s), "directions_start": 9.0,
          "directions": w / 8, "alignment": 0.1, "final_loss": 0.2}
         for g, power in ((0.5, -0.5), (1.75, 0.5)) for w in (16, 64, 256) for s in range(2)]
    )  # fmt: skip
    found = regimes.slopes(rows)
    assert found["slope"].tolist() == pytest.approx([-0.5, 0.5])
    assert found["measured"].tolist() == found["theory"].tolist() == ["linear", "condensed"]
    assert found["directions"].tolist() == [32.0, 32.0]
    figure = diagram._slope(found)
    assert [(d.place, d.value) for d in figure.dots] == [
        (0.5, pytest.approx(-0.5)), (1.75, pytest.approx(0.5))
    ]  # fmt: skip
    change = diagram._change(0.0, rows)
    assert change.lines[0].x == (16.0, 64.0, 256.0)
    assert change.lines[0].y[0] == pytest.approx(16**-0.5 * 1.005)


def test_the_headline_counts_right_wrong_and_open_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slopes are linear, condensed, open; theory says linear twice, condensed, critical."""
    places = [(0.5, "linear", -0.3, -0.1), (0.6, "linear", 0.1, 0.3), (1.5, "condensed", -1.0, 1.0),
              (1.6, "condensed", -0.5, 1.0),
              (1.0, "critical", 0.1, 0.3)]  # fmt: skip
    rows = [{"gamma": g, "gamma_prime": 0.0, "theory": t, "slope": (low + high) / 2, "low": low,
             "high": high} for g, t, low, high in places]  # fmt: skip
    claims = regimes.tested(Analysis(DiagramPlan(), Any, {"slopes": pd.DataFrame(rows)}))
    assert [c.verdict for c in claims] == ["holds", "fails", "undetermined", "undetermined"]
    monkeypatch.setattr(diagram, "done", lambda _: pd.DataFrame())
    monkeypatch.setattr(diagram, "_sections", lambda *_: [])
    monkeypatch.setattr(diagram, "_table", lambda _: None)
    study: Any = type("S", (), {})
    found = Analysis(DiagramPlan(), study, {"slopes": pd.DataFrame(rows)}, claims)
    headline = diagram.content(found).headline
    assert "Of 4 places off the critical line, 1 is in the regime" in headline
    assert "1 in the other; 2 are open" in headline


@pytest.mark.parametrize(
    ("slope", "said"),
    [(0.3, "slope 0.3 (no interval)"), (math.nan, "slope undefined: too few steps were recorded")],
)
def test_a_slope_that_decides_nothing_says_why(slope: float, said: str) -> None:
    row = {"gamma": 0.5, "gamma_prime": 0.0, "theory": "linear", "slope": slope, "low": math.nan,
           "high": math.nan, "reason": "too_few_points"}  # fmt: skip
    (claim,) = regimes.tested(Analysis(DiagramPlan(), Any, {"slopes": pd.DataFrame([row])}))
    assert (claim.measured, claim.verdict) == (said, "undetermined")


@pytest.mark.parametrize("name", ["lambda_k_most", "conditioning", "lambda_h_most"])
@pytest.mark.parametrize("sign", [1, -1])
def test_each_conjecture_has_its_sign(name: str, sign: int) -> None:
    """λ fall with the rate and grow with the batch; the conditioning the other way round."""
    expected = {"lambda_k_most": 1, "conditioning": -1, "lambda_h_most": 1}[name]
    rows = pd.DataFrame(
        [{"lr": lr, "batch_size": size,
          **dict.fromkeys(("lambda_k_most", "conditioning", "lambda_h_most"), 1.0),
          name: sign * expected * (math.log(size) - 100 * lr * (axis == "lr"))}
         for axis in ("lr",) for lr in (0.1, 0.2, 0.4, 0.8) for size in (8, 16, 32, 64)]
    )  # fmt: skip
    found = conjectures(rows).set_index(["measured", "outcome"])
    ruling = found.loc[("lr", name), "ruling"]
    assert ruling == ("holds" if sign > 0 else "fails")
    assert found.loc[("lr", name), "expected"] == -expected
    by_batch = rows.assign(**{name: sign * expected * np.log(rows["batch_size"])})
    found = conjectures(by_batch).set_index(["measured", "outcome"])
    assert found.loc[("batch_size", name), "expected"] == expected
    assert found.loc[("batch_size", name), "ruling"] == ruling


def test_sweeps_are_drawn_over_the_rate() -> None:
    rows = pd.DataFrame(
        [{"lr": lr, "batch_size": b, "lambda_k_most": 10 * lr + b + s - 1} for lr in (0.1, 0.2)
         for b in (4, 8) for s in range(3)]
    )  # fmt: skip
    figure = _sweep(rows, "lambda_k_most", "t", "λ_K")
    drawn = {(d.group, d.place): d.value for d in figure.dots}
    assert drawn[("S = 8", 0.2)] == pytest.approx(10.0)
    assert drawn[("S = 4", 0.1)] == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("sign", "low", "high", "ruling"),
    [(1, 0.1, 0.9, "holds"), (1, -0.1, 0.9, "undetermined"), (1, -0.9, -0.1, "fails"),
     (-1, -0.9, -0.1, "holds"), (-1, -0.9, 0.1, "undetermined"), (-1, 0.1, 0.9, "fails"),
     (1, math.nan, math.nan, "undetermined")],
)  # fmt: skip
def test_a_conjecture_is_ruled_by_its_whole_interval(
    sign: int, low: float, high: float, ruling: str
) -> None:
    row = pd.Series({"value": (low + high) / 2, "low": low, "high": high, "reason": ""})
    assert ruled(sign, row) == ruling
