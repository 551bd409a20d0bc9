"""What wb.run measures against slow loops over the recorded weights, in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from reference import weight_space as slow
from run import tasks
from run.tasks import noisy, plain, rows, value, weights_of, whole

import wingbeat as wb
from wingbeat.measure.exponents import SATURATION_FACTOR

CLOSE = {"rel": 1e-9, "abs": 1e-12}
COLUMNS = ["metric", "step", "perturbation", "a", "b", "layer", "value", "reason"]


@pytest.fixture(scope="module")
def result():
    """Two perturbations of three replicas each, one of them late, in float32."""
    return wb.run(plain(), tasks.two_forks(0.003, at=9), replicas=3, record_every=4, driver="loop")


@pytest.fixture(scope="module")
def groups(result):
    """For each perturbation: name, steps since its fork, and its points (T, N, P)."""
    found = []
    weights = weights_of(result)
    for name in dict.fromkeys(label.rsplit("#", 1)[0] for label in result.labels[2:]):
        steps = [s for s, (labels, _) in weights.items() if f"{name}#1" in labels]
        stacks = []
        for step in steps:
            labels, tensors = weights[step]
            own = [i for i, x in enumerate(labels) if x.rsplit("#", 1)[0] == name]
            stacks.append(whole(tensors)[own])
        found.append((name, steps, np.array(stacks)))
    return found


def test_columns_are_those_of_the_contract(result):
    assert list(result.table.columns) == COLUMNS
    assert result.table.step.dtype == np.int64
    assert result.table.value.dtype == np.float64
    texts = [c for c in COLUMNS if c not in ("step", "value")]
    assert all(isinstance(x, str) for c in texts for x in result.table[c].unique())


def test_a_reason_stands_exactly_where_there_is_no_value(result):
    assert ((result.table.reason != "") == result.table.value.isna()).all()


def test_steps_and_labels(result):
    assert result.steps == (0, 4, 8, 9, 12, 16, 20)
    assert result.labels[:2] == ("reference", "null")
    assert result.labels[2:5] == tuple(f"gaussian-0.003@0#{i}" for i in (1, 2, 3))


def test_distances_of_every_layer_and_the_whole(result):
    for step, (labels, tensors) in weights_of(result).items():
        for layer, points in [("", whole(tensors)), *tensors.items()]:
            for place, label in enumerate(labels[1:], start=1):
                where = {"step": step, "b": label, "layer": layer}
                apart = slow.distance(points[0], points[place])
                cosine = slow.dot(points[0], points[place]) / (
                    slow.norm(points[0]) * slow.norm(points[place])
                )
                relative = apart / slow.norm(points[0])
                assert value(result, metric="l2", **where) == pytest.approx(apart, **CLOSE)
                assert value(result, metric="cosine", **where) == pytest.approx(cosine, **CLOSE)
                got = value(result, metric="relative_l2", **where)
                assert got == pytest.approx(relative, **CLOSE)
    distances = rows(result, metric="l2")
    assert set(distances.a) == {"reference"}
    assert (distances[distances.b == "null"].value == 0).all()
    assert set(distances[distances.b == "null"].perturbation) == {"null"}


def test_spread_of_every_layer_and_the_whole(result):
    weights = weights_of(result)
    for step, (labels, tensors) in weights.items():
        for name in dict.fromkeys(x.rsplit("#", 1)[0] for x in labels[2:]):
            own = [i for i, x in enumerate(labels) if x.rsplit("#", 1)[0] == name]
            for layer, points in [("", whole(tensors)), *tensors.items()]:
                found = value(result, metric="spread", step=step, perturbation=name, layer=layer)
                assert found == pytest.approx(slow.spread(points[own]), **CLOSE)


def test_convergence_ratio(result, groups):
    for name, _, points in groups:
        expected = slow.spread(points[-1]) / slow.spread(points[0])
        assert result.summary[f"{name}/convergence_ratio"]["value"] == pytest.approx(expected)
    first = groups[0][0]
    assert result.convergence_ratio == result.summary[f"{first}/convergence_ratio"]["value"]
    entry = result.summary["convergence_ratio"]
    assert entry["low"] <= entry["value"] <= entry["high"]


def test_projected_spread_and_ratio(result, groups):
    for name, steps, points in groups:
        expected = slow.projected_spread(points, 3)
        for step, one, full in zip(steps, expected, map(slow.spread, points), strict=True):
            where = {"step": step, "perturbation": name}
            found = value(result, metric="spread_projected", **where)
            kept = value(result, metric="projected_variance_kept", **where)
            assert found == pytest.approx(one, rel=1e-6)
            assert kept == pytest.approx((one / full) ** 2, rel=1e-6)
        ratio = result.summary[f"{name}/convergence_ratio_projected"]["value"]
        assert ratio == pytest.approx(expected[-1] / expected[0], rel=1e-6)


def test_local_exponents(result, groups):
    for name, steps, points in groups:
        sizes = [slow.spread(p) for p in points]
        assert len(rows(result, metric="local_lyapunov", perturbation=name)) == len(steps) - 1
        for t in range(1, len(steps)):
            slope = math.log(sizes[t] / sizes[t - 1]) / (steps[t] - steps[t - 1])
            found = value(result, metric="local_lyapunov", step=steps[t], perturbation=name)
            assert found == pytest.approx(slope, **CLOSE)


def reference_distances(result, name):
    steps, found = [], []
    for step, (labels, tensors) in weights_of(result).items():
        own = [i for i, x in enumerate(labels) if x.rsplit("#", 1)[0] == name]
        if own:
            points = whole(tensors)
            steps.append(step)
            found.append([slow.distance(points[0], points[i]) for i in own])
    return steps, np.array(found)


def test_exponents(result, groups):
    final = weights_of(result)[result.steps[-1]][1]
    limit = SATURATION_FACTOR * math.sqrt(2) * slow.norm(whole(final)[0])
    found = result.summary["saturation_distance"]["value"]
    assert found == pytest.approx(limit)
    for name, _, _ in groups:
        steps, apart = reference_distances(result, name)
        logs = np.log(apart).mean(axis=1)
        assert (np.exp(logs) < limit).all(), "the window is the whole run"
        slope, _ = slow.least_squares(steps, logs)
        two_point = (logs[-1] - logs[0]) / (steps[-1] - steps[0])
        get = {k: result.summary[f"{name}/{k}"]["value"] for k in ("lyapunov", "lyapunov_r2")}
        assert get["lyapunov"] == pytest.approx(slope, rel=1e-9)
        assert 0 <= get["lyapunov_r2"] <= 1
        entry = result.summary[f"{name}/lyapunov_two_point"]
        assert entry["value"] == pytest.approx(two_point, rel=1e-9)
        per_epoch = result.summary[f"{name}/lyapunov_per_epoch"]["value"]
        assert per_epoch == pytest.approx(5 * slope, rel=1e-9)
        ends = [result.summary[f"{name}/{k}"]["value"] for k in ("initial_l2", "final_l2")]
        assert ends == pytest.approx([apart[0].mean(), apart[-1].mean()])


def test_the_window_ends_at_saturation():
    """A perturbation as large as the weights: no point before saturation is left."""
    result = wb.run(plain(), wb.Gaussian(3.0), replicas=3, record_every=4, driver="loop")
    assert result.summary["lyapunov"]["value"] is None
    assert result.summary["lyapunov"]["reason"] == "saturated"
    assert math.isnan(result.lyapunov)
    assert result.summary["lyapunov_two_point"]["value"] is not None


def test_saturation_is_measured_where_independent_runs_ride_along():
    result = wb.run(
        plain(), [wb.Gaussian(0.01), wb.Init(5)], replicas=3, record_every=20, driver="loop"
    )
    _, apart = reference_distances(result, "init-5@0")
    expected = SATURATION_FACTOR * apart[-1].mean()
    assert result.summary["saturation_distance"]["value"] == pytest.approx(expected)


def test_early_late_and_participation(result, groups):
    for name, steps, points in groups:
        sizes = [slow.spread(p) for p in points]
        found = result.summary[f"{name}/early_late_ratio"]["value"]
        assert found == pytest.approx(slow.early_late(steps, sizes), rel=1e-9)
        dimension = result.summary[f"{name}/participation_ratio"]["value"]
        assert dimension == pytest.approx(slow.participation_ratio(points[-1]), rel=1e-6)


def test_path_length_and_velocity(result):
    weights = weights_of(result)
    for place, label in enumerate(result.labels):
        stops = [(s, whole(t)[place]) for s, (labels, t) in weights.items() if label in labels]
        length = sum(slow.distance(a, b) for (_, a), (_, b) in itertools.pairwise(stops))
        assert value(result, metric="path_length", b=label) == pytest.approx(length, **CLOSE)
        speed = length / (stops[-1][0] - stops[0][0])
        assert value(result, metric="velocity", b=label) == pytest.approx(speed, **CLOSE)


def test_losses_are_means_since_the_last_record(result):
    losses = result.trajectory.losses.double().numpy()
    assert losses.shape == (20, len(result.labels))
    assert np.isnan(losses[:9, 5:]).all()
    assert np.isfinite(losses[9:]).all()
    for before, step in zip(result.steps, result.steps[1:], strict=False):
        for place, label in enumerate(result.labels):
            if np.isfinite(losses[before, place]):
                found = value(result, metric="train_loss", step=step, b=label)
                assert found == pytest.approx(losses[before:step, place].mean(), **CLOSE)
            else:
                assert rows(result, metric="train_loss", step=step, b=label).empty


def test_components_hold_the_distances_between_points(result):
    explained = rows(result, metric="pca_explained")
    assert explained.value.sum() <= 1 + 1e-9
    assert (explained.value.diff().dropna() <= 1e-9).all()
    points = np.concatenate([whole(t) for _, t in weights_of(result).values()])
    for component in (1, 2, 3):
        found = rows(result, metric=f"pc{component}").value.to_numpy()
        expected = slow.scores(points, 3)[:, component - 1]
        signless = min(np.abs(found - expected).max(), np.abs(found + expected).max())
        assert signless < 1e-6 * np.abs(expected).max()


def test_order_of_replicas_does_not_matter(groups):
    from wingbeat.metrics import spread

    for _, _, points in groups:
        assert spread(points[:, ::-1]) == pytest.approx(spread(points), rel=1e-12)


def test_a_perturbation_measures_the_same_alone_and_in_company(result):
    alone = wb.run(
        plain(), tasks.two_forks(0.003, at=9)[1], replicas=3, record_every=4, driver="loop"
    )
    name = alone.labels[2].rsplit("#", 1)[0]
    for metric in ("l2", "spread", "local_lyapunov", "train_loss"):
        a = rows(result, metric=metric, perturbation=name)
        b = rows(alone, metric=metric, perturbation=name)
        shared = b.step.isin(result.steps)
        assert a.value.tolist() == b[shared].value.tolist()


def test_later_replicas_leave_the_earlier_ones_alone():
    """Replica 1 is the same number whether two or four ride along."""
    few = wb.run(plain(steps=8), wb.Gaussian(0.01), replicas=2, driver="loop")
    many = wb.run(plain(steps=8), wb.Gaussian(0.01), replicas=4, driver="loop")
    for label in few.labels:
        a, b = rows(few, metric="l2", b=label), rows(many, metric="l2", b=label)
        assert a.value.tolist() == b.value.tolist()


# ---- evaluation ---------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["loop", "lockstep"])
def evaluated(request):
    task = noisy(steps=7, eval_metrics={"margin": margin})
    wanted = ("eval_loss", "accuracy", "disagreement", "margin")
    return wb.run(
        task, wb.Gaussian(0.3), replicas=3, record_every=7, driver=request.param, metrics=wanted
    )


def margin(model, batch):
    top = model(batch[0]).softmax(-1).topk(2).values
    return (top[:, 0] - top[:, 1]).mean()


def by_hand(snapshot, place, x, y):
    """Load one replica into a plain module and evaluate it sample by sample."""
    model = tasks.noisy_net()
    state = {k: t[place] for k, t in (snapshot.params | snapshot.buffers).items()}
    model.load_state_dict(state)
    model.eval()
    with torch.no_grad():
        scores = model(x)
        losses = torch.nn.functional.cross_entropy(scores, y, reduction="none").double()
        top = scores.softmax(-1).topk(2).values.double()
    return losses.mean().item(), (top[:, 0] - top[:, 1]).mean().item(), scores.argmax(-1)


def test_evaluation_is_that_of_a_plain_loop(evaluated):
    """50 samples in batches of 16: the last batch of 2 counts 2, not 16."""
    x, y = tasks.points(50, 1)
    for snapshot in evaluated.trajectory:
        reference = by_hand(snapshot, 0, x, y)[2]
        for place, label in enumerate(snapshot.labels):
            loss, gap, predicted = by_hand(snapshot, place, x, y)
            where = {"step": snapshot.step, "b": label}
            assert value(evaluated, metric="eval_loss", **where) == pytest.approx(loss, rel=1e-5)
            assert value(evaluated, metric="margin", **where) == pytest.approx(gap, rel=1e-4)
            right = (predicted == y).double().mean().item()
            assert value(evaluated, metric="accuracy", **where) == pytest.approx(right, abs=1e-9)
            apart = (predicted != reference).double().mean().item()
            got = value(evaluated, metric="disagreement", **where)
            assert got == pytest.approx(apart, abs=1e-12)
    mean = evaluated.summary["final_disagreement"]["value"]
    last = rows(evaluated, metric="disagreement", step=7, perturbation="gaussian-0.3@0")
    assert mean == pytest.approx(last.value.mean())


def test_regression_has_no_predictions():
    x, y = tasks.points()
    task = plain(
        model=tasks.line, loss=tasks.squares, data=(x, y.float()), eval_data=(x, y.float()), steps=3
    )
    wanted = ("eval_loss", "accuracy", "disagreement")
    result = wb.run(task, wb.Gaussian(0.1), replicas=2, driver="loop", metrics=wanted)
    for metric in ("accuracy", "disagreement"):
        found = rows(result, metric=metric)
        assert found.value.isna().all()
        assert set(found.reason) == {"no_predictions"}
    assert rows(result, metric="eval_loss").value.notna().all()


def test_dictionaries_and_own_predictions():
    x, y = tasks.points()
    task = plain(
        data={"input": x, "label": y},
        eval_data={"input": x, "label": y},
        loss=lambda m, b: torch.nn.functional.cross_entropy(m(b["input"]), b["label"]),
        predict=lambda m, b: m(b["input"]),
        targets=lambda b: b["label"],
        steps=3,
    )
    result = wb.run(task, wb.Gaussian(0.1), replicas=2, driver="loop", metrics=("accuracy",))
    assert rows(result, metric="accuracy").value.between(0, 1).all()


def test_the_optimizer_s_state_is_carried_across_epochs():
    """Against a plain torch loop of three epochs with momentum and one with Adam."""
    for optimizer in (tasks.momentum, tasks.adam):
        task = plain(optimizer=optimizer, steps=15, sampling="sequential")
        result = wb.run(task, driver="loop", dtype=torch.float64, record_every=15)
        torch.manual_seed(0)
        model = tasks.plain_net().double()
        own = optimizer(list(model.parameters()))
        x, y = task.data
        for step in range(15):
            at = step % 5 * 16
            own.zero_grad()
            tasks.entropy(model, (x[at : at + 16].double(), y[at : at + 16])).backward()
            own.step()
        found = result.trajectory.at(15).params
        for name, parameter in model.named_parameters():
            assert torch.allclose(found[name][0], parameter, rtol=1e-11, atol=1e-13)


def test_a_metric_that_cannot_be_stacked_is_evaluated_one_by_one() -> None:
    x = torch.linspace(-1, 1, 24).reshape(12, 2)

    def largest(model, batch):
        return torch.tensor(max(model(batch[0]).flatten().tolist()))

    task = wb.Task(
        model=lambda: torch.nn.Linear(2, 2),
        loss=lambda model, batch: torch.nn.functional.cross_entropy(model(batch[0]), batch[1]),
        data=(x, (x.sum(1) > 0).long()),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=4,
        steps=6,
        eval_data=(x, (x.sum(1) > 0).long()),
        eval_metrics={"largest": largest},
    )
    result = wb.run(task, wb.Gaussian(0.1), replicas=2, driver="lockstep", metrics=("largest",))
    assert result.environment["driver"] == "lockstep"
    rows = result.table.query("metric == 'largest' and step == 6 and b == 'reference'")
    weights = result.trajectory.at(6).params
    scores = x @ weights["weight"][0].T + weights["bias"][0]
    assert rows.value.item() == pytest.approx(float(scores.max()), rel=1e-6)
