"""Advance a run: the reference trains once, replicas join at their step, moments are recorded.

``advance`` is a generator: between two snapshots it does nothing that the caller does not
ask for, so progress bars, checkpoints and early ends are the caller's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch

from wingbeat.errors import DriverError
from wingbeat.heap import give_back
from wingbeat.replicas.company import Company, UnlikeAloneError
from wingbeat.replicas.drivers.object_loop import alone
from wingbeat.replicas.fork import NULL, REFERENCE, Member, fork, twin
from wingbeat.replicas.proofs import Proofs
from wingbeat.replicas.replicas import Replicas
from wingbeat.replicas.snapshot import LARGE, Snapshot, Stacks
from wingbeat.task.batches import Streams
from wingbeat.task.step import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from wingbeat.replicas.perturb import Perturbation
    from wingbeat.task.step import TrainingStep


@dataclass
class TrainingRun:
    """A run under way: what is to happen at which step, and the replicas as they are now.

    Args:
        step: the pure step.
        replicas: the replicas and their driver.
        perturbations: what to fork.
        count: perturbed replicas for each perturbation.
        record: steps at which a snapshot is taken.
        done: updates made so far.
        disproved: why lock step was given up, "" as long as it was not.
        company: other runs to advance in one call with; see ``Company``.
    """

    step: TrainingStep
    replicas: Replicas
    perturbations: Sequence[Perturbation]
    count: int
    record: frozenset[int]
    done: int = 0
    losses: list[Tensor] = field(default_factory=list)
    disproved: str = ""
    company: Company | None = None
    proofs: Proofs = field(init=False)

    def __post_init__(self) -> None:
        self.proofs = Proofs(self.step.task.steps, self.replicas.batches.steps_per_epoch)

    def begin(self) -> None:
        """Place the reference and the null twin at step 0."""
        seed = self.step.task.seed
        states = [self.step.start(seed).map(lambda t: t.unsqueeze(0))] * 2
        streams = Streams.of(seed)
        self.replicas.place([twin(REFERENCE, streams), twin(NULL, streams)], states, given=True)
        self._give_back()

    def update(self) -> bool:
        """Make one update of all replicas; tells whether lock step could be kept.

        Where it could not, all begin anew, one by one: the run is then, to the bit, the one that
        the loop driver makes, whenever the difference was noticed.
        """
        before = self.replicas
        try:
            due = self._prove()
            large = self.replicas.large
            if self.company is None or large:
                self.replicas.advance(self.done, in_place=large)
            else:
                self._in_company(self.company, due)
            self.done += 1
        except UnlikeAloneError:
            anew = before
        except DriverError as error:
            anew = self._given_up(error)
        else:
            self.join()
            return True
        # After the handler: an error holds the frames that it came from, and these all replicas.
        self._anew(anew)
        return False

    @property
    def length(self) -> int:
        """Updates in all."""
        return self.step.task.steps

    def _in_company(self, company: Company, due: bool) -> None:
        if company.broken:  # what company gave so far may have been wrong for this run too
            company.leave(self)
            self.company = None
            raise UnlikeAloneError(company.broken)
        company.advance(self, check=due)

    def _prove(self) -> bool:
        due = self.proofs.due(self.done)
        if due:
            begin = time.perf_counter()
            self.replicas.prove(self.done)
            self.proofs.took(time.perf_counter() - begin)
        return due

    def _given_up(self, error: DriverError) -> Replicas:
        """Return what goes on after lock step: replicas, still without states, on the loop."""
        if self.replicas.driver.name == "loop":
            raise error
        self.disproved = f"at step {self.done}: {error}"
        batches, self.replicas.parts = self.replicas.batches, []
        return Replicas(alone(self.step), batches, 1)

    def _anew(self, replicas: Replicas) -> None:
        """Begin once more, in company with nobody."""
        self.replicas, self.company = replicas, None
        self.replicas.take_losses()
        self.done, self.losses = 0, []
        self.begin()
        self.join()

    def join(self) -> None:
        """Let the replicas whose perturbation is due now fork off the reference."""
        due = [p for p in self.perturbations if p.at == self.done]
        if not due:
            return
        members, states = list(self.replicas.members), self.replicas.states()
        self._fork(due, members, states)
        self.losses.append(self.replicas.take_losses())
        self.replicas.place(members, states, given=True)
        self._give_back()

    def _give_back(self) -> None:
        """Give up what large replicas were made from, those that have yet to fork included."""
        all_of_them = 2 + self.count * len(self.perturbations)
        here = len(self.replicas.members)
        if self.replicas.size() * max(all_of_them, here) > LARGE * here:
            self.step.models.let_go()
            give_back()

    def _fork(self, due: list[Perturbation], members: list[Member], states: list[State]) -> None:
        """Add the replicas of some perturbations to all that are there."""
        streams, reference = members[0].streams, states[0].map(lambda t: t[0])
        for perturbation in due:
            for replica in range(1, self.count + 1):
                state, member = fork(
                    self.step, reference, streams, perturbation, replica, self.replicas.batches
                )
                members.append(member)
                states.append(state.map(lambda t: t.unsqueeze(0)))

    def snapshot(self) -> Snapshot:
        """Return all replicas as they are now, with the losses since the last snapshot."""
        params, buffers = self._tensors()
        self.losses.append(self.replicas.take_losses())
        count = len(self.replicas.members)
        # Rows of no step have no type of their own: they would widen that of the others.
        rows = [r for r in self.losses if len(r)] or self.losses[-1:]
        losses = torch.cat([_widened(r, count) for r in rows])
        self.losses = []
        return Snapshot(
            step=self.done,
            labels=tuple(m.label for m in self.replicas.members),
            params=params,
            buffers=buffers,
            losses=losses,
        )

    def _tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return weights and buffers: copied, or of large replicas what they are stacked from."""
        if not self.replicas.large:
            flat, buffers = self.replicas.snapshot()
            return {k: t.clone() for k, t in self.step.layout.unflatten(flat).items()}, buffers
        states = self.replicas.states()  # views: looked at before the next update
        named = [self.step.layout.unflatten(state.params) for state in states]
        params = {name: [each[name] for each in named] for name in named[0]}
        others = {name: [s.buffers[name] for s in states] for name in states[0].buffers}
        stacks = (Stacks(params), Stacks(others))
        return cast("tuple[dict[str, Tensor], dict[str, Tensor]]", stacks)

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that is needed to go on from here, as tensors and JSON-safe facts."""
        self.losses.append(self.replicas.take_losses())
        tensors = {f"losses/{i}": rows for i, rows in enumerate(self.losses)}
        for i, state in enumerate(self.replicas.states()):
            tensors[f"{i}/params"] = state.params
            tensors |= {f"{i}/buffers/{k}": t for k, t in state.buffers.items()}
            tensors |= {f"{i}/slots/{k}": t for k, t in state.slots.items()}
        members = [_described(m) for m in self.replicas.members]
        facts = {"done": self.done, "members": members, "losses": len(self.losses)}
        if self.step.device.type != "cpu":  # some optimizers count their steps there
            host = sorted(
                k for k, t in tensors.items() if "/slots/" in k and t.device.type == "cpu"
            )
            facts["on_processor"] = host
        return tensors, facts

    def restore(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Put back what ``save`` returned; the tensors are taken out of it."""
        self.done = meta["done"]
        self.losses = [tensors[f"losses/{i}"] for i in range(meta["losses"])]
        members = [member_from(m) for m in meta["members"]]
        host = frozenset(meta.get("on_processor", ()))
        placed = {k: t if k in host else t.to(self.step.device) for k, t in tensors.items()}
        states = [_state(placed, f"{i}/") for i in range(len(members))]
        placed.clear()
        tensors.clear()  # else all would be there twice once they are placed
        self.replicas.place(members, states, given=True)
        self._give_back()


def advance(course: TrainingRun, steps: int) -> Iterator[Snapshot | None]:
    """Go on to ``steps`` updates; yields a snapshot where one is due and None after any other step.

    A course that was restored at a recorded step does not record it again. One that gives up
    lock step begins anew and yields its snapshots again; see ``TrainingRun.disproved``.
    """
    if not course.replicas.members:
        course.begin()
        course.join()
        yield course.snapshot()
    while course.done < steps:
        kept = course.update()
        due = course.done in course.record or not kept
        yield course.snapshot() if due else None


def _widened(rows: Tensor, count: int) -> Tensor:
    absent = torch.full((rows.shape[0], count - rows.shape[1]), torch.nan, dtype=rows.dtype)
    return torch.cat([rows, absent], dim=1)


def member_from(facts: dict[str, Any]) -> Member:
    """Return the member that ``TrainingRun.save`` described."""
    return Member(**{**facts, "streams": Streams(**facts["streams"])})


def _described(member: Member) -> dict[str, Any]:
    own = {k: getattr(member, k) for k in ("label", "perturbation", "at", "l2", "changed")}
    streams = member.streams
    seeds = {
        "order": streams.order,
        "augmentation": streams.augmentation,
        "dropout": streams.dropout,
    }
    return {**own, "streams": seeds}


def _state(tensors: dict[str, Tensor], prefix: str) -> State:
    own = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}

    def part(name: str) -> dict[str, Tensor]:
        return {k.removeprefix(name): t for k, t in own.items() if k.startswith(name)}

    return State(own["params"], part("buffers/"), part("slots/"))
