"""Run: train the reference, its twin and the perturbed replicas, then measure them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.determinism import (
    derive,
    deterministic_algorithms,
    differing_field,
    fingerprint,
    seeded,
)
from wingbeat.errors import RequestError, RunError, StoreError
from wingbeat.measure import Measured, measure
from wingbeat.measure.outputs import Evaluator
from wingbeat.metrics.catalogue import CATALOGUE
from wingbeat.progress import Progress
from wingbeat.replicas.advance import Course, advance
from wingbeat.replicas.choose import Choice, Chooser, DriverName, first_loss
from wingbeat.replicas.replicas import Replicas
from wingbeat.request import Request, as_folder, check_seeds, make_request
from wingbeat.result import Result, load, write_files
from wingbeat.summary import collect
from wingbeat.task.batches import Batches
from wingbeat.task.describe import difference
from wingbeat.task.step import TrainingStep
from wingbeat.trajectory.store import FolderStore, MemoryStore, Store
from wingbeat.trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wingbeat.replicas.fork import Member
    from wingbeat.replicas.perturb import Perturbation
    from wingbeat.task.task import Task


def run(
    task: Task,
    perturbations: Sequence[Perturbation] | Perturbation = (),
    *,
    replicas: int = 5,
    record_every: int | None = None,
    metrics: Sequence[str] | None = None,
    driver: DriverName = "auto",
    dtype: torch.dtype = torch.float32,
    out: str | Path | None = None,
    seeds: Sequence[int] | None = None,
    device: str | torch.device = "cpu",
    compiled: bool | None = None,
    checkpoint_seconds: float = 10.0,
    progress: bool | None = None,
    factory: dict[str, Any] | None = None,
) -> Result:
    """Fork a training run, train the copies under the same noise, and measure how they part.

    Args:
        task: what to train.
        perturbations: how replicas depart from the reference. The reference trains once; replicas
            join at their step. A reference and an unperturbed twin are in every run.
        replicas: perturbed replicas for each perturbation.
        record_every: steps between snapshots; by default about 20 in all. Step 0, the last step
            and every fork step are always there.
        metrics: names to measure; by default all that needs weights and losses only, and the
            evaluation metrics where the task has evaluation data.
        driver: "lockstep" (all replicas in one vectorised call), "loop" (one by one) or "auto"
            (measures both and keeps the faster).
        dtype: floating-point type of model and data.
        out: folder of the run; None keeps everything in memory. The same request on the same
            folder goes on where it stopped, and returns at once when it is finished.
        seeds: base seeds; the whole experiment is repeated for each and intervals are nested.
        device: where it runs.
        compiled: compile the lock-step function; None leaves it to "auto" on long runs.
        checkpoint_seconds: time between checkpoints when ``out`` is given.
        progress: show progress bars; None shows them on a terminal.
        factory: ``module:factory`` and arguments, kept in the condition.

    Returns:
        The result; see ``Result``.

    Raises:
        RequestError: the request is wrong; nothing was computed.
        StoreError: the folder is locked, damaged, unwritable, or holds another request.
        RunError: the data failed during training; what was recorded is kept.
        DriverError: "lockstep" was asked for and the model cannot run in it.

    Example:
        >>> import wingbeat as wb
        >>> x = torch.linspace(-1, 1, 64).unsqueeze(1)
        >>> task = wb.Task(
        ...     model=lambda: torch.nn.Linear(1, 1),
        ...     loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        ...     data=(x, 2 * x),
        ...     optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        ...     batch_size=16,
        ...     steps=40,
        ... )
        >>> result = run(task, wb.Gaussian(0.1), replicas=5, driver="loop")
        >>> result.behavior, result.noise_floor
        ('convergent', 0.0)
    """
    request = make_request(
        task,
        perturbations,
        replicas=replicas,
        record_every=record_every,
        metrics=metrics,
        dtype=dtype,
        device=device,
        factory=factory,
    )
    chosen_seeds = check_seeds(seeds)
    options = Options(driver, compiled, checkpoint_seconds)
    folder = as_folder(out)
    with Progress(progress) as bar:
        if chosen_seeds is None:
            session = Session(request, options, folder, bar)
            return session.result()
        return _several(request, options, folder, chosen_seeds, bar)


def _several(
    request: Request, options: Options, folder: Path | None, seeds: tuple[int, ...], bar: Progress
) -> Result:
    sessions = [
        Session(request.with_seed(s), options, folder and folder / f"seed-{s}", bar) for s in seeds
    ]
    parts = [session.measured() for session in sessions]
    first = sessions[0]
    condition = {**first.condition, "seeds": list(seeds)}
    result = collect(
        parts, condition, first.environment, first.choice.warnings, folder, several=True
    )
    if folder is not None:
        write_files(result, folder)
    return result


@dataclass(frozen=True)
class Options:
    """How to execute, as far as the request does not decide it."""

    driver: DriverName
    compiled: bool | None
    checkpoint_seconds: float


class Session:
    """One base seed of a run, from an empty or half-filled store to its measures."""

    def __init__(
        self, request: Request, options: Options, folder: Path | None, bar: Progress
    ) -> None:
        self.request, self.options, self.bar, self.folder = request, options, bar, folder
        self.step = TrainingStep(request.task, request.dtype, request.device)
        params = self.step.layout.unflatten(self.step.start(request.task.seed).params)
        for perturbation in request.perturbations:
            perturbation.check(params, request.task.steps)
        self.batches = Batches(request.task, request.dtype, request.device)
        self.condition = request.describe(self.step)
        self.store: Store = MemoryStore() if folder is None else FolderStore(folder, create=True)
        self.trajectory = Trajectory(self.store)
        self.environment: dict[str, Any] = {}
        self.choice: Choice

    def result(self) -> Result:
        """Train and measure what is not done yet, and return the result."""
        part = self.measured()
        warnings = self.choice.warnings
        result = collect([part], self.condition, self.environment, warnings, self.folder)
        if self.folder is not None:
            write_files(result, self.folder)
        return result

    def measured(self) -> tuple[Request, Trajectory, Measured, list[Member]]:
        """Train what is not done yet and measure all of it."""
        seed = derive(self.request.task.seed, "run")
        with seeded(seed), deterministic_algorithms():
            if isinstance(self.store, FolderStore):
                self.store.lock()
            try:
                members = self._train()
            finally:
                if isinstance(self.store, FolderStore):
                    self.store.unlock()
            found = measure(
                self.trajectory,
                self.request.task,
                self.request.metrics,
                self._evaluator(),
                self.bar.say,
            )
        return self.request, self.trajectory, found, members

    def _evaluator(self) -> Evaluator | None:
        own = self.request.task.eval_metrics
        if not any(m in own or CATALOGUE[m].needs == "outputs" for m in self.request.metrics):
            return None
        stacked = self.choice.driver.name == "lockstep"
        return Evaluator(self.step, stacked=stacked, chunk=self.choice.chunk if stacked else 1)

    def _train(self) -> list[Member]:
        store = self.store if isinstance(self.store, FolderStore) else None
        if store is not None:
            self._agree(store)
        first_loss(self.step, self.batches)
        self._choose(store)
        if store is not None and store.sealed:
            return members_of(store)
        replicas = Replicas(
            self.choice.driver, self.batches, self.choice.chunk, spare=self.choice.spare
        )
        request = self.request
        course = Course(
            self.step, replicas, request.perturbations, request.replicas, request.record
        )
        if store is not None and (saved := store.load_state()) is not None:
            course.restore(*saved)
        self._follow(course, store)
        self.store.seal()
        return replicas.members

    def _follow(self, course: Course, store: FolderStore | None) -> None:
        steps = self.request.task.steps
        saved = time.monotonic()
        with self.bar.task(f"training {len(self.request.casts()[-1])} replicas", steps) as tick:
            try:
                for snapshot in advance(course, steps):
                    if snapshot is not None:
                        self.store.append(snapshot)
                    tick(course.done)
                    if store and time.monotonic() - saved >= self.options.checkpoint_seconds:
                        store.save_state(*course.save())
                        saved = time.monotonic()
            except RunError:
                if store:
                    store.save_state(*course.save())
                raise
        if store:
            store.write_json("members.json", course.save()[1]["members"])

    def _agree(self, store: FolderStore) -> None:
        """Refuse a folder that holds another request."""
        there = store.read_json("condition.json")
        if there is None:
            store.write_json("condition.json", self.condition)
            return
        found = difference({k: v for k, v in there.items() if k != "seeds"}, self.condition)
        if found:
            msg = (
                f"{store.folder} holds another request ({found}): give this one a folder of its "
                "own with out=, or ask for what the folder holds"
            )
            raise StoreError(msg)

    def _choose(self, store: FolderStore | None) -> None:
        """Choose how to execute, or keep what an earlier start of this run chose."""
        request = self.request
        now = fingerprint(request.device, request.dtype)
        chooser = Chooser(self.step, self.batches, request.casts(), request.task.steps)
        there = store.read_json("environment.json") if store else None
        if there is None:
            self.bar.say("choosing the driver")
            self.choice = chooser.choose(self.options.driver, self.options.compiled)
            self.environment = {
                **now,
                **self.choice.facts(),
                "warnings": list(self.choice.warnings),
            }
            if store:
                store.write_json("environment.json", self.environment)
            return
        assert store is not None
        self._check_driver(there, store)
        self.choice = chooser.frozen(there)
        self.environment = there
        field = differing_field(there, {**now, **self.choice.facts()})
        if field and not store.sealed:
            here = {**now, **self.choice.facts()}.get(field)
            msg = (
                f"{store.folder} was begun with {field} = {there[field]!r}, and this process has "
                f"{here!r}: going on would mix two executions, which is a perturbation of its own. "
                "Restore that setting, or start in another folder"
            )
            raise StoreError(msg)

    def _check_driver(self, there: dict[str, Any], store: FolderStore) -> None:
        asked, has = self.options.driver, there["driver"]
        if asked not in ("auto", has):
            msg = f"{store.folder} was begun with driver = {has!r}, and {asked!r} was asked for"
            raise StoreError(msg)


def members_of(store: FolderStore) -> list[Member]:
    """Return the members of a finished run."""
    from wingbeat.replicas.advance import member_from

    return [member_from(m) for m in store.read_json("members.json")]


__all__ = ["RequestError", "load", "run"]
