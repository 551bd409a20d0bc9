"""The replicas of a run: who is in the stack, which share noise, and one step of all."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from wingbeat.determinism import derive, seed_all, seed_torch
from wingbeat.heap import give_back
from wingbeat.replicas.fork import NULL, Member
from wingbeat.replicas.snapshot import LARGE
from wingbeat.task.state import State, concatenate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from wingbeat.task.batches import Batches, Streams
    from wingbeat.task.data import Batch


class Driver(Protocol):
    """Advances a stack of replicas that share batch and noise by one step."""

    @property
    def name(self) -> str:
        """Either "lockstep" or "loop"."""
        ...

    @property
    def mode(self) -> str:
        """How it executes the step."""
        ...

    def __call__(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Return the next state and the losses ``(replicas,)``."""
        ...


@runtime_checkable
class Provable(Protocol):
    """A driver whose step can be compared with the step that it stands for."""

    def prove(self, state: State, batch: Batch, index: int) -> None:
        """Raise ``DisprovedError`` if the driver would take another step."""
        ...


@runtime_checkable
class Frugal(Protocol):
    """A driver that can take a step without room for a second state."""

    def use_up(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Return what a call returns; the state's tensors may be written into and returned."""
        ...


@dataclass
class Part:
    """A stack that is advanced in one call: its members (positions among all) and state."""

    places: list[int]
    streams: Streams
    state: State


@runtime_checkable
class Abreast(Protocol):
    """A driver that can advance several parts at the same time."""

    workers: int
    """How many at most."""

    def abreast(
        self, calls: Sequence[tuple[State, Batch]], index: int
    ) -> list[tuple[State, Tensor]] | None:
        """Return what a call returns for each state and batch; None where they take turns."""
        ...


class Replicas:
    """All replicas of a run, in parts that share batch and noise.

    The null twin rides last in its part, the reference first: a kernel that treats the last
    lanes of a stack differently would show in the noise floor.

    Args:
        driver: advances one part.
        batches: training data.
        chunk: largest number of replicas in a part; 1 for the loop driver, 0 for no limit.
        spare: fill each part up to a multiple of this with copies of its first member, so that
            no kernel is left with a remainder that it would compute in another way.
    """

    def __init__(self, driver: Driver, batches: Batches, chunk: int = 0, *, spare: int = 1) -> None:
        self.driver, self.batches = driver, batches
        # Asked once: to look for a protocol takes as long as several operations of a small step.
        self._frugal = driver if isinstance(driver, Frugal) else None
        self._side_by_side = driver if isinstance(driver, Abreast) else None
        self.chunk, self.spare = chunk, spare
        self.members: list[Member] = []
        self.parts: list[Part] = []
        self.losses: list[list[Tensor]] = []
        self.whole = True

    def place(self, members: list[Member], states: list[State], *, given: bool = False) -> None:
        """Take in all replicas anew; ``states`` are stacks of one, in the members' order.

        The list is emptied on the way, so that what lies in no other place is not there twice.

        Args:
            members: who they are.
            states: theirs.
            given: nobody else writes into the states' tensors or reads them from now on, so that
                only what several states share is copied where replicas are not stacked.
        """
        self.members, self.parts = members, []
        large = sum(state.params.nbytes for state in states) > LARGE
        if large:
            give_back()  # what is free is not there while what is placed lies there twice
        left: list[State | None] = [*states]
        states.clear()
        taken: set[int] = set()
        for places in partition(members, self.chunk):
            own = [state for state in (left[i] for i in places) if state is not None]
            for i in places:
                left[i] = None
            alone = given and self.chunk == 1
            state = _apart(own.pop(), taken) if alone else self._stacked(own, large)
            self.parts.append(Part(places, members[places[0]].streams, state))

    def release(self) -> None:
        """Forget all states: the run is over, and who its members were is all that is asked."""
        large, self.parts = self.large, []
        if large:
            give_back()

    @property
    def large(self) -> bool:
        """Whether the replicas are so large that there should be no second copy of any."""
        return self.size() > LARGE

    def size(self) -> int:
        """Return the bytes of all replicas' weights and buffers."""
        held = (t for p in self.parts for t in (p.state.params, *p.state.buffers.values()))
        return sum(t.numel() * t.element_size() for t in held)

    def _stacked(self, states: list[State], large: bool) -> State:
        if self.chunk != 1:
            least = max(2, len(states))  # a stack of one runs through other kernels
            full = -(-least // self.spare) * self.spare
            states += states[:1] * (full - len(states))
        return concatenate(states, give_back) if large else concatenate(states)

    def states(self) -> list[State]:
        """Return every replica's state as a stack of one, in the members' order."""
        out: dict[int, State] = {}
        for part in self.parts:
            for row, place in enumerate(part.places):
                out[place] = _row(part.state, row)
        return [out[i] for i in range(len(self.members))]

    def advance(self, index: int, *, in_place: bool = False) -> None:
        """Make update ``index`` in every replica; the losses are kept until ``take_losses``.

        Args:
            index: of the update.
            in_place: write into the states where the driver can: nobody else holds them. If the
                update fails, ``whole`` is false from then on and the states are of no use.
        """
        # All batches first: data that fail leave every replica at the same step.
        for part in self.parts:
            self.batches.batch(part.streams, index)
        if in_place and self._frugal is not None:
            self.losses.append(self._used_up(self._frugal, index))
            return
        # And all states at the end: so does a loss or an optimizer that fails.
        made = self._abreast(self.parts, index)
        if made is None:
            made = [self.step(part, index) for part in self.parts]
        for part, (state, _) in zip(self.parts, made, strict=True):
            part.state = state
        self.losses.append([x[: len(p.places)] for p, (_, x) in zip(self.parts, made, strict=True)])

    def _abreast(self, parts: list[Part], index: int) -> list[tuple[State, Tensor]] | None:
        """Return what a step makes of several parts at once, where the driver can."""
        if self._side_by_side is None:
            return None
        calls = [(part.state, self.batches.batch(part.streams, index)) for part in parts]
        return self._side_by_side.abreast(calls, index)

    def _used_up(self, driver: Frugal, index: int) -> list[Tensor]:
        row, self.whole = [], False
        width = 1 if self._side_by_side is None else self._side_by_side.workers
        for first in range(0, len(self.parts), width):
            parts = self.parts[first : first + width]
            made = self._abreast(parts, index) if width > 1 else None
            for place, part in enumerate(parts):
                part.state, losses = made[place] if made else self._used(driver, part, index)
                row.append(losses[: len(part.places)])
            del made
        self.whole = True
        return row

    def _used(self, driver: Frugal, part: Part, index: int) -> tuple[State, Tensor]:
        batch = self.batches.batch(part.streams, index)
        self._seed(derive(part.streams.dropout, self.batches.first + index))
        return driver.use_up(part.state, batch, index)

    def step(self, part: Part, index: int) -> tuple[State, Tensor]:
        """Return what update ``index`` makes of one part, and its losses; the part stays."""
        batch = self.batches.batch(part.streams, index)
        self._seed(derive(part.streams.dropout, self.batches.first + index))
        return self.driver(part.state, batch, index)

    def prove(self, index: int) -> None:
        """Hold the driver to the step itself, in one part of the replicas.

        Raises:
            DisprovedError: the driver would take another step.
        """
        if not isinstance(self.driver, Provable):
            return
        part = self.parts[index % len(self.parts)]
        batch = self.batches.batch(part.streams, index)
        self._seed(derive(part.streams.dropout, self.batches.first + index))
        self.driver.prove(part.state, batch, index)

    def _seed(self, seed: int) -> None:
        if self.driver.name == "loop":
            seed_all(seed)  # a model that cannot be recorded may draw from Python or NumPy
        else:
            seed_torch(seed)

    def take_losses(self) -> Tensor:
        """Return the losses (steps, replicas) since the last call, in the members' order."""
        if not self.losses:
            return torch.zeros(0, len(self.members))
        stacked = torch.stack([torch.cat(row) for row in self.losses])
        self.losses = []
        order = torch.tensor([place for part in self.parts for place in part.places])
        return stacked[:, torch.argsort(order)].cpu()

    def snapshot(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return parameters (replicas, P) and buffers by name, in the members' order, copied."""
        order = torch.argsort(torch.tensor([p for part in self.parts for p in part.places]))
        kept = [_first(part.state, len(part.places)) for part in self.parts]
        params = torch.cat([s.params for s in kept])[order]
        buffers = {k: torch.cat([s.buffers[k] for s in kept])[order] for k in kept[0].buffers}
        return params.cpu(), {k: b.cpu() for k, b in buffers.items()}


def _first(state: State, count: int) -> State:
    return state.map(lambda t: t[:count])


def _row(state: State, row: int) -> State:
    return state.map(lambda t: t[row : row + 1])


def _apart(state: State, taken: set[int]) -> State:
    """Return a state whose memory is none of what others took; what it has itself is noted."""

    def own(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place in taken:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        return tensor

    return state.map(own)


def partition(members: Sequence[Member], chunk: int) -> list[list[int]]:
    """Split replicas into parts that share their streams, each of at most ``chunk``.

    Parts have nearly equal sizes and, unless ``chunk`` is 1, at least two members where the
    group has two. The null twin comes last in its group.
    """
    groups: dict[Streams, list[int]] = {}
    for place, member in enumerate(members):
        groups.setdefault(member.streams, []).append(place)
    parts = []
    for group in groups.values():
        ordered = sorted(group, key=lambda i: members[i].label == NULL)
        parts += _split(ordered, chunk)
    return parts


def _split(group: list[int], chunk: int) -> list[list[int]]:
    if chunk == 1:
        return [[place] for place in group]
    wanted = 1 if chunk == 0 else -(-len(group) // chunk)
    count = max(1, min(wanted, len(group) // 2))
    small, extra = divmod(len(group), count)
    ends = [0]
    for part in range(count):
        ends.append(ends[-1] + small + (part < extra))
    return [group[a:b] for a, b in pairwise(ends)]
