"""One cell of a study as plain JSON, with a key that is a function of its content."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from math import isfinite
from typing import Any, Final, Literal

import torch

from wingbeat.errors import RequestError, nearest
from wingbeat.execution.request import usual_record_every
from wingbeat.moved import first_names
from wingbeat.plugins import module_of
from wingbeat.replicas.drivers.selection import DriverName
from wingbeat.replicas.perturb import Perturbation, perturbation_of
from wingbeat.task.task import Task

Json = Any
"""None, a bool, int, float or str, or a list or dict (keys are strings) of these."""

_RECORDED: Final[dict[int | str | None, str | None]] = {"epoch": None, None: "about 20"}
_DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Condition:
    """What one cell of a study trains and measures.

    Nothing in it is code: the task is named as ``module:function`` and built where the work is
    done, so that a condition can travel to another process or machine and be read years later.

    Args:
        factory: ``module:function`` that returns a ``Task``.
        arguments: keyword arguments of the factory, JSON.
        perturbations: each ``{"kind": …, field: value, …}``, as ``Perturbation.describe`` gives it.
        replicas: perturbed replicas for each perturbation.
        record_every: steps between snapshots; None takes about 20 in all, as ``wb.run`` does, and
            "epoch" one per epoch.
        metrics: names to measure; None takes those of ``wb.run``.
        seeds: base seeds; with several the intervals of the condition are nested.
        dtype: floating-point type by name.
        device: where it runs.
        driver: "lockstep" or "loop". "auto" measures which is faster and may choose differently
            next time, so that equal conditions need not give equal bits: avoid it in studies.
        compiled: whether the step goes through ``torch.compile``; worth its minute for nets that
            train long on a GPU. The bits are others than without.
        measures: ``module:function`` of further measures, ``Result -> {name: estimate as JSON}``.
        optimizer: ``{"kind": "AdamW", "lr": 0.001, …}`` in place of the factory's own: a class of
            ``torch.optim`` by name, or any ``module:Class``, and its keyword arguments. None
            leaves the factory's.
        tags: words that describe the cell in tables, such as its family. They do not enter the
            key: a label can be changed without training again.

    Raises:
        RequestError: something in it is not JSON, or out of range.

    Example:
        >>> one = Condition("wingbeat.tasks.dense:circles_task", {"lr": 0.01, "epochs": 1})
        >>> two = Condition("wingbeat.tasks.dense:circles_task", {"epochs": 1, "lr": 0.01})
        >>> one.key == two.key, one.task().steps
        (True, 32)
    """

    factory: str
    arguments: dict[str, Json] = field(default_factory=dict)
    perturbations: tuple[dict[str, Json], ...] = ({"kind": "gaussian", "scale": 0.01},)
    replicas: int = 5
    record_every: int | Literal["epoch"] | None = None
    metrics: tuple[str, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    dtype: str = "float32"
    device: str = "cpu"
    driver: DriverName = "lockstep"
    measures: tuple[str, ...] = ()
    tags: dict[str, Json] = field(default_factory=dict)
    optimizer: dict[str, Json] | None = None
    compiled: bool = False

    def __post_init__(self) -> None:
        for name in ("perturbations", "metrics", "seeds", "measures"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        _check_json("condition", self._content())
        if not self.seeds:
            raise RequestError("seeds is empty: give at least one base seed")
        optimizer = self.optimizer
        known = isinstance(optimizer, dict) and isinstance(optimizer.get("kind"), str)
        if optimizer is not None and not known:
            msg = f'optimizer is {self.optimizer}: give {{"kind": "SGD", "lr": 0.1}} or the like'
            raise RequestError(msg)
        if not isinstance(self.dtype, str) or self.dtype not in _DTYPES:
            raise RequestError(f"dtype is {self.dtype!r}: {nearest(str(self.dtype), _DTYPES)}")

    def to_json(self) -> dict[str, Json]:
        """Return the condition as a dict of plain JSON, tags included."""
        found: dict[str, Json] = json.loads(json.dumps(self._content()))
        return found

    def _content(self) -> dict[str, Json]:
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        # So that a condition without them keeps its key.
        if self.optimizer is None:
            del found["optimizer"]
        if not self.compiled:
            del found["compiled"]
        return found

    @property
    def compiling(self) -> bool | None:
        """What ``wb.run(compiled=…)`` is told: None on a GPU, where a step becomes a CUDA graph."""
        return True if self.compiled else (None if self.device != "cpu" else False)

    @classmethod
    def from_json(cls, found: dict[str, Json]) -> Condition:
        """Return the condition that ``to_json`` described.

        Raises:
            RequestError: a field is unknown.

        Example:
            >>> one = Condition("m:f", {"a": [1, 2]}, seeds=(3,))
            >>> Condition.from_json(one.to_json()) == one
            True
        """
        known = [f.name for f in fields(cls)]
        for name in found:
            if name not in known:
                raise RequestError(f"a condition has no field {name!r}: {nearest(name, known)}")
        return cls(**found)

    @property
    def canonical(self) -> str:
        """Everything that decides the result as one JSON text with sorted keys."""
        content = {k: v for k, v in self._content().items() if k != "tags"}
        # None once meant what "epoch" means: keys of then are keys of what was recorded then.
        content["record_every"] = _RECORDED.get(self.record_every, self.record_every)
        # A factory or measure that has moved since keeps its key, and finished work its worth.
        return json.dumps(
            first_names(content), sort_keys=True, separators=(",", ":"), allow_nan=False
        )

    @cached_property
    def key(self) -> str:
        """Hash of the canonical JSON: 16 hexadecimal digits."""
        return hashlib.blake2b(self.canonical.encode(), digest_size=8).hexdigest()

    def task(self) -> Task:
        """Build the task.

        Raises:
            RequestError: the factory cannot be found or called, or gives something else.
        """
        task = task_of(self.factory, self.arguments)
        own = self.own_optimizer()
        return task if own is None else replace(task, optimizer=own)

    def own_optimizer(self) -> Callable[[Any], torch.optim.Optimizer] | None:
        """Return the optimizer of the condition, from parameters; None leaves the factory's.

        Raises:
            RequestError: it is not known.
        """
        if self.optimizer is None:
            return None
        rest = dict(self.optimizer)
        kind = rest.pop("kind")
        if ":" in kind:
            return partial(named(kind), **rest)
        known = [n for n, c in vars(torch.optim).items() if isinstance(c, type)]
        if kind not in known:
            raise RequestError(f"torch.optim has no {kind!r}: {nearest(kind, known)}")
        return partial(getattr(torch.optim, kind), **rest)

    def steps_between(self, task: Task) -> int:
        """Return the steps between two snapshots of the condition's task."""
        if self.record_every == "epoch":
            return task.steps_per_epoch
        return self.record_every or usual_record_every(task.steps)

    def forks(self) -> list[Perturbation]:
        """Return the perturbations as objects.

        Raises:
            RequestError: an unknown kind or field.
        """
        return [perturbation(found) for found in self.perturbations]

    @property
    def torch_dtype(self) -> torch.dtype:
        """The floating-point type as torch knows it."""
        found: torch.dtype = getattr(torch, self.dtype)
        return found


def perturbation(found: dict[str, Json]) -> Perturbation:
    """Return the perturbation that a dict describes.

    Raises:
        RequestError: an unknown kind or field.

    Example:
        >>> perturbation({"kind": "gaussian", "scale": 0.01}).label
        'gaussian-0.01@0'
    """
    return perturbation_of(found.get("kind"), {k: v for k, v in found.items() if k != "kind"})


def task_of(factory: str, arguments: Mapping[str, Any]) -> Task:
    """Return what a factory, ``module:function``, makes of arguments.

    Raises:
        RequestError: the factory cannot be found or called, or gives something else.

    >>> task_of("wingbeat.tasks.dense:digits_mlp_task", {"epochs": 2}).steps
    44
    """
    try:
        task = named(factory)(**arguments)
    except TypeError as error:
        msg = f"{factory} cannot be called with {dict(arguments)}: {error}"
        raise RequestError(msg) from error
    if not isinstance(task, Task):
        raise RequestError(f"{factory} gave {type(task).__name__}: return a Task")
    return task


def named(place: str) -> Callable[..., Any]:
    """Return the function that ``module:function`` or ``file.py:function`` names.

    Raises:
        RequestError: there is none.

    Example:
        >>> named("math:sqrt")(4.0)
        2.0
    """
    module, colon, name = place.partition(":")
    if not (module and colon and name):
        raise RequestError(f"{place!r} is not of the form module:function")
    try:
        found = getattr(importlib.import_module(module_of(module)), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise RequestError(f"{place!r} cannot be found: {error}") from error
    if not callable(found):
        raise RequestError(f"{place!r} is {type(found).__name__}: name a function")
    function: Callable[..., Any] = found
    return function


def _check_json(path: str, value: object) -> None:
    """Refuse what JSON would change or cannot hold."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise RequestError(f"{path} has the key {key!r}: use text for keys")
            _check_json(f"{path}.{key}", inner)
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            _check_json(f"{path}[{place}]", inner)
    elif isinstance(value, float) and (not isfinite(value)):
        raise RequestError(f"{path} is {value!r}: JSON holds finite numbers only")
    elif value is not None and type(value) not in (bool, int, float, str):
        raise RequestError(f"{path} is of type {type(value).__name__}: use plain JSON values")
