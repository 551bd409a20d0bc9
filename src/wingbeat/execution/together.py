"""Train several base seeds side by side, so that their stacks advance in one call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from wingbeat.execution.session import Session
from wingbeat.replicas.company import Company


def train_together(sessions: Sequence[Session]) -> None:
    """Train what is not done yet of several sessions, step by step in turn.

    Each gets the bits that it has alone; see ``Company``. Where the first is not trained in lock
    step there is nothing to share: it is trained, and the others are left to themselves.
    """
    with contextlib.ExitStack() as stack:
        waiting: list[tuple[Session, Iterator[None]]] = []
        for session in sessions:
            stack.enter_context(session.surroundings())
            steps = session.training()
            stack.enter_context(contextlib.closing(steps))  # type: ignore[type-var]
            if not _goes_on(steps):
                continue
            waiting.append((session, steps))
            if not session.shares():
                _finish(waiting)
                return
        courses = [s.course for s, _ in waiting if s.course is not None]
        company = Company(courses)
        for course in courses if len(courses) > 1 else ():
            course.company = company
        _finish(waiting)


def _finish(waiting: list[tuple[Session, Iterator[None]]]) -> None:
    """Advance all to their end; those that are behind go first, so that the others have company."""
    while waiting:
        behind = min(_done(session) for session, _ in waiting)
        for one in list(waiting):
            session, steps = one
            if _done(session) == behind and not _goes_on(steps):
                waiting.remove(one)


def _done(session: Session) -> int:
    assert session.course is not None
    return session.course.done


def _goes_on(steps: Iterator[None]) -> bool:
    return next(steps, _END) is not _END


_END = object()
