"""Measure checkpoints that wingbeat did not make: every metric of the weights, and the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import torch

from wingbeat.checkpoints.series import Series, describe
from wingbeat.determinism import derive, deterministic_algorithms, seeded
from wingbeat.errors import NO_TWIN, TOO_FEW_REPLICAS, RequestError
from wingbeat.execution.modelled import Modelled
from wingbeat.execution.result import Result
from wingbeat.fingerprint import fingerprint
from wingbeat.measure import measure
from wingbeat.measure.metric import (
    METRICS,
    Metric,
    chosen_names,
    default_names,
    needs_evaluation,
)
from wingbeat.measure.outputs import Evaluator
from wingbeat.measure.summary import behavior, summarise
from wingbeat.replicas.fork import NULL
from wingbeat.stats import Estimate
from wingbeat.task.step import TrainingStep
from wingbeat.trajectory.trajectory import Trajectory, perturbed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wingbeat.measure import Measured
    from wingbeat.task.task import Task

WEIGHTS = tuple(name for name in default_names() if METRICS.find(name).needs == "weights")
"""Built-in metrics that need nothing but checkpoints."""


@dataclass(frozen=True)
class _Unknown:
    """What `measure` asks of a task, for training that happened elsewhere."""

    seed: int = 0
    steps_per_epoch: int = 1
    eval_metrics: dict[str, Any] = field(default_factory=dict)


def measure_checkpoints(
    trajectory: Trajectory | str,
    metrics: Sequence[str | Metric] | None = None,
    *,
    task: Task | None = None,
    steps_per_epoch: int | None = None,
    tick: Callable[[str], None] = lambda _: None,
) -> Result:
    """Measure checkpoints of training runs that were made elsewhere.

    The reference is one of the runs; the spread is that of all others. Whether they saw the same
    batches, only who made them knows: where they did not, distances measure that too. Unless
    one replica is an unperturbed twin (``null=``) the noise floor is undefined.

    Args:
        trajectory: from `Trajectory.from_checkpoints`, or its pattern.
        metrics: names; by default all that need nothing but weights, and with a task those that
            need its model and evaluation data too.
        task: whose model the checkpoints are of: barriers, alignment, representations and
            predictions are then measured. Buffers that the checkpoints do not hold are as the
            model is built. Only its model, loss and data are used; nothing is trained.
        steps_per_epoch: for the exponent per epoch, which is left out without it.
        tick: called with a word for each stage of the work.

    Returns:
        A result as of `run`: table, summary, plots, report, save.

    Raises:
        RequestError: a metric is unknown or needs more than weights, or the trajectory is no
            series of checkpoints.
        StoreError: a file is damaged, asks to run code or is not what its name says.

    Example:
        >>> import tempfile
        >>> from safetensors.torch import save_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for seed in range(4):
        ...         for step in (0, 10, 20):
        ...             w = torch.tensor([1.0, seed * 2.0**-step])
        ...             save_file({"w": w}, f"{folder}/run-{seed}_step-{step}.safetensors")
        ...     result = measure_checkpoints(f"{folder}/run-*_step-*.safetensors")
        >>> result.behavior, result.noise_floor
        ('convergent', nan)
    """
    if isinstance(trajectory, str):
        trajectory = Trajectory.from_checkpoints(trajectory)
    series = trajectory.store
    if not isinstance(series, Series):
        msg = "this trajectory is of a wingbeat run: load its result with wb.load"
        raise RequestError(msg)
    wanted = _wanted(metrics, task)
    absent: tuple[str, ...] = ()
    if task is None:
        unknown = cast("Task", _Unknown(steps_per_epoch=steps_per_epoch or 1))
        found = measure(trajectory, unknown, wanted, None, tick)
    else:
        found, absent = _with_model(series, task, wanted, tick)
    return Result(
        table=found.table(),
        summary=_summary(found, NULL in series.labels, per_epoch=steps_per_epoch is not None),
        condition=describe(series),
        environment=_environment(),
        perturbations=_perturbations(series, found),
        trajectories={0: trajectory},
        warnings=(*_warnings(series), *_told(absent)),
        metrics=wanted,
    )


def _wanted(metrics: Sequence[str | Metric] | None, task: Task | None) -> tuple[str, ...]:
    """Return the metrics that were asked for, if they can be measured of checkpoints."""
    if task is None:
        usable, default = {"weights"}, WEIGHTS
        advice = "needs more than checkpoints: say whose model they are (task=), or ask for some of"
    else:
        usable = {
            "weights",
            "models",
            "activations",
            *(["outputs"] if task.eval_data is not None else []),
        }
        own = tuple(task.eval_metrics) if task.eval_data is not None else ()
        default = tuple(n for n in default_names() if METRICS.find(n).needs in usable) + own
        advice = "needs losses of the training, or evaluation data: ask for some of"
    names = chosen_names(default if metrics is None else metrics, task.eval_metrics if task else ())
    for name in names:
        of_task = task is not None and name in task.eval_metrics and "outputs" in usable
        if not of_task and METRICS.find(name).needs not in usable:
            known = [m.name for m in METRICS if m.needs in usable]
            raise RequestError(f"metric {name!r} {advice} {known}")
    return names


def _with_model(
    series: Series, task: Task, wanted: tuple[str, ...], tick: Callable[[str], None]
) -> tuple[Measured, tuple[str, ...]]:
    """Measure with the task's model, in float32 and on the processor; also say what is absent."""
    step = TrainingStep(task, torch.float32, torch.device("cpu"))
    store = Modelled.of(series, step.skeleton)
    evaluator = None
    if needs_evaluation(wanted, task.eval_metrics):
        evaluator = Evaluator(step, stacked=False, chunk=1, wanted=wanted)
    with seeded(derive(task.seed, "run")), deterministic_algorithms(step.skeleton):
        found = measure(Trajectory(store), task, wanted, evaluator, tick, step=step)
    return found, store.absent


def _summary(found: Measured, twin: bool, *, per_epoch: bool) -> dict[str, dict[str, Any]]:
    nothing = {"value": None, "low": None, "high": None}
    floor = found.noise_floor
    out: dict[str, dict[str, Any]] = {
        "noise_floor": (
            Estimate(floor, floor, floor) if twin else Estimate.undefined(NO_TWIN)
        ).to_json(),
        "behavior": {**nothing, "value": "undetermined", "reason": TOO_FEW_REPLICAS},
    }
    for place, (name, fact) in enumerate(found.facts.items()):
        own = summarise([fact])
        if not per_epoch:
            del own["lyapunov_per_epoch"]
        entries = {key: estimate.to_json() for key, estimate in own.items()}
        entries["behavior"] = behavior([fact], own["convergence_ratio"])
        out |= {f"{name}/{key}": entry for key, entry in entries.items()}
        if place == 0:
            out |= entries
    return out


def _environment() -> dict[str, Any]:
    """Describe how it was read; how it was trained is not known."""
    here = fingerprint(torch.device("cpu"), torch.float64)
    kept = {k: here[k] for k in ("wingbeat", "torch", "python", "platform", "device", "threads")}
    return {
        **kept,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "driver": "elsewhere",
        "mode": "checkpoints",
        "driver_reason": "trained by another program and only read here",
    }


def _perturbations(series: Series, found: Measured) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "kind": "checkpoints",
            "description": f"checkpoints {series.pattern}",
            "at": series.steps()[0],
            "replicas": len(places),
            "realised": {"l2": found.facts[name].distances[0].tolist(), "changed": []},
        }
        for name, places in perturbed(series.labels).items()
    ]


def _told(absent: Sequence[str]) -> list[str]:
    if not absent:
        return []
    names = ", ".join(absent[:3])
    note = (
        f"{len(absent)} tensors of the task's model are in no checkpoint and are as it is built "
        f"({names}): what runs the model is right only if they do not change in training."
    )
    return [note]


def _warnings(series: Series) -> tuple[str, ...]:
    notes = []
    if NULL not in series.labels:
        notes.append(
            "These checkpoints were made elsewhere: there is no unperturbed twin, so the noise "
            "floor is unknown and no small distance can be told from noise."
        )
    if len(series.replicas) > 1 and NULL not in series.labels:
        notes.append(
            f"All distances are from the replica {series.replicas[0]!r}; the spread is that of "
            "the other replicas. If they did not see the same batches, that is measured too."
        )
    return (*notes, *series.notes)
