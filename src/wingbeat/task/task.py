"""What to train: model, loss, data, optimizer and schedule, checked before any compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from wingbeat.errors import RequestError, require
from wingbeat.task.advice import check_functions, refuse_list
from wingbeat.task.barrier_sampling import BarrierSampling
from wingbeat.task.data import Batch, is_tensors, len_of, steps_per_epoch
from wingbeat.task.schedule import Schedule, factor_of

Sampling = Literal["shuffle", "replacement", "sequential"]
Mode = Literal["train", "as built"]


@dataclass(frozen=True)
class Task:
    """A training run as a pure recipe.

    Args:
        model: ``() -> nn.Module``, called under the task's seed. Its forward pass may depend on
            its parameters, buffers, inputs and torch's random numbers, on nothing else.
        loss: ``(model, batch) -> scalar``.
        data: tuple or dict of tensors that share the leading axis, or a map-style data set.
            A data set's ``__getitem__`` runs with Python's, NumPy's and torch's generators
            seeded per (seed, epoch, sample).
        optimizer: ``(parameters) -> torch.optim.Optimizer``.
        batch_size: samples a step.
        steps: optimizer updates in all.
        seed: base seed; the initial weights are those of ``torch.manual_seed(seed); model()``.
        schedule: ``step -> factor`` of the learning rate, step counted from 0; or a factory
            ``optimizer -> scheduler`` of ``torch.optim.lr_scheduler``, stepped after each update.
        eval_data: as ``data``; measured without augmentation, in order, in eval mode.
        drop_last: leave out an epoch's incomplete last batch.
        sampling: "shuffle" (each epoch a new order), "replacement" or "sequential".
        augment: ``(batch, draws) -> batch``; ``draws(k)`` gives uniforms of shape (batch, k),
            each row a function of (seed, epoch, sample) alone.
        clip_norm: largest gradient norm, per replica, as ``clip_grad_norm_`` does it.
        predict: ``(model, batch) -> scores (batch, classes)`` for accuracy and disagreement;
            by default ``model(batch[0])`` where the data are a tuple.
        targets: ``batch -> labels (batch,)``; by default ``batch[1]`` where it holds integers.
        eval_metrics: further ``name -> (model, batch) -> scalar`` measures, averaged over samples.
        eval_batch_size: samples an evaluation batch.
        mode: "train" trains the model in train mode whatever mode the factory leaves it in (a
            ``from_pretrained`` leaves it in eval mode, without dropout); "as built" keeps the
            mode of every module, as for layers that the factory put into eval mode on purpose.
        barriers: on how many samples, points and pairs the metric "barrier" is measured.
        name: shown in reports.

    Raises:
        RequestError: a value is out of range; the message names it and says what to do.

    Example:
        >>> task = Task(
        ...     model=lambda: nn.Linear(2, 1),
        ...     loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        ...     data=(torch.randn(10, 2), torch.randn(10, 1)),
        ...     optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        ...     batch_size=4,
        ...     steps=6,
        ... )
        >>> task.steps_per_epoch
        3
    """

    model: Callable[[], nn.Module]
    loss: Callable[[nn.Module, Batch], Tensor]
    data: Any
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    batch_size: int
    steps: int
    seed: int = 0
    schedule: Schedule | None = None
    eval_data: Any = None
    drop_last: bool = False
    sampling: Sampling = "shuffle"
    augment: Callable[[Batch, Callable[[int], Tensor]], Batch] | None = None
    clip_norm: float | None = None
    predict: Callable[[nn.Module, Batch], Tensor] | None = None
    targets: Callable[[Batch], Tensor] | None = None
    eval_metrics: Mapping[str, Callable[[nn.Module, Batch], Tensor]] = field(default_factory=dict)
    eval_batch_size: int = 1024
    barriers: BarrierSampling = field(default_factory=BarrierSampling)
    name: str = ""
    mode: Mode = "train"

    def __post_init__(self) -> None:
        check_functions(self.model, self.loss, self.optimizer, self.schedule)
        for name in ("batch_size", "steps", "eval_batch_size"):
            _require_count(name, getattr(self, name))
        fine = isinstance(self.barriers, BarrierSampling)
        require(fine, "Task.barriers", self.barriers, "pass a BarrierSampling")
        whole = isinstance(self.seed, int) and not isinstance(self.seed, bool)
        require(whole, "Task.seed", self.seed, "pass a whole number")
        known = get_args(Sampling)
        require(self.sampling in known, "Task.sampling", self.sampling, f"use one of {known}")
        modes = get_args(Mode)
        require(self.mode in modes, "Task.mode", self.mode, f"use one of {modes}")
        clip = self.clip_norm
        require(clip is None or clip > 0, "Task.clip_norm", clip, "use a positive number, or None")
        _check_data("data", self.data)
        if self.eval_data is not None:
            _check_data("eval_data", self.eval_data)
        if self.steps_per_epoch < 1:
            msg = (
                f"batch_size {self.batch_size} is larger than the data ({len_of(self.data)} "
                "samples) and drop_last leaves no batch: use a smaller batch or drop_last=False"
            )
            raise RequestError(msg)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer updates in one pass over the data."""
        return steps_per_epoch(len_of(self.data), self.batch_size, self.drop_last)

    def factor(self, step: int) -> float:
        """Return the learning-rate factor of one step.

        Raises:
            RequestError: the schedule is a scheduler that gives the groups different factors.
        """
        return factor_of(self, step)


def _require_count(name: str, value: object) -> None:
    fine = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    require(fine, f"Task.{name}", value, "use a whole number of at least 1")


def _check_data(name: str, data: Any) -> None:
    refuse_list(name, data)
    if is_tensors(data):
        lengths = _lengths(name, data)
        advice = "its tensors must share the leading axis"
        require(len(set(lengths)) <= 1, f"Task.{name}", lengths, advice)
    elif not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        advice = "pass a tuple or dict of tensors, or a data set with __len__ and __getitem__"
        require(False, f"Task.{name}", type(data).__name__, advice)
    advice = "there is nothing to train on; pass at least one sample"
    require(len_of(data) > 0, f"Task.{name}", "empty", advice)


def _lengths(name: str, data: Any) -> list[int]:
    leaves = pytree.tree_leaves(data)
    for leaf in leaves:
        fine = isinstance(leaf, Tensor) and leaf.dim() > 0
        advice = "a tuple or dict must hold tensors with a sample axis"
        require(fine, f"Task.{name}", type(leaf).__name__, advice)
    return [len(leaf) for leaf in leaves]
