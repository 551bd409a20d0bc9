"""The cells of the spawn-and-perturb grid: kind, size and time of each perturbation."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from wingbeat.errors import RequestError, nearest
from wingbeat.study.plan_options import number_text

KINDS: Final = ("batch", "gaussian", "single", "fraction", "ulp")
"""Gradient of one batch, Gaussian noise, one weight, Gaussian noise on a share of the weights,
the next floating-point number. Sizes of the first four are relative to initialisation."""
WHERE: Final = ("body", "head")
"""Parts that a kind may be confined to, as in "gaussian.head"."""
HEAD: Final = r"(^|\.)(head|classifier|lm_head|score|fc)\."
"""Regular expression of the tensors of a head; every other tensor is of the body."""


@dataclass(frozen=True)
class GridKind:
    """A kind of perturbation, with sizes and times of its own where it has them.

    Args:
        name: one of ``KINDS``, perhaps with a dot and one of ``WHERE``.
        sizes: () for those of the grid; for "ulp" whole numbers of weights, () for 1.
        times: shares of training, () for those of the grid.

    Raises:
        RequestError: an unknown name, a size or a time out of range.
    """

    name: str
    sizes: tuple[float, ...] = ()
    times: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        base, dot, where = self.name.partition(".")
        if base not in KINDS:
            raise RequestError(f"kind {self.name!r}: {nearest(base, KINDS)}")
        if dot and where not in WHERE:
            raise RequestError(f"kind {self.name!r}: {nearest(where, WHERE)}")
        check_sizes(self.sizes)
        check_times(self.times)
        if base == "ulp" and any(n != int(n) for n in self.sizes):
            raise RequestError(f"sizes of ulp are {self.sizes}: give whole numbers of weights")

    def __str__(self) -> str:
        """Return it as the command line takes it."""
        sizes = ":" + "/".join(map(number_text, self.sizes)) if self.sizes else ""
        times = "@" + "/".join(map(number_text, self.times)) if self.times else ""
        return f"{self.name}{sizes}{times}"


@dataclass(frozen=True)
class Cell:
    """One perturbation of the grid.

    Args:
        kind: name of a `GridKind`.
        size: relative to initialisation; for "ulp" a number of weights.
        time: share of training after which it happens.
    """

    kind: str
    size: float
    time: float

    @property
    def name(self) -> str:
        """Name of the perturbation in tables.

        >>> Cell("gaussian", 0.01, 0.005).name
        'gaussian-0.01@0.005'
        """
        return f"{self.kind}-{self.size:g}@{self.time:g}"

    def at(self, steps: int) -> int:
        """Return the step, rounded to the nearest."""
        return round(self.time * steps)

    def perturbation(
        self, steps: int, seed: int, *, fraction: float, exclude: str, head: str = HEAD
    ) -> dict[str, Any]:
        """Return the perturbation as a condition takes it.

        Args:
            steps: length of training.
            seed: of the draws.
            fraction: share of the weights that "fraction" perturbs.
            exclude: regular expression of tensors that are left alone; "" for none.
            head: regular expression of the tensors of the head.

        Example:
            >>> found = Cell("ulp", 3, 0.5).perturbation(40, 0, fraction=0.01, exclude="bias")
            >>> found["kind"], found["n"], found["at"]
            ('ulp', 3, 20)
        """
        shared: dict[str, Any] = {"at": self.at(steps), "seed": seed, "name": self.name}
        if exclude:
            shared["exclude"] = exclude
        base, _, where = self.kind.partition(".")
        if where:
            shared["include"] = head if where == "head" else rf"^(?!.*(?:{head}))"
        if base == "ulp":
            return {"kind": "ulp", "n": int(self.size), **shared}
        kinds = {"batch": "batchgradient", "single": "singleweight"}
        sized = {"scale": self.size, "relative_to": "init"}
        share = {"fraction": fraction} if base == "fraction" else {}
        return {"kind": kinds.get(base, "gaussian"), **sized, **share, **shared}


def grid_cells(
    kinds: Sequence[GridKind], sizes: Sequence[float], times: Sequence[float]
) -> tuple[Cell, ...]:
    """Return the grid: kinds by times by sizes, the last running fastest.

    Raises:
        RequestError: a cell occurs twice.

    Example:
        >>> kinds = [GridKind("gaussian"), GridKind("single", (0.1,), (0.0,))]
        >>> [cell.name for cell in grid_cells(kinds, [1], [0, 0.5])]
        ['gaussian-1@0', 'gaussian-1@0.5', 'single-0.1@0']
    """
    found = [
        Cell(kind.name, float(size), float(time))
        for kind in kinds
        for time in kind.times or times
        for size in kind.sizes or ((1.0,) if kind.name.startswith("ulp") else sizes)
    ]
    twice = [name for name, count in Counter(c.name for c in found).items() if count > 1]
    if twice:
        raise RequestError(f"the grid holds {twice[0]} more than once: name kind and size once")
    return tuple(found)


def check_steps(found: Sequence[Cell], steps: int) -> None:
    """Refuse times that fall on the same step, or outside of training.

    Raises:
        RequestError: names the times, the step and the length of training.

    Example:
        >>> check_steps([Cell("ulp", 1, 0.5)], 10)
    """
    at: dict[int, float] = {}
    for time in sorted({cell.time for cell in found}):
        step = round(time * steps)
        if step >= steps:
            raise RequestError(
                f"time {time:g} of {steps} steps is step {step}, beyond the last that can be "
                f"perturbed ({steps - 1}): give an earlier time or train for longer"
            )
        if step in at:
            raise RequestError(
                f"times {at[step]:g} and {time:g} of {steps} steps are both step {step}: "
                "leave one out, or train for longer"
            )
        at[step] = time


def check_sizes(sizes: Sequence[float]) -> None:
    """Refuse sizes that are not finite and above 0.

    Raises:
        RequestError: names the first.
    """
    for size in sizes:
        if not (math.isfinite(size) and size > 0):
            raise RequestError(f"size {size!r}: give a finite number above 0, such as 0.01")


def check_times(times: Sequence[float]) -> None:
    """Refuse times that are no share of training.

    Raises:
        RequestError: names the first.
    """
    for time in times:
        if not 0 <= time < 1:
            raise RequestError(
                f"time {time!r}: give shares of training, 0 or above and below 1, such as 0.005"
            )


def parse_kinds(text: str) -> tuple[GridKind, ...]:
    """Read ``KIND[.body|.head][:SIZE/SIZE…][@TIME/TIME…],…``.

    Raises:
        RequestError: an unknown kind, or something that is no number.

    Example:
        >>> [str(kind) for kind in parse_kinds("gaussian,single:0.01@0,ulp:1/100")]
        ['gaussian', 'single:0.01@0', 'ulp:1/100']
    """
    found = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        head, _, times = word.partition("@")
        name, _, sizes = head.partition(":")
        found.append(GridKind(name, _numbers(sizes, "/"), _numbers(times, "/")))
    if not found:
        raise RequestError(f"kinds is {text!r}: give at least one of {', '.join(KINDS)}")
    return tuple(found)


def confined(kinds: Sequence[GridKind], where: Sequence[str]) -> tuple[GridKind, ...]:
    """Return every kind once for each part; kinds that name one themselves stay as they are.

    Args:
        kinds: of perturbation.
        where: of "both", "body" and "head".

    Raises:
        RequestError: another word.

    Example:
        >>> [str(k) for k in confined(parse_kinds("gaussian,ulp.head@0"), ["both", "head"])]
        ['gaussian', 'gaussian.head', 'ulp.head@0']
    """
    for part in where:
        if part not in ("both", *WHERE):
            raise RequestError(f"where is {part!r}: {nearest(part, ('both', *WHERE))}")
    found = []
    for kind in kinds:
        parts = ("both",) if "." in kind.name else where
        names = [kind.name if part == "both" else f"{kind.name}.{part}" for part in parts]
        found += [replace(kind, name=name) for name in names]
    return tuple(found)


def parse_numbers(text: str, name: str) -> tuple[float, ...]:
    """Read numbers with commas between them.

    Raises:
        RequestError: there is none, or one is no number.

    Example:
        >>> parse_numbers("0,0.5", "times")
        (0.0, 0.5)
    """
    found = _numbers(text, ",")
    if not found:
        raise RequestError(f"{name} is {text!r}: give at least one number")
    return found


def numbers_text(numbers: Sequence[float]) -> str:
    """Return numbers as ``parse_numbers`` reads them.

    >>> numbers_text((0.0, 0.005))
    '0,0.005'
    """
    return ",".join(number_text(number) for number in numbers)


def parse_value(text: str) -> Any:
    """Return a value as JSON reads it, the text itself where it is none.

    >>> parse_value("1e-4"), parse_value("random")
    (0.0001, 'random')
    """
    try:
        return json.loads(text)
    except ValueError:
        return text


def _numbers(text: str, mark: str) -> tuple[float, ...]:
    words = [word.strip() for word in text.split(mark) if word.strip()]
    try:
        return tuple(float(word) for word in words)
    except ValueError:
        msg = f"{text!r} is no list of numbers with {mark!r} between them"
        raise RequestError(msg) from None
