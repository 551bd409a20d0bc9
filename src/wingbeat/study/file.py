"""Study files: TOML or YAML, checked before anything is computed.

A file has these parts, all but ``base`` optional::

    name = "rate-and-width"            # default: the file's name
    replicates = 3                     # one condition for each of so many base seeds
    tries = 2                          # attempts before a condition is given up

    [base]                             # what all conditions have in common: fields of Condition
    factory = "wingbeat.tasks.dense:circles_task"
    replicas = 5
    arguments = { epochs = 2 }
    perturbation = { kind = "gaussian", scale = 0.01 }

    [axes]                             # every combination of values
    arguments.lr = [0.01, 0.1]
    optimizer.kind = ["SGD", "AdamW"]

    [[cells]]                          # lists: each cell is combined with the axes
    arguments.hidden = [64, 32]
    [[cells]]
    arguments.hidden = [16]

    [[only]]                           # kept if it fits one of these rules …
    arguments.lr = { max = 0.05 }
    [[leave_out]]                      # … and none of these
    optimizer.kind = "AdamW"
    arguments.hidden = [[16]]          # a list of values; each may be a list itself

    [budget]
    conditions = 100                   # a random part of the grid, always the same one
    seconds = 3600                     # then no further condition is begun
"""

from __future__ import annotations

import importlib
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wingbeat.errors import RequestError, nearest
from wingbeat.execution.request import default_seeds
from wingbeat.study.check import check_conditions
from wingbeat.study.condition import Condition
from wingbeat.study.grid import DICTS, assigned, cross, matches, unique, value_of
from wingbeat.study.run import TRIES

MOST: Final = 1_000_000
"""Cells of a grid that a file may ask for."""
Names = dict[str, Any]


class Budget(BaseModel):
    """How much a study may do.

    Attributes:
        conditions: at most so many of the grid: those with the smallest keys, which is a random
            choice that stays the same, and a larger budget later adds to it.
        seconds: time of one call, after which no further condition is begun.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    conditions: int | None = Field(default=None, ge=1)
    seconds: float | None = Field(default=None, gt=0)


class StudyFile(BaseModel):
    """What a study file asks for; the module's docstring explains the parts.

    Example:
        >>> asked = StudyFile.model_validate(
        ...     {
        ...         "base": {"factory": "wingbeat.tasks.dense:circles_task"},
        ...         "axes": {"arguments": {"lr": [0.1, 0.2]}},
        ...         "replicates": 2,
        ...         "leave_out": [{"arguments.lr": 0.2, "seed": {"min": 1}}],
        ...     }
        ... )
        >>> [c.arguments["lr"] for c in asked.conditions()]
        [0.1, 0.1, 0.2]
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="", pattern=r"^[^/\\\x00]*$")
    base: Names
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    cells: list[Names] = Field(default_factory=list)
    only: list[Names] = Field(default_factory=list)
    leave_out: list[Names] = Field(default_factory=list)
    replicates: int | None = Field(default=None, ge=1)
    budget: Budget = Budget()
    tries: int = Field(default=TRIES, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _flattened(cls, found: Any) -> Any:
        """Bring ``arguments = {lr = …}`` and ``"arguments.lr" = …`` to one form."""
        if not isinstance(found, dict):
            return found
        out = dict(found)
        if isinstance(out.get("axes"), dict):
            out["axes"] = _flat(out["axes"])
        for part in ("only", "leave_out", "cells"):
            if isinstance(out.get(part), list):
                whole = ("optimizer", "perturbation") if part == "cells" else ()
                out[part] = [_flat(e, whole) if isinstance(e, dict) else e for e in out[part]]
        return out

    def conditions(self) -> list[Condition]:
        """Return the conditions, in the order of cells, axes and seeds.

        Raises:
            RequestError: an unknown field, an empty axis, a rule that can fit nothing, or no
                condition is left.
        """
        axes = dict(self.axes)
        if self.replicates is not None:
            if "seed" in axes or "seeds" in axes:
                raise RequestError("replicates and an axis of seeds say the same: give one of them")
            axes["seed"] = list(default_seeds(self.replicates))
        cells = self.cells or [{}]
        count = len(cells) * math.prod(len(values) for values in axes.values())
        if count > MOST:
            raise RequestError(f"the grid has {count} cells: use at most {MOST}")
        start = self._start()
        found = [c for cell in cells for c in cross(assigned(start, cell), axes)]
        for rule in (*self.only, *self.leave_out):
            self._check(rule, found)
        kept = [c for c in found if self._kept(c)]
        if not kept:
            raise RequestError(f"the rules leave none of {count} conditions: loosen them")
        check_conditions(kept)
        return _within(unique(kept), self.budget.conditions)

    def _start(self) -> Condition:
        if not isinstance(self.base.get("factory"), str):
            raise RequestError('base has no factory: give factory = "module:function"')
        known = set(Condition.__dataclass_fields__) | {"seed", "perturbation"}
        for name in self.base:
            if name not in known:
                raise RequestError(f"base has no field {name!r}: {nearest(name, known)}")
        return assigned(Condition(self.base["factory"]), self.base)

    def _check(self, rule: Names, found: list[Condition]) -> None:
        """Refuse a rule about an entry that no condition has: it is misspelt."""
        if not rule:
            raise RequestError("a rule of only or leave_out is empty: name an entry in it")
        for name in rule:
            if all(value_of(c, name) is None for c in found):
                known = [*self.axes, *(n for cell in self.cells for n in cell)]
                known += [f"arguments.{n}" for c in found[:1] for n in c.arguments]
                msg = f"no condition has {name!r}, which a rule asks for: {nearest(name, known)}"
                raise RequestError(msg)

    def _kept(self, condition: Condition) -> bool:
        wanted = not self.only or any(matches(condition, rule) for rule in self.only)
        return wanted and not any(matches(condition, rule) for rule in self.leave_out)


def read_study(path: Path) -> StudyFile:
    """Read a study file.

    Args:
        path: ends in ``.toml``, ``.yaml`` or ``.yml``.

    Raises:
        RequestError: it cannot be read, or a part of it is wrong; the message says which.
    """
    readers: dict[str, Callable[[str], Any]] = {
        ".toml": tomllib.loads,
        ".yaml": _yaml,
        ".yml": _yaml,
    }
    if path.suffix not in readers:
        raise RequestError(f"{path} is no study file: its name must end in .toml or .yaml")
    try:
        found = readers[path.suffix](path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from error
    try:
        return StudyFile.model_validate(found)
    except ValidationError as error:
        raise RequestError(f"{path}: {_words(error)}") from error


def _words(error: ValidationError) -> str:
    """Return the first thing that is wrong in one line."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] == "extra_forbidden":
        parts = Budget if len(first["loc"]) > 1 else StudyFile
        return f"there is no {place!r}: {nearest(str(first['loc'][-1]), parts.model_fields)}"
    return f"{place}: {first['msg']} (found {first['input']!r})"


def _flat(found: Mapping[str, Any], whole: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return nested names as dotted ones; fields in ``whole`` with a "kind" stay one value."""
    out: dict[str, Any] = {}
    for name, value in found.items():
        if name in DICTS and isinstance(value, dict) and not (name in whole and "kind" in value):
            out |= {f"{name}.{inner}": v for inner, v in value.items()}
        else:
            out[name] = value
    return out


def _within(found: list[Condition], most: int | None) -> list[Condition]:
    if most is None or len(found) <= most:
        return found
    chosen = set(sorted(c.key for c in found)[:most])
    return [c for c in found if c.key in chosen]


def _yaml(text: str) -> Any:
    """Read YAML without code, with ``1e-4`` as a number and no name given twice."""
    try:
        yaml = importlib.import_module("yaml")
    except ImportError as error:
        raise RequestError("YAML needs PyYAML: pip install pyyaml, or write TOML") from error

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        pass

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        """Read a mapping, and refuse a name that is given twice."""
        names = [loader.construct_object(key, deep=True) for key, _ in node.value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name!r} is given twice")
        return {
            name: loader.construct_object(value, deep=True)
            for name, (_, value) in zip(names, node.value, strict=True)
        }

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    number = re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9]*)?[eE][-+]?[0-9]+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789"))
    try:
        return yaml.load(text, Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
