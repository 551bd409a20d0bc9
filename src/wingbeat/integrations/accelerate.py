"""Accelerate: a loop of one's own, forked at what ``save_state`` wrote.

The loop loads a state where it is given one, and says after each update that it is made::

    from wingbeat.integrations.accelerate import fork

    def train(on_step, checkpoint):
        accelerator = Accelerator()
        model, optimizer, loader = accelerator.prepare(build(), ...)
        step = 0
        if checkpoint:
            accelerator.load_state(checkpoint)
            step = 500
        on_step(step, model)
        ...
            step += 1
            on_step(step, model)

    result = fork(train, wb.Gaussian(0.01), replicas=3, at="state_500", step=500, out="runs/mine")

A loop without Accelerate uses `wingbeat.scripts.fork_training`, or `wingbeat.Twins`.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingbeat.checkpoints.step import read_step
from wingbeat.errors import RequestError
from wingbeat.scripts.training import fork_training

if TYPE_CHECKING:
    from collections.abc import Callable

    from wingbeat.execution.result import Result
    from wingbeat.replicas.perturb import Perturbation
    from wingbeat.scripts.on_step import OnStep


def fork(
    train: Callable[[OnStep, str | None], Any],
    perturbations: list[Perturbation] | Perturbation,
    *,
    out: str | Path,
    at: str | Path | None = None,
    step: int | None = None,
    **options: Any,
) -> Result:
    """Train copies with Accelerate, from a saved state or from the start, and measure them.

    Args:
        train: ``train(on_step, checkpoint)``: builds everything anew, loads the state if there is
            one, calls ``on_step(step, model)`` before the first update and after each. The prepared
            model is looked into.
        perturbations: those that change weights, without a step.
        out: folder of the run.
        at: folder that ``accelerator.save_state`` wrote; None starts anew.
        step: updates made when it was saved; None reads it off the folder's name. Without a state:
            the step of the fork.
        options: ``replicas``, ``record_every``, ``seed``, ``weights``, ``metrics``, ``progress``,
            ``trackers`` as of `wingbeat.scripts.fork_training`.

    Raises:
        RequestError: the state is no folder, or its name has no step and none is given.
        RunError: ``on_step`` was not called, or not at the step of the fork.
        StoreError: ``out`` holds another request.
    """
    _check(train)
    folder = None if at is None else Path(at)
    if folder is not None and not folder.is_dir():
        raise RequestError(f"{at} is no folder: name what accelerator.save_state wrote")
    if step is None:
        read = read_step(folder.name, "") if folder is not None else None
        if folder is not None and read is None:
            raise RequestError(f"{folder.name!r} has no step in its name: say it by step=")
        step = read.value if read is not None else 0
    checkpoint = None if folder is None else str(folder.resolve())

    def copied(on_step: OnStep) -> None:
        train(on_step, checkpoint)

    return fork_training(copied, perturbations, out, at=step, **options)


def _check(train: Any) -> None:
    """Refuse what cannot be called with ``on_step`` and a checkpoint."""
    try:
        inspect.signature(train).bind(print, None)
    except (TypeError, ValueError) as error:
        name = getattr(train, "__name__", type(train).__name__)
        msg = f"train is {name}, which cannot be called as train(on_step, checkpoint) ({error})"
        raise RequestError(msg) from error
