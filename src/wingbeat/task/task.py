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
from wingbeat.task.data import Batch, Collated, is_tensors, len_of
from wingbeat.task.options import settle
from wingbeat.task.order import order_of
from wingbeat.task.precision import Precision
from wingbeat.task.replay import given
from wingbeat.task.schedule import Schedule, factor_of
from wingbeat.task.signatures import AtStep
from wingbeat.task.starting_point import StartingPoint
from wingbeat.task.told import told

_LATER: Any = None
"""Default of an argument that must be given all the same; what stands before it need not be."""

Sampling = Literal["shuffle", "replacement", "sequential"]
Mode = Literal["train", "as built"]


@dataclass(frozen=True)
class Task:
    """A training run as a pure recipe.

    Args:
        model: ``() -> nn.Module``, called under the task's seed. Its forward pass may depend on
            its parameters, buffers, inputs and torch's random numbers, on nothing else.
        loss: ``(model, batch) -> scalar``, or ``(model, batch, step)`` with the number of the
            update, told by the signature. Evaluations use the last update's.
        data: tuple or dict of tensors that share the leading axis, or a map-style data set.
            A data set's ``__getitem__`` runs with Python's, NumPy's and torch's generators
            seeded per (seed, epoch, sample).
        optimizer: ``(parameters) -> torch.optim.Optimizer``; the name of the argument tells what
            it gets: ``named_parameters`` pairs of name and parameter, ``model`` the model.
        batch_size: samples a batch.
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
        collate: ``samples -> batch`` for data sets, those of ``eval_data`` too: padding, masking.
            It runs with generators seeded per (seed, batch).
        batches: in place of ``data``: a DataLoader (whose data set, sampler and collate are taken;
            a stream is gone through pass by pass), a list of batches, or ``step -> batch``.
        sampler: in place of ``sampling``: a sampler or batch sampler of torch, or a function
            ``epoch -> indices``; what it draws is seeded per (seed, epoch).
        after_step: ``(model, step)``, called after each update without gradients: clamps, masks,
            averages kept in buffers.
        accumulate: batches an update, whose gradients are averaged.
        precision: "bf16" or "fp16": training runs under ``torch.autocast``; with "fp16" each
            replica has its own gradient scaler. Weights stay in float32, evaluation too.
        start: weights, optimizer state and number of updates to go on from; see ``wb.Start``.
        scaler: with "fp16", ``() -> torch.amp.GradScaler`` with settings, or a state, of its own.

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
    loss: Callable[..., Tensor]
    data: Any = None
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = _LATER
    batch_size: int = _LATER
    steps: int = _LATER
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
    collate: Callable[[list[Any]], Batch] | None = None
    batches: Any = None
    sampler: Any = None
    after_step: Callable[[nn.Module, int], object] | None = None
    accumulate: int = 1
    precision: Precision | None = None
    start: StartingPoint | None = None
    scaler: Callable[[], Any] | None = None

    def __post_init__(self) -> None:
        settle(self)
        check_functions(self.model, self.loss, self.optimizer, self.schedule)
        for name in ("steps", "eval_batch_size", "accumulate"):
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
        if self.eval_data is not None:
            _check_data("eval_data", self.eval_data)
        if self.batches is not None:
            return
        _require_count("batch_size", self.batch_size)
        _check_data("data", self.data)
        if order_of(self).per_pass < 1:
            msg = (
                f"batch_size {self.batch_size} is larger than the data ({len_of(self.data)} "
                "samples) and drop_last leaves no batch: use a smaller batch or drop_last=False"
            )
            raise RequestError(msg)

    def __repr__(self) -> str:
        return told(self)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer updates in one pass over the data, rounded up; all of them for a stream."""
        if self.batches is None:
            return -(-order_of(self).per_pass // self.accumulate)
        per_pass = given(self.batches).per_pass
        return -(-per_pass // self.accumulate) if per_pass else self.steps

    @property
    def first_step(self) -> int:
        """Updates that were made before this training's first; see ``start``."""
        return 0 if self.start is None else self.start.step

    @property
    def counts(self) -> bool:
        """Whether an update depends on its number beyond batch, schedule and random numbers."""
        return isinstance(self.loss, AtStep) or self.after_step is not None

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
    if not isinstance(data, Collated):  # a list of tensors is then a list of samples
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
