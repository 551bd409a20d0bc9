"""Verify: does a task repeat itself bit for bit, here, and as on another machine?

The task is run twice and, within each run, as reference and unperturbed twin. A digest of
every tensor at every recorded step makes a trail that can be compared now or carried elsewhere.
Beside it a plain loop over the model and its optimizer trains the same reference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.determinism import derive, deterministic_algorithms, seeded
from wingbeat.errors import StoreError
from wingbeat.execution.plain_loop import RUNS, unlike_plain
from wingbeat.execution.plain_loop import Path as Path_
from wingbeat.execution.progress import Progress
from wingbeat.execution.request import make_request
from wingbeat.files import write_json
from wingbeat.fingerprint import FINGERPRINT_DECIDES, fingerprint
from wingbeat.replicas.drivers.execution_plan import ExecutionPlan
from wingbeat.replicas.drivers.object_loop import Remembering
from wingbeat.replicas.drivers.selection import DriverName, DriverSelector
from wingbeat.replicas.first_loss import first_loss
from wingbeat.replicas.replicas import Replicas
from wingbeat.replicas.training_run import TrainingRun, advance
from wingbeat.task.batches import Batches
from wingbeat.task.build import ModelBuilder
from wingbeat.task.describe import difference, tensors_digest
from wingbeat.task.step import TrainingStep

if TYPE_CHECKING:
    from wingbeat.execution.request import Request
    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.task.task import Task

Trail = dict[str, dict[str, str]]
"""Digest by tensor name, by step."""
STEPS = 50
"""Updates of a verification that does not say how many."""


@dataclass(frozen=True)
class Break:
    """The first place where two trails differ.

    Attributes:
        step: updates made when the difference was first seen.
        tensor: first differing tensor in model order.
        tensors: how many tensors differ at that step.
    """

    step: int
    tensor: str
    tensors: int

    def __str__(self) -> str:
        more = f" and {self.tensors - 1} more" if self.tensors > 1 else ""
        return f"step {self.step}, tensor {self.tensor}{more}"


@dataclass(frozen=True)
class Verification:
    """What a verification found; a ``None`` is bit-identical.

    Attributes:
        repeated: first difference between two runs.
        twins: first difference between reference and unperturbed twin in one run.
        plain: first difference beyond rounding from a plain loop over the model and optimizer
            themselves, without anything recorded or vectorised.
        against: first difference from a trail made elsewhere, if one was given.
        process: first difference from the same run in another process, where it was made: the
            command makes it.
        cause: what is known of why another process differs, in words.
        changed: what differs between this execution and that of the other trail, by field.
        trail: digests of the reference.
        environment: how it was executed.
        condition: what was trained.
    """

    repeated: Break | None
    twins: Break | None
    plain: Break | None
    against: Break | None
    changed: dict[str, tuple[Any, Any]]
    trail: Trail
    environment: dict[str, Any]
    condition: dict[str, Any]
    process: Break | None = None
    cause: str = ""

    def __repr__(self) -> str:
        """Return a line for each comparison, without the trail.

        >>> Verification(None, Break(3, "w", 1), None, None, {}, {"0": {}}, {}, {})
        differs: reference and twin from step 3, tensor w on (1 recorded steps)
        """
        named = {
            "two runs": self.repeated,
            "reference and twin": self.twins,
            "another process": self.process,
            "the plain loop": self.plain,
            "the trail": self.against,
        }
        parts = [f"{name} from {place} on" for name, place in named.items() if place is not None]
        head = f"differs: {'; '.join(parts)}" if parts else "repeats itself bit for bit"
        return f"{head} ({len(self.trail)} recorded steps){f': {self.cause}' * bool(self.cause)}"

    @property
    def identical(self) -> bool:
        """Whether all is bit-identical, and the plain loop gives the same but for rounding."""
        found = (self.repeated, self.twins, self.plain, self.against, self.process)
        return all(place is None for place in found)

    def write(self, path: str | Path) -> None:
        """Write the trail for another machine, version or device to compare with."""
        content = {
            "trail": self.trail,
            "environment": self.environment,
            "condition": self.condition,
        }
        write_json(Path(path), content)

    def to_json(self) -> dict[str, Any]:
        """Return the findings, JSON-safe."""
        names = ("repeated", "twins", "plain", "against", "process")
        found = {k: getattr(self, k) for k in names}
        return {
            "identical": self.identical,
            **{k: None if b is None else vars(b) for k, b in found.items()},
            "changed": self.changed,
            "cause": self.cause,
            "steps": [int(step) for step in self.trail],
            "environment": self.environment,
        }


def verify(
    task: Task,
    *,
    steps: int | None = None,
    every: int = 1,
    driver: DriverName = "auto",
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    against: str | Path | None = None,
    progress: bool | None = None,
) -> Verification:
    """Run a task twice, as twins and by a plain loop, and say whether and where they part.

    Args:
        task: what to train.
        steps: updates to make; by default at most 50.
        every: steps between digests.
        driver: as in ``wb.run``.
        dtype: as in ``wb.run``.
        device: as in ``wb.run``.
        against: a trail that ``Verification.write`` left, here or on another machine.
        progress: show a progress bar; None shows it on a terminal.

    Raises:
        RequestError: the request is wrong.
        StoreError: the other trail cannot be read, or is of another task.

    Example:
        >>> import wingbeat as wb
        >>> task = wb.Task(
        ...     model=lambda: torch.nn.Linear(1, 1),
        ...     loss=lambda model, batch: (model(batch[0]) ** 2).mean(),
        ...     data=(torch.ones(8, 1),),
        ...     optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        ...     batch_size=4,
        ...     steps=4,
        ... )
        >>> verify(task, driver="loop").identical
        True
    """
    count, request, step, condition = _prepared(task, steps, every, dtype, device)
    other = None if against is None else _read_trail(Path(against), condition)
    with (
        seeded(derive(task.seed, "run")),
        deterministic_algorithms(step.skeleton),
        Progress(progress) as bar,
    ):
        choice = _choice(step, request, driver)
        with bar.task("verifying", (2 + RUNS) * count) as tick:
            first, twin, path = _trails(step, request, choice, count, tick)
            second, _, _ = _trails(step, request, choice, count, lambda done: tick(count + done))
            unlike = unlike_plain(step, request, path, lambda done: tick(2 * count + done))
    environment = {**fingerprint(request.device, request.dtype), **choice.facts()}
    return Verification(
        repeated=_built_otherwise(step) or first_break(first, second),
        twins=first_break(first, twin),
        plain=None if unlike is None else Break(*unlike),
        against=first_break(other["trail"], first) if other else None,
        changed=_changed(other["environment"], environment) if other else {},
        trail=first,
        environment=environment,
        condition=condition,
    )


def _prepared(
    task: Task, steps: int | None, every: int, dtype: torch.dtype, device: str | torch.device
) -> tuple[int, Request, TrainingStep, dict[str, Any]]:
    """Return how many steps are made, what is asked, the step, and what is trained."""
    count = min(task.steps, STEPS) if steps is None else min(task.steps, steps)
    request = make_request(
        task, (), replicas=1, record_every=every, metrics=(), dtype=dtype, device=device
    )
    step = TrainingStep(task, request.dtype, request.device)
    return count, request, step, {**request.describe(step), "perturbations": []}


def leave_trail(
    task: Task,
    *,
    steps: int | None = None,
    every: int = 1,
    driver: DriverName = "auto",
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """Run a task once; returns its trail, environment and condition, JSON-safe.

    Arguments are those of `verify`.
    """
    count, request, step, condition = _prepared(task, steps, every, dtype, device)
    with seeded(derive(task.seed, "run")), deterministic_algorithms(step.skeleton):
        choice = _choice(step, request, driver)
        trail, _, _ = _trails(step, request, choice, count, lambda _: None)
    environment = {**fingerprint(request.device, request.dtype), **choice.facts()}
    return {"trail": trail, "environment": environment, "condition": condition}


def _built_otherwise(step: TrainingStep) -> Break | None:
    """Return the first tensor in which a model that is built again differs from the first.

    Runs of one process share what was built: what a model draws from the clock, or from a
    generator that nobody seeds, shows nowhere else.
    """
    task = step.task
    first = step.models.initial(task.seed).state_dict()
    again = ModelBuilder(task, step.dtype, step.device).fresh(task.seed).state_dict()
    other = [n for n in first if n not in again or _digest(first[n]) != _digest(again[n])]
    return Break(0, other[0], len(other)) if other else None


def first_break(a: Trail, b: Trail) -> Break | None:
    """Return the first step and tensor in which two trails differ, over the steps they share.

    >>> first_break({"0": {"w": "x"}, "1": {"w": "y"}}, {"0": {"w": "x"}, "1": {"w": "z"}})
    Break(step=1, tensor='w', tensors=1)
    """
    for step in sorted(set(a) & set(b), key=int):
        differing = [name for name in a[step] if a[step][name] != b[step].get(name)]
        if differing:
            return Break(int(step), differing[0], len(differing))
    return None


def _choice(step: TrainingStep, request: Request, driver: DriverName) -> ExecutionPlan:
    batches = Batches(request.task, request.dtype, request.device)
    first_loss(step, batches)
    return DriverSelector(step, batches, request.stack_schedule(), request.task.steps).choose(
        driver, None
    )


def _trails(
    step: TrainingStep, request: Request, choice: ExecutionPlan, steps: int, tick: Any
) -> tuple[Trail, Trail, Path_]:
    """Run once; returns the trails of the reference and of its twin, and the reference itself."""
    batches = Batches(request.task, request.dtype, request.device)
    replicas = Replicas(choice.driver, batches, choice.chunk, spare=choice.spare)
    course = TrainingRun(step, replicas, (), 0, request.record)
    trails: tuple[Trail, Trail] = {}, {}
    path: Path_ = {}
    for snapshot in advance(course, steps):
        tick(course.done)
        if snapshot is not None:
            path[snapshot.step] = {k: t[0] for k, t in snapshot.params.items()}
            for place, trail in enumerate(trails):
                trail[str(snapshot.step)] = _digests(snapshot, place)
    if isinstance(course.replicas.driver, Remembering):
        course.replicas.driver.release()
    return *trails, path


def _digests(snapshot: Snapshot, place: int) -> dict[str, str]:
    tensors: Mapping[str, torch.Tensor] = {**snapshot.params, **snapshot.buffers}
    found = {name: _digest(t[place]) for name, t in tensors.items()}
    return {**found, "loss": _digest(snapshot.losses[:, place])}


def _digest(tensor: torch.Tensor) -> str:
    return tensors_digest({"": tensor})


def _read_trail(path: Path, condition: dict[str, Any]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        there = content["condition"]
        trail, environment = content["trail"], content["environment"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path} is not a trail that `wingbeat verify --write` left ({error})"
        raise StoreError(msg) from error
    found = difference(_portable(there), _portable(condition))
    if found:
        msg = f"{path} is the trail of another task ({found}): make it anew with --write"
        raise StoreError(msg)
    return {"trail": trail, "environment": environment}


def _portable(condition: Any) -> Any:
    """Leave out what may differ between machines without being another task."""
    if not isinstance(condition, Mapping):
        return condition
    own = {k: _portable(v) for k, v in condition.items()}
    for name in (
        "device",
        "dtype",
        "record_every",
        "loss",
        "builder",
        "augment",
        "initial_weights",
    ):
        own.pop(name, None)
    return own


def _changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    watched = (*FINGERPRINT_DECIDES, "python", "platform", "processor")
    return {k: (then.get(k), now.get(k)) for k in watched if then.get(k) != now.get(k)}
