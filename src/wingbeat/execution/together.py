"""Train several sessions side by side, so that their stacks advance in one call."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from wingbeat.execution.needed_memory import free_memory
from wingbeat.execution.session import Session
from wingbeat.replicas.company import Company, gains

_TRIED: Final = 4
"""Steps that the first of a pack takes before the others begin: the first of them records."""


def train_together(sessions: Sequence[Session]) -> None:
    """Train what is not done yet of several base seeds of a run, step by step in turn.

    Each gets the bits that it has alone; see ``Company``. Where the first is not trained in lock
    step there is nothing to share: it is trained, and the others are left to themselves.
    """
    with contextlib.ExitStack() as stack:
        side = _SideBySide(stack)
        for session in sessions:
            if side.begin(session) and not session.shares():
                side.finish()
                return
        side.keep_company()
        side.finish()


def train_pack(sessions: Sequence[Session]) -> bool:
    """Train what is not done yet of several runs, step by step in turn, where that pays.

    Each gets the bits that it has alone. A session that fails is left as it is and the others go
    on: whoever asks for its result meets its error.

    Args:
        sessions: of all runs; those of the first run come first.

    Returns:
        Whether they have been trained. If not, they gain nothing by each other's company, or
        there is no memory for all: the first may be half trained, the others were not begun.
    """
    if not _fit(sessions):
        return False
    with contextlib.ExitStack() as stack:
        side = _SideBySide(stack, forgiving=True)
        for session in sessions:
            first = not side.waiting
            if side.begin(session) and first and not (session.shares() and side.pays(session)):
                return False
        side.keep_company()
        side.finish()
    return True


def _fit(sessions: Sequence[Session]) -> bool:
    """Tell whether there is memory for the copies of all sessions at a time."""
    free = free_memory(sessions[0].request.device)
    return free is None or sum(session.needed for session in sessions) < free


@dataclass
class _SideBySide:
    """Sessions under way, each within its surroundings.

    Args:
        stack: what is closed at the end.
        forgiving: a session that fails leaves the others.
    """

    stack: contextlib.ExitStack
    forgiving: bool = False
    waiting: list[tuple[Session, Iterator[None]]] = field(default_factory=list)
    company: Company | None = None

    def begin(self, session: Session) -> bool:
        """Bring a session to its first step; tells whether it has any to take."""
        steps = self._within(session)
        self.stack.enter_context(contextlib.closing(steps))  # type: ignore[type-var]
        if not self._goes_on(session, steps):
            return False
        self.waiting.append((session, steps))
        return True

    def _within(self, session: Session) -> Iterator[None]:
        """Train a session; its surroundings stay until all have ended."""
        self.stack.enter_context(session.surroundings())
        yield from session.training()

    def pays(self, session: Session) -> bool:
        """Take the first steps of the only session so far; tells whether company saves time."""
        ((_, steps),) = self.waiting
        least = float("inf")
        for _ in range(_TRIED):
            begin = time.perf_counter()
            if not self._goes_on(session, steps):
                self.waiting.clear()
                return True
            least = min(least, time.perf_counter() - begin)
        return session.course is not None and gains(session.course, least)

    def keep_company(self) -> None:
        """Let all of them ride together."""
        courses = [s.course for s, _ in self.waiting if s.course is not None]
        if len(courses) > 1:
            self.company = Company(courses)
            for course in courses:
                course.company = self.company
                course.proofs.runs = len(courses)

    def finish(self) -> None:
        """Advance all to their end; those behind go first, so that the others have company."""
        while self.waiting:
            behind = min(_done(session) for session, _ in self.waiting)
            for one in list(self.waiting):
                session, steps = one
                if _done(session) == behind and not self._goes_on(session, steps):
                    self.waiting.remove(one)

    def _goes_on(self, session: Session, steps: Iterator[None]) -> bool:
        try:
            return next(steps, _END) is not _END
        except Exception as error:  # it comes again where the session's own result is asked for
            if not self.forgiving:
                raise
            logging.getLogger("wingbeat").info("left its company: %s", error)
            if self.company is not None and session.course is not None:
                self.company.leave(session.course)
            return False


def _done(session: Session) -> int:
    assert session.course is not None
    return session.course.done


_END = object()
