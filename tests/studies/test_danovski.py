"""The study of nMLE on iris: the map, the published numbers, the estimates, a study end to end."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.iris_update import iris_update
from typer.testing import CliRunner

import wingbeat as wb
from wingbeat.cli.study import study as app
from wingbeat.errors import RequestError
from wingbeat.lyapunov import benettin, nmle
from wingbeat.studies.danovski import STUDY
from wingbeat.studies.danovski import plan as danovski_plan
from wingbeat.studies.danovski.claims import claims
from wingbeat.studies.danovski.estimates import curve, mean_of, median_of, plain, share_of
from wingbeat.studies.danovski.experiments import (
    first_reached,
    moved,
    nudges,
    renormalised,
    run_beside,
    without_one,
)
from wingbeat.studies.danovski.found import DanovskiFindings
from wingbeat.studies.danovski.measure import measured, null_distance
from wingbeat.studies.danovski.plan import DanovskiOptions, DanovskiPlan, conditions
from wingbeat.studies.danovski.series import expansion_rates
from wingbeat.study.runner import InlineRunner
from wingbeat.tasks.iris import IrisMap, initial, iris, iris_task, map_error, without_shift


def fitted(inits: int, eta: float, epsilon: float, perturbations: int = 5):
    starts, nudged = initial(range(inits)), nudges(epsilon, inits, perturbations)
    return nmle(run_beside(IrisMap(eta), starts, nudged, 200).distances)


@pytest.mark.parametrize("eta", [0.01, 1.0, 5.0])
def test_map_is_plain_gradient_descent(eta: float) -> None:
    (x, y), _ = iris()
    start = initial([3])
    slow = iris_update(start[0].numpy(), x.numpy(), y.numpy(), eta)
    assert np.abs(IrisMap(eta)(start)[0].numpy() - slow).max() < 1e-13 * max(1.0, eta)


@pytest.mark.parametrize("eta", [0.01, 5.0])
def test_map_is_the_engines_step(eta: float) -> None:
    result = wb.run(
        iris_task(eta, 20, seed=3),
        [wb.Gaussian(1e-3, relative_to="absolute", include="weight")],
        replicas=2,
        record_every=5,
        metrics=("l2",),
        dtype=torch.float64,
        driver="lockstep",
        compiled=False,
        progress=False,
    )
    assert result.noise_floor == 0.0
    own = torch.cat([t[0].flatten() for t in result.trajectory.at(0).params.values()])
    assert torch.equal(own, initial([3])[0])
    assert map_error(result.trajectory, eta) < 1e-13
    # Another learning rate is another map: the comparison can fail.
    assert map_error(result.trajectory, 1.1 * eta) > 1e-5


def test_equal_nets_stay_equal_in_any_row() -> None:
    assert null_distance(1.0, 100) == 0.0
    starts = initial(range(70))
    whole = IrisMap(1.0)(starts)
    assert torch.equal(whole[40], IrisMap(1.0)(starts[40:41])[0])


def test_losses_and_accuracy_are_those_of_the_net() -> None:
    step, w = IrisMap(1.0), initial([0, 1])
    losses = step.losses(w, 3)
    assert torch.equal(losses[:, 0], step.loss(w))
    assert torch.allclose(losses[:, 2], step.loss(step.advance(w, 2)), rtol=1e-14)
    task = iris_task(1.0, 1, seed=1)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = task.model()
    assert float(step.loss(w)[1]) == pytest.approx(task.loss(net, task.data).item(), rel=1e-13)
    x, y = task.eval_data
    assert float(step.accuracy(w)[1]) == pytest.approx(
        float((net(x).argmax(1) == y).double().mean())
    )


@pytest.mark.parametrize("eta", [0.01, 1.0, 5.0])
def test_shifts_of_all_logits_are_carried_over(eta: float) -> None:
    step, w = IrisMap(eta), IrisMap(eta).advance(initial([0]), 50)
    shift = torch.randn(1, 83, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shift = shift - without_shift(shift)
    assert int((shift != 0).sum()) == 33
    assert float((step(w + shift) - step(w) - shift).abs().max()) < 1e-12
    assert float(without_shift(shift).abs().max()) < 1e-15


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_removing_the_shift_is_a_projection(seed: int) -> None:
    w = torch.randn(3, 83, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    once = without_shift(w)
    assert torch.allclose(without_shift(once), once, atol=1e-15)
    assert float(((w - once) * once).sum().abs()) < 1e-12
    assert bool((once.norm(dim=1) <= w.norm(dim=1)).all())


def test_nudges_move_every_kernel_weight_and_no_bias() -> None:
    found = nudges(1e-3, 40, 5)
    biases = torch.cat([found[..., 40:50], found[..., 80:]], dim=-1)
    assert float(biases.abs().max()) == 0.0
    d0 = found.abs().sum(-1)
    assert float(d0.mean()) == pytest.approx(35e-3, rel=0.02)  # Nε/2
    assert torch.allclose(nudges(1e-8, 40, 5) * 1e5, found, rtol=1e-12)


def test_nmle_at_reduced_length() -> None:
    # 40 initialisations: three standard errors are 0.05, and 14 points of the share.
    found = fitted(40, 1.0, 1e-8, 3)
    assert found.mean == pytest.approx(0.285, abs=0.05)
    assert found.share == pytest.approx(0.90, abs=0.14)
    assert not fitted(10, 0.01, 1e-8, 3).accepted.any()


@pytest.mark.long
def test_nmle_is_the_published_one() -> None:
    for epsilon, value, share in ((1e-8, 0.285, 0.90), (1e-4, 0.174, 0.62)):
        found = fitted(200, 1.0, epsilon)
        assert found.mean == pytest.approx(value, abs=0.03)
        assert found.share == pytest.approx(share, abs=0.06)
    assert fitted(100, 0.01, 1e-8).share == 0.0


def test_renormalised_exponent_is_that_of_two_orbits() -> None:
    step = IrisMap(1.0)
    found = renormalised(step, initial([0, 1]), 400)
    for row in range(2):
        other = benettin(lambda x, t: step(x[None])[0], initial([row])[0], 400, 1e-8, discard=50)
        assert found.over(50, 400)[row] == pytest.approx(other.exponent, abs=0.02)
    assert torch.equal(found.final, step.advance(initial([0, 1]), 400))
    assert np.isfinite(found.essential).all()


def test_chaos_at_one_and_none_at_a_hundredth() -> None:
    wild = renormalised(IrisMap(1.0), initial(range(12)), 200).over(0, 200)
    calm = renormalised(IrisMap(0.01), initial(range(12)), 200).over(0, 200)
    assert 0.15 < wild.mean() < 0.33  # 0.228 +- 0.075 over 100 initialisations
    assert abs(calm.mean()) < 2e-3


def test_distances_at_a_hundredth_do_not_depend_on_the_size() -> None:
    step, starts = IrisMap(0.01), initial([0, 1])
    small, large = (run_beside(step, starts, nudges(e, 2, 3), 300, 300) for e in (1e-10, 1e-5))
    assert small.distances[..., 0] / 1e-10 == pytest.approx(large.distances[..., 0] / 1e-5)
    assert small.distances[..., -1] / 1e-10 == pytest.approx(
        large.distances[..., -1] / 1e-5, rel=1e-3
    )
    assert (small.essential <= small.distances * 4 / 3 + 1e-20).all()


def test_path_is_no_shorter_than_displacement() -> None:
    starts = initial([0, 1, 2])
    went = moved(IrisMap(0.01), starts, 50)
    kernels = torch.cat([starts[:, :40], starts[:, 50:80]], dim=1).abs().numpy()
    assert (went.path >= went.displacement * kernels * (1 - 1e-9)).all()
    assert torch.equal(went.final, IrisMap(0.01).advance(starts, 50))


def test_without_one_weight() -> None:
    step, w = IrisMap(1.0), initial([0]).clone()
    w[:, 7] = 0.0
    ratios = without_one(step, w)
    assert ratios.shape == (1, 40)
    assert ratios[0, 7] == pytest.approx(1.0, rel=1e-12)
    assert (np.abs(ratios - 1) > 1e-3).any()


def test_first_reached_is_the_first() -> None:
    step, starts = IrisMap(1.0), initial(range(6))
    times = first_reached(step, starts, 200, 0.9)
    assert np.isfinite(times).any()
    for row in np.flatnonzero(np.isfinite(times)):
        at = int(times[row])
        w = starts[row : row + 1]
        assert float(step.accuracy(step.advance(w, at))[0]) >= 0.9
        assert at == 0 or float(step.accuracy(step.advance(w, at - 1))[0]) < 0.9
    assert np.isinf(first_reached(step, starts, 0, 1.0)).any()


def test_expansion_rates_of_known_series() -> None:
    x = [0.3]
    for _ in range(30_000):
        x.append(4 * x[-1] * (1 - x[-1]))
    found = expansion_rates(x, points=200)
    assert np.median(found.rates) == pytest.approx(math.log(2), rel=0.1)
    assert found.mode == pytest.approx(math.log(2), abs=0.1)
    assert (found.tried, found.equal) == (200, 0)
    assert expansion_rates([1.0, 2.0, 3.0] * 400).reason == "below_noise_floor"
    assert expansion_rates(np.ones(1000)).reason == "constant"
    assert expansion_rates([1.0, 2.0]).reason == "too_few_points"
    assert expansion_rates([*range(400), math.inf]).reason == "diverged"
    assert math.isnan(expansion_rates(np.ones(1000)).mode)
    with pytest.raises(RequestError, match="radius"):
        expansion_rates(x, radius=0.0)


def test_estimates_with_intervals() -> None:
    assert share_of([True] * 200)["high"] == 1.0
    assert share_of([])["reason"] == "too_few_points"
    assert mean_of([1.0, math.nan])["reason"] == "diverged"
    assert mean_of([1.0])["low"] is None
    # Ranks 2 and 9 of 10 hold the median with 97.9 %; 3 and 8 only with 89.1 %.
    found = median_of(np.arange(10.0))
    assert (found["value"], found["low"], found["high"]) == (4.5, 1.0, 8.0)
    assert median_of([1.0, math.nan])["reason"] == "diverged"
    with pytest.raises(ValueError, match="zip"):
        curve("x", [1.0], [])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 60), st.integers(1, 60))
def test_wilson_holds_the_share(hits: int, n: int) -> None:
    hits = min(hits, n)
    found = share_of([True] * hits + [False] * (n - hits))
    assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"eta": 0.0}, "eta"),
        ({"eta": math.nan}, "eta"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"inits": 0}, "inits"),
        ({"perturbations": 0}, "perturbations"),
        ({"late": 10}, "late"),
        ({"experiment": "nmel"}, "nmle"),
    ],
)
def test_bad_requests_are_refused(change: dict, word: str) -> None:
    asked = {"experiment": "nmle", "eta": 1.0, "inits": 3, "steps": 10}
    asked |= {"epsilon": 1e-8, "perturbations": 2} | change
    with pytest.raises(RequestError, match=word):
        danovski_plan.danovski_task(**asked)


def test_other_bad_requests() -> None:
    with pytest.raises(RequestError, match="inits"):
        DanovskiPlan(inits=2)
    with pytest.raises(RequestError, match="epsilon"):
        nudges(0.0, 1, 1)
    with pytest.raises(RequestError, match="eta"):
        IrisMap(-1.0)


def test_plan_asks_for_what_the_paper_has() -> None:
    asked = DanovskiPlan().options
    sizes = {o.epsilon for o in asked if o.experiment == "nmle" and o.eta == 1.0}
    assert len(sizes) == 14
    assert {1e-14, 1e-8, 1e-4, 1e-1} <= sizes
    assert {o.eta for o in asked if o.experiment == "nmle"} == {0.01, 1.0, 5.0}
    kinds = {o.experiment for o in asked}
    assert kinds == {"nmle", "renormalised", "orbit", "weights", "series", "accuracy"}
    assert {o.experiment for o in DanovskiPlan(quick=True).options} == kinds
    keys = [c.key for c in conditions(DanovskiPlan())]
    assert len(set(keys)) == len(keys)
    assert conditions(DanovskiPlan(inits=500))[0].key != keys[0]


def test_late_nudges_and_series_have_their_curves() -> None:
    orbit = measured(DanovskiOptions("orbit", 0.01, 3, 60, 1e-8, 2, 40))
    assert orbit["late_ratio"]["n"] == 3
    assert orbit["late_start"]["value"] == pytest.approx(0.5, abs=0.15)
    assert "curve/late/40" in orbit
    assert "curve/late/60" in orbit
    series = measured(DanovskiOptions("series", 5.0, 4, 900, late=300))
    assert series["lags_defined"]["n"] == 4
    shares = sum(series[name]["value"] for name in ("constant", "periodic", "irregular"))
    assert shares == pytest.approx(1.0)


TINY = [
    DanovskiOptions("nmle", 1.0, 4, 200, 1e-8, 2),
    DanovskiOptions("nmle", 0.01, 3, 200, 1e-8, 2),
    DanovskiOptions("renormalised", 1.0, 4, 300, late=200),
    DanovskiOptions("orbit", 0.01, 3, 60, 1e-8, 2, 40),
    DanovskiOptions("weights", 0.01, 3, 40),
    DanovskiOptions("series", 5.0, 3, 900, late=300),
    DanovskiOptions("accuracy", 1.0, 4, 60, 1e-8, 2),
]


@pytest.mark.slow
def test_study_end_to_end_and_resumed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(danovski_plan, "_quick", lambda _: TINY)
    plan, said = DanovskiPlan(quick=True), []
    found = STUDY.run(plan, tmp_path, runner=InlineRunner(), say=said.append)
    assert not found.study.failures
    assert "0 of them done already" in said[0]
    assert "experiment nmle, eta 1.0, epsilon 1e-08: done" in "\n".join(said)
    html = found.page.read_text(encoding="utf-8")
    assert "Quick study" in html
    assert 'src="http' not in html
    assert '<link rel="stylesheet"' not in html
    table = pd.read_csv(tmp_path / "estimates.csv", keep_default_na=False, na_values=[""])
    assert set(table["experiment"]) == {o.experiment for o in TINY}
    assert (table["value"].isna() == table["reason"].notna()).all()
    worst = table[table["quantity"] == "map_error"]["value"]
    assert len(worst) == len(TINY)
    assert worst.max() < 1e-12
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    verdicts = {(c["ident"], c["part"]): c["verdict"] for c in summary["claims"]}
    assert verdicts["none", ""] == "holds"
    assert verdicts["nmle_0.0001", "value"] == "not run"
    assert summary["noise_floor"] == 0.0
    assert "| **holds** |" in (tmp_path / "results.md").read_text(encoding="utf-8")
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.suffix in (".csv", ".md", ".tex")}

    words = ["danovski", "--quick", "--json", "--workers", "1", "--out", str(tmp_path)]
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0
    assert json.loads(again.stdout)["claims"] == summary["claims"]
    assert {p: p.read_bytes() for p in before} == before


def test_nothing_finished_is_not_run_everywhere(tmp_path: Path) -> None:
    from wingbeat.study.outcome import StudyResult

    empty = StudyResult(tmp_path, pd.DataFrame(), pd.DataFrame(), (), {})
    found = DanovskiFindings(DanovskiPlan(quick=True), empty)
    assert {c.verdict for c in claims(found)} == {"not run"}
    assert found.table.empty
    assert plain(math.nan)["reason"] == "too_few_points"
