"""Metrics that somebody else declares, against the same numbers made by hand."""

from __future__ import annotations

import json
from math import inf

import numpy as np
import pytest
import torch
from run.tasks import noisy, plain, points, rows, two_forks, value

import wingbeat as wb
from wingbeat.errors import DIVERGED, METRIC_NOT_FINITE, RequestError
from wingbeat.measure import metric
from wingbeat.measure.metric import METRICS, default_names, in_order
from wingbeat.report.figures.losses import losses, replica_metrics
from wingbeat.report.pages.definitions import definitions

FIXED = {"replicas": 3, "record_every": 12, "driver": "loop", "dtype": torch.float64}
FACTS = {"unit": "weight", "range": (0, inf), "direction": "0 = identical", "caption": "A test"}


@metric("sum-of-changes", needs="weights", compares=True, **FACTS)
def changes(view):
    return sum(np.abs(block - block[0]).sum(axis=1) for _, block in view.blocks())


@metric("norm", needs="weights", **FACTS)
def norm(view):
    return np.sqrt(sum((block**2).sum(axis=1) for _, block in view.blocks()))


@metric("widest", needs="weights", per="perturbation", **FACTS)
def widest(view):
    return max(np.ptp(block, axis=0).max() for _, block in view.blocks())


@metric("of-layers", needs="weights", per="layer", compares=True, **FACTS)
def of_layers(view):
    found = {}
    for name, block in view.blocks():
        found[name] = found.get(name, 0) + np.abs(block - block[0]).sum(axis=1)
    return found


@metric("between", needs="weights", per="pair", **FACTS)
def between(view):
    return sum(np.abs(block[:, None] - block).sum(axis=2) for _, block in view.blocks())


@metric("last-loss", needs="losses", **FACTS)
def last_loss(view):
    return view.losses[-1] if len(view.losses) else np.full(len(view.labels), 1.0)


@metric("top-score", needs="outputs", **FACTS)
def top_score(view):
    return view.scores.max(axis=2).mean(axis=1)


@metric("active", needs="activations", per="layer", **FACTS)
def active(view):
    return {name: (x > 0).mean(axis=(1, 2)) for name, x in view.activations().items()}


OWN = [changes, norm, widest, of_layers, between, last_loss, top_score, active]


@pytest.fixture(scope="module")
def task():
    return noisy(eval_data=points(30, 1), eval_batch_size=16)


@pytest.fixture(scope="module")
def result(task):
    return wb.run(task, two_forks(0.3), metrics=["l2", *OWN], **FIXED)


def flat(snapshot):
    return torch.cat([t.double().flatten(1) for t in snapshot.params.values()], dim=1).numpy()


def test_values_are_those_made_by_hand(result):
    snapshot = result.trajectory.at(24)
    w, labels = flat(snapshot), snapshot.labels
    for i, label in enumerate(labels):
        own = value(result, metric="norm", step=24, b=label)
        assert own == pytest.approx(np.linalg.norm(w[i]))
    for i, label in enumerate(labels[1:], start=1):
        where = {"step": 24, "a": "reference", "b": label}
        apart = np.abs(w[i] - w[0]).sum()
        assert value(result, metric="sum-of-changes", **where) == pytest.approx(apart)
        assert value(result, metric="between", **where) == pytest.approx(apart)
        assert rows(result, metric="of-layers", **where).value.sum() == pytest.approx(apart)
    own = [i for i, label in enumerate(labels) if label.startswith("gaussian")]
    found = value(result, metric="widest", step=24, perturbation="gaussian-0.3@0")
    assert found == pytest.approx(np.ptp(w[own], axis=0).max())
    assert not len(rows(result, metric="sum-of-changes", b="reference"))
    pairs = rows(result, metric="between", step=24)
    assert len(pairs) == len(labels) * (len(labels) - 1) // 2
    losses_ = result.trajectory.losses[-1].tolist()
    found = [value(result, metric="last-loss", step=24, b=label) for label in labels]
    assert found == pytest.approx(losses_)


def test_outputs_and_activations(result, task):
    snapshot = result.trajectory.at(24)
    for i, label in enumerate(snapshot.labels):
        model = task.model().double().eval()
        model.load_state_dict({k: t[i] for k, t in {**snapshot.params, **snapshot.buffers}.items()})
        with torch.no_grad():
            hidden = model[:3](task.eval_data[0].double())
            scores = model(task.eval_data[0].double())
        found = value(result, metric="top-score", step=24, b=label)
        assert found == pytest.approx(scores.max(dim=1).values.mean().item())
        share = (hidden > 0).double().mean().item()
        assert value(result, metric="active", step=24, b=label, layer="2") == pytest.approx(share)


def test_the_summary_has_them_with_intervals(result):
    name = "gaussian-0.3@0"
    own = rows(result, metric="sum-of-changes", step=24, perturbation=name).value
    entry = result.summary[f"{name}/final_sum-of-changes"]
    assert entry["value"] == pytest.approx(own.mean())
    assert entry["low"] < entry["value"] < entry["high"]
    assert result.summary[f"{name}/final_widest"]["value"] > 0
    json.dumps(result.summary, allow_nan=False)


def test_the_report_draws_and_explains_them(result):
    drawn = replica_metrics(result)
    assert drawn == ("sum-of-changes", "norm", "last-loss", "top-score")
    figure = losses(result, "norm")
    assert figure is not None
    assert figure.caption.startswith("A test; ")
    assert figure.y_label == "norm (weight)"
    assert {"norm", "between"} <= {term.term for term in definitions(result)}


def test_they_are_known_by_name_and_cost_nobody_who_does_not_ask(result):
    assert METRICS.find("norm") is norm
    assert "norm" in [found.name for found in in_order()]
    assert "norm" not in default_names()
    again = wb.run(noisy(eval_data=None), metrics=["norm", f"{__name__}:changes"], **FIXED)
    assert set(again.table.metric) == {"norm", "sum-of-changes"}
    assert result.metrics[:2] == ("l2", "sum-of-changes")


def test_a_folder_is_measured_anew_when_the_function_has_changed(tmp_path):
    def declared(power):
        @metric("power", needs="weights", **FACTS)
        def power_of(view):
            return sum((np.abs(block) ** power).sum(axis=1) for _, block in view.blocks())

        return power_of

    task, options = plain(), {**FIXED, "out": tmp_path}
    first = wb.run(task, wb.Gaussian(0.1), metrics=[declared(1)], **options)
    same = wb.run(task, wb.Gaussian(0.1), metrics=[declared(1)], **options)
    other = wb.run(task, wb.Gaussian(0.1), metrics=[declared(2)], **options)
    assert same.table.equals(first.table)
    assert not other.table.equals(first.table)


def test_a_replica_that_broke_down_has_a_reason():
    found = wb.run(plain(), wb.Gaussian(1e300), metrics=[norm], **FIXED)
    broken = rows(found, metric="norm", step=20, perturbation="gaussian-1e+300@0")
    assert set(broken.reason) == {DIVERGED}
    assert found.summary["final_norm"]["reason"] == DIVERGED


@pytest.mark.parametrize(
    ("needs", "per", "compares"),
    [
        ("weights", "replica", False),
        ("weights", "replica", True),
        ("weights", "perturbation", False),
        ("weights", "pair", False),
        ("outputs", "replica", True),
    ],
)
def test_a_metric_without_a_number_is_no_training_that_diverged(monkeypatch, needs, per, compares):
    """The metric is at fault where the replicas are finite, and only there."""

    def infinite(view):
        count = len(view.scores if needs == "outputs" else view.labels)
        return np.full({"replica": (count,), "pair": (count, count)}.get(per, ()), inf)

    monkeypatch.setattr(METRICS, "_things", {**METRICS.all()})
    made = metric("infinite", needs=needs, per=per, compares=compares, **FACTS)(infinite)
    task = plain(eval_data=points(30, 1))
    forks = [wb.Gaussian(0.1, name="fine"), wb.Gaussian(1e300, name="broken")]
    found = wb.run(task, forks, metrics=[made], **FIXED)
    own = rows(found, metric="infinite", step=20)
    assert set(own[own.perturbation == "fine"].reason) == {METRIC_NOT_FINITE}
    assert set(own[own.perturbation == "broken"].reason) == {DIVERGED}
    if per != "pair":
        assert found.summary["fine/final_infinite"]["reason"] == METRIC_NOT_FINITE
        assert found.summary["broken/final_infinite"]["reason"] == DIVERGED


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("nrm", "unknown metric 'nrm': did you mean 'norm'"),
        (abs, "declared with wingbeat.measure.metric"),
        ("no.such.module:x", "cannot be found"),
    ],
)
def test_what_is_no_metric_is_refused(asked, says):
    with pytest.raises(RequestError, match=says):
        wb.run(plain(), metrics=[asked])


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"name": "l2"}, "'l2' is taken by wingbeat.measure.builtin.l2.l2"),
        ({"needs": "weight"}, "did you mean 'weights'"),
        ({"per": "pairs"}, "did you mean 'pair'"),
        ({"per": "run"}, "metric_of_run"),
        ({"needs": "outputs", "per": "pair"}, "use 'replica'"),
        ({"range": (1, 0)}, "smallest, largest"),
        ({"name": "a#b"}, "without '#'"),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused(facts, says):
    given = {"name": "fresh", "needs": "weights", **FACTS, **facts}
    with pytest.raises(RequestError, match=says):
        metric(given.pop("name"), **given)(lambda view: view)


@pytest.mark.parametrize(
    ("needs", "per", "returned", "right"),
    [
        ("weights", "replica", lambda view: np.zeros(3), r"\(3,\): return .* shape \(4,\)"),
        ("weights", "perturbation", lambda view: np.zeros(2), r"\(2,\): return a number"),
        ("weights", "pair", lambda view: np.zeros(4), r"\(4,\): return .* shape \(4, 4\)"),
        ("losses", "replica", lambda view: view.losses, r"\(0, 4\): return .* shape \(4,\)"),
        ("activations", "layer", lambda view: {"a": 1.0}, r"\(\): return .* shape \(4,\)"),
        ("models", "replica", lambda view: view.models.params, r"return .* shape \(4,\)"),
        ("outputs", "replica", lambda view: view.scores.mean(2), r"return .* shape \(4,\)"),
        ("weights", "replica", lambda view: view.lost, "fails before the first update: Attribute"),
    ],
)
def test_a_wrong_shape_is_named_before_anything_is_trained(
    needs, per, returned, right, tmp_path, monkeypatch
):
    made = metric("misshapen", needs=needs, **{**FACTS, "per": per})(returned)
    monkeypatch.setattr("wingbeat.execution.session.advance", lambda *_: pytest.fail("trained"))
    task = plain(eval_data=points(30, 1))
    with pytest.raises(RequestError, match=rf"metric 'misshapen' .*{right}"):
        wb.run(task, wb.Gaussian(0.1), metrics=["l2", made], out=tmp_path / "run", **FIXED)
    METRICS._things.pop("misshapen")


def test_the_rehearsal_leaves_no_trace():
    """A net with dropout, buffers and a counter trains to the same bits with it as without."""

    @metric("outputs-mean", needs="outputs", **FACTS)
    def mean(view):
        return view.scores.mean(axis=(1, 2))

    task = noisy(eval_data=points(30, 1))
    own = wb.run(task, wb.Gaussian(0.1), metrics=["l2", mean], **FIXED)
    bare = wb.run(task, wb.Gaussian(0.1), metrics=["l2"], **FIXED)
    for name, tensor in own.trajectory.at(24).params.items():
        assert torch.equal(tensor, bare.trajectory.at(24).params[name])
