"""One base seed of a run, from an empty or half-filled folder to its measures."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from wingbeat.determinism import derive, deterministic_algorithms, seeded
from wingbeat.errors import RunError, StoreError
from wingbeat.execution import needed_memory
from wingbeat.execution.folder import agree, check_driver, complete, freeze, missing_before
from wingbeat.execution.held import Held, Remeasure, kept
from wingbeat.execution.result import Result, load
from wingbeat.execution.summary import collect
from wingbeat.fingerprint import fingerprint
from wingbeat.heap import USUAL, hold
from wingbeat.measure import Measured, measure
from wingbeat.measure.metric import needs_evaluation
from wingbeat.measure.outputs import Evaluator
from wingbeat.measure.rehearse import rehearse
from wingbeat.measure.table import without_absent
from wingbeat.replicas.company import Company
from wingbeat.replicas.drivers.execution_plan import ExecutionPlan
from wingbeat.replicas.drivers.large_net import is_large_net
from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.drivers.object_loop import LOOP
from wingbeat.replicas.drivers.recorded_loop import RECORDED
from wingbeat.replicas.drivers.registry import AUTO
from wingbeat.replicas.drivers.selection import DriverName, DriverSelector
from wingbeat.replicas.drivers.sparing import is_spared
from wingbeat.replicas.first_loss import first_loss
from wingbeat.replicas.perturb import Init
from wingbeat.replicas.replicas import Replicas
from wingbeat.replicas.seeding import check_init, check_streams
from wingbeat.replicas.snapshot import LARGE
from wingbeat.replicas.training_run import TrainingRun, advance, member_from
from wingbeat.task.batches import Batches
from wingbeat.task.hidden_state import HiddenState
from wingbeat.task.step import TrainingStep
from wingbeat.trajectory.late_store import LateStore
from wingbeat.trajectory.store import FolderStore, MemoryStore, Store
from wingbeat.trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import nn

    from wingbeat.execution.live import Live
    from wingbeat.execution.progress import Progress
    from wingbeat.execution.request import Request
    from wingbeat.replicas.fork import Member
    from wingbeat.task.step import State


_SAVING = 20.0  # checkpoints lie at least so many times their own writing apart


@dataclass(frozen=True)
class RunOptions:
    """How to execute, as far as the request does not decide it.

    ``late``: snapshots need not outlive the run, see `LateStore`.
    """

    driver: DriverName
    compiled: bool | None
    checkpoint_seconds: float
    remeasure: Remeasure = "add"
    live: Live | None = None
    late: bool = False


class Session:
    """One base seed of a run, from an empty or half-filled store to its measures."""

    def __init__(
        self, request: Request, options: RunOptions, folder: Path | None, bar: Progress
    ) -> None:
        self.request, self.options, self.bar, self.folder = request, options, bar, folder
        self.step = TrainingStep(request.task, request.dtype, request.device)
        start = self.step.start(request.task.seed)
        alone = options.driver in (LOOP, RECORDED)
        alone |= options.driver == AUTO and is_large_net(self.step)
        self.needed = self._check_memory(start, stacked=not alone)
        params = self.step.layout.unflatten(start.params)
        del start
        for perturbation in request.perturbations:
            perturbation.check(params, request.task.steps)
        del params  # the description below has a start of its own
        check_init(self.step, request.perturbations)
        self.batches = Batches(request.task, request.dtype, request.device)
        self.batches.notice_kept_draws()  # before anybody else asks for a sample
        check_streams(self.batches, request.task.seed, request.perturbations)
        self.condition = request.describe(self.step)
        self.store = _store(folder, late=options.late)
        self.trajectory = Trajectory(self.store)
        self.environment: dict[str, Any] = {}
        self.choice: ExecutionPlan
        self.course: TrainingRun | None = None
        self._members: list[Member] | None = None

    def _check_memory(
        self, start: State, *, stacked: bool, stacks: Sequence[int] | None = None
    ) -> int:
        """Refuse a run that needs more memory than there is.

        ``stacks`` holds the copies in each stack; by default all are in one. Returns the bytes
        that it needs.
        """
        request = self.request
        stacks = stacks or [request.copies]
        form = needed_memory.Form(
            stacked,
            is_spared(self.step, max(stacks) * start.params.nbytes),
            request.task.clip_norm is not None,
        )
        kept = _kept(request, self.folder)
        return needed_memory.check(start, sum(stacks), kept, request.device, form)

    def result(self) -> Result:
        """Train and measure what is not done yet, and return all that the folder then holds."""
        missing, there = self.missing(Held.of(self.folder), self.request.metrics)
        if self.folder is not None and self.trained() and there.intact and not missing:
            return load(self.folder)
        with self._held():
            # Once more: before the folder was held another process may have added to it.
            missing, there = self.missing(Held.of(self.folder), self.request.metrics)
            part = self.measured(missing)
            warnings = self.choice.warnings
            result = collect([part], self.condition, self.environment, warnings, self.folder)
            return kept(self.folder, there, result)

    def missing(self, there: Held, wanted: tuple[str, ...]) -> tuple[tuple[str, ...], Held]:
        """Return what has to be measured, and what to keep of a folder."""
        if self.options.remeasure == "replace":
            same = not there.missing(wanted) and set(there.metrics) == set(wanted)
            return ((), there) if same else (wanted, Held())
        if there.intact:
            return there.missing(wanted), there
        # The table is lost, but not what it was about: all of it is measured again.
        return there.all_of(wanted, self.request.task.eval_metrics), there

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the folder, if there is one, against other processes; may be nested."""
        if not isinstance(self.store, FolderStore):
            yield
            return
        self.store.lock()
        try:
            yield
        finally:
            self.store.unlock()

    def trained(self) -> bool:
        """Tell whether the folder holds this request with all its snapshots.

        Raises:
            StoreError: it holds another request.
        """
        if not isinstance(self.store, FolderStore):
            return False
        agree(self.store, self.condition)
        facts = self.store.read_json("environment.json") or {}
        if self.store.sealed and facts:
            check_driver(self.store, facts, self.options.driver)
        return self.store.sealed

    def measured(
        self, metrics: tuple[str, ...]
    ) -> tuple[Request, Trajectory, Measured, list[Member]]:
        """Train what is not done yet, and measure these metrics of all of it."""
        self.request = replace(self.request, metrics=metrics)
        with self.surroundings():
            for _ in self.training():
                pass
            found = measure(
                self.trajectory,
                self.request.task,
                self.request.metrics,
                self._evaluator(),
                self.bar.say,
                [p.label for p in self.request.perturbations if isinstance(p, Init)],
                self.step,
            )
        table = partial(without_absent, found.table, self.request.unasked)
        assert self._members is not None
        return self.request, self.trajectory, replace(found, table=table), self._members

    @contextlib.contextmanager
    def surroundings(self) -> Iterator[None]:
        """Hold the folder, the user's objects and torch's settings as training needs them."""
        seed = derive(self.request.task.seed, "run")
        hidden = HiddenState(self.request.task, self.step.skeleton)
        with (
            self._held(),
            hidden.kept(),
            seeded(seed),
            deterministic_algorithms(self.step.skeleton),
        ):
            yield

    def _evaluator(self) -> Evaluator | None:
        if not needs_evaluation(self.request.metrics, self.request.task.eval_metrics):
            return None
        stacked = self.choice.driver.name == "lockstep"
        chunk = self.choice.chunk if stacked else 1
        return Evaluator(self.step, stacked=stacked, chunk=chunk, wanted=self.request.metrics)

    def training(self) -> Iterator[None]:
        """Train what is not done yet, within ``surroundings``; yields before and after each step.

        At the first yield ``course`` is at its beginning.
        """
        if self._members is not None:
            return
        store = self.store if isinstance(self.store, FolderStore) else None
        first = self.step.shell
        self._ready(store)
        if first is not self.step.shell:  # functions of the user's may still refer to it
            self._give_up(first)
        del first
        if store is not None and store.sealed:
            self._members = members_of(store)
            return
        replicas = Replicas(
            self.choice.driver, self.batches, self.choice.chunk, spare=self.choice.spare
        )
        request = self.request
        course = self.course = TrainingRun(
            self.step, replicas, request.perturbations, request.replicas, request.record
        )
        streams = {member.streams for member in request.stack_schedule()[-1]}
        if len(streams) > 1 and self.shares():
            course.company = Company([course])
        if store is not None and (saved := store.load_state()) is not None:
            if missing_before(store, request.record, int(saved[1]["done"])):
                store.drop_state()  # trained anew from the start, to the same bits
            else:
                course.restore(*saved)
                if self.options.live:
                    self.options.live.replay(store, self.step)
            del saved
        hidden = HiddenState(request.task, self.step.shell)
        before = hidden.look()
        yield
        yield from self._follow(course, store)
        self._check_hidden(hidden, before, store)
        if store is not None:
            # What goes on from a state would never record again what is missing before it.
            if missing_before(store, request.record, request.task.steps):
                store.drop_state()
            complete(store, request.record)
        self.store.seal()
        built = getattr(self.choice.driver, "build_seconds", 0.0)
        self.environment = {**self.environment, "build_seconds": round(built, 3)}
        self._members = course.replicas.members
        self._release(course.replicas)

    def _release(self, replicas: Replicas) -> None:
        """Forget all states, but for the reference's weights where the model has none."""
        if self.step.called.away:
            reference = replicas.states()[0].map(lambda t: t[0])
            self.step.put(reference.params, reference.buffers)
        large = replicas.large
        replicas.release()
        if large:
            hold(USUAL)

    def _give_up(self, model: nn.Module) -> None:
        size = sum(p.nbytes for p in model.parameters())
        if self.request.copies * size > LARGE:
            self.step.models.give_up(model)

    def shares(self) -> bool:
        """Tell whether stacks that see other batches or masks can advance in one call."""
        driver = self.choice.driver
        return isinstance(driver, Lockstep) and driver.mode == "traced" and self.choice.chunk == 0

    def _ready(self, store: FolderStore | None) -> None:
        """Try what can be tried before training, and choose how to execute it."""
        if store is not None:
            agree(store, self.condition)
        if store is None or not store.sealed:
            labels = [p.label for p in self.request.perturbations]
            rehearse(self.request.metrics, self.step, labels)
            first_loss(self.step, self.batches)
        if store is not None and store.read_json("condition.json") is None:
            store.write_json("condition.json", self.condition)
        self._choose(store)

    def _check_hidden(self, hidden: HiddenState, before: Any, store: FolderStore | None) -> None:
        """Leave the user's objects as they were; say so where replicas shared what changed."""
        shared = sorted(set(hidden.changed(before)) - set(self.step.remembers))
        hidden.restore(before)
        if shared:
            self._warn(
                f"{', '.join(shared)} changed during training, though not in its first step: "
                "replicas shared it, so that each saw what the others left. Make it a buffer of "
                "the model, or trust no small distance",
                store,
            )

    def _warn(self, warning: str, store: FolderStore | None) -> None:
        self.choice = replace(self.choice, warnings=(*self.choice.warnings, warning))
        self.environment = {**self.environment, "warnings": list(self.choice.warnings)}
        if store:
            store.write_json("environment.json", self.environment)

    def _give_up_lock_step(self, course: TrainingRun, store: FolderStore | None) -> None:
        """Write down that the loop driver trains this run, before anything of it is kept."""
        if store:
            store.drop_state()
        driver = course.replicas.driver
        reason = f"lock step was given up {course.disproved}"
        self.choice = replace(self.choice, driver=driver, chunk=1, spare=1, reason=reason)
        self.environment = {**self.environment, **self.choice.facts(), "gave_up": True}
        self._warn(f"{reason}. All of the run was trained one replica after another", store)

    def _follow(self, course: TrainingRun, store: FolderStore | None) -> Iterator[None]:
        steps = self.request.task.steps
        saved, every = time.monotonic(), self.options.checkpoint_seconds
        with self.bar.task(
            f"training {len(self.request.stack_schedule()[-1])} replicas", steps
        ) as tick:
            try:
                for snapshot in advance(course, steps):
                    if course.disproved and "gave_up" not in self.environment:
                        self._give_up_lock_step(course, store)
                    if snapshot is not None:
                        self.store.append(snapshot)
                        if self.options.live:
                            self.options.live.moment(snapshot, self.step)
                    del snapshot  # it may hold the states before the next step
                    tick(course.done)
                    if store and time.monotonic() - saved >= every:
                        begun = time.monotonic()
                        store.save_state(*course.save())
                        saved = time.monotonic()
                        # Large stacks take seconds to write: at most a twentieth of the time.
                        every = max(every, _SAVING * (saved - begun)) if every else every
                    yield
            except (RunError, GeneratorExit):  # the latter where another run of several failed
                if store and course.replicas.whole:
                    store.save_state(*course.save())
                raise
        if store:
            store.write_json("members.json", course.save()[1]["members"])

    def _choose(self, store: FolderStore | None) -> None:
        """Choose how to execute, or keep what an earlier start of this run chose."""
        request = self.request
        selector = DriverSelector(
            self.step, self.batches, request.stack_schedule(), request.task.steps
        )
        fresh = store is None or store.read_json("environment.json") is None
        if fresh:
            self.bar.say("choosing the driver")
        now, options = fingerprint(request.device, request.dtype), self.options
        self.choice, self.environment = freeze(
            store, selector, now, options.driver, options.compiled
        )
        if self.choice.spare > 1:  # known only now
            start = self.step.start(request.task.seed)
            stacked = self.choice.driver.name != LOOP
            stacks = self.choice.copies(request.stack_schedule()[-1])
            self.needed = self._check_memory(start, stacked=stacked, stacks=stacks)
        if fresh:
            self.bar.note(self.choice.sentence())


def _store(folder: Path | None, *, late: bool) -> Store:
    if folder is None:
        return MemoryStore()
    return LateStore(folder) if late else FolderStore(folder, create=True)


def _kept(request: Request, folder: Path | None) -> int:
    """Return how many snapshots stay in memory."""
    return len(request.record) if folder is None else 0


def members_of(store: FolderStore) -> list[Member]:
    """Return the members of a finished run."""
    found = store.read_json("members.json")
    try:
        return [member_from(m) for m in found]
    except (KeyError, TypeError) as error:
        what = "is missing" if found is None else "is not of a run of wingbeat"
        path = store.folder / "members.json"
        raise StoreError(f"{path} {what}: restore it from a copy, or compute anew") from error
