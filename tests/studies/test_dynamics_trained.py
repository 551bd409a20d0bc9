"""Nets trained until they have learned: what is asked, where it runs, how the rate goes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.studies.dynamics import STUDY
from wingbeat.studies.dynamics import plan as dynamics
from wingbeat.studies.dynamics.plan import DynamicsPlan, conditions, placed
from wingbeat.study.outcome import asked
from wingbeat.task.batches import Batches, Streams
from wingbeat.tasks.architectures import (
    ARCHITECTURES,
    CIRCLES,
    DataSource,
    source_of,
    transformer_task,
)

DATA = {
    "dense": CIRCLES,
    "cnn": DataSource("mnist", "images", stand_in=False, digest="1" * 16),
    "transformer": DataSource("sst2", "sentences", stand_in=False, digest="2" * 16),
}


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WINGBEAT_DATA", raising=False)
    monkeypatch.setenv("WINGBEAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WINGBEAT_OFFLINE", "1")


def test_all_nets_see_all_data_and_are_looked_at_more_often(monkeypatch) -> None:
    monkeypatch.setattr(dynamics, "source_of", DATA.__getitem__)
    grid = conditions(DynamicsPlan(trained=True))
    assert len({c.key for c in grid}) == 21 * 5
    assert not {c.key for c in grid} & {c.key for c in conditions(DynamicsPlan())}
    by_net = {c.tags["architecture"]: c for c in grid}
    assert set(by_net) == {a.name for a in ARCHITECTURES}
    sizes = {c.tags["family"]: c.arguments["samples"] for c in grid}
    assert sizes == {"dense": 1000, "cnn": 8000, "transformer": 6920}
    # 6,920 sentences in batches of 32 are 217 updates; two looks an epoch are 108 apart
    assert by_net["GPT tiny"].record_every == 108
    assert by_net["CNN Deep"].record_every == 125
    assert by_net["5-layer Tiny"].record_every == "epoch"
    assert by_net["BERT medium"].arguments["lr"] < by_net["BERT small"].arguments["lr"]
    assert all(c.tags["trained"] for c in grid)


def test_stand_ins_and_two_sizes_at_once_are_refused() -> None:
    with pytest.raises(RequestError, match="WINGBEAT_DATA"):
        conditions(DynamicsPlan(trained=True, families=("transformer",)))
    with pytest.raises(RequestError, match="one of them"):
        DynamicsPlan(quick=True, trained=True)
    dense = conditions(DynamicsPlan(trained=True, families=("dense",), seeds=1))
    assert len(dense) == 10
    nets = {type(m) for m in dense[0].task().model().modules()}
    assert torch.nn.GELU in nets
    assert torch.nn.ReLU not in nets
    command = STUDY.command(DynamicsPlan(trained=True), "cuda")
    assert command == "wingbeat study dynamics --trained --device cuda"


def test_all_copies_at_once_where_there_is_room() -> None:
    names = ("GPT tiny", "3-layer Tiny")
    grid = conditions(DynamicsPlan(names=names, seeds=1))
    assert {c.driver for c in (placed(c, "cpu") for c in grid)} == {"loop", "lockstep"}
    there = [placed(c, "cuda") for c in grid]
    assert {(c.driver, c.device) for c in there} == {("lockstep", "cuda")}
    assert [asked(c).get("device") for c in (*grid, *there)] == [None, None, "cuda", "cuda"]


def test_a_transformer_with_warm_up_is_trained_as_by_hand() -> None:
    """AdamW under a rate that rises over a quarter of 6 updates and falls to 0, batches of 8."""
    found = source_of("transformer")
    task = transformer_task(
        "gpt", 16, 1, found.name, found.digest, 2, 24, tested=10, batch_size=8, lr=0.01,
        warmup=0.25, seed=3,
    )  # fmt: skip
    assert len(task.eval_data[0]) == 10
    # In double precision: a key's bias has no gradient but rounding, which Adam makes large.
    result = wb.run(
        task, [wb.Gaussian(0.01)], replicas=1, metrics=("l2",), dtype=torch.float64, progress=False
    )
    batches, streams = Batches(task, torch.float64, torch.device("cpu")), Streams.of(task.seed)
    torch.manual_seed(task.seed)
    model = task.model().double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    factors = (0.0, 0.5, 1.0, 0.75, 0.5, 0.25)  # top after round(0.25 · 6) = 2 updates
    for index, factor in enumerate(factors):
        words, labels = batches.batch(streams, index)
        assert len(words) == 8
        optimizer.param_groups[0]["lr"] = 0.01 * factor
        optimizer.zero_grad()
        F.cross_entropy(model(words), labels).backward()
        optimizer.step()
    last = list(result.trajectory)[-1].params
    for name, weights in model.named_parameters():
        assert torch.allclose(last[name][0], weights, atol=1e-9), name


@pytest.mark.parametrize("wrong", [{"warmup": 1.0}, {"warmup": -0.1}, {"tested": 0}])
def test_values_out_of_range_are_named(wrong: dict) -> None:
    found = source_of("transformer")
    with pytest.raises(RequestError):
        transformer_task("gpt", 16, 1, found.name, found.digest, samples=8, **wrong)
