"""Several stacks of replicas at the same step of one recorded task, advanced in one call.

Base seeds of a run, copies that see other batches or masks, and conditions of a study that differ
in rates take the same step over other numbers. Where a step is small its cost is that of calling
operations, so that many stacks cost little more than one. Nothing of a replica depends on who
rides along: the call is held to the stack's own step, to the bit, when it is first used and
wherever the run itself is proven.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Protocol

import torch

from wingbeat.determinism import derive, seed_torch
from wingbeat.errors import DriverError, RunError
from wingbeat.replicas.drivers.groups import Groups
from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.drivers.recorded import RecordedStep
from wingbeat.replicas.replicas import Part, Replicas
from wingbeat.task.step import State

if TYPE_CHECKING:
    from torch import Tensor

_LONGEST: Final = 0.02
"""Seconds of a stack's step above which calling operations is no part of it worth saving."""
_LARGEST: Final = 1 << 23
"""Numbers in states and batches of one call, whose working memory is some ten times that; nets
that are larger are not limited by calls."""
_BUILDING: Final = 0.15
"""Seconds that recording the step for groups takes, about."""
_WARM: Final = 3
"""Steps of each stack alone before groups are tried: they say what there is to gain."""


class UnlikeAloneError(DriverError):
    """A replica in company was not, to the bit, the replica alone."""


class Rider(Protocol):
    """A run under way."""

    done: int

    @property
    def replicas(self) -> Replicas:
        """The run's replicas."""
        ...

    @property
    def length(self) -> int:
        """Updates in all."""
        ...


@dataclass
class _Seat:
    """A stack that waits for its next step."""

    part: Part
    driver: Lockstep
    recording: RecordedStep
    leaves: list[Tensor]
    coefficients: tuple[float, ...]
    number: int

    @property
    def seed(self) -> int:
        """Of its random numbers at this update."""
        return derive(self.part.streams.dropout, self.number)

    def arguments(self) -> list[Tensor]:
        """Return all that its recording takes."""
        return [*self.leaves, *torch.tensor(self.coefficients, dtype=torch.float64).unbind()]


@dataclass
class _Arrived:
    """What a stack's next state will be, once its run asks for it."""

    before: State
    after: State
    losses: Tensor
    index: int


@dataclass
class _Habit:
    """What is known of one recording with one number of groups.

    ``held`` are the grouped tensors that the last call returned, and the states cut from them.
    """

    groups: Groups | None = None
    met: int = 0
    refused: bool = False
    proven: bool = False
    seconds: list[float] = field(default_factory=list)
    held: tuple[list[Tensor], list[State]] = ([], [])


class Company:
    """Runs whose stacks ride together wherever they can.

    The runs are advanced in turn, a step each; the first that asks for a step takes along all
    that stand before the same one.

    Args:
        riders: the runs.
    """

    def __init__(self, riders: Sequence[Rider]) -> None:
        self.riders = list(riders)
        self.broken = ""
        self.calls = 0
        self._rides, self._tried = 0, -1
        self._arrived: dict[int, tuple[Part, _Arrived]] = {}
        self._alone: dict[int, list[float]] = {}
        self._habits: dict[tuple[int, int], _Habit] = {}

    def advance(self, rider: Rider, *, check: bool) -> None:
        """Make a run's next update, as ``Replicas.advance`` does.

        Args:
            rider: the run.
            check: hold what company gives to the stacks' own steps.

        Raises:
            UnlikeAloneError: it differs; the run has to begin anew alone.
        """
        index, replicas = rider.done, rider.replicas
        driver = replicas.driver
        if self.broken or not _fits(driver):
            replicas.advance(index)
            return
        if not any(self._waiting(part, index) for part in replicas.parts) and index != self._tried:
            self._ride(index)
        row = []
        for part in replicas.parts:
            found = self._waiting(part, index)
            if found is None:
                row.append(self._by_itself(replicas, part, index))
                continue
            del self._arrived[id(part)]
            if check:
                self._hold(replicas, part, found)
            part.state = found.after
            row.append(found.losses[: len(part.places)])
        replicas.losses.append(row)

    def leave(self, rider: Rider) -> None:
        """Go on without a run."""
        self.riders = [other for other in self.riders if other is not rider]

    def _waiting(self, part: Part, index: int) -> _Arrived | None:
        _, found = self._arrived.get(id(part), (None, None))
        fits = found is not None and found.index == index and found.before is part.state
        return found if fits else None

    def _by_itself(self, replicas: Replicas, part: Part, index: int) -> Tensor:
        begin = time.perf_counter()
        state, losses = replicas.step(part, index)
        part.state = state
        spent = self._alone.setdefault(id(part), [])
        if len(spent) <= _WARM:
            spent.append(time.perf_counter() - begin)
        return losses[: len(part.places)]

    def _hold(self, replicas: Replicas, part: Part, found: _Arrived) -> None:
        state, losses = replicas.step(part, found.index)
        if not _same(state, found.after) or not _equal(losses, found.losses):
            self.broken = f"step {found.index} in company is not that of the stack alone"
            raise UnlikeAloneError(self.broken)

    def _ride(self, index: int) -> None:
        """Take the next step of every stack that stands before this one and has company."""
        seats: dict[int, list[_Seat]] = {}
        self._arrived = {}
        self._rides, self._tried = self._rides + 1, index
        for rider in self.riders:
            if rider.done == index < rider.length and _fits(rider.replicas.driver):
                for seat in _seats(rider.replicas, index):
                    seats.setdefault(id(seat.recording), []).append(seat)
        left = max((rider.length for rider in self.riders), default=0) - index
        for group in seats.values():
            for together in _calls(group):
                if len(together) > 1 and self._pays(together, left):
                    self._together(together, index)

    def _pays(self, seats: list[_Seat], left: int) -> bool:
        """Tell whether these stacks ride together from now on."""
        habit = self._habits.setdefault((id(seats[0].recording), len(seats)), _Habit())
        habit.met += 1
        if habit.refused or habit.groups is not None:
            return not habit.refused
        known = [min(t) for s in seats if len(t := self._alone.get(id(s.part), [])) >= _WARM]
        if len(known) < len(seats):
            return False
        alone = sum(known)
        # Of the steps that are left as many as so far, the smaller last batches of epochs few.
        saved = 0.5 * alone * left * habit.met / self._rides
        there = seats[0].recording.grouped
        ready = there.get(len(seats))
        if ready is None and len(seats) in there:  # tried in this process, in vain
            habit.refused = True
            return False
        if max(known) > _LONGEST or (ready is None and saved < _BUILDING):
            habit.refused = max(known) > _LONGEST
            return False
        habit.groups = ready or self._made(seats)
        habit.refused = habit.groups is None
        return not habit.refused

    def _made(self, seats: list[_Seat]) -> Groups | None:
        first, count = seats[0], len(seats)
        recorded = first.recording.graph
        first.recording.grouped[count] = None
        if recorded is None:
            return None
        with torch.no_grad():
            try:
                made = Groups(recorded, first.arguments(), count)
            except DriverError as error:
                logging.getLogger("wingbeat").info("no company: %s", error)
                return None
        first.recording.grouped[count] = made
        return made

    def _together(self, seats: list[_Seat], index: int) -> None:
        habit = self._habits[id(seats[0].recording), len(seats)]
        assert habit.groups is not None
        begin, own = time.perf_counter(), self._stacked(seats, habit)
        # The numbers of each group's update side by side: one tensor for each of them.
        c = torch.tensor([s.coefficients for s in seats], dtype=torch.float64).unbind(1)
        try:
            with torch.no_grad():
                seeds = [seat.seed for seat in seats] if habit.groups.draws else []
                found = habit.groups(own, c, seeds)
        except (RuntimeError, NotImplementedError, IndexError) as error:
            logging.getLogger("wingbeat").info("no company: %s", error)
            habit.refused = True
            return
        *after, losses = found
        rows = zip(*(t.unbind(0) for t in after), strict=True)
        states = [
            seat.driver.state_of(seat.part.state, list(row))
            for seat, row in zip(seats, rows, strict=True)
        ]
        habit.held = (after, states)
        for seat, state, loss in zip(seats, states, losses.unbind(0), strict=True):
            arrived = _Arrived(seat.part.state, state, loss, index)
            self._arrived[id(seat.part)] = (seat.part, arrived)
        self.calls += 1
        self._learn(habit, seats, time.perf_counter() - begin)

    def _learn(self, habit: _Habit, seats: list[_Seat], seconds: float) -> None:
        """Prove a first call; after a few, keep company only where it is faster."""
        if not habit.proven:
            habit.proven = all(self._is_alone(seat) for seat in seats)
            habit.refused = not habit.proven
            if habit.refused:
                seats[0].recording.grouped[len(seats)] = None
        elif len(habit.seconds) < _WARM:
            habit.seconds.append(seconds)
            alone = sum(min(self._alone[id(s.part)]) for s in seats if id(s.part) in self._alone)
            habit.refused = len(habit.seconds) == _WARM and _slower(habit.seconds, alone)
        if habit.refused:
            for seat in seats:
                self._arrived.pop(id(seat.part), None)

    def _is_alone(self, seat: _Seat) -> bool:
        _, found = self._arrived[id(seat.part)]
        seed_torch(seat.seed)
        with torch.no_grad():
            *own, losses = seat.recording.run(*seat.arguments())
        state = seat.driver.state_of(seat.part.state, own)
        return _same(state, found.after) and _equal(losses, found.losses)

    @staticmethod
    def _stacked(seats: list[_Seat], habit: _Habit) -> list[Tensor]:
        """Return state and batch of all groups; the states of the last call are there already."""
        tensors, states = habit.held
        count, kept = len(seats[0].leaves), 0
        if states and all(s.part.state is t for s, t in zip(seats, states, strict=True)):
            kept = len(tensors)
        rest = [torch.stack([s.leaves[i] for s in seats]) for i in range(kept, count)]
        return [*tensors[:kept], *rest]


def gains(rider: Rider, seconds: float) -> bool:
    """Tell whether a run may gain by company, from its size and what its step takes alone."""
    states = (part.state for part in rider.replicas.parts)
    tensors = (t for s in states for t in (s.params, *s.buffers.values(), *s.slots.values()))
    return seconds <= _LONGEST and 2 * sum(t.numel() for t in tensors) <= _LARGEST


def _calls(seats: list[_Seat]) -> list[list[_Seat]]:
    """Split stacks into calls of about the same number of them, none too large; see `_LARGEST`."""
    numbers = sum(t.numel() for t in seats[0].leaves)
    most = max(1, _LARGEST // max(1, numbers))
    count = -(-len(seats) // most)
    ends = [len(seats) * i // count for i in range(count + 1)]
    return [seats[a:b] for a, b in pairwise(ends)]


def _slower(together: list[float], alone: float) -> bool:
    """Tell whether stacks take longer together, by the best of a few calls; 0 is unknown."""
    return min(together) > alone > 0


def _fits(driver: object) -> bool:
    # Where the loss is scaled, coefficients are the replicas' own and not those of a group.
    return isinstance(driver, Lockstep) and driver.mode == "traced" and driver.step.scaling is None


def _seats(replicas: Replicas, index: int) -> list[_Seat]:
    """Return the stacks of a run that can ride; none where its data fail, which it says itself."""
    driver = replicas.driver
    assert isinstance(driver, Lockstep)
    found = []
    for part in replicas.parts:
        try:
            batch = replicas.batches.batch(part.streams, index)
            recording, leaves, numbers = driver.prepared(part.state, batch, index)
        except (DriverError, RunError):
            return []
        number = replicas.batches.first + index
        found.append(_Seat(part, driver, recording, leaves, numbers, number))
    return found


def _same(a: State, b: State) -> bool:
    pairs = [(a.params, b.params), *((a.buffers[k], b.buffers[k]) for k in a.buffers)]
    pairs += [(a.slots[k], b.slots[k]) for k in a.slots]
    return all(_equal(x, y) for x, y in pairs)


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.nan_to_num(nan=0.5), b.nan_to_num(nan=0.5))
