"""Averages of weights and a drop of the rate in the study of two phases, against loops by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from test_two_phase import FORKS, one, outputs, small
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn

import wingbeat as wb
from wingbeat.curvature.tangent import TangentKernel
from wingbeat.errors import RequestError
from wingbeat.metrics.kernel import kernel_angle, kernel_distance
from wingbeat.studies.two_phase import TwoPhasePlan, averages, rate_drop
from wingbeat.studies.two_phase.claims import claims
from wingbeat.studies.two_phase.found import Runs, tables
from wingbeat.studies.two_phase.page import content
from wingbeat.studies.two_phase.plan import RateDrop, conditions, constant_rate
from wingbeat.study.analysis import Analysis
from wingbeat.task.step import TrainingStep

PLAIN = {"driver": "loop", "metrics": ("accuracy",), "replicas": 1}


def run(monkeypatch, task, every=1):
    """Run a task whose measures find it again, as a study's do by its factory."""
    for module in (averages, rate_drop):
        monkeypatch.setattr(module, "task_of", lambda _: task)
    return wb.run(task, (), record_every=every, **PLAIN)


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def by_hand(task, rate_of, model=None):
    """Train full batches with a loop of PyTorch's own; return the model after each update."""
    model = model or task.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    kept = [AveragedModel(model, use_buffers=True).module]
    for step in range(task.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_of(step)
        optimizer.zero_grad()
        task.loss(model, task.data).backward()
        optimizer.step()
        kept.append(AveragedModel(model, use_buffers=True).module)
    return kept


def started(task, result):
    model, first = task.model(), result.trajectory.at(0)
    model.load_state_dict({k: t[0] for k, t in {**first.params, **first.buffers}.items()})
    return model


def test_averages_are_those_of_a_loop_by_hand(monkeypatch):
    task = small(batch_size=24, steps=40)
    result = run(monkeypatch, task)
    kept = by_hand(task, lambda _: 0.1, started(task, result))
    kernel, single, mean = TangentKernel(task, None), [], []
    for block in averages.blocks(result.steps):
        swa = AveragedModel(kept[block[0]])
        for at in block:
            swa.update_parameters(kept[at])
        mean.append(kernel.matrix(flat(swa.module), {}))
        single.append(kernel.matrix(flat(kept[block[2]]), {}))
    assert [b[2] for b in averages.blocks(result.steps)] == [23, 28, 33, 38]
    found = averages.averages(result)
    for name, grams in (("single", single), ("average", mean)):
        for dt, pairs in ((5, 3), (15, 1)):
            apart = [kernel_distance(grams[i], grams[i + dt // 5]) for i in range(pairs)]
            assert found[f"{name}_structure/{dt}"]["value"] == pytest.approx(
                np.mean(apart), rel=2e-3
            )
    assert found["average_plateau"]["value"] > 0


def normalised():
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2))


def test_an_average_has_the_statistics_of_its_own_weights(monkeypatch):
    """As torch's `update_bn` estimates them, which divides by n − 1."""
    task = small(normalised, steps=20)
    result = run(monkeypatch, task)
    step = TrainingStep(task, torch.float32, torch.device("cpu"))
    params, buffers = averages.averaged(step, result.trajectory, [12, 14, 16])
    every = [result.trajectory.at(s).params for s in (12, 14, 16)]
    model = task.model()
    for name, p in model.named_parameters():
        p.data.copy_(sum(own[name][0] for own in every) / 3)
    assert flat(model).numpy() == pytest.approx(params.numpy(), abs=1e-6)
    update_bn([task.data[0]], model)
    own = dict(model.named_buffers())
    assert buffers["1.running_mean"].numpy() == pytest.approx(
        own["1.running_mean"].numpy(), abs=1e-6
    )
    assert (buffers["1.running_var"] * 24 / 23).numpy() == pytest.approx(
        own["1.running_var"].numpy(), rel=1e-5
    )
    last = result.trajectory.at(16).buffers
    assert float((last["1.running_mean"][0] - buffers["1.running_mean"]).abs().max()) > 1e-3


def test_a_drop_is_that_of_a_loop_by_hand(monkeypatch):
    task = small(batch_size=24, steps=40, schedule=RateDrop(4.0, 20))
    result = run(monkeypatch, task)
    kept = by_hand(task, lambda step: 0.1 if step < 20 else 0.025, started(task, result))
    last = result.trajectory.at(40)
    own = torch.cat([t[0].flatten() for t in last.params.values()])
    assert own.numpy() == pytest.approx(flat(kept[40]).numpy(), abs=2e-6)
    found, kernel = rate_drop.dropped(result), TangentKernel(task, None)
    grams = [kernel.matrix(flat(m), {}) for m in kept]
    # Five records up to the drop span 4 updates; 16 at a quarter of the rate are as much training.
    swa = AveragedModel(kept[16])
    for at in range(16, 21):
        swa.update_parameters(kept[at])
    average = kernel.matrix(flat(swa.module), {})
    assert found["to_single"]["value"] == pytest.approx(
        kernel_distance(grams[20], grams[36]), rel=2e-3
    )
    assert found["to_average"]["value"] == pytest.approx(
        kernel_distance(average, grams[36]), rel=2e-3
    )
    turns = [kernel_angle(grams[s], grams[s + 5]) for s in range(30, 36)]
    assert found["late_turn"]["value"] == pytest.approx(np.mean(turns), rel=2e-3)
    ways = [
        math.acos(float(torch.cosine_similarity(flat(kept[s]).double(), flat(kept[s + 5]).double(),
                                                dim=0)))
        for s in range(30, 36)
    ]  # fmt: skip
    assert found["late_way"]["value"] == pytest.approx(np.mean(ways), rel=2e-3)
    right = (outputs(task, last, 0).argmax(1) == task.eval_data[1]).float().mean()
    assert found["full"]["value"] == pytest.approx(float(right))


def test_noise_around_fixed_weights_is_averaged_away_and_a_drift_is_not(monkeypatch):
    """A kernel linear in its weights: w·x², Θ fixed; here by planted kernels in their place."""
    rng = np.random.default_rng(0)
    base, steps = np.diag([1.0, 2.0, 3.0, 4.0]), list(range(0, 401, 2))
    noise = {s: 0.01 * rng.normal(size=(4, 4)) for s in steps}

    def planted(kernel_of):
        made = {s: kernel_of(s) for s in steps}
        every = {"single": {}, "average": {}}
        for block in averages.blocks(steps):
            every["single"][block[2]] = made[block[2]]
            every["average"][block[2]] = np.mean([made[s] for s in block], axis=0)
        plateaus = [
            averages.confinement_of(own, "", centred=False)["plateau"]["value"]
            for own in every.values()
        ]
        return math.log2(plateaus[0] / plateaus[1])

    assert planted(lambda s: base + noise[s] + noise[s].T) == pytest.approx(math.log2(5), abs=0.35)
    turning = np.diag([4.0, 3.0, 2.0, 1.0])
    assert planted(lambda s: base + s / 400 * turning) == pytest.approx(0, abs=0.01)


# verdicts


def planted(seed, *, fall=2.0, average=0.0, after=0.0, per_way=2.0, nearer=1.0, full=0.92):
    """Return what the measures would store of one base seed, with a little noise of its own."""
    rng = np.random.default_rng(100 + seed)
    jitter = lambda by=0.03: by * rng.normal()  # noqa: E731
    found = one(seed)
    for prefix in ("", "centred_"):
        found |= {
            f"{prefix}single_plateau": 0.01,
            f"{prefix}average_plateau": 0.01 / 2 ** (fall + jitter()),
            f"{prefix}single_slope": 0.4 + jitter(),
            f"{prefix}average_slope": average + jitter(),
            f"{prefix}late_plateau": 0.01,
            f"{prefix}late_slope": 0.4 + jitter(),
            f"{prefix}late_turn": 0.1,
            f"dropped_{prefix}late_plateau": 0.001,
            f"dropped_{prefix}late_slope": after + jitter(),
            f"dropped_{prefix}late_turn": 0.01 / 2 ** (per_way + jitter()),
        }
    for name in ("single", "average", "late", "dropped_late"):
        centred = "dropped_centred_late" if name == "dropped_late" else f"centred_{name}"
        found |= {f"{own}_structure/{dt}": 0.01 for own in (name, centred) for dt in (40, 80)}
    return found | {
        "late_way": 0.1,
        "dropped_late_way": 0.01,
        "dropped_to_single": 0.01,
        "dropped_to_average": 0.01 / 2 ** (nearer + jitter()),
        "dropped_full": full,
    }


def judged(**given):
    runs = tuple(planted(s, **given) for s in range(5))
    found = Analysis(TwoPhasePlan(), None, own=Runs(runs, FORKS, 200, 800))
    found = replace(found, tables=tables(found))
    return replace(found, claims=claims(found))


@pytest.mark.parametrize(
    ("claim", "given", "verdict"),
    [
        ("average-jitter", {}, "holds"),
        ("average-jitter", {"fall": 0.0}, "fails"),
        ("average-jitter", {"fall": 1.0}, "undetermined"),
        ("centred-average-jitter", {"fall": 0.5}, "fails"),
        ("average-confined", {}, "holds"),
        ("average-confined", {"average": 0.5}, "fails"),
        ("dropped-late-confined", {}, "holds"),
        ("dropped-centred-late-confined", {"after": 1.0}, "fails"),
        ("drop-itself", {}, "holds"),
        ("drop-itself", {"per_way": 0.0}, "fails"),
        ("centred-drop-itself", {"per_way": -1.0}, "fails"),
        ("drop-average", {}, "holds"),
        ("drop-average", {"nearer": -1.0}, "fails"),
    ],
)
def test_verdicts_on_planted_kernels(claim, given, verdict):
    assert {c.ident: c.verdict for c in judged(**given).claims}[claim] == verdict


def test_tables_and_page_say_what_was_planted():
    found = judged()
    marks = found.tables["marks"].set_index("name")["found"]
    assert marks["average_fall"] == pytest.approx(2, abs=0.1)
    assert marks["dropped_turn_per_way_fall"] == pytest.approx(2, abs=0.1)
    assert marks["dropped_to_average_fall"] == pytest.approx(1, abs=0.1)
    assert marks["dropped_late_plateau_degrees"] == pytest.approx(math.degrees(math.acos(0.999)))
    rows = found.tables["at_rest"]
    assert set(rows["of"]) == {"single", "average", "late", "dropped_late"}
    said = pd.DataFrame([{"status": "done", "task": "digits", "seed": 0, "key": "k"}])
    page = content(replace(found, study=type("Study", (), {"conditions": said})()))
    assert page.sections[-1][0] == "rest"
    assert len(page.sections[-1][2][0].dots) == 8
    assert {"average", "drop"} <= set(page.definitions)


def test_what_was_not_asked_for_is_not_claimed():
    runs = tuple(one(s) for s in range(5))
    found = Analysis(TwoPhasePlan(), None, own=Runs(runs, FORKS, 200, 800))
    found = replace(found, tables=tables(found))
    assert "at_rest" not in found.tables
    assert len(claims(found)) == 8


def test_a_training_whose_drop_is_not_done_yet_leaves_its_claims_undetermined():
    runs = [planted(s) for s in range(5)]
    runs[4] = {k: v for k, v in runs[4].items() if not k.startswith("dropped")}
    found = Analysis(TwoPhasePlan(), None, own=Runs(tuple(runs), FORKS, 200, 800))
    found = replace(found, tables=tables(found))
    verdicts = {c.ident: c.verdict for c in claims(found)}
    assert verdicts["drop-itself"] == "undetermined"
    assert verdicts["average-jitter"] == "holds"


# the plan


def test_what_is_asked_for():
    plan = TwoPhasePlan(seeds=2, averages=True, rate_drop=10.0)
    grid = conditions(plan)
    assert [c.tags["rate"] for c in grid] == ["constant", "dropped"] * 2
    whole, after = grid[:2]
    assert [m.split(":")[1] for m in whole.measures] == ["two_phases", "averages", "late"]
    assert after.task().schedule == RateDrop(10.0, 400)
    assert whole.task().schedule is None
    assert after.perturbations == ()
    usual = conditions(TwoPhasePlan(seeds=1))[0]
    assert usual.arguments == whole.arguments
    assert usual.key != whole.key  # it is measured on the same training
    with pytest.raises(RequestError, match="divide by more than 1"):
        TwoPhasePlan(rate_drop=0.1)
    with pytest.raises(RequestError, match="15 records"):
        TwoPhasePlan(steps=20, averages=True)


def test_the_drop_does_not_change_the_training_before_it():
    options = {"steps": 20, "lr": 0.1, "momentum": 0.9, "eval_samples": 50}
    place = partial(constant_rate, "wingbeat.tasks.cnn:digits_task", {})
    once = [
        wb.run(place(**options, drop=drop), (), record_every=10, **PLAIN)
        for drop in ((), (10.0, 10))
    ]
    at = [[r.trajectory.at(s).params for r in once] for s in (10, 20)]
    assert all((at[0][0][k] == at[0][1][k]).all() for k in at[0][0])
    assert not all((at[1][0][k] == at[1][1][k]).all() for k in at[1][0])
