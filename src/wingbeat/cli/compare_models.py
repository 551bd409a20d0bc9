"""Checkpoints as models: the loss barrier between them, before and after alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.checkpoints import open_checkpoint
from wingbeat.checkpoints.source import read_whole
from wingbeat.errors import RequestError
from wingbeat.landscape import Models, Probe, line
from wingbeat.params import trainable
from wingbeat.symmetry import align, aligned_distance, permutation_spec
from wingbeat.task.step import TrainingStep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from wingbeat.task.task import Task


@dataclass(frozen=True)
class BetweenModels:
    """What lies between the first checkpoint and another, as functions.

    Attributes:
        label: of the other.
        barrier: of the training loss on the straight line, ``{value, low, high, reason}``.
        aligned_barrier: the same after the other's units were permuted; None without alignment.
        aligned_l2: distance after that, in weight; None without alignment.
        reason: why there is no alignment, "" if there is.
    """

    label: str
    barrier: dict[str, Any]
    aligned_barrier: dict[str, Any] | None = None
    aligned_l2: float | None = None
    reason: str = ""


def between(
    task: Task, paths: Sequence[Path], labels: Sequence[str], *, key: str | None = None
) -> list[BetweenModels]:
    """Measure barriers from the first checkpoint to every other, plain and aligned.

    Whole models are loaded here: the first, one other and their copies on the line.

    Args:
        task: gives model, loss and data.
        paths: checkpoints of its model.
        labels: their names.
        key: where the tensors are inside ``.pt`` files that hold more than a state dict.

    Raises:
        RequestError: a checkpoint lacks a parameter of the model, or has another shape.
    """
    step = TrainingStep(task, torch.float32, torch.device("cpu"))
    probe = Probe(step, data={"train": task.data})
    first = loaded(task, paths[0], key)
    example = _example(task)
    out = []
    for path, label in zip(paths[1:], labels[1:], strict=True):
        other = loaded(task, path, key)
        plain = _barrier(step, probe, first, other)
        try:
            if example is None:
                raise RequestError("the data are no tuple whose first tensor is the input")
            spec = permutation_spec(first, example)
            found = align(first, other, spec)
        except RequestError as error:
            out.append(BetweenModels(label, plain, reason=str(error)))
            continue
        distance = aligned_distance(first, other, spec, found)
        other.load_state_dict(found.apply(other.state_dict()))
        out.append(BetweenModels(label, plain, _barrier(step, probe, first, other), distance))
    return out


def loaded(task: Task, path: Path, key: str | None = None) -> nn.Module:
    """Return the task's model with the weights of a checkpoint, in evaluation mode.

    Whole-number buffers, such as counters, keep the values of a new model.

    Raises:
        RequestError: a parameter is missing or of another shape.
    """
    model = task.model()
    source = open_checkpoint(path, key=key)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            entry = source.entries.get(source.tied.get(name, name))
            usable = entry is not None and entry.kind == "float"
            if entry is not None and usable and entry.shape == tuple(tensor.shape):
                tensor.copy_(read_whole(entry))
            elif name in trainable(model) or usable:
                shape = "absent" if entry is None else f"{entry.dtype} {entry.shape}"
                msg = f"{path} does not fit the model: {name!r} is {shape}"
                raise RequestError(f"{msg}, {tuple(tensor.shape)} is needed")
    return model.eval()


def _barrier(step: TrainingStep, probe: Probe, a: nn.Module, b: nn.Module) -> dict[str, Any]:
    models = Models.of_modules(step, {"first": a, "second": b})
    return line(probe, models).curve("loss_train").estimates()[0].to_json()


def _example(task: Task) -> Tensor | None:
    data = task.data
    if isinstance(data, (tuple, list)) and data and isinstance(data[0], torch.Tensor):
        return data[0][:2]
    return None
