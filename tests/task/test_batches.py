"""Batch t is a pure function of (seed, t), and an augmentation one of (seed, epoch, sample)."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import cases
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

import wingbeat as wb
from wingbeat.errors import RunError
from wingbeat.task.batches import Batches, Streams, draws, eval_batches, placer
from wingbeat.task.task import Task

CPU = torch.device("cpu")
NUMBERS = torch.arange(23.0).unsqueeze(1)


def numbered(size: int = 23, **changes: Any) -> Task:
    """A task whose sample i holds the number i."""
    data = (torch.arange(float(size)).unsqueeze(1), torch.zeros(size, 1))
    return cases.task("mlp", data=data, **{"batch_size": 5, **changes})


def batches(task: Task, dtype: torch.dtype = torch.float32) -> Batches:
    return Batches(task, dtype, CPU)


sizes = st.integers(1, 40)
seeds = st.integers(0, 2**62)


@given(size=sizes, batch=st.integers(1, 45), seed=seeds, epoch=st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_an_epoch_holds_every_sample_once(size: int, batch: int, seed: int, epoch: int) -> None:
    found = batches(numbered(size, batch_size=batch))
    steps = range(epoch * found.steps_per_epoch, (epoch + 1) * found.steps_per_epoch)
    parts = [found.indices(seed, step) for step in steps]
    assert [len(p) for p in parts[:-1]] == [min(batch, size)] * (len(parts) - 1)
    assert len(parts[-1]) == (size - 1) % batch + 1
    assert sorted(torch.cat(parts).tolist()) == list(range(size))


@given(seed=seeds, steps=st.lists(st.integers(0, 40), min_size=2, max_size=12))
@settings(deadline=None, max_examples=30)
def test_a_batch_does_not_depend_on_what_was_asked_before(seed: int, steps: list[int]) -> None:
    task = numbered(augment=cases.jitter)
    streams, one = Streams.of(seed), batches(task)
    seen = [one.batch(streams, step)[0] for step in steps]
    for step, value in zip(steps, seen, strict=True):
        assert torch.equal(batches(task).batch(streams, step)[0], value)


def test_epochs_and_seeds_have_different_orders() -> None:
    found = batches(numbered(batch_size=23))
    orders = [found.indices(seed, epoch).tolist() for seed in (1, 2) for epoch in (0, 1)]
    assert len({tuple(o) for o in orders}) == 4


def test_drop_last_leaves_out_the_remainder() -> None:
    found = batches(numbered(drop_last=True))
    assert found.steps_per_epoch == 4
    taken = torch.cat([found.indices(7, step) for step in range(4)])
    assert len(set(taken.tolist())) == 20


def test_sequential_sampling_keeps_the_order() -> None:
    found = batches(numbered(sampling="sequential"))
    for epoch in (0, 1):
        taken = [found.indices(3, epoch * 5 + step) for step in range(5)]
        assert torch.cat(taken).tolist() == list(range(23))


def test_sampling_with_replacement_is_uniform() -> None:
    found = batches(numbered(sampling="replacement", batch_size=23))
    counts = torch.cat([found.indices(3, step) for step in range(400)]).bincount(minlength=23)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4
    assert len(set(found.indices(3, 0).tolist())) < 23


def test_shuffling_puts_each_sample_anywhere() -> None:
    found = batches(numbered(size=6, batch_size=6))
    places = torch.zeros(6, 6)
    for epoch in range(1200):
        places[torch.arange(6), found.indices(5, epoch)] += 1
    assert stats.chisquare(places.flatten().numpy()).pvalue > 1e-4


def test_values_follow_the_indices_and_the_dtype() -> None:
    task = numbered()
    found = batches(task, torch.float64)
    streams = Streams.of(4)
    x, y = found.batch(streams, 2)
    assert x.dtype == y.dtype == torch.float64
    assert x[:, 0].tolist() == found.indices(streams.order, 2).tolist()


def test_nested_dicts_keep_their_shape_and_integers_their_type() -> None:
    data = {"x": NUMBERS, "inner": {"label": torch.arange(23)}}
    found = batches(cases.task("dict", data=data, batch_size=4), torch.bfloat16)
    batch = found.batch(Streams.of(0), 0)
    assert batch["x"].dtype == torch.bfloat16
    assert batch["inner"]["label"].dtype == torch.int64
    assert batch["x"][:, 0].long().tolist() == batch["inner"]["label"].tolist()


# Augmentation draws ------------------------------------------------------------------------


@given(
    seed=seeds,
    epoch=st.integers(0, 1000),
    samples=st.lists(st.integers(0, 2**31), min_size=1, max_size=8, unique=True),
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=3),
)
@settings(deadline=None, max_examples=60)
def test_draws_of_a_sample_do_not_depend_on_its_neighbours(
    seed: int, epoch: int, samples: list[int], counts: list[int]
) -> None:
    together = draws(seed, epoch, torch.tensor(samples))
    rows = torch.cat([together(k) for k in counts], dim=1)
    assert rows.shape == (len(samples), sum(counts))
    assert bool(((rows >= 0) & (rows < 1)).all())
    for row, sample in zip(rows, samples, strict=True):
        alone = draws(seed, epoch, torch.tensor([sample]))(sum(counts))[0]
        assert torch.equal(alone, row)


def uniform(values: Tensor) -> float:
    return float(stats.kstest(values.flatten().numpy(), "uniform").pvalue)


def test_draws_are_uniform_along_every_axis() -> None:
    grid = torch.stack([draws(9, e, torch.arange(200))(25) for e in range(20)])
    assert uniform(grid) > 1e-4
    assert uniform(grid[:, 0, 0]) > 1e-4
    assert uniform(grid[0, :, 0]) > 1e-4
    assert uniform(torch.stack([draws(s, 0, torch.tensor([0]))(1) for s in range(500)])) > 1e-4


def test_draws_are_not_correlated() -> None:
    grid = torch.stack([draws(9, e, torch.arange(300))(30) for e in range(8)]) - 0.5
    for axis in range(3):
        moved = grid.narrow(axis, 1, grid.shape[axis] - 1)
        fixed = grid.narrow(axis, 0, grid.shape[axis] - 1)
        score = float((moved * fixed).mean()) * 12 * moved.numel() ** 0.5
        assert abs(score) < 5, axis  # a standard normal number
    assert len(torch.unique(grid)) == grid.numel()


def test_epochs_seeds_and_samples_draw_anew() -> None:
    first = draws(1, 0, torch.tensor([0]))(4)
    others = [draws(2, 0, torch.tensor([0])), draws(1, 1, torch.tensor([0]))]
    others.append(draws(1, 0, torch.tensor([1])))
    assert all(not torch.equal(first, source(4)) for source in others)


def test_augmentation_of_a_sample_does_not_depend_on_the_order() -> None:
    found = batches(numbered(augment=cases.jitter))
    a, b = Streams.of(0), replace(Streams.of(1), augmentation=Streams.of(0).augmentation)

    def epoch(streams: Streams) -> list[float]:
        rows = torch.cat([found.batch(streams, step)[0] for step in range(5)])[:, 0]
        return sorted(rows.tolist())

    assert epoch(a) == epoch(b)
    assert epoch(a) != epoch(Streams.of(1))


# Data sets ---------------------------------------------------------------------------------


class Random:
    """A map-style data set whose samples draw from all three global generators."""

    def __init__(self, size: int = 23) -> None:
        self.size = size
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.asked.append(index)
        noise = [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002
        x = np.array([index, *noise], dtype=np.float64)
        return {"x": x, "inner": {"y": torch.tensor([float(index)]), "name": str(index)}}


def test_data_sets_with_random_transforms_repeat() -> None:
    task = cases.task("dict", data=Random(), batch_size=5)
    streams = Streams.of(0)
    one, other = batches(task), batches(task)
    random.seed(1)
    for step in (3, 0, 7):
        a, b = one.batch(streams, step), other.batch(streams, step)
        assert a["x"].dtype == torch.float32
        assert torch.equal(a["x"], b["x"])
        assert a["inner"]["name"] == [str(i) for i in one.indices(streams.order, step).tolist()]
    early, late = one.batch(streams, 0)["x"], one.batch(streams, 5)["x"]
    both = set(early[:, 0].tolist()) & set(late[:, 0].tolist())
    for index in both:
        rows = early[early[:, 0] == index], late[late[:, 0] == index]
        assert not torch.equal(*rows)


def test_twins_share_the_samples_of_a_data_set_and_order_does_not_change_them() -> None:
    task = cases.task("dict", data=Random(), batch_size=5)
    found = batches(task)
    base = Streams.of(0)
    shuffled = replace(base, order=123)

    def samples(streams: Streams) -> dict[int, list[float]]:
        rows = torch.cat([found.batch(streams, step)["x"] for step in range(5)])
        return {int(row[0]): row.tolist() for row in rows}

    assert samples(base) == samples(shuffled)
    other = samples(replace(base, augmentation=5))
    assert all(other[i] != row for i, row in samples(base).items())
    asked = len(task.data.asked)
    found.batch(base, 3)
    found.batch(base, 3)
    assert len(task.data.asked) == asked + 5


class Pairs(torch.utils.data.Dataset[Any]):
    """Samples are tuples of a tensor and a Python number."""

    def __len__(self) -> int:
        return len(cases.POINTS)

    def __getitem__(self, index: int) -> tuple[Tensor, float]:
        return cases.POINTS[index] + 0.1 * torch.rand(4), float(cases.CURVE[index, 0])


def pairs_loss(model: Any, batch: Any) -> Tensor:
    return ((model(batch[0])[:, 0] - batch[1]) ** 2).mean()


@pytest.mark.parametrize("driver", ["loop", "lockstep"])
def test_tuples_are_collated_as_a_data_loader_does(driver: str) -> None:
    task = cases.task("mlp", data=Pairs(), loss=pairs_loss, steps=5)
    x, y = batches(task).batch(Streams.of(0), 0)
    assert x.shape == (25, 4)
    assert (y.shape, y.dtype) == ((25,), torch.float32)
    result = wb.run(task, wb.Gaussian(0.1), replicas=2, driver=driver, progress=False)  # type: ignore[arg-type]
    assert result.noise_floor == 0.0


class Breaks(Pairs):
    def __getitem__(self, index: int) -> tuple[Tensor, float]:
        if index == 13:
            raise OSError("disk gone")
        return super().__getitem__(index)


def test_a_data_set_that_raises_names_the_step_and_what_to_do() -> None:
    task = cases.task("mlp", data=Breaks(), loss=pairs_loss)
    found = batches(task)
    bad = next(s for s in range(3) if 13 in found.indices(Streams.of(0).order, s).tolist())
    with pytest.raises(RunError, match=rf"step {bad}.*OSError: disk gone.*run the same command"):
        found.batch(Streams.of(0), bad)


def test_evaluation_is_in_order_whole_and_repeats() -> None:
    place = placer(torch.float64, CPU)
    found = list(eval_batches((NUMBERS,), 10, place))
    assert [count for _, count in found] == [10, 10, 3]
    assert torch.equal(torch.cat([batch[0] for batch, _ in found]), NUMBERS.double())
    first, again = (list(eval_batches(Random(), 10, place)) for _ in range(2))
    assert torch.equal(first[1][0]["x"], again[1][0]["x"])


# The user's own generators -----------------------------------------------------------------


@pytest.mark.parametrize("driver", ["auto", "loop"])
def test_global_generators_are_left_as_they_were(driver: str) -> None:
    task = cases.task("mlp-noisy", data=Pairs(), loss=pairs_loss, steps=4, augment=None)
    random.seed(3)
    np.random.seed(4)  # noqa: NPY002
    torch.manual_seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    flags = torch.are_deterministic_algorithms_enabled(), torch.get_default_dtype()
    first = wb.run(task, wb.BatchGradient(0.1), replicas=2, driver=driver, progress=False)  # type: ignore[arg-type]
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    assert before[0] == after[0]
    assert before[1] == after[1]
    assert torch.equal(before[2], after[2])
    assert flags == (torch.are_deterministic_algorithms_enabled(), torch.get_default_dtype())
    torch.manual_seed(99)  # and they do not enter the result
    if driver == "loop":
        second = wb.run(task, wb.BatchGradient(0.1), replicas=2, driver="loop", progress=False)
        for name, value in first.trajectory.at(4).params.items():
            assert torch.equal(second.trajectory.at(4).params[name], value)
