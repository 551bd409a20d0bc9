"""Loops over epochs: what follows an epoch's batches happens once, wherever a copy begins."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import _seed
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import wingbeat as wb
from wingbeat.determinism import derive
from wingbeat.errors import RunError

EPOCHS, STEPS = 4, 24
X = torch.randn(60, 6, generator=torch.Generator().manual_seed(3))
Y = (X.sum(1) > 0).long()
LOADER = DataLoader(TensorDataset(X[:44], Y[:44]), batch_size=8, shuffle=True)
HELD_OUT = DataLoader(TensorDataset(X[44:], Y[44:]), batch_size=8, shuffle=True)
PERTURBATIONS = [wb.Gaussian(0.01), wb.Gaussian(0.01, at=6), wb.Gaussian(0.01, at=9)]


def build(seed: int) -> dict[str, Any]:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    average = torch.optim.swa_utils.AveragedModel(model)
    return {"model": model, "optimizer": optimizer, "plateau": plateau, "average": average}


def train(parts: dict[str, Any], epochs: Any, batches: Any, step: Any) -> None:
    """Train, validate under noise, step the scheduler and move the average once an epoch."""
    model, optimizer, plateau, average = parts.values()
    for _ in epochs():
        model.train()
        for x, y in batches():
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            step(loss)
        model.eval()
        with torch.no_grad():
            noisy = [(x + 0.3 * torch.randn_like(x), y) for x, y in HELD_OUT]
            plateau.step(sum(float(nn.functional.cross_entropy(model(x), y)) for x, y in noisy))
        average.update_parameters(model)


def by_hand() -> tuple[dict[str, Any], list[float]]:
    """Train without wingbeat, under the noise that its documentation promises."""
    _seed(0)
    parts, losses, place = build(0), [], itertools.count()
    order, dropout = derive(0, "order"), derive(0, "dropout")
    numbers = itertools.count()

    def batches() -> Any:
        number = next(numbers)
        seed = derive(order, "pass", number)
        _seed(seed)
        LOADER.sampler.generator = torch.Generator().manual_seed(seed)  # type: ignore[attr-defined]
        for batch in LOADER:
            _seed(derive(dropout, "step", next(place)))
            yield batch
        LOADER.sampler.generator = None  # type: ignore[attr-defined]
        _seed(derive(dropout, "epoch", number))

    train(parts, lambda: range(EPOCHS), batches, lambda loss: losses.append(loss.item()))
    return parts, losses


class Killed(BaseException):
    """The process is gone."""


def often(kill: int | None) -> float:
    """Return the seconds between checkpoints: one a step where the last is needed.

    Each is two waits for the disk, which others may keep busy.
    """
    return 60.0 if kill is None else 0.0


def run(folder: Path | None = None, kill: int | None = None) -> wb.Result:
    made = itertools.count(1)
    twins = wb.Twins(
        build,
        PERTURBATIONS,
        steps=STEPS,
        replicas=1,
        out=folder,
        record_every=3,
        checkpoint_seconds=often(kill),
        metrics=["l2"],
    )
    for copy in twins:

        def step(loss: Any, copy: Any = copy) -> None:
            copy.step(loss)
            if next(made) == kill:
                raise Killed

        train(copy.parts, copy.epochs, lambda c=copy: c.batches(LOADER), step)
    return twins.result()


@pytest.fixture(scope="module")
def whole() -> wb.Result:
    return run()


def test_the_reference_is_the_loop_over_epochs(whole: wb.Result) -> None:
    parts, losses = by_hand()
    last = whole.trajectory.at(STEPS)
    assert all(last.params[n][0].equal(p.detach()) for n, p in parts["model"].named_parameters())
    assert whole.trajectory.losses[:, 0].tolist() == losses
    assert whole.noise_floor == 0.0
    assert not whole.warnings


@pytest.mark.parametrize(
    "kill",  # within an epoch and at its end, of the reference, a twin and copies
    [6, *(pytest.param(k, marks=pytest.mark.slow) for k in (3, 7, 12, 24, 30, 36, 66, 100))],
)
def test_a_kill_changes_nothing(kill: int, whole: wb.Result, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, kill)
    again = run(tmp_path)
    assert again.table.equals(whole.table)
    assert not again.warnings


def plain(folder: Path | None, loop: Callable[[Any], None]) -> wb.Twins:
    twins = wb.Twins(build, wb.Gaussian(0.01), steps=12, replicas=1, out=folder)
    for copy in twins:
        loop(copy)
    return twins


def update(copy: wb.Copy, batch: Any) -> None:
    loss = nn.functional.cross_entropy(copy.model(batch[0]), batch[1])
    copy.parts["optimizer"].zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    copy.parts["optimizer"].step()
    copy.step(loss)


def over_range(copy: wb.Copy) -> None:
    for _ in range(2):
        for batch in copy.batches(LOADER):
            update(copy, batch)


def left_early(copy: wb.Copy) -> None:
    for _ in copy.epochs():
        for batch in copy.batches(LOADER):
            update(copy, batch)
            break


def twice(copy: wb.Copy) -> None:
    for _ in copy.epochs():
        for _ in "ab":
            for batch in copy.batches(LOADER):
                update(copy, batch)


def never(copy: wb.Copy) -> None:
    for _ in copy.epochs():
        pass


@pytest.mark.parametrize(
    ("loop", "words"),
    [
        (over_range, r"for epoch in copy\.epochs\(\)"),
        (left_early, "islice"),
        (twice, "one loop over"),
        (never, "one loop over"),
    ],
)
def test_loops_that_mean_something_else(loop: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=words):
        plain(tmp_path, loop)


def test_what_a_wrong_loop_trained_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        plain(tmp_path, over_range)
    begun = [copy.label for copy in _first(tmp_path)]
    assert begun == ["reference"]


def _first(folder: Path) -> Any:
    yield next(iter(wb.Twins(build, wb.Gaussian(0.01), steps=12, replicas=1, out=folder)))


def remembering(folder: Path, kept: bool, kill: int | None = None) -> wb.Result:
    """Train with a buffer of earlier batches, in the loop or among the parts."""

    def parts(seed: int) -> dict[str, Any]:
        return {**build(seed), **({"buffer": deque(maxlen=3)} if kept else {})}

    made = itertools.count(1)
    twins = wb.Twins(
        parts,
        wb.Gaussian(0.01),
        steps=12,
        replicas=1,
        out=folder,
        record_every=3,
        checkpoint_seconds=often(kill),
        metrics=["l2"],
    )
    for copy in twins:
        buffer = copy.parts["buffer"] if kept else deque(maxlen=3)
        for batch in copy.batches(LOADER):
            buffer.append(batch)
            update(copy, buffer[0])
            if next(made) == kill:
                raise Killed
    return twins.result()


@pytest.mark.parametrize("kept", [False, True])
def test_a_buffer_in_the_loop_is_lost_with_a_word(kept: bool, tmp_path: Path) -> None:
    whole = remembering(tmp_path / "whole", kept)
    with pytest.raises(Killed):
        remembering(tmp_path / "killed", kept, kill=30)  # within the perturbed copy
    again = remembering(tmp_path / "killed", kept)
    assert again.table.equals(whole.table) == kept
    said = " ".join(again.warnings)
    assert ("gaussian-0.01@0#1 went on from a checkpoint" in said) != kept


def test_weights_that_unfreeze_are_named(tmp_path: Path) -> None:
    def half(seed: int) -> dict[str, Any]:
        parts = build(seed)
        parts["model"][0].requires_grad_(False)
        return parts

    twins = wb.Twins(half, [wb.Gaussian(0.01, at=8)], steps=12, replicas=1, metrics=["l2"])
    for copy in twins:
        for batch in copy.batches(LOADER):
            if copy.done == 5:
                copy.model[0].requires_grad_(True)  # type: ignore[index]
            update(copy, batch)
    result = twins.result()
    assert result.noise_floor == 0.0
    assert "0.bias, 0.weight" in " ".join(result.warnings)
    assert "0.weight" not in result.trajectory.at(12).params
