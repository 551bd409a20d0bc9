"""Lightning forked at a checkpoint or a step, with automatic or manual optimization.

A function makes the Trainer, and what ``fit`` is called with::

    from wingbeat.integrations.lightning import fork

    def make():
        trainer = lightning.Trainer(max_steps=2000)
        return trainer, {"model": Module(), "train_dataloaders": loader()}

    result = fork(make, wb.Gaussian(0.01), replicas=3, at="step=500.ckpt", out="runs/mine")
"""

from __future__ import annotations

import importlib
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from wingbeat.errors import RequestError
from wingbeat.scripts.training import fork_training

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wingbeat.execution.live import Tracker
    from wingbeat.execution.result import Result
    from wingbeat.measure.metric import Metric
    from wingbeat.replicas.perturb import Perturbation
    from wingbeat.scripts.on_step import Chosen, OnStep

    Make = Callable[[], tuple[Any, Mapping[str, Any]]]

_HOOKS: Final = ("on_train_start", "on_train_batch_end")
"""Hooks of the module after which its weights are those of a step."""


def fork(
    make: Make,
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
    """Fit copies with a Trainer each, from a checkpoint or a step on, and measure how they part.

    Args:
        make: makes a new Trainer and the arguments of its ``fit``, with a new module, each time;
            generators are seeded before.
        perturbations: those that change weights, without a step.
        out: folder of the run. Callbacks that write checkpoints are taken out of the copies'
            Trainers: what is recorded lies here.
        replicas: nudged copies for each perturbation.
        at: a checkpoint, from which all copies go on with optimizers and loops; or a step
            (``trainer.global_step``), to which every copy trains from the start.
        record_every: steps between recordings, counted as Lightning counts: with manual
            optimization each optimizer's step is one. The last is recorded too.
        seed: base seed.
        weights: "trainable", or "all" floating-point parameters, frozen ones included.
        metrics: names of metrics that need weights only; default: all of them.
        progress: show which copy trains; None shows it on a terminal.
        trackers: told of the copies while they train; see `wingbeat.integrations.trackers`.

    Returns:
        A result as of `wingbeat.scripts.fork_training`.

    Raises:
        RequestError: ``at`` is no checkpoint of Lightning, ``make`` does not make a Trainer and
            the arguments of ``fit``, or Lightning is not installed.
        RunError: the step of the fork was passed over, or never reached.
        StoreError: ``out`` holds another request.
    """
    if not callable(make):
        msg = f"make is a {type(make).__name__}: pass a function that makes the Trainer"
        raise RequestError(f"{msg} and the arguments of fit anew each time")
    resume, step = _start(at)
    made: list[Any] = []

    def train(on_step: OnStep) -> None:
        """Train one copy."""
        trainer, fit = _checked(make(), made)
        own = step_callback(on_step, trainer)
        own.left_out = _library(trainer).Checkpoint
        trainer.callbacks = [own, *trainer.callbacks]
        trainer.fit(**fit, ckpt_path=resume)
        on_step.left(fit["model"])

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


def step_callback(on_step: Callable[..., Any], trainer: Any = None) -> Any:
    """Return a ``Callback`` that calls ``on_step(step, module)`` at the start and each update.

    An update is over when the hooks of all callbacks and of the module have run: what an
    ``on_train_batch_end`` does to the weights belongs to it. The last call, with ``last=True``,
    comes when the last epoch is over, before averages take the place of the weights.

    Args:
        on_step: told of each update.
        trainer: the Trainer it is for; says whether it is of ``lightning`` or of
            ``pytorch_lightning`` where both are installed.

    Raises:
        RequestError: Lightning is not installed.
    """
    hooks = _Hooks(on_step)

    class StepCallback(_library(trainer).Callback):  # type: ignore[misc]
        left_out: type | tuple[()] = ()

        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            """Stand first, and before callbacks that the module itself brought."""
            rest = [c for c in trainer.callbacks if c is not self]
            trainer.callbacks = [self, *(c for c in rest if not isinstance(c, self.left_out))]

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            hooks.begin(trainer, pl_module)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            hooks.restore(pl_module)
            on_step(trainer.global_step, pl_module, last=True)

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            hooks.restore(pl_module)

    return StepCallback()


class _Hooks:
    """Tells of steps at the end of a module's own hooks, which Lightning calls after all others."""

    def __init__(self, on_step: Callable[..., Any]) -> None:
        self.on_step, self.seen, self.before = on_step, -1, dict[str, Any]()

    def begin(self, trainer: Any, module: Any) -> None:
        """Hang onto the hooks of a module, once its training is known to go beyond the fork."""
        expect = getattr(self.on_step, "expect", None)
        if expect is not None and trainer.max_steps > 0:
            expect(trainer.max_steps)
        self.seen = -1
        self.before = {name: vars(module)[name] for name in _HOOKS if name in vars(module)}
        for name in _HOOKS:
            setattr(module, name, self._then_told(trainer, module, getattr(module, name)))

    def _then_told(self, trainer: Any, module: Any, own: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(own)
        def hook(*given: Any, **named: Any) -> Any:
            found = own(*given, **named)
            if trainer.global_step != self.seen:  # a batch may only add to the gradient
                self.seen = trainer.global_step
                self.on_step(trainer.global_step, module)
            return found

        return hook

    def restore(self, module: Any) -> None:
        """Give the module its own hooks back."""
        for name in _HOOKS:
            vars(module).pop(name, None)
        vars(module).update(self.before)


def _start(at: int | str | Path) -> tuple[str | None, int]:
    if isinstance(at, int):
        return None, at
    try:
        # Only a number is read here; Lightning itself loads the file.
        state = torch.load(at, map_location="cpu", weights_only=True, mmap=True)
        return str(Path(at).resolve()), int(state["global_step"])
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        msg = f"{at} is no checkpoint of Lightning that can be read ({error})"
        raise RequestError(msg) from error


def _checked(found: Any, made: list[Any]) -> tuple[Any, dict[str, Any]]:
    if not (isinstance(found, tuple) and len(found) == 2 and hasattr(found[0], "fit")):
        msg = 'make must return the Trainer and the arguments of fit: (trainer, {"model": module})'
        raise RequestError(f"{msg}; it returned a {type(found).__name__}")
    trainer, fit = found[0], dict(found[1])
    if "model" not in fit:
        raise RequestError(f'the arguments of fit are {sorted(fit)}: name the module "model"')
    if "ckpt_path" in fit:
        raise RequestError("the arguments of fit hold ckpt_path: name the checkpoint by at=")
    if trainer.world_size > 1:
        msg = f"the Trainer uses {trainer.world_size} processes, and copies train in one"
        raise RequestError(f"{msg}: devices=1, or `wingbeat fork` on your script")
    if any(fit["model"] is one for one in made):
        raise RequestError("make returned a module that was trained: make it anew each time")
    made[:] = [fit["model"]]
    return trainer, fit


def _library(trainer: Any = None) -> Any:
    """Return the callbacks of the package that a Trainer is of, of the first that is installed."""
    made_by = [one.__module__.partition(".")[0] for one in type(trainer).__mro__]
    names = ("lightning.pytorch", "pytorch_lightning")
    for name in sorted(names, key=lambda name: name.partition(".")[0] not in made_by):
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        return importlib.import_module(f"{name}.callbacks")
    raise RequestError("this needs Lightning: pip install 'wingbeat[lightning]'")
