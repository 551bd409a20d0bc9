"""One request for several base seeds: what its folder lacks is trained, then all is measured."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wingbeat.errors import StoreError
from wingbeat.execution.held import Held, kept
from wingbeat.execution.result import load
from wingbeat.execution.session import Session
from wingbeat.execution.summary import collect
from wingbeat.execution.together import train_together
from wingbeat.files import is_there
from wingbeat.locks import holding
from wingbeat.replicas.seeding import check_seeds as check_varied
from wingbeat.trajectory.store import FolderStore, make_folder

if TYPE_CHECKING:
    from pathlib import Path

    from wingbeat.execution.progress import Progress
    from wingbeat.execution.request import Request
    from wingbeat.execution.result import Result
    from wingbeat.execution.session import RunOptions


@dataclass(frozen=True)
class _Plan:
    """What has to be done for several base seeds, and what their folder holds."""

    sessions: list[Session]
    missing: tuple[str, ...]
    there: Held
    extra: list[int]

    @property
    def every(self) -> list[int]:
        """All base seeds, those that the folder holds first."""
        return [session.request.task.seed for session in self.sessions]


@dataclass(frozen=True)
class Several:
    """A request for several base seeds.

    Args:
        request: of any of them.
        options: how to execute.
        folder: of the result; None keeps everything in memory.
        seeds: the base seeds.
        bar: shows how far it is.
    """

    request: Request
    options: RunOptions
    folder: Path | None
    seeds: tuple[int, ...]
    bar: Progress

    def result(self) -> Result:
        """Train and measure what is not done yet, and return all that the folder then holds.

        Raises:
            StoreError: the folder is of a run without ``seeds=``, or of another request.
        """
        _refuse_single(self.folder)
        if (found := self._finished()) is not None:
            return found
        with self.begun() as begun:
            return begun.result()

    @contextlib.contextmanager
    def begun(self) -> Iterator[Begun]:
        """Hold the folder, and yield the sessions that are to be trained.

        Raises:
            StoreError: as `result`.
        """
        _refuse_single(self.folder)
        with contextlib.ExitStack() as stack:
            if self.folder is not None:
                make_folder(self.folder)
                stack.enter_context(holding(self.folder))
            # What lies there is looked at within: another run may have added to it.
            plan = self._planned()
            for session in plan.sessions:
                session.trained()  # refuses another request's folder before anything is computed
            yield Begun(plan, self.folder)

    def _planned(self) -> _Plan:
        there = Held.of(self.folder)
        extra = self._more_seeds(there)
        seeds = self.seeds
        every = tuple(dict.fromkeys((*(s for s in there.seeds if s in {*seeds, *extra}), *seeds)))
        sessions = [self._session(seed) for seed in every]
        check_varied([session.step for session in sessions])
        if set(every) != set(there.seeds):
            # Means over base seeds need the same metrics of all of them.
            there = replace(there, intact=False)
        missing, there = sessions[0].missing(there, self.request.metrics)
        return _Plan(sessions, missing, there, extra)

    def _session(self, seed: int) -> Session:
        folder = self.folder and self.folder / f"seed-{seed}"
        return Session(self.request.with_seed(seed), self.options, folder, self.bar)

    def _finished(self) -> Result | None:
        """Return what the folder holds if nothing is missing; to read it, it needs no lock."""
        if self.folder is None or not is_there(self.folder / "summary.json"):
            return None
        found = Begun(self._planned(), self.folder)
        return found.read() if found.complete() else None

    def _more_seeds(self, there: Held) -> list[int]:
        """Return base seeds that the folder holds and that were not asked for now."""
        if self.folder is None or self.options.remeasure == "replace":
            return []
        made = {s: self._session(s) for s in there.seeds if s not in self.seeds}
        return [s for s, session in made.items() if session.trained()]


@dataclass(frozen=True)
class Begun:
    """Sessions of one request, whose folder is held."""

    plan: _Plan
    folder: Path | None

    @property
    def sessions(self) -> list[Session]:
        """One for each base seed."""
        return self.plan.sessions

    def complete(self) -> bool:
        """Tell whether nothing is left to do."""
        trained = [session.trained() for session in self.plan.sessions]
        return self.plan.there.intact and not self.plan.missing and all(trained)

    def read(self) -> Result:
        """Return what the folder holds."""
        assert self.folder is not None
        return _with_note(load(self.folder), self.plan.extra)

    def result(self) -> Result:
        """Train what is not trained yet, measure what is missing, and return all."""
        if self.complete():
            return self.read()
        plan, first = self.plan, self.plan.sessions[0]
        train_together(plan.sessions)
        parts = [session.measured(plan.missing) for session in plan.sessions]
        condition = {**first.condition, "seeds": plan.every}
        warnings = first.choice.warnings
        result = collect(parts, condition, first.environment, warnings, self.folder, several=True)
        return _with_note(kept(self.folder, plan.there, result), plan.extra)


def _with_note(result: Result, extra: list[int]) -> Result:
    if not extra:
        return result
    note = (
        f"The folder also holds the base seeds {', '.join(map(str, extra))}: table and intervals "
        "are about all of them. remeasure='replace' leaves them out."
    )
    return replace(result, warnings=(*result.warnings, note))


def _refuse_single(folder: Path | None) -> None:
    there = FolderStore(folder).read_json("condition.json") if folder else None
    if there is not None and "seeds" not in there:
        msg = (
            f"{folder} holds a run without seeds=: give the one with seeds= a folder of its own "
            "with out="
        )
        raise StoreError(msg)
