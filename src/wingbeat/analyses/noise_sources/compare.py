"""Run a task once for every source of noise, each varied alone, and compare the spreads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from wingbeat.analyses.noise_sources.available import PERTURBATIONS, absent, check_sources
from wingbeat.analyses.noise_sources.hardware import Execution, check_executions, with_threads
from wingbeat.analyses.noise_sources.outcome import NoiseSources, Sample, accuracy_floor, tables
from wingbeat.errors import DriverError, RequestError
from wingbeat.execution.arguments import as_folder
from wingbeat.execution.request import make_request
from wingbeat.execution.run import run
from wingbeat.measure.metric import (
    METRICS,
    Metric,
    chosen_names,
    is_scalar_of_evaluation,
    scalars_of_evaluation,
)
from wingbeat.replicas.drivers.selection import DriverName
from wingbeat.replicas.first_loss import first_loss
from wingbeat.task.batches import Batches
from wingbeat.task.data import len_of
from wingbeat.task.step import TrainingStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.execution.request import Request
    from wingbeat.execution.result import Result
    from wingbeat.task.task import Task

SOURCES_BY_DEFAULT = ("init", "order", "augmentation", "dropout", "ulp", "hardware")


def noise_sources(
    task: Task,
    sources: Sequence[str] = SOURCES_BY_DEFAULT,
    *,
    replicas: int = 10,
    metrics: Sequence[str | Metric] | None = None,
    executions: Sequence[Execution] | None = None,
    driver: DriverName = "auto",
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    out: str | Path | None = None,
    progress: bool | None = None,
    factory: dict[str, Any] | None = None,
) -> NoiseSources:
    """Measure how much each source of noise alone makes runs of a task differ at the end.

    All sources but "hardware" are replicas of one run, from step 0 on: the source gets another
    seed in each replica, everything else is the reference's. A source that the task does not
    have is not trained: its variance is exactly 0, and the table says why.

    Args:
        task: what to train; with ``eval_data``, test loss and accuracy are compared.
        sources: "init", "order", "augmentation", "dropout"; "ulp": one random weight moved to
            the next floating-point number; "hardware": the same run executed with other numbers
            of threads and another driver; "all": another base seed.
        replicas: runs for each source; "hardware" has as many as there are executions.
        metrics: further scalars of the evaluation to compare, by default all that the task has;
            any metric that needs "outputs" and gives each replica one number, your own too.
        executions: of "hardware"; default both drivers, with one thread and with all.
        driver: as in ``wb.run``.
        dtype: as in ``wb.run``.
        device: as in ``wb.run``.
        out: folder; the same request on the same folder goes on where it stopped.
        progress: show bars; None shows them on a terminal.
        factory: ``module:factory`` and arguments, kept in the condition.

    Returns:
        Variance, interval and share by source; see `NoiseSources`.

    Raises:
        RequestError: the request is wrong; nothing was computed.
        StoreError: the folder holds another request, or is locked or damaged.
        RunError: the data failed during training.

    Source: Summers and Dinneen, arXiv 2103.04514; Zhuang et al., arXiv 2106.11872.

    Example:
        >>> from wingbeat.task.task import Task
        >>> x = torch.linspace(-1, 1, 64).unsqueeze(1)
        >>> line = Task(
        ...     model=lambda: torch.nn.Linear(1, 1),
        ...     loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        ...     data=(x, 2 * x),
        ...     optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        ...     batch_size=16,
        ...     steps=10,
        ... )
        >>> found = noise_sources(line, ("init", "dropout"), replicas=5, driver="loop")
        >>> row = found.row("dropout", "weights")
        >>> float(row.variance), row.statement
        (0.0, 'the model draws no random numbers in training')
    """
    chosen = check_sources(sources)
    compared = check_executions(executions) if "hardware" in chosen else ()
    if isinstance(replicas, int) and replicas < 2:
        raise RequestError(f"replicas is {replicas}: a variance needs at least 2")
    request = make_request(
        task,
        [PERTURBATIONS[s]() for s in chosen if s in PERTURBATIONS],
        replicas=replicas,
        record_every=getattr(task, "steps", 1),
        metrics=_metrics(task, metrics),
        dtype=dtype,
        device=device,
        factory=factory,
    )
    step = TrainingStep(task, request.dtype, request.device)
    batches = Batches(task, request.dtype, request.device)
    first_loss(step, batches)
    statements = {s: absent(s, step, batches) for s in chosen}
    shared: dict[str, Any] = {
        "metrics": request.metrics,
        "record_every": task.steps,
        "dtype": dtype,
        "device": device,
        "progress": progress,
        "factory": factory,
    }
    acting = [s for s in chosen if s in PERTURBATIONS and not statements[s]]
    folder = as_folder(out)
    where = None if folder is None else folder / "-".join(("sources", *acting))
    perturbations = [PERTURBATIONS[s]() for s in acting]
    result = run(task, perturbations, replicas=replicas, driver=driver, out=where, **shared)
    executed, notes = _executed(task, compared, folder, shared)
    samples = {}
    for s in chosen:
        if s == "hardware":
            samples[s] = _of_executions(executed, request)
        elif statements[s]:
            samples[s] = Sample({}, {}, statements[s])
        else:
            samples[s] = _of_replicas(result, PERTURBATIONS[s]().label, request)
    return _outcome(request, samples, result, notes, folder)


def _metrics(task: Task, metrics: Sequence[str | Metric] | None) -> tuple[str, ...]:
    """Return which scalars of the evaluation to measure."""
    if getattr(task, "eval_data", None) is None:
        if metrics:
            raise RequestError(f"metrics {list(metrics)} need evaluation data: set Task.eval_data")
        return ("l2",)
    own = scalars_of_evaluation(task.eval_metrics)
    wanted = own if metrics is None else chosen_names(metrics, own)
    for name in wanted:
        if name not in own and not is_scalar_of_evaluation(METRICS.find(name)):
            msg = (
                f"metric {name!r} is no scalar of the evaluation: use one of {own}, or a metric "
                "that needs 'outputs' and gives each replica one number"
            )
            raise RequestError(msg)
    return ("l2", *wanted)


def _executed(
    task: Task, executions: Sequence[Execution], folder: Path | None, shared: dict[str, Any]
) -> tuple[list[Result], list[str]]:
    """Run the task once in each way; a driver that cannot run the model is left out and named."""
    found, notes = [], []
    for execution in executions:
        where = None if folder is None else folder / f"hardware-{execution.name}"
        with with_threads(execution.threads):
            try:
                found.append(run(task, (), driver=execution.driver, out=where, **shared))
            except DriverError as error:
                notes.append(f"Execution {execution.name} is left out: {error}")
    return found, notes


def _of_replicas(result: Result, label: str, request: Request) -> Sample:
    """Return how the replicas of one perturbation ended, and whether it changed anything."""
    labels = [f"{label}#{i}" for i in range(1, request.replicas + 1)]
    snapshot = result.trajectory.at(request.task.steps)
    places = [snapshot.labels.index(name) for name in labels]
    weights = {k: t[places] for k, t in snapshot.params.items()}
    same = all(bool((t[places] == t[:1]).all()) for t in snapshot.params.values())
    statement = "it acted and changed no weight: every replica is the reference" if same else ""
    scalars = {q: _values(result, q, labels) for q in _quantities(result, request)}
    return Sample(scalars, weights, statement)


def _of_executions(results: Sequence[Result], request: Request) -> Sample:
    """Return how the same run ended in every execution."""
    if not results:
        return Sample({}, {})
    ends = [r.trajectory.at(request.task.steps) for r in results]
    weights = {k: torch.stack([e.params[k][0] for e in ends]) for k in ends[0].params}
    same = len(ends) > 1 and all(bool((t == t[:1]).all()) for t in weights.values())
    quantities = _quantities(results[0], request)
    scalars = {q: np.array([_values(r, q, ["reference"])[0] for r in results]) for q in quantities}
    return Sample(scalars, weights, "all executions gave the same bits" if same else "")


def _quantities(result: Result, request: Request) -> list[str]:
    """Return the scalars that the evaluation really gave; a regression has no accuracy."""
    there = set(result.table.metric)
    return [q for q in request.metrics if q != "l2" and q in there]


def _values(result: Result, quantity: str, labels: Sequence[str]) -> np.ndarray[Any, Any]:
    table = result.table
    last = table[(table.metric == quantity) & (table.step == table.step.max())]
    by_label = dict(zip(last.b, last.value, strict=True))
    return np.array([by_label.get(name, np.nan) for name in labels], dtype=np.float64)


def _outcome(
    request: Request,
    samples: dict[str, Sample],
    result: Result,
    notes: Sequence[str],
    folder: Path | None,
) -> NoiseSources:
    table, values = tables(samples)
    size = 0 if request.task.eval_data is None else len_of(request.task.eval_data)
    return NoiseSources(
        table=table,
        values=values,
        floor=accuracy_floor(values, size, [s for s in samples if s != "hardware"]),
        noise_floor=result.noise_floor,
        warnings=(*result.warnings, *notes),
        condition=result.condition,
        environment=result.environment,
        folder=folder,
    )
