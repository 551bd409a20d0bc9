"""Hugging Face's Trainer, and whatever derives from it, forked at a checkpoint or a step.

A function makes the Trainer; nothing in it changes::

    from wingbeat.integrations.huggingface import fork

    result = fork(make_trainer, wb.Gaussian(0.01), replicas=3, at="out/checkpoint-500",
                  out="runs/mine")

Subclasses that override ``compute_loss``, gradient accumulation and mixed precision stay as they
are: the Trainer trains, a callback nudges the weights at the step of the fork and records them. Of
a model with adapters (PEFT) the adapters alone are trained, and so they alone are nudged and
measured, unless ``weights="all"``.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingbeat.errors import RequestError
from wingbeat.scripts.training import fork_training

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wingbeat.execution.live import Tracker
    from wingbeat.execution.result import Result
    from wingbeat.measure.metric import Metric
    from wingbeat.replicas.perturb import Perturbation
    from wingbeat.scripts.on_step import Chosen, OnStep

_STATE = "trainer_state.json"


def fork(
    make_trainer: Callable[[], Any],
    perturbations: Sequence[Perturbation] | Perturbation,
    *,
    out: str | Path,
    replicas: int = 3,
    at: int | str | Path = 0,
    record_every: int = 50,
    seed: int = 0,
    weights: Chosen = "trainable",
    metrics: Sequence[str | Metric] | None = None,
    progress: bool | None = None,
    trackers: Sequence[Tracker] = (),
) -> Result:
    """Train copies with a Trainer each, from a checkpoint or a step on, and measure how they part.

    Args:
        make_trainer: makes a new Trainer with a new model each time; generators are seeded before.
        perturbations: those that change weights, without a step.
        out: folder of the run. Copies write nothing into the Trainer's own ``output_dir``: theirs
            is within this folder, and they save no checkpoints but what is recorded.
        replicas: nudged copies for each perturbation.
        at: a checkpoint folder, from which all copies resume with their optimizer, schedule and
            generators; or a step, to which every copy trains from the start.
        record_every: steps (updates) between recordings; the last step is recorded too.
        seed: base seed.
        weights: "trainable", or "all" floating-point parameters, frozen ones included.
        metrics: names of metrics that need weights only; default: all of them.
        progress: show which copy trains; None shows it on a terminal.
        trackers: told of the copies while they train; see `wingbeat.integrations.trackers`.

    Returns:
        A result as of `wingbeat.scripts.fork_training`.

    Raises:
        RequestError: ``at`` is no checkpoint of a Trainer, ``make_trainer`` makes none or makes the
            same one twice, or transformers is not installed.
        RunError: training ended before the step of the fork.
        StoreError: ``out`` holds another request.
    """
    if not callable(make_trainer):
        msg = f"make_trainer is a {type(make_trainer).__name__}: pass a function that makes"
        raise RequestError(f"{msg} a new Trainer, with a new model, each time")
    resume, step = _start(at)
    made: list[Any] = []

    def train(on_step: OnStep) -> None:
        """Train one copy."""
        trainer = make_trainer()
        _check(trainer, made)
        made[:] = [trainer]
        own = trainer.args
        own.output_dir = str(on_step.folder / "trainer")
        if not getattr(own, "load_best_model_at_end", False):
            own.save_strategy = "no"
        trainer.add_callback(step_callback(on_step))
        trainer.train(resume_from_checkpoint=resume)
        on_step.left(trainer.model)

    return fork_training(
        train,
        perturbations,
        out,
        replicas=replicas,
        at=step,
        record_every=record_every,
        seed=seed,
        weights=weights,
        metrics=metrics,
        progress=progress,
        trackers=trackers,
    )


def step_callback(on_step: Callable[..., Any]) -> Any:
    """Return a ``TrainerCallback`` that calls ``on_step`` at the start and after each update.

    For a Trainer of one's own: `wingbeat.scripts.OnStep` nudges and records a single run.

    Raises:
        RequestError: transformers is not installed.
    """

    class StepCallback(_library().TrainerCallback):  # type: ignore[misc]
        over = told = False

        def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
            self.over = self.told = False
            expect = getattr(on_step, "expect", None)
            if expect is not None:
                expect(state.max_steps)
            on_step(state.global_step, known["model"])

        def on_step_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
            on_step(state.global_step, known["model"])

        def on_epoch_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
            if control.should_training_stop and not self.over:
                self.told = True
                on_step(state.global_step, known["model"], last=True)

        # A callback may end the training at each of these, as early stopping does at the first.
        on_evaluate = on_save = on_epoch_end

        def on_log(self, args: Any, state: Any, control: Any, **known: Any) -> None:
            if "train_runtime" not in (known.get("logs") or {}):  # else the best weights may be in
                self.on_epoch_end(args, state, control, **known)

        def on_train_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
            self.over = True
            if not (self.told or args.load_best_model_at_end):
                on_step(state.global_step, known["model"], last=True)

    return StepCallback()


def _start(at: int | str | Path) -> tuple[str | None, int]:
    """Return what to resume from, and the step of the fork."""
    if isinstance(at, int):
        return None, at
    path = Path(at) / _STATE
    if not path.is_file():
        msg = f"{at} is no checkpoint of a Trainer (it has no {_STATE}): name a folder checkpoint-N"
        raise RequestError(msg)
    return str(Path(at).resolve()), int(json.loads(path.read_text(encoding="utf-8"))["global_step"])


def _check(trainer: Any, made: list[Any]) -> None:
    if not (hasattr(trainer, "add_callback") and hasattr(trainer, "train")):
        msg = f"make_trainer made a {type(trainer).__name__}: let it return a Trainer"
        raise RequestError(msg)
    if trainer.args.world_size > 1:
        msg = f"the Trainer runs in {trainer.args.world_size} processes, and copies train in one"
        raise RequestError(f"{msg}: start one, or use `wingbeat fork` on your script")
    if any(trainer is one or trainer.model is one.model for one in made):
        msg = "make_trainer returned a Trainer or a model that was trained: make both anew"
        raise RequestError(msg)


def _library() -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise RequestError("this needs transformers: pip install 'wingbeat[hf]'") from error
