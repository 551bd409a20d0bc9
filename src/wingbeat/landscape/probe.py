"""Evaluate loss and error at many weight vectors in one batched pass, within a memory bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.func import vmap
from torch.nn.modules.conv import _ConvNd

from wingbeat.determinism import evaluation
from wingbeat.errors import RequestError
from wingbeat.landscape.activation_memory import activation_bytes
from wingbeat.landscape.batch_loss import depends_on_batch
from wingbeat.landscape.data import Portions, portions
from wingbeat.landscape.normalisation import Normaliser, executed, tracked
from wingbeat.landscape.single_model import SingleModel, private
from wingbeat.task.data import len_of
from wingbeat.task.predictions import class_labels, loss_and_scores
from wingbeat.task.step import TrainingStep
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from wingbeat.landscape.models import Models
    from wingbeat.task.data import Batch
    from wingbeat.task.task import Task


Statistics = Literal["exact", "interpolated"]
MEMORY = 64 << 20
"""Bytes that the weights and activations of one call may take on a processor: 64 MiB."""
ROOM = 2 << 30
"""The same on an accelerator, 2 GiB: there launching a call costs more than small arithmetic."""
STACK_BYTES = 8 << 20
"""A model is stacked up to this size of weights and activations on one batch: 8 MiB.

Beyond it the arithmetic, not the number of calls, takes the time; convolutions do not gain at any
size, since a stack of them is a grouped convolution. Measured by ``benchmarks.barriers``.
"""
_ROW_COPIES = 3
"""Copies of a weight vector in the making: result, difference, and the stack."""


@dataclass(frozen=True)
class Values:
    """What K weight vectors give on B batches of one set of data.

    Attributes:
        loss: (K, B), the task's loss on each batch.
        error: (K, B), share of samples classified wrongly; None where the task has no classes.
        sizes: samples in each batch, (B,).
    """

    loss: Array
    error: Array | None
    sizes: Array

    def mean(self, quantity: Literal["loss", "error"] = "loss") -> Array:
        """Return a quantity averaged over samples, (K,)."""
        found = self.loss if quantity == "loss" else self.error
        if found is None:
            raise RequestError("the task gives no classes, so there is no error rate")
        return averaged(found, self.sizes)


class Probe:
    """Evaluates a task at weight vectors between its models.

    Args:
        step: the task's pure step, as ``TrainingStep(task, dtype, device)`` makes it.
        data: what to evaluate on, by name; by default ``{"train": task.data, "test":
            task.eval_data}``, the second where it is given. Without augmentation, in eval mode.
        samples: most samples of each, evenly spaced over the data; None for all.
        batch_size: samples a batch. The batches carry the error bar, so by default there are at
            least 20 of them; where the loss depends on which samples share a batch, as a
            contrastive one does, the task's batch size is the default.
        statistics: "exact" estimates running statistics of batch normalisation anew at every
            point, over the first of the data; "interpolated" treats them as weights.
        memory: bytes that weights and activations of one batched call may take, by estimate; None
            takes 64 MiB on a processor and 2 GiB on an accelerator.
        stacked: evaluate many weight vectors in one vectorised call; None does so for models
            that gain by it: on a processor small ones (`STACK_BYTES`) without convolutions, on an
            accelerator all. A model that cannot be vectorised falls back to one by one by itself;
            ``reason`` then says why.

    Raises:
        RequestError: no data, fewer samples than ``batch_size``, or a loss that is a sum.

    Attributes:
        reason: why points are evaluated one by one; "" if they are not.
        calls: vectorised calls made so far, for tests and benchmarks.
    """

    def __init__(
        self,
        step: TrainingStep,
        *,
        data: Mapping[str, Any] | None = None,
        samples: int | None = None,
        batch_size: int | None = None,
        statistics: Statistics = "exact",
        memory: int | None = None,
        stacked: bool | None = None,
    ) -> None:
        if statistics not in ("exact", "interpolated"):
            raise RequestError(f"statistics is {statistics!r}: use 'exact' or 'interpolated'")
        self.step, self.task = step, step.task
        here = MEMORY if step.device.type == "cpu" else ROOM
        memory = here if memory is None else memory
        if not memory > 0:
            raise RequestError(f"memory is {memory!r}: give a number of bytes, such as {MEMORY}")
        self.statistics, self.memory = statistics, int(memory)
        self._asked, self.stacked = stacked, stacked is not False
        self.reason = "" if self.stacked else "asked for"
        self.calls = 0
        self._alone = SingleModel(step)
        given = dict(data) if data is not None else _own_data(step.task)
        if not given:
            raise RequestError("data is empty: give {name: data}, such as {'train': task.data}")
        self.data = {
            name: portions(step, one, samples=samples, batch_size=_size(step, one, batch_size))
            for name, one in given.items()
        }

    @classmethod
    def of(cls, task: Task, dtype: torch.dtype = torch.float32, **options: Any) -> Probe:
        """Return a probe of a task on the processor."""
        return cls(TrainingStep(task, dtype, torch.device("cpu")), **options)

    def __call__(self, models: Models, coefficients: Array) -> dict[str, Values]:
        """Return loss and error at affine combinations of models, for each set of data.

        Args:
            models: N of them, with finite weights.
            coefficients: (K, N), each row summing to 1. Rows that come to the same weights to the
                bit are evaluated once.

        Raises:
            RequestError: weights that are not finite, or rows that do not fit.
        """
        models.require_finite()
        rows, back = _distinct(models, coefficients)
        normaliser, chunk = self._plan(models)
        parts: list[dict[str, dict[str, Array]]] = []
        with evaluation():
            for start in range(0, len(rows), chunk):
                made = [models.mixed(row) for row in rows[start : start + chunk]]
                parts.append(self._evaluated(made, normaliser))
        return {name: _values(parts, name, own, back) for name, own in self.data.items()}

    def _plan(self, models: Models) -> tuple[Normaliser | None, int]:
        """Return what estimates statistics, and how many weight vectors go into one call."""
        weights = models.params.shape[1] * models.params.element_size() * _ROW_COPIES
        one = max(
            activation_bytes(self.step, models, self._measured, p.batches[0])
            for p in self.data.values()
        )
        if self._asked is None and self.stacked and self.step.device.type == "cpu":
            self.reason = _why_not_stacked(self.step.skeleton, weights + one)
            self.stacked = not self.reason
        normaliser, most = self._normaliser(models, one)
        chunk = max(1, self.memory // max(1, weights + max(one, most)))
        return normaliser, chunk if self.stacked else 1

    def _normaliser(self, models: Models, one: int) -> tuple[Normaliser | None, int]:
        if self.statistics == "interpolated" or not tracked(self.step.skeleton):
            return None, 0
        data = next(iter(self.data.values()))
        buffers = {k: b[0].to(self.step.device) for k, b in models.buffers.items()}
        with evaluation():
            names = self.step.evaluate(
                lambda model, batch: executed(self.task, model, batch),
                models.params[0].to(self.step.device),
                buffers,
                data.batches[0],
            )
        everything = one * -(-sum(data.sizes) // data.sizes[0])
        whole = everything <= self.memory
        return Normaliser(self.task, data, names, whole=whole), everything if whole else one

    def _evaluated(
        self, made: list[tuple[Tensor, dict[str, Tensor]]], normaliser: Normaliser | None
    ) -> dict[str, dict[str, Array]]:
        """Return for each set of data what a chunk of k weight vectors gives, (k, B)."""
        alone = len(made) == 1 and not self.stacked  # then it need not be copied
        join = _one if alone else torch.stack
        params = join([p for p, _ in made]).to(self.step.device)
        buffers = {
            name: join([b[name] for _, b in made]).to(self.step.device) for name in made[0][1]
        }
        if normaliser is not None:
            normaliser(lambda f, batch: self.apply(f, params, buffers, batch), buffers)
        found = {}
        for name, own in self.data.items():
            rows = [self.apply(self._measured, params, buffers, b) for b in own.batches]
            found[name] = {
                key: torch.stack([r[key].double().cpu() for r in rows], dim=1).numpy()
                for key in rows[0]
            }
        return found

    def apply(
        self,
        function: Callable[[nn.Module, Batch], dict[str, Tensor]],
        params: Tensor,
        buffers: dict[str, Tensor],
        batch: Batch,
    ) -> dict[str, Tensor]:
        """Call ``function(model, batch)`` with each of k weight vectors; tensors come stacked."""

        def single(p: Tensor, b: dict[str, Tensor]) -> dict[str, Tensor]:
            result: dict[str, Tensor] = self.step.evaluate(function, p, b, batch)
            return result

        if self.stacked:
            try:
                self.calls += 1
                return dict(vmap(single, randomness="same")(params, buffers))
            except RuntimeError as error:  # as by .item() in a model of the user's
                self.stacked = False
                self.reason = f"the model cannot be vectorised: {str(error).partition(chr(10))[0]}"
        rows = []
        for i in range(len(params)):
            self._alone.put(params, buffers, i)
            rows.append(function(self._alone.model, private(batch)))
        join = torch.stack if len(rows) > 1 else _one
        return {key: join([row[key] for row in rows]) for key in rows[0]}

    def _measured(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        loss, scores = loss_and_scores(self.task, model, batch)
        found = {"loss": loss}
        labels = None if scores is None else class_labels(self.task, batch, scores)
        if scores is not None and labels is not None:
            wrong = (scores.argmax(-1) != labels).double().mean()
            found["error"] = torch.where(torch.isfinite(scores).all(), wrong, torch.nan)
        return found


def averaged(per_batch: Array, sizes: Array) -> Array:
    """Return the mean over samples of values per batch, (..., B) to (...).

    Row by row, not as a matrix product, whose bits depend on a row's place.
    """
    return np.asarray((per_batch * sizes).sum(axis=-1) / sizes.sum())


def _why_not_stacked(model: nn.Module, size: int) -> str:
    if size > STACK_BYTES:
        return "the model is too large to gain by stacking"
    if any(isinstance(module, _ConvNd) for module in model.modules()):
        return "convolutions do not gain by stacking"
    return ""


def _one(tensors: list[Tensor]) -> Tensor:
    """Return the only tensor of a list as a stack of one, without a copy."""
    (tensor,) = tensors
    return tensor.unsqueeze(0)


def _size(step: TrainingStep, data: Any, asked: int | None) -> int | None:
    """Return what is asked, or the task's batch size where the loss depends on the batch."""
    if asked is not None or not len_of(data):
        return asked
    return min(step.task.batch_size, len_of(data)) if depends_on_batch(step, data) else None


def _own_data(task: Task) -> dict[str, Any]:
    test = {} if task.eval_data is None else {"test": task.eval_data}
    return {"train": task.data, **test}


def _distinct(models: Models, coefficients: Array) -> tuple[Array, NDArray[np.intp]]:
    """Return the different rows among K, and for each of the K which one it is."""
    given = np.asarray(coefficients, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != len(models) or not len(given):
        raise RequestError(
            f"coefficients have shape {given.shape}; give (points, {len(models)}), one a model"
        )
    if not np.allclose(given.sum(axis=1), 1.0, rtol=0, atol=1e-9):
        raise RequestError("coefficients of a point do not sum to 1: it lies on no line or plane")
    merged = np.zeros_like(given)
    for place, original in enumerate(models.originals()):
        merged[:, original] += given[:, place]
    rows, back = np.unique(merged, axis=0, return_inverse=True)
    return rows, back.reshape(-1)


def _values(
    parts: list[dict[str, dict[str, Array]]], name: str, own: Portions, back: NDArray[np.intp]
) -> Values:
    loss = np.concatenate([p[name]["loss"] for p in parts])[back]
    error = None
    if "error" in parts[0][name]:
        error = np.concatenate([p[name]["error"] for p in parts])[back]
    return Values(loss, error, np.array(own.sizes, dtype=np.float64))
