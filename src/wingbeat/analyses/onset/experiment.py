"""Train the reference once, keep its state at every candidate, and fork replicas off it there.

A replica that starts from a stored state takes the same updates as one that was forked while the
reference trained: the state is all that an update depends on besides its index. An unperturbed
twin in every trial shows that this holds to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.errors import RunError
from wingbeat.execution.folder import agree, freeze
from wingbeat.fingerprint import fingerprint
from wingbeat.landscape import Models
from wingbeat.replicas.drivers.execution_plan import ExecutionPlan
from wingbeat.replicas.drivers.selection import DriverName, DriverSelector
from wingbeat.replicas.first_loss import first_loss
from wingbeat.replicas.fork import NULL, REFERENCE, Member, fork, initial_members, twin
from wingbeat.replicas.replicas import Replicas
from wingbeat.replicas.training_run import TrainingRun, advance
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.step import State, TrainingStep
from wingbeat.trajectory.store import FolderStore
from wingbeat.trajectory.tensorfile import read_tensors, write_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from wingbeat.execution.request import Request
    from wingbeat.replicas.perturb import Perturbation


@dataclass(frozen=True)
class TrialOutcome:
    """How a trial ended.

    Attributes:
        models: the reference's end first, then the unperturbed twin, then the replicas.
        members: what the forks did, of the replicas.
        noise: distance of the twin from the reference; 0 where restarting is exact.
    """

    models: Models
    members: tuple[Member, ...]
    noise: float


class OnsetExperiment:
    """One task and perturbation, ready to be tried at any candidate step.

    Args:
        request: task, perturbation (at step 0), replicas, type and device.
        steps: candidates, ascending.
        store: folder of everything; states lie in its ``states``.
    """

    def __init__(self, request: Request, steps: Sequence[int], store: FolderStore) -> None:
        self.request, self.task, self.steps = request, request.task, tuple(steps)
        (self.perturbation,) = request.perturbations
        self.step = TrainingStep(request.task, request.dtype, request.device)
        params = self.step.layout.unflatten(self.step.start(self.task.seed).params)
        self.at(self.steps[-1]).check(params, self.task.steps)
        self.batches = Batches(request.task, request.dtype, request.device)
        self.store, self.states = store, Path(store.folder) / "states"
        self.environment: dict[str, Any] = {}
        self.choice: ExecutionPlan

    def at(self, step: int) -> Perturbation:
        """Return the perturbation at a step."""
        return replace(self.perturbation, at=step)

    def agree(self, condition: dict[str, Any]) -> None:
        """Write what is asked for into the folder, or refuse a folder of another search."""
        agree(self.store, condition, "search")
        self.store.write_json("condition.json", condition)

    def choose(self, driver: DriverName) -> None:
        """Choose how to execute, or keep what an earlier start of this search chose."""
        first_loss(self.step, self.batches)
        now = fingerprint(self.request.device, self.request.dtype)
        everyone = self.request.stack_schedule()[-1]
        stack_schedule = [initial_members(self.task.seed), everyone[1:], everyone]
        selector = DriverSelector(self.step, self.batches, stack_schedule, self.task.steps)
        self.choice, self.environment = freeze(self.store, selector, now, driver)

    def train(self, tick: Callable[[int], None]) -> None:
        """Train the reference and its twin once, keeping all that is needed at each candidate."""
        self.states.mkdir(exist_ok=True)
        wanted = {*self.steps, self.task.steps}
        course = self._course()
        known = [step for step in sorted(wanted) if self._file(step).exists()]
        if known:
            self._restore(course, known[-1])
        for _ in advance(course, self.task.steps):
            if course.disproved and self.choice.driver.name != "loop":
                self._give_up_lock_step(course)
            self._keep(course, wanted)
            tick(course.done)

    def _give_up_lock_step(self, course: TrainingRun) -> None:
        """Go on with the loop driver, and keep nothing of what lock step made."""
        for path in self.states.glob("*.safetensors"):
            path.unlink()
        reason = f"lock step was given up {course.disproved}"
        driver, warnings = course.replicas.driver, (*self.choice.warnings, reason)
        self.choice = replace(
            self.choice, driver=driver, chunk=1, spare=1, reason=reason, warnings=warnings
        )
        self.environment = {
            **self.environment,
            **self.choice.facts(),
            "warnings": list(warnings),
        }
        self.store.write_json("environment.json", self.environment)

    def trial(self, step: int, tick: Callable[[int], None]) -> TrialOutcome:
        """Fork the replicas off the stored reference at a step and train them to the end."""
        streams = Streams.of(self.task.seed)
        start = self._stored(step)[0].map(lambda t: t[0])
        forks = [
            fork(self.step, start, streams, self.at(step), i, self.batches)
            for i in range(1, self.request.replicas + 1)
        ]
        members = [twin(NULL, streams), *(member for _, member in forks)]
        states = [s.map(lambda t: t.unsqueeze(0)) for s in (start, *(s for s, _ in forks))]
        replicas = self._replicas()
        replicas.place(members, states)
        for index in range(step, self.task.steps):
            if index in (step, self.task.steps - 1):
                replicas.prove(index)
            replicas.advance(index)
            tick(index + 1 - step)
        return self._ends(replicas, tuple(members[1:]))

    def reference_noise(self) -> float:
        """Return how far the reference's own twin ended from it."""
        reference, null = self._stored(self.task.steps)
        return float((reference.params.double() - null.params.double()).norm())

    def _ends(self, replicas: Replicas, members: tuple[Member, ...]) -> TrialOutcome:
        reference = self._stored(self.task.steps)[0]
        if not bool(torch.isfinite(reference.params).all()):
            raise RunError(
                "the reference's weights are not finite at the end: there is no basin to leave; "
                "lower the learning rate"
            )
        flat, buffers = replicas.snapshot()
        params = torch.cat([reference.params.cpu(), flat])
        own = {k: torch.cat([reference.buffers[k].cpu(), b]) for k, b in buffers.items()}
        labels = (REFERENCE, *(m.label for m in replicas.members))
        noise = float((params[1].double() - params[0].double()).norm())
        return TrialOutcome(Models(labels, params, own), members, noise)

    def _course(self) -> TrainingRun:
        return TrainingRun(self.step, self._replicas(), (), 0, frozenset({0, self.task.steps}))

    def _replicas(self) -> Replicas:
        choice = self.choice
        return Replicas(choice.driver, self.batches, choice.chunk, spare=choice.spare)

    def _keep(self, course: TrainingRun, wanted: set[int]) -> None:
        course.losses.clear()
        course.replicas.take_losses()  # they are not looked at
        if course.done in wanted and not self._file(course.done).exists():
            write_tensors(self._file(course.done), *course.save())

    def _stored(self, step: int) -> list[State]:
        """Return the states of the reference and of its twin, as stacks of one."""
        course = self._course()
        self._restore(course, step)
        return course.replicas.states()

    def _restore(self, course: TrainingRun, step: int) -> None:
        course.restore(*read_tensors(self._file(step)))
        like, members = self.step.start(self.task.seed), course.replicas.members
        states = [_in_order_of(like, state) for state in course.replicas.states()]
        course.replicas.place(members, states)

    def _file(self, step: int) -> Path:
        return self.states / f"{step:06d}.safetensors"


def _in_order_of(like: State, state: State) -> State:
    """Return a state whose tensors come in the model's order, as a recorded step takes them.

    A file returns them sorted by name.
    """

    def ordered(own: dict[str, Tensor], names: dict[str, Tensor]) -> dict[str, Tensor]:
        first = {name: own[name] for name in names if name in own}
        return {**first, **own}

    return State(
        state.params, ordered(state.buffers, like.buffers), ordered(state.slots, like.slots)
    )
