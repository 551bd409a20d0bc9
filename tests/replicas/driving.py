"""Advance replicas of a task with a given driver, and the same by an ordinary torch loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wingbeat.determinism import derive, seeded
from wingbeat.params import trainable
from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.drivers.loop import Loop, ObjectLoop
from wingbeat.replicas.first_loss import first_loss
from wingbeat.replicas.perturb import Gaussian, Perturbation
from wingbeat.replicas.replicas import Replicas
from wingbeat.replicas.snapshot import Snapshot
from wingbeat.replicas.training_run import TrainingRun, advance
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.step import TrainingStep
from wingbeat.task.task import Task

CPU = torch.device("cpu")


def course(
    task: Task,
    driver: str = "loop",
    *,
    dtype: torch.dtype = torch.float32,
    count: int = 2,
    perturbations: Sequence[Perturbation] = (Gaussian(0.01),),
    chunk: int = 0,
    spare: int = 1,
    record: Sequence[int] = (),
) -> TrainingRun:
    """Return a course at its beginning; drivers: loop, object, traced, eager, compiled."""
    step = TrainingStep(task, dtype, CPU)
    batches = Batches(task, dtype, CPU)
    with seeded(0):
        first_loss(step, batches)
    drivers: dict[str, Any] = {"loop": Loop, "object": ObjectLoop}
    made = drivers[driver](step) if driver in drivers else Lockstep(step, driver)  # type: ignore[arg-type]
    chunk = 1 if driver in drivers else chunk
    replicas = Replicas(made, batches, chunk, spare=spare)
    return TrainingRun(step, replicas, perturbations, count, frozenset({*record, task.steps}))


def train(task: Task, driver: str = "loop", **options: Any) -> list[Snapshot]:
    """Return the snapshots at step 0, at ``record`` and at the end."""
    run = course(task, driver, **options)
    return go_on(run, task.steps)


def go_on(run: TrainingRun, steps: int) -> list[Snapshot]:
    """Advance a course and return its snapshots."""
    with seeded(0):
        return [s for s in advance(run, steps) if s is not None]


def relative(a: Tensor, b: Tensor) -> float:
    """Return the largest distance of two replicas over their norm; tensors ``(replicas, …)``."""
    a, b = a.double().reshape(len(a), -1), b.double().reshape(len(b), -1)
    scale = b.norm(dim=1).clamp(min=1e-300)
    return float(((a - b).norm(dim=1) / scale).max())


def flat(snapshot: Snapshot) -> Tensor:
    """Return all parameters of a snapshot ``(replicas, P)``."""
    return torch.cat([t.flatten(1) for t in snapshot.params.values()], dim=1)


def same_bits(a: Snapshot, b: Snapshot, labels: Sequence[str] | None = None) -> bool:
    """Tell whether two snapshots hold the same bits for each label that both (or all) have."""
    shared = list(labels) if labels is not None else [k for k in a.labels if k in b.labels]
    rows = [a.labels.index(k) for k in shared], [b.labels.index(k) for k in shared]
    pairs = [(a.params[k], b.params[k]) for k in a.params]
    pairs += [(a.buffers[k], b.buffers[k]) for k in a.buffers]
    return bool(shared) and all(_identical(x[rows[0]], y[rows[1]]) for x, y in pairs)


def _identical(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())


@dataclass
class Plain:
    """What an ordinary loop ends with."""

    model: nn.Module
    losses: list[float]


def plain(task: Task, dtype: torch.dtype = torch.float64) -> Plain:
    """Train the reference as anyone would: the module, the optimizer, ``LambdaLR``, a for loop."""
    torch.manual_seed(task.seed)
    model = task.model().to(dtype)
    params = list(trainable(model).values())
    optimizer = task.optimizer(params)
    factor = task.schedule or (lambda step: 1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    batches, streams = Batches(task, dtype, CPU), Streams.of(task.seed)
    losses = []
    for step in range(task.steps):
        batch = batches.batch(streams, step)
        noise = derive(streams.dropout, step)

        def closure(batch: Any = batch, noise: int = noise) -> Tensor:
            torch.manual_seed(noise)
            optimizer.zero_grad()
            loss = task.loss(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            if task.clip_norm is not None:
                nn.utils.clip_grad_norm_(params, task.clip_norm)
            return loss.detach()

        losses.append(float(optimizer.step(closure)))
        scheduler.step()
    return Plain(model, losses)
