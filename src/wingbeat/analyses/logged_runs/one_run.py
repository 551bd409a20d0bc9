"""One run as a tracker wrote it: metrics by name, each a value a step."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

At = int | str
LAST, LOWEST, HIGHEST = "last", "lowest", "highest"
_IN_NAME: Final = re.compile(r"(?:^|[^a-z])seed[-_= ]*(\d+)", re.IGNORECASE)
_KEYS: Final = ("seed", "random_seed", "global_seed", "training.seed")


@dataclass
class LoggedRun:
    """One run.

    Attributes:
        name: where it lies, or what its tracker calls it.
        tracker: which tracker wrote it.
        seed: base seed, where its configuration or its path says; else None.
        values: metric → step → value; what is written again for a step replaces what was there.
    """

    name: str
    tracker: str
    seed: int | None = None
    values: dict[str, dict[int, float]] = field(default_factory=dict)

    def add(self, metric: str, step: int, value: float) -> None:
        """Note a value."""
        self.values.setdefault(metric, {})[step] = value


def seed_of(config: Mapping[str, Any], names: Iterable[str]) -> int | None:
    """Return the seed that a configuration tells, else the last one that a name or path has.

    >>> seed_of({"lr": 0.1, "seed": "3"}, ["runs/seed-7"]), seed_of({}, ["runs/seed-7/version_0"])
    (3, 7)
    >>> seed_of({}, ["runs/linseed", "runs/3"]) is None
    True
    """
    for key in _KEYS:
        found = str(config.get(key, ""))
        if re.fullmatch(r"-?\d+", found):
            return int(found)
    for name in names:
        there = _IN_NAME.findall(name)
        if there:
            return int(there[-1])
    return None


def as_number(value: Any) -> float | None:
    """Return a value as a number; None for words, tables and switches.

    >>> as_number("0.5"), as_number("NaN"), as_number(True), as_number("cosine")
    (0.5, nan, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
