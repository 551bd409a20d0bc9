"""A run as it was asked for: checked, and described as plain JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.errors import RequestError
from wingbeat.execution.arguments import (
    check_counts,
    check_device,
    check_names,
    check_perturbations,
    check_seed,
)
from wingbeat.measure.metric import Metric, chosen_names, default_names, needs_evaluation
from wingbeat.replicas.fork import Member, initial_members
from wingbeat.replicas.perturb import Perturbation, StreamChange
from wingbeat.task.barrier_sampling import BarrierSampling
from wingbeat.task.describe import code_digest, data_digest, describe
from wingbeat.task.task import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.task.step import TrainingStep

SNAPSHOTS = 20
"""Snapshots of a run that does not say how often to record."""


@dataclass(frozen=True)
class Request:
    """What ``wb.run`` was asked for.

    Args:
        task: what to train.
        perturbations: how replicas depart from the reference.
        replicas: perturbed replicas for each perturbation.
        record_every: steps between snapshots.
        metrics: what to measure.
        dtype: floating-point type of model and data.
        device: where it runs.
        factory: ``module:factory`` and its arguments, where the task was made by one.
        unasked: those metrics that stand there by default: where the task has no such thing as a
            class, they have no rows.
    """

    task: Task
    perturbations: tuple[Perturbation, ...]
    replicas: int
    record_every: int
    metrics: tuple[str, ...]
    dtype: torch.dtype
    device: torch.device
    factory: dict[str, Any] = field(default_factory=dict)
    unasked: frozenset[str] = frozenset()

    @property
    def record(self) -> frozenset[int]:
        """Steps at which a snapshot is taken: each multiple, each fork, the first, the last."""
        multiples = range(0, self.task.steps + 1, self.record_every)
        return frozenset({*multiples, 0, self.task.steps, *(p.at for p in self.perturbations)})

    @property
    def copies(self) -> int:
        """How many copies there are at the end: the reference, its twin, and the perturbed ones."""
        return 2 + self.replicas * len(self.perturbations)

    def with_seed(self, seed: int) -> Request:
        """Return the same request for another base seed."""
        return replace(self, task=replace(self.task, seed=seed))

    def stack_schedule(self) -> list[list[Member]]:
        """Return who is in the stack on each stretch between forks, in order."""
        members = initial_members(self.task.seed)
        forks = sorted({p.at for p in self.perturbations})
        stack_schedule = [] if 0 in forks else [list(members)]
        for at in forks:
            for perturbation in (p for p in self.perturbations if p.at == at):
                members += self._cast(perturbation, members[0])
            stack_schedule.append(list(members))
        return stack_schedule

    def _cast(self, perturbation: Perturbation, reference: Member) -> list[Member]:
        perturbation = perturbation.of_base(self.task.seed)
        return [
            Member(
                f"{perturbation.label}#{i}",
                perturbation.streams(reference.streams, i)
                if isinstance(perturbation, StreamChange)
                else reference.streams,
            )
            for i in range(1, self.replicas + 1)
        ]

    def describe(self, step: TrainingStep) -> dict[str, Any]:
        """Return the request as JSON-safe facts; equal requests give equal descriptions."""
        return {
            "task": describe(self.task, step),
            "eval_data": data_digest(self.task.eval_data),
            "evaluation": self._evaluation(),
            "perturbations": [p.describe() for p in self.perturbations],
            # Folders that were begun when all base seeds drew the same are another request.
            "draws": "of the base seed",
            "replicas": self.replicas,
            "record_every": self.record_every,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
            **({"factory": self.factory} if self.factory else {}),
            # Only where it is given, so that requests of before keep their description.
            **self._barriers(),
        }

    def _barriers(self) -> dict[str, Any]:
        asked = self.task.barriers
        return {} if asked == BarrierSampling() else {"barriers": asdict(asked)}

    def _evaluation(self) -> dict[str, str]:
        """Return the code that evaluates: other code under the same names is another request."""
        task = self.task
        own = {"predict": task.predict, "targets": task.targets, **task.eval_metrics}
        return {name: code_digest(f) for name, f in own.items() if f is not None}


def make_request(
    task: Task,
    perturbations: Sequence[Perturbation] | Perturbation,
    *,
    replicas: int,
    record_every: int | None,
    metrics: Sequence[str | Metric] | str | Metric | None,
    dtype: torch.dtype,
    device: str | torch.device,
    factory: dict[str, Any] | None = None,
) -> Request:
    """Check the arguments of ``wb.run`` and return them as one request.

    Raises:
        RequestError: one is wrong; the message names it and says what to do.
    """
    advice = (
        "pass a wb.Task. A loop of your own is forked by wb.Twins, a Trainer or what else has a "
        "fit() by wingbeat.integrations and wingbeat.scripts.fork_training"
    )
    _check(isinstance(task, Task), "task", type(task).__name__, advice)
    check_seed(task.seed, "Task.seed")
    given, metrics = check_perturbations(perturbations), check_names(metrics)
    replicas, record_every = check_counts(replicas, record_every)
    fine = isinstance(dtype, torch.dtype) and dtype.is_floating_point
    _check(fine, "dtype", dtype, "use a floating-point type such as torch.float32")
    every = record_every or usual_record_every(task.steps)
    return Request(
        task=task,
        perturbations=named_apart(given),
        replicas=replicas,
        record_every=every,
        metrics=_metrics(task, metrics),
        dtype=dtype,
        device=check_device(device),
        factory=factory or {},
        unasked=_unasked(metrics),
    )


def _unasked(metrics: Sequence[str | Metric] | str | Metric | None) -> frozenset[str]:
    """Return the metrics that nobody named: with "+name" or nothing, the others of the default."""
    given = [metrics] if isinstance(metrics, str | Metric) else list(metrics or ())
    if given and (not _added(given) or len(_added(given)) < len(given)):
        return frozenset()
    named = {m.name if isinstance(m, Metric) else m.removeprefix("+") for m in given}
    return frozenset(default_names(evaluated=True)) - named


def _added(given: Sequence[str | Metric]) -> list[str | Metric]:
    """Return what is added to the default: names with +, and declared metrics beside them."""
    if not any(isinstance(m, str) and m.startswith("+") for m in given):
        return []
    return [m.removeprefix("+") if isinstance(m, str) else m for m in given if _adds(m)]


def _adds(one: object) -> bool:
    return isinstance(one, Metric) or (isinstance(one, str) and one.startswith("+"))


def _metrics(task: Task, metrics: Sequence[str | Metric] | str | Metric | None) -> tuple[str, ...]:
    own = tuple(task.eval_metrics)
    given = [metrics] if isinstance(metrics, str | Metric) else list(metrics or ())
    added = _added(given)
    if added and len(added) < len(given):
        plain = next(m for m in given if not _adds(m))
        first = next(m for m in given if isinstance(m, str) and m.startswith("+"))
        raise RequestError(
            f"metrics names {plain!r} beside {first!r}: a name with + adds to the default, one "
            "without replaces it; give all with + or none"
        )
    evaluated = task.eval_data is not None
    default = (*default_names(evaluated=evaluated), *(own if evaluated else ()))
    if metrics is None:
        return default
    chosen = chosen_names([*default, *added] if added else metrics, own)
    costly = needs_evaluation(chosen, own)
    if costly and task.eval_data is None:
        msg = f"metric {costly[0]!r} needs evaluation data: set Task.eval_data"
        raise RequestError(msg)
    return chosen


def named_apart(perturbations: list[Perturbation]) -> tuple[Perturbation, ...]:
    """Give perturbations with equal labels names of their own: their rows must not mix."""
    taken: set[str] = set()
    out = []
    for perturbation in perturbations:
        label, count = perturbation.label, 2
        if "#" in label or label in ("reference", "null"):
            _check(False, "perturbation name", label, "use a name without '#', not a twin's")
        while label in taken:
            label, count = f"{perturbation.label}/{count}", count + 1
        taken.add(label)
        out.append(
            perturbation if label == perturbation.label else replace(perturbation, name=label)
        )
    return tuple(out)


def _check(holds: bool, name: str, value: object, advice: str) -> None:
    if not holds:
        msg = f"{name} is {value!r}: {advice}"
        raise RequestError(msg)


def usual_record_every(steps: int) -> int:
    """Return the steps between snapshots where nothing is asked for: about 20 snapshots in all.

    >>> usual_record_every(200), usual_record_every(7)
    (10, 1)
    """
    return max(1, -(-steps // SNAPSHOTS))
