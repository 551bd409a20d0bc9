"""Conditions that one worker takes at once, because they may train in the same calls.

Conditions that differ in numbers only (base seed, rate, decay, size of the nudge) take the same
step over other numbers. A worker that has several of them advances all in one call, which for
small nets costs little more than one of them; see ``wingbeat.replicas.company``. No bit depends
on the company.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Final

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition, Json

MOST: Final = 8
"""Conditions in a pack. From eight stacks on, a call of small nets grows about as their number."""
_ROUNDS: Final = 3
"""Packs for each worker from which packs need not be split further for the sake of balance: at
the end the last one runs alone for at most a third of the time."""


@dataclass(frozen=True)
class Pack(Condition):
    """A condition that takes others along; for a runner it is a condition like any other.

    Args:
        company: the others.

    Example:
        >>> one, other = Condition("m:f"), Condition("m:f", seeds=(1,))
        >>> pack = Pack.of([one, other])
        >>> pack.key == one.key, pack.conditions == (one, other)
        (True, True)
    """

    company: tuple[Condition, ...] = ()

    @classmethod
    def of(cls, conditions: Sequence[Condition]) -> Condition:
        """Return conditions as one; a single one as it is."""
        first, *others = conditions
        if not others:
            return first
        return cls(**{f.name: getattr(first, f.name) for f in fields(first)}, company=(*others,))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All of them, the first one first."""
        own = {f.name: getattr(self, f.name) for f in fields(Condition)}
        return (Condition(**own), *self.company)

    def _content(self) -> dict[str, Json]:
        return self.conditions[0]._content()


def packed(
    conditions: Sequence[Condition], workers: int | None, most: int = MOST
) -> list[Condition]:
    """Return conditions in packs that may train in the same calls, in about the same order.

    Every worker gets its share before packs grow: eight conditions of one kind make two packs of
    four for two workers. Only small nets gain, which shows when the first of a pack has been
    built: a worker gives the others back where they do not.

    Args:
        conditions: what is left of a study.
        workers: how many work at a time; None, where nobody knows, packs nothing.
        most: conditions in a pack.

    Example:
        >>> grid = [Condition("m:f", {"lr": lr}) for lr in (0.1, 0.2, 0.3, 0.4)]
        >>> [len(pack.conditions) for pack in packed(grid, 2)]
        [2, 2]
    """
    if workers is None or most < 2:
        return list(conditions)
    kinds = _kinds(conditions)
    enough = sum(-(-len(kind) // most) for kind in kinds) >= _ROUNDS * workers
    least = 1 if enough else workers
    return [Pack.of(part) for kind in kinds for part in _split(kind, most, least)]


def members(condition: Condition) -> tuple[Condition, ...]:
    """Return the conditions that something handed to a runner stands for."""
    return condition.conditions if isinstance(condition, Pack) else (condition,)


def workers_of(runner: Any) -> int | None:
    """Return how many conditions a runner does at a time; None where it does not say."""
    found = getattr(runner, "workers", None)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def check_pack(pack: int | None) -> int:
    """Return the most conditions in a pack.

    Raises:
        RequestError: it is not a whole number of at least 1.
    """
    if pack is None:
        return MOST
    if not isinstance(pack, int) or isinstance(pack, bool) or pack < 1:
        raise RequestError(
            f"pack is {pack!r}: give the most conditions that a worker takes at once, 1 for one "
            "after the other, or None"
        )
    return pack


def _split(kind: Sequence[Condition], most: int, least: int) -> Iterator[Sequence[Condition]]:
    """Yield parts of nearly equal size: at least so many, none larger than ``most``."""
    count = min(len(kind), max(least, -(-len(kind) // most)))
    ends = [len(kind) * i // count for i in range(count + 1)]
    return (kind[a:b] for a, b in pairwise(ends))


def _kinds(conditions: Sequence[Condition]) -> list[list[Condition]]:
    """Return conditions that differ in numbers only, each kind where its first one stands."""
    found: dict[str, list[Condition]] = {}
    floats = {place for c in conditions for place in _floats(c.arguments)}
    floats |= {("optimizer", *place) for c in conditions for place in _floats(c.optimizer)}
    for condition in conditions:
        found.setdefault(_kind(condition, floats), []).append(condition)
    return list(found.values())


def _kind(condition: Condition, floats: set[tuple[str, ...]]) -> str:
    if condition.driver != "lockstep" or condition.device != "cpu" or condition.compiled:
        return condition.key
    content = {
        **condition.to_json(),
        "arguments": _without(condition.arguments, floats),
        "optimizer": _without(condition.optimizer, floats, ("optimizer",)),
        "perturbations": [_sizeless(p) for p in condition.perturbations],
        "seeds": len(condition.seeds),
        "tags": {},
    }
    return json.dumps(content, sort_keys=True)


def _floats(found: Json, place: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    """Yield where floating-point numbers stand in a dict of JSON."""
    for name, value in (found or {}).items():
        if isinstance(value, dict):
            yield from _floats(value, (*place, name))
        elif isinstance(value, float):
            yield (*place, name)


def _without(found: Json, floats: set[tuple[str, ...]], place: tuple[str, ...] = ()) -> Json:
    """Return a dict of JSON with the numbers at some places made equal.

    A whole number counts too where another condition has a broken one: a rate of 1, say.
    """
    if not isinstance(found, dict):
        return found
    kept: dict[str, Json] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            kept[name] = _without(value, floats, (*place, name))
        else:
            # Whether there is any: a decay of 0 leaves its operations out.
            kept[name] = value != 0 if _is_number(value) and (*place, name) in floats else value
    return kept


def _sizeless(perturbation: dict[str, Json]) -> dict[str, Json]:
    """Return a perturbation without its numbers; ``at``, the step of the fork, stays."""
    return {k: None if _is_number(v) and k != "at" else v for k, v in perturbation.items()}


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
