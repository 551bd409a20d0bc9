"""Which source acts, and that its variance is that of the runs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import wingbeat as wb
from wingbeat.analyses.noise_sources import (
    Execution,
    noise_sources,
    power_of,
    seeds_needed,
    total_variance,
    variance,
)
from wingbeat.errors import RequestError

ALL = ("init", "order", "augmentation", "dropout", "ulp", "hardware", "all")
LOOPS = (Execution("loop", 1), Execution("loop", 2))


def net(dropout=0.0):
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(dropout), nn.Linear(6, 2))


def entropy(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def shaken(batch, draws):
    return batch[0] + 0.1 * draws(4).to(batch[0].dtype), batch[1]


def task(**changes):
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] + x[:, 1] ** 2 > 0.5).long()
    plain = wb.Task(
        model=net,
        loss=entropy,
        data=(x, y),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.3),
        batch_size=10,
        steps=12,
        eval_data=(x, y),
    )
    return replace(plain, **changes)


def found_for(sources, which=None, **options):
    given = {"replicas": 4, "driver": "loop", "executions": LOOPS, **options}
    if "hardware" not in sources:
        del given["executions"]
    return noise_sources(which or task(), sources, **given)


def test_variances_are_those_of_the_runs() -> None:
    given = task(model=lambda: net(0.3), augment=shaken)
    found = found_for(ALL, given)
    perturbations = {
        "init": wb.Init(),
        "order": wb.DataOrder(),
        "augmentation": wb.Augmentation(),
        "dropout": wb.Dropout(),
        "ulp": wb.Ulp(),
    }
    run = wb.run(
        given,
        list(perturbations.values()),
        replicas=4,
        metrics=("eval_loss", "accuracy"),
        driver="loop",
    )
    last = run.table[run.table.step == 12]
    ends = run.trajectory.at(12)
    for source, perturbation in perturbations.items():
        for quantity in ("eval_loss", "accuracy"):
            rows = last[(last.metric == quantity) & (last.perturbation == perturbation.label)]
            row = found.row(source, quantity)
            assert row.variance == pytest.approx(np.var(rows.value, ddof=1), rel=1e-9, abs=1e-30)
            assert row["mean"] == pytest.approx(rows.value.mean(), rel=1e-12)
        mine = [i for i, name in enumerate(ends.labels) if name.startswith(perturbation.label)]
        flat = torch.cat([t[mine].reshape(4, -1) for t in ends.params.values()], 1).double()
        expected = flat.numpy().var(axis=0, ddof=1).sum()
        row = found.row(source, "weights")
        assert row.variance == pytest.approx(expected, rel=1e-9)
        assert row.low <= row.variance <= row.high
        assert row.sd == pytest.approx(np.sqrt(expected))
    assert found.noise_floor == 0.0
    single = found.table[found.table.source != "all"]
    sums = single.groupby("quantity").share.sum()
    np.testing.assert_allclose(sums, 1.0)
    assert found.row("all", "weights").variance > 0
    assert np.isnan(found.row("all", "weights").share)
    json.dumps(found.to_json(), allow_nan=False)
    # error ÷ (2·samples) at the mean error of all runs but those of "hardware"
    kept = found.values[(found.values.quantity == "accuracy") & (found.values.source != "hardware")]
    assert found.floor == pytest.approx((1 - kept.value.mean()) / 80)


def test_all_is_another_base_seed() -> None:
    """It varies all that the single sources vary; the first replica's weights start elsewhere."""
    given = task(augment=shaken)
    single = found_for(("init", "all"), given)
    assert single.of("init", "eval_loss")[0] != single.of("all", "eval_loss")[0]


def same_net():
    model = net()
    for p in model.parameters():
        nn.init.constant_(p, 0.1)
    return model


def one_weight():
    return nn.Linear(4, 1, bias=False)


def first(model, batch):
    return (model.weight**2).sum()


class IdleDropout(nn.Module):
    """Draws random numbers and makes nothing of them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, x):
        torch.rand(3)
        return self.inner(x)


@pytest.mark.parametrize(
    ("source", "changes", "words"),
    [
        ("dropout", {}, "draws no random numbers"),
        ("augmentation", {}, "no augmentation"),
        ("order", {"sampling": "sequential"}, "in order"),
        ("init", {"model": same_net}, "same weights under every seed"),
        ("hardware", {"model": one_weight, "loss": first}, "the same bits"),
        ("dropout", {"model": IdleDropout}, "changed no weight"),
    ],
)
def test_a_source_that_cannot_act_is_exactly_zero_and_says_so(source, changes, words) -> None:
    found = found_for((source,), task(**{**changes, "eval_data": None}))
    row = found.row(source, "weights")
    assert (row.variance, row.sd, row.reason) == (0.0, 0.0, "")
    seen_alone = words in ("the same bits", "changed no weight")
    if seen_alone:  # a handful of equal runs does not show that the next one is equal too
        assert np.isnan([row.low, row.high]).all()
        assert row.interval_reason == "no_variation"
    else:
        assert (row.low, row.high) == (0.0, 0.0)
    assert words in row.statement


def test_one_execution_gives_no_variance_but_a_reason() -> None:
    found = found_for(("hardware",), executions=(Execution("loop", 1),))
    row = found.row("hardware", "weights")
    assert np.isnan(row.variance)
    assert row.reason == "too_few_replicas"


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    found_for(("hardware",))
    assert torch.get_num_threads() == before


def test_seeds_and_recipes_from_measured_spreads() -> None:
    found = found_for(("init",))
    sd = float(np.std(found.of("init", "eval_loss"), ddof=1))
    gain = sd * 0.8
    plan = found.seeds_needed(gain, "init", "eval_loss")
    assert plan.by_estimate == 26
    assert plan.least < 26 < plan.seeds
    row = found.row("init", "eval_loss")
    assert plan.seeds == seeds_needed(float(row.high) ** 0.5, gain)
    assert plan.attained == pytest.approx(power_of(26, float(row.high) ** 0.5, gain))
    assert plan.attained < 0.8
    other = found_for(("init",), task(steps=24))
    verdict = found.differ(other, "init", "eval_loss")
    assert verdict.value == pytest.approx(
        other.of("init", "eval_loss").mean() - found.of("init", "eval_loss").mean()
    )
    assert found.differ(found, "init", "eval_loss").verdict == "undetermined"


def test_a_folder_is_gone_on_with(tmp_path) -> None:
    first_time = found_for(("init", "ulp"), out=tmp_path)
    again = found_for(("init", "ulp"), out=tmp_path)
    assert first_time.table.equals(again.table)
    assert (tmp_path / "sources-init-ulp" / "summary.json").exists()


def test_variance_of_numbers() -> None:
    x = np.array([0.1, 0.4, 0.2, 0.9, 0.5])
    found = variance(x)
    assert found.value == pytest.approx(np.var(x, ddof=1))
    assert 0 < found.low < found.value < found.high
    assert variance(x + 1e6).value == pytest.approx(np.var(x, ddof=1), rel=1e-8)
    equal = variance(np.ones(6))
    assert (equal.value, equal.interval_reason) == (0.0, "no_variation")
    assert np.isnan(equal.high)
    share = variance(np.full(60, 0.9), share=True)
    differs = 1 - 0.025 ** (1 / 59)
    assert (share.low, share.high) == pytest.approx((0.0, differs * (1 - differs)))
    assert variance(np.ones(1)).reason == "too_few_replicas"
    assert total_variance({"w": torch.tensor([[1.0], [torch.nan]])}).reason == "diverged"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": ("initt",)}, "did you mean 'init'"),
        ({"sources": ()}, "name at least one"),
        ({"sources": ("ulp", "ulp")}, "each once"),
        ({"replicas": 1}, "replicas is 1"),
        ({"metrics": ("l2",)}, "no scalar of the evaluation"),
        ({"metrics": ("disagreement",)}, "no scalar of the evaluation"),
        ({"metrics": ("acuracy",)}, "did you mean 'accuracy'"),
        ({"executions": (), "sources": ("hardware",)}, "at least two"),
    ],
)
def test_a_wrong_request_is_refused(changes, message) -> None:
    with pytest.raises(RequestError, match=message):
        noise_sources(task(), **{"sources": ("init",), **changes})
    with pytest.raises(RequestError, match="threads is 0"):
        Execution("loop", 0)
