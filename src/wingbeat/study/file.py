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

import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from wingbeat.arguments import shown
from wingbeat.errors import RequestError, nearest
from wingbeat.execution.arguments import default_seeds
from wingbeat.study.check import check_conditions, check_types
from wingbeat.study.condition import Condition
from wingbeat.study.grid import DICTS, assigned, cross, matches, unique, value_of
from wingbeat.study.run import TRIES
from wingbeat.study.yaml_file import read_yaml

MOST: Final = 100_000
"""Cells of a grid that a file may ask for: they are built within seconds, and so are their keys."""
ENTRIES: Final = 100_000
"""Names and values that a file may hold."""
DEEPEST: Final = 40
"""Lists and tables within each other that a file may have."""
LARGEST: Final = 1 << 23
"""Bytes of a file: 8 MiB."""
WORK: Final = 20_000_000
"""Comparisons of conditions with rules, and entries of all conditions together."""
_NAME: Final = r"^[^/\\\x00-\x1f\x7f]*$"
Names = dict[str, Any]
Parts = TypeVar("Parts", bound=BaseModel)


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

    name: str = Field(default="", pattern=_NAME, max_length=80)
    base: Names
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    cells: list[Names] = Field(default_factory=list)
    only: list[Names] = Field(default_factory=list)
    leave_out: list[Names] = Field(default_factory=list)
    replicates: int | None = Field(default=None, ge=1)
    budget: Budget = Budget()
    tries: int = Field(default=TRIES, ge=1)

    @field_validator("name")
    @classmethod
    def _no_place(cls, name: str) -> str:
        """Refuse a name that a file system reads as another folder."""
        if name.strip() in (".", "..") or name.startswith("~"):
            raise ValueError("it is a path: give a name")
        return name

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
        if self.replicates is not None and ("seed" in axes or "seeds" in axes):
            raise RequestError("replicates and an axis of seeds say the same: give one of them")
        cells = self.cells or [{}]
        count = len(cells) * math.prod(len(values) for values in axes.values())
        self._bound(count * (self.replicates or 1))
        if self.replicates is not None:
            axes["seed"] = list(default_seeds(self.replicates))
        start = self._start()
        check_types([start])
        found = [c for cell in cells for c in cross(assigned(start, cell), axes)]
        check_types(found)
        for rule in (*self.only, *self.leave_out):
            self._check(rule, found)
        kept = [c for c in found if self._kept(c)]
        if not kept:
            raise RequestError(f"the rules leave none of {count} conditions: loosen them")
        check_conditions(kept)
        return _within(unique(kept), self.budget.conditions)

    def _bound(self, count: int) -> None:
        """Refuse a grid that would take more than seconds to build, before it is built."""
        if count > MOST:
            raise RequestError(f"the grid has {count} cells: use at most {MOST}")
        rules, entries = len(self.only) + len(self.leave_out), _bounded(self.base)
        if count * max(rules, entries + len(self.axes)) > WORK:
            raise RequestError(
                f"{count} conditions with {entries} entries and {rules} rules take too long to "
                "compare: use fewer of them"
            )

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
    found = read_parts(path)
    if isinstance(found, dict) and "study" in found:
        msg = f"{path} names the study {shown(found['study'])}: `wingbeat study {path}` runs it"
        raise RequestError(f"{msg}, and wingbeat.study.named_file.read_named reads it")
    return parts_of(StudyFile, found, path)


def read_parts(path: Path) -> Any:
    """Return what a study file holds, unchecked.

    Raises:
        RequestError: it cannot be read.
    """
    readers: dict[str, Callable[[str], Any]] = {
        ".toml": tomllib.loads,
        ".yaml": read_yaml,
        ".yml": read_yaml,
    }
    if path.suffix not in readers:
        raise RequestError(f"{path} is no study file: its name must end in .toml or .yaml")
    try:
        found = readers[path.suffix](_text_of(path))
        _bounded(found)
    except RecursionError as error:
        raise RequestError(f"{path} cannot be read: it is nested too deep") from error
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from error
    return found


def parts_of(model: type[Parts], found: Any, path: Path) -> Parts:
    """Return what a file holds as its parts.

    Raises:
        RequestError: a part is wrong; the message says which.
    """
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise RequestError(f"{path}: {_words(error, model)}") from error


def _text_of(path: Path) -> str:
    """Return a file's text; a larger file than any study's is not read."""
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes: a study file is short")
    return content.decode("utf-8")


def _words(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first thing that is wrong in one line."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] == "extra_forbidden":
        parts = Budget if len(first["loc"]) > 1 else model
        return f"there is no {place!r}: {nearest(str(first['loc'][-1]), parts.model_fields)}"
    return f"{place}: {first['msg']} (found {shown(first['input'])})"


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


def _bounded(value: Any) -> int:
    """Return how many entries a value holds, those that aliases repeat counted each time.

    Aliases make a short text stand for billions of entries: each is counted once and multiplied.

    Raises:
        RequestError: it is nested too deep, holds itself, or holds too many.
    """
    known: dict[int, int] = {}

    def size(part: Any, depth: int) -> int:
        """Count what a part holds, each shared part once."""
        if depth > DEEPEST:
            raise RequestError(f"it is nested more than {DEEPEST} deep")
        if not isinstance(part, dict | list):
            return 1
        if id(part) not in known:
            inner = part.values() if isinstance(part, dict) else part
            known[id(part)] = 1 + sum(size(one, depth + 1) for one in inner)
        return known[id(part)]

    found = size(value, 0)
    if found > ENTRIES:
        raise RequestError(f"it holds {found} entries, aliases written out: use at most {ENTRIES}")
    return found
