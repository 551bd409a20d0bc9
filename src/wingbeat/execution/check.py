"""Check: one call for a model, a loss and a loader, with the defaults of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from wingbeat.execution.run import run
from wingbeat.task.advice import is_criterion
from wingbeat.task.build import copied_model
from wingbeat.task.data import is_tensors, len_of
from wingbeat.task.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wingbeat.execution.result import Result
    from wingbeat.replicas.perturb import Perturbation

STEPS = 200
"""Updates of a check that does not say how many: seconds for a small net."""
BATCH = 32
"""Samples a batch where samples are handed over, not batches."""


def check(
    model: Callable[[], nn.Module] | nn.Module,
    loss: Callable[..., Any],
    batches: Any,
    *,
    optimizer: Callable[[Any], torch.optim.Optimizer] | None = None,
    steps: int = STEPS,
    perturbations: Sequence[Perturbation] | Perturbation | None = None,
    eval_data: Any = None,
    out: str | Path | None = None,
    **options: Any,
) -> Result:
    """Ask whether a training is sensitive to its starting point: the shortest way to an answer.

    Args:
        model: a function that builds the model, or one that is built (a copy of it is trained).
        loss: ``(model, batch) -> scalar``, or a criterion ``(output, target)`` for pairs.
        batches: a DataLoader, a list of batches, ``step -> batch``; or tensors ``(x, y)`` or a data
            set, of which batches of 32 are taken.
        optimizer: by default AdamW at a rate of 0.001.
        steps: updates in all.
        perturbations: as in `run`: by default ``Gaussian(0.01)``, as on the command line.
        eval_data: for accuracy and disagreement; tensors, a data set or a loader.
        out: folder that keeps the run, and goes on with it.
        **options: of `Task` (``accumulate=``, ``precision=``, …) and of `run` (``replicas=``, …).

    Returns:
        The result, as `run` returns it.

    Raises:
        RequestError: something cannot be trained as it was handed over; nothing was computed.

    Example:
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> x = torch.linspace(-1, 1, 64).unsqueeze(1)
        >>> loader = DataLoader(TensorDataset(x, 2 * x), batch_size=16, shuffle=True)
        >>> result = check(lambda: nn.Linear(1, 1), nn.MSELoss(), loader, steps=20)
        >>> result.noise_floor
        0.0
    """
    own = {name: options.pop(name) for name in tuple(options) if name in _TASK}
    built = isinstance(model, nn.Module)
    task = Task(
        model=_Copies(model) if built else model,
        loss=_OfOutput(loss) if is_criterion(loss) else loss,
        optimizer=optimizer or _adamw,
        steps=steps,
        eval_data=eval_data,
        **_source(batches),
        **own,
    )
    return run(task, perturbations, out=out, **options)


_TASK = frozenset(Task.__dataclass_fields__)


def _adamw(params: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, lr=1e-3)


def _source(batches: Any) -> dict[str, Any]:
    tensors = is_tensors(batches) and any(isinstance(t, torch.Tensor) for t in _values(batches))
    samples = isinstance(batches, Dataset) and not isinstance(batches, IterableDataset)
    if tensors or samples:
        return {"data": batches, "batch_size": min(BATCH, len_of(batches))}
    return {"batches": batches}


def _values(batches: Any) -> list[Any]:
    return list(batches.values() if isinstance(batches, dict) else batches)


@dataclass(frozen=True)
class _Copies:
    """A factory of copies of one model."""

    model: Any

    def __call__(self) -> nn.Module:
        return copied_model(self.model)


@dataclass(frozen=True)
class _OfOutput:
    """The loss of a criterion that compares outputs with targets."""

    criterion: Any

    def __call__(self, model: nn.Module, batch: Any) -> torch.Tensor:
        found: torch.Tensor = self.criterion(model(batch[0]), batch[1])
        return found
