"""The search on problems whose onset follows from arithmetic, its exactness, and bad input."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from onset_tasks import bowl, path, well
from torch import nn

import wingbeat as wb
from wingbeat.analyses.onset import bracket, find_onset, onset_cost
from wingbeat.analyses.onset.experiment import OnsetExperiment
from wingbeat.errors import RequestError, RunError, StoreError
from wingbeat.execution.request import make_request
from wingbeat.measure import metric
from wingbeat.trajectory.store import FolderStore

STEPS = 90
EXACT = {"driver": "lockstep", "dtype": torch.float64}
LOSS = {"metric": "barrier", **EXACT}


def push(by: float) -> wb.Direction:
    """Move the one weight down; the same in every replica."""
    return wb.Direction({"weight": torch.full((1, 1), -by)})


def crossing(by: float) -> int:
    """Return the first step at which the reference is beyond the reach of a push."""
    return next(s for s, w in enumerate(path(1e-3, STEPS)) if w > by)


def test_a_double_well_is_stable_once_it_is_beyond_the_push() -> None:
    by = 0.05
    known = crossing(by)
    found = find_onset(
        well(STEPS), "barrier", threshold=0.1, perturbation=push(by), tolerance=1, **EXACT
    )
    assert 10 < known < 30
    assert (found.status, found.step, found.low, found.high) == ("found", known, known - 1, known)
    assert found.monotone
    assert found.noise_floor == 0.0
    assert found.reason == ""
    own = found.values.set_index("step").value
    # between the wells at −1 and +1 stands the .25 of (w² − 1)²/4 at 0
    np.testing.assert_allclose(own[own.index < known], 0.25, atol=2e-4)
    assert (own[own.index >= known] < 1e-2).all()


def test_a_convex_bowl_is_stable_from_the_start() -> None:
    """No barrier stands in a bowl, however far the replica still is from the bottom."""
    found = find_onset(
        bowl(40), "barrier", threshold=1e-9, perturbation=push(0.1), tolerance=8, **EXACT
    )
    assert (found.status, found.step, found.low, found.high) == ("always_stable", 0, None, 0)
    assert str(found) == "stable from step 0 on, the first that was tried (95% at each step)"


def test_distance_asks_for_time_to_contract() -> None:
    """0.1 shrinks by 0.8 a step, to below 1e-3 in 21 steps: of 40, from a fork up to step 19."""
    asked = {"metric": "l2", "threshold": 1e-3, "perturbation": push(0.1), **EXACT}
    assert find_onset(bowl(40), **asked, steps=[0, 19]).status == "always_stable"
    late = find_onset(bowl(40), **asked, steps=[20])
    assert (late.status, late.step, late.reason) == ("not_reached", None, "not_reached")
    np.testing.assert_allclose(late.values.value, 0.1 * 0.8**20, rtol=1e-7)


def test_random_pushes_leave_with_the_known_probability() -> None:
    """N(0, σ²) crosses the ridge with probability Φ(−w/σ): decided only away from the share."""
    task, sigma = well(STEPS), 0.05
    noise = wb.Gaussian(sigma, relative_to="absolute")
    found = find_onset(
        task,
        "barrier",
        threshold=0.1,
        perturbation=noise,
        replicas=40,
        steps=[0, 10, 20, 30],
        **EXACT,
    )
    rows = found.table.set_index("step")
    weights = path(1e-3, STEPS)
    for step, row in rows.iterrows():
        p = 0.5 * math.erfc(weights[step] / sigma / math.sqrt(2))
        assert abs(row.left - 40 * p) <= 4 * math.sqrt(40 * p * (1 - p)) + 1e-9
    # at the ridge half of them leave: no number of replicas shows more or less than a half
    assert rows.loc[0, "verdict"] == "undecided"
    assert rows.loc[30, "verdict"] == "stable"
    assert (found.status, found.step) == ("undetermined", None)
    assert found.reason == "undecided"
    assert 0 in bracket(dict(rows.verdict)).between
    sharper = find_onset(
        task,
        "barrier",
        threshold=0.1,
        perturbation=noise,
        replicas=40,
        steps=[0, 30],
        share=0.2,
        **EXACT,
    )
    assert (sharper.status, sharper.step, sharper.low) == ("found", 30, 0)


def test_a_trial_has_the_bits_of_a_run_that_forks_there(tmp_path) -> None:
    """Momentum, dropout, BatchNorm and shuffling: all that could be lost in a stored state."""
    task = noisy_task()
    for driver in ("loop", "lockstep"):
        request = make_request(
            task,
            wb.Gaussian(0.05),
            replicas=3,
            record_every=12,
            metrics=(),
            dtype=torch.float32,
            device="cpu",
        )
        store = FolderStore(tmp_path / driver, create=True)
        experiment = OnsetExperiment(request, (0, 7), store)
        experiment.choose(driver)
        experiment.train(lambda done: None)
        ends = experiment.trial(7, lambda done: None)
        assert ends.noise == 0.0
        whole = wb.run(task, wb.Gaussian(0.05, at=7), replicas=3, metrics=("l2",), driver=driver)
        snapshot = whole.trajectory.at(12)
        assert snapshot.labels == ends.models.labels
        expected = experiment.step.layout.flatten(snapshot.params)
        # in lock step the bits may depend on the size of the stack, which is another one here
        near = {"rtol": 0.0, "atol": 0.0 if driver == "loop" else 1e-5}
        torch.testing.assert_close(ends.models.params, expected, **near)
        for name, buffer in snapshot.buffers.items():
            torch.testing.assert_close(ends.models.buffers[name], buffer, **near)


def noisy_task(**changes):
    x = torch.randn(48, 4, generator=torch.Generator().manual_seed(0))
    settings = {
        "model": lambda: nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 2)
        ),
        "loss": lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        "data": (x, (x[:, 0] > 0).long()),
        "optimizer": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
        "batch_size": 16,
        "steps": 12,
        "eval_data": (x, (x[:, 0] > 0).long()),
    }
    return wb.Task(**{**settings, **changes})


@pytest.mark.parametrize("metric", ["barrier", "barrier_error_test", "disagreement", "l2"])
def test_every_metric_agrees_with_that_of_a_run(metric) -> None:
    task = noisy_task()
    found = find_onset(task, metric, threshold=0.5, steps=[3], replicas=5, driver="loop")
    asked = metric.partition("_")[0]
    run = wb.run(task, wb.Gaussian(0.01, at=3), metrics=(asked,), driver="loop")
    names = {"barrier": "barrier_train"}
    rows = run.table[(run.table.metric == names.get(metric, metric)) & (run.table.step == 12)]
    rows = rows[(rows.a == "reference") & (rows.layer == "") & rows.b.str.startswith("gaussian")]
    np.testing.assert_allclose(found.values.value, rows.value, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", ["relative_l2", "kl", "l2_aligned", "own"])
def test_a_declared_metric_agrees_with_that_of_a_run(name) -> None:
    @metric("own", needs="weights", compares=True, unit="weight", range=(0, math.inf),
            direction="0 = identical", caption="A test")  # fmt: skip
    def own(view):
        return np.max([abs(b - b[0]).max(axis=1) for _, b in view.blocks()], axis=0)

    task, asked = noisy_task(), own if name == "own" else name
    found = find_onset(task, asked, threshold=0.5, steps=[3], replicas=5, driver="loop")
    run = wb.run(task, wb.Gaussian(0.01, at=3), metrics=(asked,), driver="loop")
    rows = run.table[(run.table.metric == name) & (run.table.step == 12)]
    rows = rows[(rows.a == "reference") & (rows.layer == "") & rows.b.str.startswith("gaussian")]
    assert (found.values.value > 0).all()
    np.testing.assert_allclose(found.values.value, rows.value, rtol=1e-6, atol=1e-12)


def test_a_search_by_another_function_is_another_search(tmp_path) -> None:
    def search(power):
        @metric("powered", needs="weights", compares=True, unit="weight", range=(0, math.inf),
                direction="0 = identical", caption="A test")  # fmt: skip
        def powered(view):
            return sum((abs(b - b[0]) ** power).sum(axis=1) for _, b in view.blocks())

        asked = {"threshold": 0.5, "steps": [3], "replicas": 5, "driver": "loop"}
        return find_onset(noisy_task(), powered, out=tmp_path, **asked)

    assert search(2).values.equals(search(2).values)
    with pytest.raises(StoreError, match="metric_code"):
        search(1)


def test_a_killed_search_goes_on_and_repeats_nothing(tmp_path, monkeypatch) -> None:
    asked = {
        "metric": "barrier",
        "threshold": 0.1,
        "perturbation": push(0.05),
        "tolerance": 10,
        **EXACT,
    }
    whole = find_onset(well(STEPS), **asked)
    trial, tried = OnsetExperiment.trial, []

    def dies(self, step, tick):
        if len(tried) == 2:
            raise KeyboardInterrupt
        tried.append(step)
        return trial(self, step, tick)

    with monkeypatch.context() as patched:
        patched.setattr(OnsetExperiment, "trial", dies)
        with pytest.raises(KeyboardInterrupt):
            find_onset(well(STEPS), **asked, out=tmp_path)
    later = []
    monkeypatch.setattr(OnsetExperiment, "trial", lambda s, k, t: later.append(k) or trial(s, k, t))
    again = find_onset(well(STEPS), **asked, out=tmp_path)
    assert not set(later) & set(tried)
    assert again.table.equals(whole.table)
    assert again.values.equals(whole.values)
    assert find_onset(well(STEPS), **asked, out=tmp_path).step == whole.step
    assert json.loads((tmp_path / "onset.json").read_text())["step"] == whole.step
    with pytest.raises(StoreError, match=r"holds another search .*threshold: there 0\.1, now 0\.2"):
        find_onset(well(STEPS), **{**asked, "threshold": 0.2}, out=tmp_path)
    with pytest.raises(StoreError, match="driver = 'lockstep'"):
        find_onset(well(STEPS), **{**asked, "driver": "loop"}, out=tmp_path)


def test_what_it_costs_is_said_before_and_kept() -> None:
    planned = onset_cost(well(STEPS), tolerance=10)
    found = find_onset(
        well(STEPS),
        "barrier",
        threshold=0.1,
        perturbation=push(0.05),
        tolerance=10,
        progress=False,
        **EXACT,
    )
    assert found.cost == planned
    assert planned.least <= found.spent <= planned.most <= planned.bound
    assert planned.reference == 2 * STEPS
    assert found.spent == 2 * STEPS + sum(6 * (STEPS - s) for s in found.table.step)
    assert f"{planned.most:,}" in planned.sentence()


def test_the_same_search_gives_the_same_bits() -> None:
    asked = {
        "metric": "barrier",
        "threshold": 0.1,
        "perturbation": wb.Gaussian(0.5),
        "tolerance": 30,
    }
    first, second = (find_onset(well(STEPS), **asked) for _ in range(2))
    assert json.dumps(first.to_json()) == json.dumps(second.to_json())


def test_a_replica_that_diverged_has_left_and_one_that_never_moved_is_not_counted() -> None:
    far = find_onset(
        well(STEPS), "barrier", threshold=0.1, perturbation=push(1e3), steps=[5], **EXACT
    )
    assert far.values.value.isna().all()
    assert set(far.values.reason) == {"diverged"}
    assert far.status == "not_reached"
    tiny = find_onset(
        well(STEPS), "barrier", threshold=0.1, perturbation=push(1e-300), steps=[5], **EXACT
    )
    assert tiny.table.counted.tolist() == [0]
    assert tiny.status == "undetermined"
    assert set(tiny.values.reason) == {"below_noise_floor"}
    assert "vanished in rounding" in tiny.warnings[0]


def test_a_stream_change_is_counted_although_it_moves_no_weight() -> None:
    found = find_onset(
        noisy_task(), "l2", threshold=1e-9, perturbation=wb.DataOrder(3), steps=[4], driver="loop"
    )
    assert found.table.counted.tolist() == [5]
    assert found.status == "not_reached"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "bariers"}, "did you mean 'barrier'"),
        ({"metric": "barrier", "threshold": None}, "threshold is None: say from which barrier"),
        ({"threshold": -1.0}, r"threshold is -1\.0"),
        ({"threshold": math.nan}, "threshold is nan"),
        ({"replicas": 4}, "replicas is 4: at confidence 0.95 even a unanimous outcome needs 5"),
        ({"confidence": 1.0}, r"confidence is 1\.0"),
        ({"share": 0.0}, r"share is 0\.0"),
        ({"steps": [0, 60]}, "steps holds 60: give whole steps from 0 to 59"),
        ({"steps": []}, "steps holds 'empty'"),
        ({"steps": [0], "tolerance": 3}, "give one of them"),
        ({"tolerance": 0}, "tolerance is 0"),
        ({"perturbation": wb.Gaussian(0.1, at=3)}, "perturbation.at is 3"),
        ({"perturbation": wb.Init()}, "perturbation is Init"),
        ({"perturbation": "gaussian"}, "pass a wb.Perturbation|pass perturbations"),
        ({"metric": "spread"}, "does not compare each replica"),
        ({"metric": "cosine"}, "is 1 for identical models"),
        ({"metric": "barrier_test"}, "needs evaluation data"),
        ({"metric": "barrier_error", "threshold": None}, "needs class predictions"),
        ({"metric": "disagreement"}, "eval_data|evaluation data"),
        ({"driver": "looop"}, "did you mean"),
    ],
)
def test_a_wrong_request_is_refused_before_training(changes, message, monkeypatch) -> None:
    monkeypatch.setattr(OnsetExperiment, "train", lambda *_: pytest.fail("it trained"))
    with pytest.raises(RequestError, match=message):
        find_onset(well(), **{"metric": "barrier", "threshold": 0.1, **changes})


def test_a_reference_that_diverges_is_an_error() -> None:
    task = bowl(12, optimizer=lambda params: torch.optim.SGD(params, lr=1e30))
    with pytest.raises(RunError, match="the reference's weights are not finite"):
        find_onset(task, "barrier", threshold=0.1, steps=[9], driver="loop")
