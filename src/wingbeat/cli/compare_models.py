"""Checkpoints as models: loss barriers, before and after alignment, and representations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from wingbeat.checkpoints import open_checkpoint
from wingbeat.checkpoints.source import read_whole
from wingbeat.checkpoints.table import COLUMNS
from wingbeat.errors import NO_PERMUTATIONS, RequestError, UndefinedError
from wingbeat.landscape import Models, Probe, line
from wingbeat.landscape.data import select_samples
from wingbeat.measure.symmetries import task_spec
from wingbeat.params import trainable
from wingbeat.representation import compare_layers
from wingbeat.stats import Estimate
from wingbeat.symmetry import align, aligned_distance
from wingbeat.task.step import TrainingStep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

    from wingbeat.task.task import Task


SAMPLES = 512
"""Samples on which representations are compared, at most; evenly spaced over the data."""


@dataclass(frozen=True)
class ComparedLayer:
    """How alike a layer of the two models is, on the same samples.

    Attributes:
        name: of the module.
        cka: debiased CKA, in [−1, 1], 1 = the same representation; None with a reason.
        angular_cka: its arc cosine in radian, 0 = the same; None with a reason.
        reason: "" where there is a value.
    """

    name: str
    cka: float | None
    angular_cka: float | None
    reason: str


@dataclass(frozen=True)
class BetweenModels:
    """What lies between the first checkpoint and another, as functions.

    Attributes:
        label: of the other.
        barrier: of the training loss on the straight line, ``{value, low, high, reason}``.
        aligned_barrier: the same after the other's units were permuted; None without alignment.
        aligned_l2: distance after that, in weight; None without alignment.
        reason: why there is no alignment, "" if there is.
        angular_cka: mean over the layers that have one, in radian, 0 = the same representation.
        layers: CKA layer by layer; empty without representations.
        cka_reason: why there are no representations, "" if there are.
    """

    label: str
    barrier: dict[str, Any]
    aligned_barrier: dict[str, Any] | None = None
    aligned_l2: float | None = None
    reason: str = ""
    angular_cka: float | None = None
    layers: tuple[ComparedLayer, ...] = field(default=())
    cka_reason: str = ""

    def rows(self, a: str) -> pd.DataFrame:
        """Return tidy rows, as `Comparison.table` has them; ``a`` is the first's label."""
        aligned = self.aligned_barrier or {"value": None, "reason": NO_PERMUTATIONS}
        none = "" if self.aligned_l2 is not None else NO_PERMUTATIONS
        rows = [
            ("barrier", "", self.barrier["value"], self.barrier["reason"]),
            ("barrier_aligned", "", aligned["value"], aligned["reason"]),
            ("l2_aligned", "", self.aligned_l2, none),
        ]
        if self.layers:
            why = "" if self.angular_cka is not None else self.layers[0].reason
            rows.append(("angular_cka", "", self.angular_cka, why))
        rows += [("cka", x.name, x.cka, x.reason) for x in self.layers]
        rows += [("angular_cka", x.name, x.angular_cka, x.reason) for x in self.layers]
        out = pd.DataFrame(rows, columns=["metric", "layer", "value", "reason"])
        out = out.assign(step=0, perturbation="", a=a, b=self.label).astype({"value": float})
        return out[list(COLUMNS)]


def between(
    task: Task, paths: Sequence[Path], labels: Sequence[str], *, key: str | None = None
) -> list[BetweenModels]:
    """Measure barriers and CKA from the first checkpoint to every other, plain and aligned.

    Whole models are loaded here: the first, one other and their copies on the line.

    Args:
        task: gives model, loss and data: training data for barriers, and for representations
            the evaluation data where there are any.
        paths: checkpoints of its model.
        labels: their names.
        key: where the tensors are inside ``.pt`` files that hold more than a state dict.

    Raises:
        RequestError: a checkpoint lacks a parameter of the model, or has another shape.
    """
    step = TrainingStep(task, torch.float32, torch.device("cpu"))
    probe = Probe(step, data={"train": task.data})
    first = loaded(task, paths[0], key)
    out = []
    for path, label in zip(paths[1:], labels[1:], strict=True):
        other = loaded(task, path, key)
        plain = _barrier(step, probe, first, other)
        alike = _representations(task, first, other)
        aligned = _aligned(
            step, probe, first, other
        )  # moves the other's units: the last to be done
        out.append(BetweenModels(label, plain, **alike, **aligned))
    return out


def _aligned(
    step: TrainingStep, probe: Probe, first: nn.Module, other: nn.Module
) -> dict[str, Any]:
    try:
        spec = task_spec(step, first)
        found = align(first, other, spec)
    except RequestError as error:
        return {"reason": str(error)}
    distance = aligned_distance(first, other, spec, found)
    other.load_state_dict(found.apply(other.state_dict()))
    return {"aligned_barrier": _barrier(step, probe, first, other), "aligned_l2": distance}


def _representations(task: Task, first: nn.Module, other: nn.Module) -> dict[str, Any]:
    data = select_samples(task.data if task.eval_data is None else task.eval_data, SAMPLES)
    try:
        found = compare_layers(task, first, other, data=data)
    except RequestError as error:
        return {"cka_reason": str(error)}
    rows = zip(found.first, np.diagonal(found.cka), np.diagonal(found.reasons), strict=True)
    layers = tuple(
        ComparedLayer(name, _finite(value), _finite(np.arccos(value)), str(why))
        for name, value, why in rows
    )
    angles = [layer.angular_cka for layer in layers if layer.angular_cka is not None]
    return {"layers": layers, "angular_cka": float(np.mean(angles)) if angles else None}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


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
    try:
        return line(probe, models).curve("loss_train").estimates()[0].to_json()
    except UndefinedError as error:
        return Estimate(float("nan"), reason=error.reason).to_json()
