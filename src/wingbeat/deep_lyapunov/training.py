"""Train one copy with the user's function, epoch by epoch, and read what it returns."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from wingbeat.deep_lyapunov.loaders import moved, prepared
from wingbeat.deep_lyapunov.tracking.tracker import TrajectoryTracker
from wingbeat.deep_lyapunov.watch import InputWatch, OptimizerWatch

TrainFn = Callable[..., Any]
F = TypeVar("F", bound=TrainFn)

_ALL: Final = "all"


def all_epochs(train_fn: F) -> F:
    """Mark a training function that is to be called once with all epochs.

    Without the mark it is called once per epoch with ``n_epochs=1``, as deep-lyapunov does, and
    an optimizer or a schedule that it builds starts anew each time. With the mark it is called
    once as ``train_fn(model, loader, n_epochs, …)``; a checkpoint is taken each time it has
    gone through the loader with gradients on.

    Args:
        train_fn: a function; the one returned behaves in the same way.

    >>> @all_epochs
    ... def train(model, loader, n_epochs):
    ...     return {"loss": 0.0}
    >>> train.epochs_per_call
    'all'
    """

    @functools.wraps(train_fn)
    def marked(*args: Any, **kwargs: Any) -> Any:
        return train_fn(*args, **kwargs)

    marked.epochs_per_call = _ALL  # type: ignore[attr-defined]
    return marked  # type: ignore[return-value]


@dataclass
class Job:
    """What is the same for all trajectories: function, loaders, epochs, device."""

    train_fn: TrainFn
    train_loader: Any
    n_epochs: int
    device: str
    test_loader: Any = None
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.at_once = getattr(self.train_fn, "epochs_per_call", 1) == _ALL
        if self.test_loader is not None:
            self.test_loader = prepared(self.test_loader, self.device)
            if takes(self.train_fn, "test_loader"):
                self.kwargs = {"test_loader": self.test_loader, **self.kwargs}


@dataclass
class Trained:
    """What came of one trajectory.

    Attributes:
        metrics: lists ``loss`` and ``accuracy``, one entry per call.
        times: epoch of each capture, the initial state first.
        rebuilt: calls that built an optimizer with something to lose.
        inputs: calls of the model, and the fingerprint of what it was called with.
        uneven: passes over the loader, if they are not the epochs asked for.
    """

    metrics: dict[str, list[float | None]]
    times: list[float]
    rebuilt: int
    inputs: tuple[int, int]
    uneven: int | None = None


def train(job: Job, model: nn.Module, tracker: TrajectoryTracker) -> Trained:
    """Train a copy whose initial state is captured already."""
    inputs = InputWatch()
    with inputs.of(model):
        done = (_at_once if job.at_once else _by_epoch)(job, model, tracker)
    read = [loss_and_accuracy(one) for one in done.returned]
    metrics = {name: [one[name] for one in read] for name in ("loss", "accuracy")}
    if job.test_loader is not None and all(a is None for a in metrics["accuracy"]):
        metrics["accuracy"].append(accuracy_on(model, job.test_loader, job.device))
    seen = (inputs.calls, inputs.fingerprint)
    return Trained(metrics, done.times, done.rebuilt, seen, done.uneven)


class _Done(NamedTuple):
    returned: list[Any]
    times: list[float]
    rebuilt: int
    uneven: int | None


def _by_epoch(job: Job, model: nn.Module, tracker: TrajectoryTracker) -> _Done:
    loader, returned = prepared(job.train_loader, job.device), []
    optimizers = OptimizerWatch()
    for _ in range(job.n_epochs):
        with optimizers.call():
            returned.append(job.train_fn(model, loader, 1, **job.kwargs))
        tracker.capture()
    times = [float(epoch) for epoch in range(job.n_epochs + 1)]
    return _Done(returned, times, optimizers.rebuilt, None)


def _at_once(job: Job, model: nn.Module, tracker: TrajectoryTracker) -> _Done:
    marks = _Marks(model, tracker)
    loader = prepared(job.train_loader, job.device, marks.after_pass)
    returned = job.train_fn(model, loader, job.n_epochs, **job.kwargs)
    marks.finish()
    passes = marks.passes
    times = [job.n_epochs * i / passes for i in range(passes + 1)]
    return _Done([returned], times, 0, None if passes == job.n_epochs else passes)


class _Marks:
    """Captures a copy at the end of each training pass over the loader."""

    def __init__(self, model: nn.Module, tracker: TrajectoryTracker) -> None:
        self.passes = 0
        self._model, self._tracker = model, tracker
        self._version = self._versions()

    def after_pass(self, whole: bool) -> None:
        """Capture, unless the pass was an evaluation or only a look at the first batch."""
        changed = self._versions() != self._version
        if torch.is_grad_enabled() and self._model.training and (whole or changed):
            self._tracker.capture()
            self.passes += 1
            self._version = self._versions()

    def finish(self) -> None:
        """Capture the final state where no pass ended with it."""
        if self.passes == 0:
            self._tracker.capture()
            self.passes = 1

    def _versions(self) -> int:
        return sum(p._version for p in self._model.parameters())


def last_number(value: Any) -> float | None:
    """Return the last number of a scalar, list, array or tensor; None where there is none.

    >>> last_number([0.5, 0.25]), last_number(torch.tensor(2.0)), last_number([])
    (0.25, 2.0, None)
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu().double().numpy()
    if isinstance(value, list | tuple):
        return last_number(value[-1]) if value else None
    if isinstance(value, np.ndarray):
        return last_number(value.reshape(-1)[-1].item()) if value.size else None
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return None
    return float(value)


def loss_and_accuracy(returned: Any) -> dict[str, float | None]:
    """Return loss and accuracy of what a training function returned.

    Understands a dictionary with ``loss`` and ``accuracy`` or ``test_acc`` (numbers, lists,
    tensors), and a bare number as the loss. Anything else holds neither.

    >>> loss_and_accuracy({"loss": [0.5, 0.25], "test_acc": 0.75})
    {'loss': 0.25, 'accuracy': 0.75}
    >>> loss_and_accuracy(None)
    {'loss': None, 'accuracy': None}
    """
    if not isinstance(returned, Mapping):
        kind = returned.dim() if isinstance(returned, Tensor) else np.ndim(returned)
        scalar = not isinstance(returned, list | tuple) and kind == 0
        return {"loss": last_number(returned) if scalar else None, "accuracy": None}
    accuracy = last_number(returned.get("accuracy"))
    if accuracy is None:
        accuracy = last_number(returned.get("test_acc"))
    return {"loss": last_number(returned.get("loss")), "accuracy": accuracy}


def takes(function: Callable[..., Any], name: str) -> bool:
    """Tell whether a function has a parameter of this name (``**kwargs`` is not one).

    >>> takes(lambda model, test_loader: None, "test_loader")
    True
    """
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in callables have no signature
        return False


def accuracy_on(model: nn.Module, batches: Iterable[Any], device: str) -> float | None:
    """Return the share of right predictions over batches ``(inputs, labels, …)``.

    Class scores ``(n, classes)`` with integer labels ``(n,)``, or one logit per sample with
    labels 0 and 1. None for anything else.

    >>> model = nn.Identity()
    >>> accuracy_on(model, [(torch.eye(2), torch.tensor([0, 0]))], "cpu")
    0.5
    """
    right = total = 0
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                hits = _hits(model, moved(batch, device))
                if hits is None:
                    return None
                right, total = right + int(hits.sum()), total + hits.numel()
    finally:
        for module, mode in modes:
            module.training = mode
    return right / total if total else None


def _hits(model: nn.Module, batch: Any) -> Tensor | None:
    if not (isinstance(batch, list | tuple) and len(batch) >= 2 and isinstance(batch[1], Tensor)):
        return None
    labels, scores = batch[1], model(batch[0])
    if not isinstance(scores, Tensor):
        return None
    whole = not labels.is_floating_point() and not labels.is_complex()
    if whole and labels.dim() == 1 and scores.dim() == 2 and scores.shape[1] > 1:
        return scores.argmax(dim=1) == labels
    if scores.numel() == labels.numel() and bool(((labels == 0) | (labels == 1)).all()):
        return (scores.reshape(-1) > 0) == labels.reshape(-1).bool()
    return None
