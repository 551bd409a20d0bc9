"""Run: train the reference, its twin and the perturbed replicas, then measure them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from wingbeat.execution.arguments import as_folder, check_execution, check_seeds
from wingbeat.execution.held import Remeasure, check_remeasure
from wingbeat.execution.live import Live
from wingbeat.execution.progress import Progress
from wingbeat.execution.request import make_request
from wingbeat.execution.result import Result
from wingbeat.execution.session import RunOptions, Session
from wingbeat.execution.several import Several
from wingbeat.replicas.drivers.selection import DriverName
from wingbeat.replicas.perturb import Gaussian
from wingbeat.turn import alone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wingbeat.execution.live import Tracker
    from wingbeat.measure.metric import Metric
    from wingbeat.replicas.perturb import Perturbation
    from wingbeat.task.task import Task

BY_DEFAULT = 0.01
"""Size of the nudge of a run that does not say which: 1 % of each tensor's standard deviation."""


def run(
    task: Task,
    perturbations: Sequence[Perturbation] | Perturbation | None = None,
    *,
    replicas: int = 5,
    record_every: int | None = None,
    metrics: Sequence[str | Metric] | str | Metric | None = None,
    driver: DriverName = "auto",
    dtype: torch.dtype = torch.float32,
    out: str | Path | None = None,
    seeds: Sequence[int] | int | None = None,
    device: str | torch.device = "cpu",
    compiled: bool | None = None,
    checkpoint_seconds: float = 10.0,
    progress: bool | None = None,
    factory: dict[str, Any] | None = None,
    remeasure: Remeasure = "add",
    trackers: Sequence[Tracker] = (),
) -> Result:
    """Fork a training run, train the copies under the same noise, and measure how they part.

    Args:
        task: what to train.
        perturbations: how replicas depart from the reference; by default ``Gaussian(0.01)`` at
            step 0, and with ``()`` not at all. The reference trains once; replicas join at their
            step. A reference and an unperturbed twin are in every run.
        replicas: perturbed replicas for each perturbation.
        record_every: steps between snapshots; by default about 20 in all. Step 0, the last step
            and every fork step are always there.
        metrics: what to measure: names, or functions of your own declared with
            `wingbeat.measure.metric`. By default what needs weights and losses only (``wingbeat
            metrics`` marks it), and where the task has evaluation data also ``eval_loss``,
            ``accuracy``, ``disagreement`` (the last two if it has classes) and its own evaluation
            metrics. Names with a plus, as "+barrier", add to that; others replace it.
        driver: "lockstep" (all replicas in one vectorised call), "loop" (one by one), "recorded"
            (one by one by a recording, a core for each) or "auto" (measures and keeps the fastest).
        dtype: floating-point type of model and data.
        out: folder of the run; None keeps everything in memory. The same request on the same
            folder goes on where it stopped, and returns at once when it is finished.
        seeds: base seeds, or how many; the whole experiment is repeated for each and intervals are
            nested.
        device: where it runs.
        compiled: compile the lock-step function; None leaves it to "auto" on long runs.
        checkpoint_seconds: time between checkpoints when ``out`` is given.
        progress: show progress bars; None shows them on a terminal.
        factory: ``module:factory`` and arguments, kept in the condition.
        remeasure: "add" measures what the folder lacks and keeps the rest, metrics and base seeds
            of before included; "replace" forgets what was not asked for now. Snapshots stay.
        trackers: told of each recorded moment while the run goes on, and of the result: those of
            `wingbeat.integrations.trackers`, or objects with ``record`` and ``finish``.

    Threads of one process take turns: a run waits until one in another thread has ended. Several
    runs at the same time need a process each.

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
    check_remeasure(remeasure)
    check_execution(driver, compiled, checkpoint_seconds, progress, factory)
    request = make_request(
        task,
        Gaussian(BY_DEFAULT) if perturbations is None else perturbations,
        replicas=replicas,
        record_every=record_every,
        metrics=metrics,
        dtype=dtype,
        device=device,
        factory=factory,
    )
    chosen_seeds = check_seeds(seeds)
    live = Live(trackers, seeds=chosen_seeds is not None and len(chosen_seeds) > 1)
    options = RunOptions(driver, compiled, checkpoint_seconds, remeasure, live)
    folder = as_folder(out)
    with alone(), Progress(progress) as bar:
        if chosen_seeds is None:
            session = Session(request, options, folder, bar)
            return live.finish(session.result())
        return live.finish(Several(request, options, folder, chosen_seeds, bar).result())
