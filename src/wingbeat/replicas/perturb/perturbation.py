"""What all perturbations share: when, under which seed, on which tensors."""

from __future__ import annotations

import copy
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Self

import torch
from torch import Tensor

from wingbeat.arguments import shown
from wingbeat.determinism import derive
from wingbeat.errors import RequestError
from wingbeat.plugins import Registry
from wingbeat.task.batches import Streams

Tensors = Mapping[str, Tensor]

PERTURBATIONS: Final[Registry[type[Perturbation]]] = Registry(
    "wingbeat.perturbations",
    "perturbation",
    lambda found: isinstance(found, type) and issubclass(found, Perturbation),
    "wingbeat.replicas.perturb",
)
"""Every perturbation that can be named, by kind."""


@dataclass(frozen=True, kw_only=True)
class Perturbation(ABC):
    """A departure from the reference at one step.

    Args:
        at: fork step: after ``at`` updates and before the next one.
        seed: seed of the perturbation. What replica ``i`` draws follows from this seed, the base
            seed of the run, the kind, size and step of the perturbation, and ``i``: copies of
            different base seeds, sizes or steps share nothing, so that intervals may treat them
            as independent.
        name: shown in tables; by default made from kind, size and step.

    A subclass with a ``kind`` of its own is known by it from then on: to the command line, to
    study files and to the list of perturbations. ``described_apart`` names fields that have no
    JSON and for which `describe` says something else.
    """

    kind: ClassVar[str]
    described_apart: ClassVar[tuple[str, ...]] = ()
    at: int = 0
    seed: int = 0
    name: str = ""
    _base: ClassVar[int] = 0  # base seed of the run; `of_base` sets it on a copy

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in vars(cls):
            PERTURBATIONS.add(cls.kind, cls)

    def __post_init__(self) -> None:
        self.require(is_count(self.at, 0), "at", self.at, "use a whole step of at least 0")
        whole = isinstance(self.seed, int) and not isinstance(self.seed, bool)
        self.require(whole, "seed", self.seed, "use a whole number")
        self.require(isinstance(self.name, str), "name", self.name, "use text")

    @property
    def label(self) -> str:
        """Name of the perturbation in tables, for example ``gaussian-0.01@0``."""
        return self.name or f"{self.kind}-{self.size_label()}@{self.at}"

    @abstractmethod
    def size_label(self) -> str:
        """Return the middle part of the label."""

    def check(self, params: Tensors, steps: int) -> None:
        """Refuse what this model or run cannot carry, before compute is spent."""
        advice = f"the run has {steps} steps: fork before the last one"
        self.require(self.at < steps, "at", self.at, advice)

    def describe(self) -> dict[str, Any]:
        """Return what was asked, JSON-safe."""
        return {"kind": self.kind, **self._plain(), "name": self.label}

    def of_base(self, base: int) -> Self:
        """Return this perturbation as it is drawn in a run of a base seed."""
        own = copy.copy(self)
        object.__setattr__(own, "_base", base)
        return own

    def derived(self, replica: int) -> int:
        """Return the seed of what one replica draws, counted from 1."""
        asked = {
            key: float(value) if isinstance(value, (int, float)) else value  # 1 is 1.0
            for key, value in self._plain().items()
            if key not in ("name", "seed")
        }
        words = (self.kind, json.dumps(asked, sort_keys=True), self._base, replica)
        return derive(self.seed, "perturbation", *words)

    def _plain(self) -> dict[str, Any]:
        """Return every field as JSON but those that `describe` of a subclass puts in other words.

        Raises:
            RequestError: a field has no JSON: another value would be the same request.
        """
        names = [f.name for f in fields(self) if f.name not in self.described_apart]
        return {name: self._json(name, getattr(self, name)) for name in names}

    def _json(self, name: str, value: object) -> Any:
        if isinstance(value, str | int | float | None):
            return value
        if isinstance(value, list | tuple):
            return [self._json(name, inner) for inner in value]
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {key: self._json(name, inner) for key, inner in value.items()}
        self.require(
            False,
            name,
            value,
            "it has no JSON, so that two runs which differ in it could not be told apart: use "
            "numbers, text, or lists and dicts of them, or say in described_apart and describe() "
            "what stands for it, as Direction does",
        )
        return None

    def require(self, holds: bool, name: str, value: object, advice: str) -> None:
        """Raise ``RequestError`` that names the field, its value and the advice."""
        if not holds:
            msg = f"{type(self).__name__}.{name} is {shown(value)}: {advice}"
            raise RequestError(msg)


@dataclass(frozen=True, kw_only=True)
class Nudge(Perturbation):
    """A change of weights, once.

    Args:
        include: regular expression; only tensors whose name it is found in are changed.
        exclude: regular expression; tensors whose name it is found in are left alone.
    """

    include: str | None = None
    exclude: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("include", "exclude"):
            pattern = getattr(self, name)
            fine = pattern is None or isinstance(pattern, str)
            self.require(fine, name, pattern, "use a regular expression as text, or None")
            try:
                re.compile(pattern or "")
            except (re.error, OverflowError, RecursionError) as error:
                self.require(False, name, pattern, f"not a regular expression ({error})")

    def chosen(self, params: Tensors) -> dict[str, Tensor]:
        """Return the tensors that ``include`` and ``exclude`` leave, in model order."""
        return {
            name: tensor.detach().cpu()
            for name, tensor in params.items()
            if (self.include is None or re.search(self.include, name))
            and (self.exclude is None or not re.search(self.exclude, name))
        }

    def check(self, params: Tensors, steps: int) -> None:
        """Refuse a choice of tensors that leaves none."""
        super().check(params, steps)
        rules = f"include={self.include!r}, exclude={self.exclude!r}"
        advice = f"no tensor is left; the model has {', '.join(list(params)[:6])}"
        self.require(bool(self.chosen(params)), "include/exclude", rules, advice)

    def generator(self, replica: int) -> torch.Generator:
        """Return the random generator of one replica."""
        return torch.Generator().manual_seed(self.derived(replica))

    @abstractmethod
    def delta(self, params: Tensors, gradient: Callable[[int], Tensors], replica: int) -> Tensors:
        """Return what is added (float64, by name); tensors that stay are left out.

        Args:
            params: the reference's trainable parameters at the fork.
            gradient: ``seed -> gradient`` at the fork, on one training batch of another order.
            replica: which one, counted from 1.
        """


@dataclass(frozen=True, kw_only=True)
class StreamChange(Perturbation, ABC):
    """Another seed for one source of noise from the fork on, one for each replica."""

    def size_label(self) -> str:
        """Return the seed: a stream change has no magnitude."""
        return f"{self.seed}"

    @abstractmethod
    def streams(self, streams: Streams, replica: int) -> Streams:
        """Return the replica's noise streams after the fork."""


def is_count(value: object, least: int) -> bool:
    """Tell whether a value is a whole number of at least ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
