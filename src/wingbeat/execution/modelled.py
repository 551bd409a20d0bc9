"""Checkpoints that were made elsewhere, as the moments of a model that a task names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from wingbeat.checkpoints.open import open_checkpoint
from wingbeat.checkpoints.source import read_whole
from wingbeat.errors import RequestError
from wingbeat.params import fixed, trainable
from wingbeat.replicas.snapshot import Snapshot

if TYPE_CHECKING:
    from torch import Tensor, nn

    from wingbeat.checkpoints.series import Series

_PREFIXES = ("", "model.", "module.", "net.", "_orig_mod.")
"""What scripts keep a model under; taken where all of its weights are found with it."""


@dataclass(frozen=True)
class Modelled:
    """A store that gives weights and buffers of a model; what it does not hold is as built.

    Attributes:
        series: the checkpoints.
        model: from the task.
        prefix: what the names have before those of the model.
        absent: buffers and frozen weights that the checkpoints do not hold.
    """

    series: Series
    model: nn.Module
    prefix: str
    absent: tuple[str, ...]

    @classmethod
    def of(cls, series: Series, model: nn.Module) -> Modelled:
        """Find the model's tensors among those of the checkpoints.

        Raises:
            RequestError: a weight is missing or has another shape.
        """
        wanted = {name: tuple(p.shape) for name, p in trainable(model).items()}
        found = set(series.tensors)
        missing = {p: [n for n in wanted if f"{p}{n}" not in found] for p in _PREFIXES}
        prefix = min(_PREFIXES, key=lambda p: len(missing[p]))
        if missing[prefix]:
            msg = (
                f"the checkpoints do not hold {missing[prefix][0]!r} of the task's model (and "
                f"{len(missing[prefix]) - 1} more); they hold {sorted(found)[:4]}: is it the model "
                "that they were saved of?"
            )
            raise RequestError(msg)
        first = series.steps()[0]
        for name, shape in wanted.items():
            there = tuple(series.read_tensor(first, prefix + name).shape[1:])
            if there != shape:
                msg = f"{name!r} is {there} in the checkpoints and {shape} in the task's model"
                raise RequestError(msg)
        held = _buffers(series, series.replicas[0], first, model)
        absent = tuple(n for n in fixed(model) if n not in held)
        return cls(series, model, prefix, absent)

    def read(self, step: int) -> Snapshot:
        """Return the snapshot of a step."""
        like = {n: p.dtype for n, p in trainable(self.model).items()}
        params = {n: self._tensor(step, n, dtype) for n, dtype in like.items()}
        held = [_buffers(self.series, r, step, self.model) for r in self.series.replicas]
        buffers = {
            name: torch.stack([own.get(name, built.detach()).to(built.dtype) for own in held])
            for name, built in fixed(self.model).items()
        }
        before = self.series.read(step)
        return Snapshot(step, before.labels, params, buffers, before.losses)

    def _tensor(self, step: int, name: str, dtype: torch.dtype) -> Tensor:
        return self.series.read_tensor(step, self.prefix + name).to(dtype)

    def read_tensor(self, step: int, name: str) -> Tensor:
        """Return one tensor of a step."""
        snapshot = self.read(step)
        return snapshot.params[name] if name in snapshot.params else snapshot.buffers[name]

    def steps(self) -> list[int]:
        """Return the steps that every replica has, ascending."""
        return self.series.steps()

    def append(self, snapshot: Snapshot) -> None:
        """Refuse, as checkpoints of others are only read."""
        self.series.append(snapshot)

    def seal(self) -> None:
        """Do nothing: nothing is written."""


def _buffers(series: Series, replica: str, step: int, model: nn.Module) -> dict[str, Tensor]:
    """Return what a file holds of a model beside its trained weights: statistics, frozen weights.

    A series has those alone that are compared.
    """
    source = open_checkpoint(series.paths[replica, step], key=series.key)
    weight = next(iter(trainable(model)))
    ends = [name for name in source.entries if name == weight or name.endswith(f".{weight}")]
    prefix = min(ends, key=len).removesuffix(weight) if ends else ""
    return {
        name: read_whole(source.entries[prefix + name]).reshape(tensor.shape)
        for name, tensor in fixed(model).items()
        if prefix + name in source.entries
    }
