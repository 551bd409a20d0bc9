"""Go on from a checkpoint: the weights, the optimizer's state, and how many updates were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.checkpoints.names import few
from wingbeat.checkpoints.open import open_checkpoint
from wingbeat.checkpoints.source import READ, Entry, read_whole
from wingbeat.checkpoints.torch_file import load_plain
from wingbeat.checkpoints.weights import is_optimizer
from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor, nn

_DEEPEST = 4
"""Levels of a training checkpoint that are searched for the state of an optimizer."""


@dataclass(frozen=True)
class Start:
    """Where a task goes on from: ``wb.Task(start=wb.Start(...))``.

    Step 0 of the run is then update ``step`` of the training: its batch, learning rate and random
    numbers are those that an uninterrupted training has there. ``at=``, ``record_every=`` and
    ``steps=`` count from the start.

    Args:
        model: a checkpoint that `wingbeat.compare` reads (safetensors, sharded, ``.pt``,
            distributed, a Trainer's folder), or a state dict.
        optimizer: a ``.pt`` file that holds an optimizer's state, alone or beside the model, or
            such a state; None begins with an empty one. Moments and counts are taken; options such
            as the learning rate stay those of the task's factory and schedule.
        step: updates made before.
        key: where the weights are in a ``.pt`` file or a distributed checkpoint that holds more.

    Raises:
        RequestError: the files hold something else; names or shapes are not the model's.
        StoreError: a file is damaged or asks to run code.

    Example:
        >>> import wingbeat as wb
        >>> trained = torch.nn.Linear(2, 1)
        >>> start = Start(model=trained.state_dict(), step=500)
        >>> fresh = torch.nn.Linear(2, 1)
        >>> start.load_model(fresh)
        >>> bool((fresh.weight == trained.weight).all())
        True
    """

    model: str | Path | Mapping[str, Any]
    optimizer: str | Path | Mapping[str, Any] | None = None
    step: int = 0
    key: str | None = None
    _weights: dict[str, Tensor] = field(init=False, repr=False, compare=False)
    _state: Mapping[str, Any] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        whole = isinstance(self.step, int) and not isinstance(self.step, bool) and self.step >= 0
        if not whole:
            raise RequestError(f"Start.step is {self.step!r}: use a whole number of at least 0")
        object.__setattr__(self, "_weights", self._read_weights())
        object.__setattr__(self, "_state", self._read_state())

    def load_model(self, model: nn.Module) -> None:
        """Put the weights and buffers into a model that was just built.

        Raises:
            RequestError: a tensor of the model is missing, one is left over, or a shape differs.
        """
        own = model.state_dict(keep_vars=True)
        tied = _tied(own)
        there = _fitted(self._weights, own)
        missing = [n for n in own if not any(same in there for same in tied[n])]
        over = [n for n in there if n not in own]
        if missing or over:
            lacks = f"lacks {few(missing)}" if missing else ""
            more = f"has {few(over)}, which the model has not" if over else ""
            what = "; ".join(part for part in (lacks, more) if part)
            raise RequestError(f"Start.model {self._named(self.model)} is not this model's: {what}")
        with torch.no_grad():
            for name, value in there.items():
                if own[name].shape != value.shape:
                    raise RequestError(
                        f"Start.model {self._named(self.model)} has {name!r} of shape "
                        f"{tuple(value.shape)}, and the model of {tuple(own[name].shape)}"
                    )
                own[name].copy_(value)

    def load_optimizer(self, optimizer: Any) -> None:
        """Put the state into an optimizer that was just built; its options stay.

        Raises:
            RequestError: the state is of another number of parameters, or of other shapes.
        """
        if self._state is None:
            return
        groups = [list(group["params"]) for group in optimizer.param_groups]
        saved = [list(group["params"]) for group in self._state["param_groups"]]
        if [len(g) for g in groups] != [len(g) for g in saved]:
            raise RequestError(
                f"Start.optimizer {self._named(self.optimizer)} has groups of "
                f"{[len(g) for g in saved]} parameters, and the task's optimizer of "
                f"{[len(g) for g in groups]}: build it as the one that was saved"
            )
        for places, params in zip(saved, groups, strict=True):
            for place, parameter in zip(places, params, strict=True):
                self._check_shapes(self._state["state"].get(place, {}), parameter)
        own = optimizer.state_dict()
        optimizer.load_state_dict({**own, "state": dict(self._state["state"])})

    def _check_shapes(self, state: Mapping[str, Any], parameter: Tensor) -> None:
        for name, value in state.items():
            whole = isinstance(value, torch.Tensor) and value.dim() > 0
            if (
                whole
                and name.startswith(("exp_avg", "momentum"))
                and value.shape != parameter.shape
            ):
                raise RequestError(
                    f"Start.optimizer {self._named(self.optimizer)} has {name!r} of shape "
                    f"{tuple(value.shape)} for a parameter of shape {tuple(parameter.shape)}: it "
                    "is of another model, or its parameters are in another order"
                )

    def _read_weights(self) -> dict[str, Tensor]:
        if isinstance(self.model, Mapping):
            return {n: t for n, t in self.model.items() if isinstance(t, torch.Tensor)}
        source = open_checkpoint(self.model, key=self.key)
        source.check(lambda _: None)
        found = {name: _whole(entry) for name, entry in source.entries.items()}
        return found | {name: found[kept] for name, kept in source.tied.items()}

    def _read_state(self) -> Mapping[str, Any] | None:
        if self.optimizer is None:
            return None
        content: Any = self.optimizer
        if not isinstance(content, Mapping):
            content = load_plain(Path(content))
        found = _optimizers(content, "", 0)
        if len(found) != 1:
            what = f"several ({few(list(found))})" if found else "no optimizer's state"
            raise RequestError(
                f"Start.optimizer {self._named(self.optimizer)} holds {what}: save "
                "optimizer.state_dict(), alone or under one name"
            )
        return next(iter(found.values()))

    @staticmethod
    def _named(given: Any) -> str:
        return "(a state that was handed over)" if isinstance(given, Mapping) else str(given)


def _fitted(there: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return tensors under the model's names, where all that differs is a prefix of all of them.

    A framework's checkpoint has ``net.0.weight`` for ``0.weight``, or the other way round.
    """
    if set(there) & set(own):
        return there
    for name in there:
        for other in own:
            if name.endswith(f".{other}"):
                cut, put = name[: -len(other)], ""
            elif other.endswith(f".{name}"):
                cut, put = "", other[: -len(name)]
            else:
                continue
            found = {put + n.removeprefix(cut): t for n, t in there.items() if n.startswith(cut)}
            if len(found) == len(there) and set(found) <= set(own):
                return found
        break  # the first name decides: a prefix is that of all
    return there


def _tied(own: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Return for each name all names of the same tensor."""
    groups: dict[int, list[str]] = {}
    for name, tensor in own.items():
        groups.setdefault(id(tensor), []).append(name)
    return {name: groups[id(tensor)] for name, tensor in own.items()}


def _optimizers(content: Any, place: str, depth: int) -> dict[str, Mapping[str, Any]]:
    if isinstance(content, list):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return {}
    if "param_groups" in content and "state" in content and is_optimizer(content):
        return {place or "the file": content}
    found: dict[str, Mapping[str, Any]] = {}
    for name, inner in content.items():
        found |= _optimizers(inner, f"{place}.{name}" if place else str(name), depth + 1)
    return found


def _whole(entry: Entry) -> Tensor:
    """Return a tensor: weights, or a counter beside them."""
    if entry.kind not in READ:
        raise RequestError(
            f"{entry.path} has {entry.name!r} of type {entry.dtype}, which a training cannot go on "
            "from: save the model in floating point"
        )
    return read_whole(entry)
