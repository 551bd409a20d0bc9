"""`wb.Twins` with parts of Accelerate, Fabric and Lightning: the bits of the bare loop."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import wingbeat as wb
from wingbeat.determinism import derive, seed_all, seeded

pytestmark = pytest.mark.slow
STEPS = 24


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "twins"))
    return importlib.import_module("loops")


def accelerated(loops: Any) -> Any:
    """Accumulate over three batches, clip, schedule; the optimizer is Accelerate's."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # what other tests left in the process
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=3, mixed_precision="bf16")

    def build(seed: int) -> dict[str, Any]:
        model = loops._net()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
        prepared = accelerator.prepare(model, optimizer, schedule)
        return dict(zip(("model", "optimizer", "schedule"), prepared, strict=True))

    def train(parts: dict[str, Any], batches: Any, step: Any) -> None:
        model, optimizer, schedule = parts.values()
        for x, y in batches():
            with accelerator.accumulate(model):
                loss = nn.functional.cross_entropy(model(x), y)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients:
                step(loss)

    loader = accelerator.prepare(DataLoader(loops._data(), batch_size=8, shuffle=True))
    return build, train, loader


def fabric(loops: Any) -> Any:
    import lightning

    def build(seed: int) -> dict[str, Any]:
        own = lightning.Fabric(accelerator="cpu", devices=1)
        model = loops._net()
        model, optimizer = own.setup(model, torch.optim.Adam(model.parameters(), lr=0.01))
        return {"model": model, "optimizer": optimizer, "fabric": own}

    def train(parts: dict[str, Any], batches: Any, step: Any) -> None:
        for x, y in batches():
            parts["optimizer"].zero_grad()
            loss = nn.functional.cross_entropy(parts["model"](x), y)
            parts["fabric"].backward(loss)
            parts["optimizer"].step()
            step(loss)

    return build, train, DataLoader(loops._data(), batch_size=8, shuffle=True)


def module(loops: Any) -> Any:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = loops._net()

        def training_step(self, batch: Any, _: int) -> Any:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.01)

    def build(seed: int) -> dict[str, Any]:
        made = Module()
        return {"model": made, "optimizer": made.configure_optimizers()}

    def train(parts: dict[str, Any], batches: Any, step: Any) -> None:
        for number, batch in enumerate(batches()):
            parts["optimizer"].zero_grad()
            loss = parts["model"].training_step(batch, number)
            loss.backward()
            parts["optimizer"].step()
            step(loss)

    return build, train, DataLoader(loops._data(), batch_size=8, shuffle=True)


class Over(Exception):
    """All steps are made."""


def drawn(loader: Any, seed: int) -> Iterator[Any]:
    """Yield batches without end under the seeds that docs/own_loop.md states."""
    order, fetch, step = (derive(seed, name) for name in ("order", "augmentation", "dropout"))
    place = number = 0
    while True:
        passing = derive(order, "pass", number)
        seed_all(passing)
        sampler = loader.batch_sampler.sampler
        sampler.generator = sampler.generator or torch.Generator()
        sampler.generator.manual_seed(passing)
        source = iter(loader)
        while True:
            seed_all(derive(fetch, "fetch", place))
            try:
                batch = next(source)
            except StopIteration:
                break
            seed_all(derive(step, "step", place))
            place += 1
            yield batch
        number += 1


def by_hand(made: Any, seed: int, put: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    build, train, loader = made
    count = 0
    with seeded(seed):
        seed_all(seed)
        parts = build(seed)
        weights = dict(parts["model"].named_parameters())

        def step(loss: torch.Tensor) -> None:
            nonlocal count
            count += 1
            if count == STEPS:
                raise Over

        for name, weight in put.items():
            weights[name].data.copy_(weight)
        with pytest.raises(Over):
            train(parts, lambda: drawn(loader, seed), step)
    return {name: weight.detach() for name, weight in weights.items()}


@pytest.mark.parametrize("make", [accelerated, fabric, module])
def test_copies_are_the_bare_loop(make: Any, loops: Any) -> None:
    pytest.importorskip("accelerate" if make is accelerated else "lightning")
    build, train, loader = make(loops)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="parts that cannot be saved")
        perturbations = (wb.Gaussian(0.05), wb.Gaussian(0.01, at=9))
        twins = wb.Twins(build, perturbations, steps=STEPS, replicas=1, seeds=(5,))
        for copy in twins:
            train(copy.parts, lambda c=copy: c.batches(loader), copy.step)
        result = twins.result()
    assert result.noise_floor == 0.0
    first, last = result.trajectory.at(0), result.trajectory.at(STEPS)
    put = {name: weights[2] for name, weights in first.params.items()}
    for place, start in ((0, {}), (2, put)):
        ends = by_hand(make(loops), 5, start)
        for name, weights in last.params.items():
            assert torch.equal(weights[place], ends[name]), (name, place)
    assert not torch.equal(weights[0], weights[2])
