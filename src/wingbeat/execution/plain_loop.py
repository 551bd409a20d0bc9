"""A plain training loop beside the driver: does it train the same, but for rounding?

The loop calls the model and the optimizer themselves, one replica, nothing recorded, vectorised
or made pure. Rounding differs between the two and grows with training, by how much depends on
the task: so the plain loop is run twice more from weights moved by their own rounding, and the
driver may part from it by no more than a multiple of what these do.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from wingbeat.determinism import derive
from wingbeat.replicas.drivers.loop import ObjectLoop
from wingbeat.replicas.drivers.object_loop import Remembering
from wingbeat.replicas.fork import REFERENCE, twin
from wingbeat.replicas.replicas import Replicas
from wingbeat.replicas.training_run import TrainingRun, advance
from wingbeat.task.batches import Batches, Streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from wingbeat.execution.request import Request
    from wingbeat.task.step import State, TrainingStep

Path = dict[int, dict[str, "Tensor"]]
"""Parameters of one replica by step and name."""
RUNS = 3
"""Runs of the plain loop: as it is, and from two starts moved by rounding."""
# The driver rounds at every step, the moved starts only once: a step adds about one unit in the
# last place of each weight, and sums of many products a few more.
_MULTIPLE = 20.0
_UNITS = 64.0


def unlike_plain(
    step: TrainingStep, request: Request, path: Path, tick: Callable[[int], object]
) -> tuple[int, str, int] | None:
    """Return the first step at which a driver's path is not that of the plain loop.

    Args:
        step: the pure step; its model and optimizer are used.
        request: what is trained.
        path: the driver's reference, by step and tensor name.
        tick: told how many updates have been made.

    Returns:
        Step, first tensor, how many tensors differ; or None.
    """
    steps = max(path)
    plain, *moved = [
        _trained(step, request, sorted(path), run, partial(_told, tick, run * steps))
        for run in range(RUNS)
    ]
    for at in sorted(path):
        differing = [
            name
            for name, value in path[at].items()
            if _apart(value, plain[at][name]) > _allowed(name, at, plain, moved)
        ]
        if differing:
            return at, differing[0], len(differing)
    return None


def _told(tick: Callable[[int], object], before: int, done: int) -> None:
    tick(before + done)


def _apart(a: Tensor, b: Tensor) -> float:
    both = torch.isfinite(a) & torch.isfinite(b)  # where both have diverged nothing is left to say
    lone = torch.isfinite(a) != torch.isfinite(b)
    if bool(lone.any()):
        return float("inf")
    return float((a.double() - b.double())[both].norm())


def _allowed(name: str, at: int, plain: Path, moved: list[Path]) -> float:
    own = plain[at][name]
    grown = max(_apart(one[at][name], own) for one in moved)
    unit = torch.finfo(own.dtype).eps * float(own.double().nan_to_num().norm())
    return _MULTIPLE * grown + _UNITS * (1 + at) * unit


def _trained(
    step: TrainingStep, request: Request, at: list[int], run: int, tick: Callable[[int], object]
) -> Path:
    """Train one replica by the plain loop; returns its parameters at the wanted steps."""
    batches = Batches(request.task, request.dtype, request.device)
    inner = ObjectLoop(step)
    driver = Remembering(inner, step.remembers) if step.remembers else inner
    course = TrainingRun(step, Replicas(driver, batches, 1), (), 0, frozenset(at))
    streams = Streams.of(step.task.seed)
    start = _moved(step.start(step.task.seed), run)
    fresh = type(start)(start.params, start.buffers, {}).map(lambda t: t.unsqueeze(0))
    course.replicas.place([twin(REFERENCE, streams)], [fresh])
    path = {0: _named(step, fresh)}
    for snapshot in advance(course, max(at)):
        tick(course.done)
        if snapshot is not None:
            path[snapshot.step] = {k: t[0] for k, t in snapshot.params.items()}
    if isinstance(driver, Remembering):
        driver.release()
    return path


def _moved(state: State, run: int) -> State:
    """Return a start whose weights are moved by about their own rounding; run 0 is not moved."""
    if run == 0:
        return state
    noise = torch.Generator().manual_seed(derive(run, "rounding"))
    drawn = torch.randn(state.params.shape, generator=noise, dtype=torch.float64)
    eps = torch.finfo(state.params.dtype).eps
    moved = state.params.double() * (1 + eps * drawn.to(state.params.device))
    return type(state)(moved.to(state.params), state.buffers, state.slots)


def _named(step: TrainingStep, state: State) -> dict[str, Tensor]:
    named = step.layout.unflatten(state.params.cpu())
    return {k: t[0] for k, t in named.items()}
