"""How far a run in a folder is: read from its files alone, whoever computes it and where."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from wingbeat.errors import StoreError
from wingbeat.replicas.fork import REFERENCE
from wingbeat.trajectory.store import FolderStore
from wingbeat.trajectory.trajectory import perturbed

if TYPE_CHECKING:
    from wingbeat.replicas.snapshot import Snapshot


@dataclass(frozen=True)
class PerturbationSoFar:
    """How far the copies of one perturbation are from the reference by now.

    Attributes:
        name: of the perturbation.
        first: median L2 distance at the first recorded step of the copies.
        last: at the last recorded step.
    """

    name: str
    first: float
    last: float

    @property
    def grown(self) -> float:
        """Last ÷ first distance; NaN where the first is 0 or one is not finite."""
        return self.last / self.first if self.first > 0 and isfinite(self.last) else nan


@dataclass(frozen=True)
class RunSoFar:
    """How far a run is.

    Attributes:
        name: of its task.
        done: last recorded step.
        total: steps in all.
        loss: mean training loss of the reference at the last record; NaN where there is none.
        so_far: each perturbation that has begun.
        finished: whether it is measured too.
    """

    name: str
    done: int
    total: int
    loss: float
    so_far: tuple[PerturbationSoFar, ...]
    finished: bool


class RunWatcher:
    """Look at a run's folder again and again; of each snapshot only the first look reads it.

    Args:
        folder: of a run, or of one base seed of it; nothing in it is locked or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._first: dict[str, float] = {}
        self._read: set[int] = set()
        self._last: tuple[int, float, dict[str, float]] = (0, nan, {})

    def look(self) -> RunSoFar:
        """Return how far the run is by now.

        Raises:
            StoreError: the folder holds no run, or a file is damaged.
        """
        store = FolderStore(self.folder)
        condition = store.read_json("condition.json")
        if condition is None:
            raise StoreError(f"{self.folder} holds no run (there is no condition.json)")
        for step in self._news(store):
            self._take(store.read(step))
        task = condition.get("task") or {}
        done, loss, last = self._last
        return RunSoFar(
            name=str(task.get("name") or "run"),
            done=done,
            total=int(task.get("steps") or condition.get("steps") or 0),
            loss=loss,
            so_far=tuple(PerturbationSoFar(n, self._first[n], last[n]) for n in last),
            finished=(self.folder / "summary.json").exists(),
        )

    def _news(self, store: FolderStore) -> list[int]:
        """Return the steps to read: the forks, where distances begin, and the newest."""
        steps = [s for s in store.steps() if s not in self._read]
        kept = [s for s in steps if self._is_fork(s)]
        self._read |= set(steps)
        return sorted({*kept, *steps[-1:]})

    def _is_fork(self, step: int) -> bool:
        content = json.loads((self.folder / "condition.json").read_text(encoding="utf-8"))
        return any(int(p.get("at", 0)) == step for p in content.get("perturbations", ()))

    def _take(self, snapshot: Snapshot) -> None:
        distances = _distances(snapshot)
        for name, value in distances.items():
            self._first.setdefault(name, value)
        losses = snapshot.losses
        loss = float(losses[-1, 0]) if losses.numel() else nan
        self._last = (snapshot.step, loss, distances)


def _distances(snapshot: Snapshot) -> dict[str, float]:
    """Return the median L2 distance of each perturbation's copies to the reference."""
    reference = snapshot.labels.index(REFERENCE)
    squares = [0.0] * len(snapshot.labels)
    for stack in snapshot.params.values():
        own = stack[reference].double()
        for place in range(len(squares)):
            squares[place] += float(((stack[place].double() - own) ** 2).sum())
    far = [sqrt(s) if isfinite(s) else inf for s in squares]
    groups: dict[str, list[int]] = perturbed(snapshot.labels)
    return {name: median(far[place] for place in places) for name, places in groups.items()}
