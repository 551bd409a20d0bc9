"""What a training step depends on besides the tensors that it is handed, as one key.

Two tasks of one process whose keys are equal take the same step, so that what was recorded for
one can be tried for the other. Nothing is trusted for its name: code counts by identity, values by
content, and where anything is met whose content cannot be told there is no key.
"""

from __future__ import annotations

import hashlib
import json
import types
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from wingbeat.task.describe import modules_digest, tensors_digest
from wingbeat.task.hidden_state import what_is_read

if TYPE_CHECKING:
    from wingbeat.task.step import TrainingStep

_APART: Final = frozenset(
    (
        *("model", "loss", "optimizer", "schedule", "seed", "steps", "name"),
        *(
            "data",
            "batch_size",
            "drop_last",
            "sampling",
            "augment",
            "collate",
            "batches",
            "sampler",
        ),
        "start",
        "scaler",
        *("eval_data", "eval_batch_size", "eval_metrics", "predict", "targets", "barriers"),
    )
)
"""Fields of a task that reach a step as tensors, through its model and loss, or not at all."""


@dataclass(frozen=True)
class StepKey:
    """Equal keys, equal steps.

    Attributes:
        text: a digest.
        alive: code and classes that the digest names by identity: held, so that none is reused.
    """

    text: str
    alive: tuple[Any, ...] = field(compare=False, repr=False)


def step_key(step: TrainingStep) -> StepKey | None:
    """Return the key of a step; None where it cannot be told what the step depends on."""
    others = {f.name: getattr(step.task, f.name) for f in fields(step.task)}
    options = {name: value for name, value in others.items() if name not in _APART}
    if not all(map(_told, options.values())):
        return None
    read = what_is_read(step.task, step.skeleton)
    if read is None or not (_told(step.optimizer) and _told(step.scaling)):
        return None
    trees, tensors, reached = read
    alive = [*map(_code, reached), *map(type, step.skeleton.modules()), *_rules(step)]
    content = [
        *(sorted(options.items()), trees, sorted({id(thing) for thing in alive}), _model(step)),
        *(_optimizer(step), repr(step.scaling), step.functional, str(step.dtype)),
        *(str(step.device), _settings()),
    ]
    held = {f"read {i}": t for i, t in enumerate(tensors)}
    if step.idle is not None:
        held["idle"] = step.idle
    text = json.dumps(content, default=str) + tensors_digest(held)
    return StepKey(hashlib.sha256(text.encode()).hexdigest(), tuple(alive))


def _code(thing: Any) -> Any:
    """Return what stays the same when a factory makes its functions anew."""
    return thing.__code__ if isinstance(thing, types.FunctionType) else thing


def _told(value: Any) -> bool:
    """Tell whether the text of a value says all of it."""
    if isinstance(value, tuple):
        return all(map(_told, value))
    if is_dataclass(value) and not isinstance(value, type):
        return all(_told(getattr(value, f.name)) for f in fields(value))
    return isinstance(value, (bool, int, float, str, slice, type(None)))


def _optimizer(step: TrainingStep) -> str:
    """Return what of the optimizer a step is made of; rates come in beside state and batch."""
    return "" if step.optimizer is None else repr(step.optimizer.without_rates())


def _rules(step: TrainingStep) -> list[type]:
    return [] if step.optimizer is None else [type(rule) for rule in step.optimizer.rules()]


def _model(step: TrainingStep) -> list[Any]:
    layout = step.layout
    modes = [(name, m.training) for name, m in step.skeleton.named_modules()]
    return [layout.names, layout.shapes, modes, modules_digest(step.skeleton)]


def _settings() -> list[Any]:
    """Return the settings of torch that decide which operations a step is made of."""
    return [
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.mkldnn.enabled,
        torch.get_float32_matmul_precision(),
        str(torch.get_default_dtype()),
        torch.is_autocast_enabled("cpu"),
    ]
