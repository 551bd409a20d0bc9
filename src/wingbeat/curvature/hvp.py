"""Hessian-vector products of a task's loss, in whole and per layer, for many replicas at once.

The product is the derivative of the gradient contracted from the left (``vjp`` of ``grad``; the
Hessian is symmetric); `products` says which orders are silently wrong. Attention runs on the MATH
kernel, the only one that can be differentiated twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from wingbeat.curvature.linear import Operator
from wingbeat.curvature.products import Products, by_module
from wingbeat.curvature.samples import Samples, chunks, sample_places
from wingbeat.determinism import derive, seeded
from wingbeat.errors import RequestError, nearest
from wingbeat.params import trainable
from wingbeat.task.objective import check_scalar
from wingbeat.task.step import TrainingStep
from wingbeat.typing import Buffers

if TYPE_CHECKING:
    from torch import nn

    from wingbeat.task.data import Batch
    from wingbeat.task.task import Task

Mode = Literal["train", "eval"]


class Hessian:
    """The Hessian of a task's mean loss over stated samples, as a map from points to operators.

    Args:
        task: model, loss and data.
        samples: the first so many samples, these indices, or (None) all of them.
        loss: another loss ``(model, batch) -> scalar``; None takes the task's.
        mode: "train": as the optimizer sees the loss, with batch statistics and one fixed
            dropout mask; "eval": running statistics, no dropout.
        batch_size: samples in a chunk, to bound memory; the loss is then the mean over chunks,
            which is another function where the model normalises over the batch. None: all at
            once.
        dtype: of model, data and vectors.
        device: where it is computed.
        seed: of the dropout mask in "train" mode.

    Attributes:
        layout: names and places of the parameters in a flat vector.
        layers: name of each module with parameters of its own, and its slice of the vector.

    Raises:
        RequestError: an index outside the data, an unknown mode, or a batch size below 1.

    Source:
        Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6 (1994).

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> hessian = Hessian(circles_task((4,)), samples=50)
        >>> operator = hessian.at(hessian.start(0))
        >>> operator.size, tuple(operator(operator.random(3, seed=0)).shape)
        (22, (1, 3, 22))
    """

    def __init__(
        self,
        task: Task,
        *,
        samples: Samples = None,
        loss: Callable[[nn.Module, Batch], Tensor] | None = None,
        mode: Mode = "train",
        batch_size: int | None = None,
        dtype: torch.dtype = torch.float64,
        device: str | torch.device = "cpu",
        seed: int = 0,
    ) -> None:
        if mode not in ("train", "eval"):
            raise RequestError(f"mode is {mode!r}: {nearest(str(mode), ('train', 'eval'))}")
        if batch_size is not None and batch_size < 1:
            raise RequestError(f"batch_size is {batch_size}: use at least 1, or None for all")
        self.indices = sample_places(task, samples)
        self.mode, self.batch_size, self.seed = mode, batch_size, seed
        self.task = task if loss is None else replace(task, loss=loss)
        self.step = TrainingStep(self.task, dtype, torch.device(device))
        self.layout = self.step.layout
        self.layers = layers_of(self.step)

    def start(self, seed: int) -> tuple[Tensor, Buffers]:
        """Return parameters ``(1, P)`` and buffers of the model initialised under a seed."""
        state = self.step.start(seed)
        return state.params.unsqueeze(0), {k: b.unsqueeze(0) for k, b in state.buffers.items()}

    def point(self, where: Any) -> tuple[Tensor, Buffers]:
        """Return parameters ``(replicas, P)`` and buffers of any way to name points.

        Args:
            where: a snapshot, a flat tensor ``(P,)`` or ``(replicas, P)``, parameters by name
                (with or without a replica axis), or a pair of one of these and buffers by name.

        Raises:
            RequestError: the sizes are not those of the model.
        """
        params, buffers = where if isinstance(where, tuple) else (where, {})
        if hasattr(where, "params"):
            params, buffers = where.params, where.buffers
        flat = self.layout.flatten(params) if isinstance(params, Mapping) else params
        if flat.dim() > 2 or flat.shape[-1] != self.layout.size:
            msg = f"parameters of shape {tuple(flat.shape)}: the model has {self.layout.size}"
            raise RequestError(msg)
        if flat.dim() == 1:
            flat, buffers = flat.unsqueeze(0), {k: b.unsqueeze(0) for k, b in buffers.items()}
        own = self.step.start(self.task.seed).buffers if not buffers else {}
        buffers = buffers or {k: b.expand(len(flat), *b.shape) for k, b in own.items()}
        return self._placed(flat.detach()), {k: self._placed(b) for k, b in buffers.items()}

    def at(self, where: Any, layer: str = "") -> Operator:
        """Return the Hessians at one or several points.

        Args:
            where: see ``point``.
            layer: name of a module (see ``layers``) for its diagonal block; "" for the whole.

        Raises:
            RequestError: an unknown layer, or sizes that are not the model's.
        """
        if layer and layer not in self.layers:
            raise RequestError(f"no layer {layer!r}: {nearest(layer, self.layers)}")
        params, buffers = self.point(where)
        apply = Products(self, params, buffers)
        whole = Operator(apply, len(params), self.layout.size, self.step.dtype, self.step.device)
        return whole.restricted(self.layers[layer]) if layer else whole

    def gradient(self, where: Any) -> tuple[Tensor, Tensor]:
        """Return the mean loss ``(replicas,)`` and its gradient ``(replicas, P)`` at points."""
        params, buffers = self.point(where)
        losses, total = params.new_zeros(len(params)), torch.zeros_like(params)
        for batch, share, around in self.parts():
            with around:
                found, loss = self.each(batch, params, buffers)
            losses, total = losses + share * loss, total + share * found
        return losses, total

    def parts(self) -> Iterator[tuple[Batch, float, Any]]:
        """Yield chunks with their share and the surroundings in which to compute on them."""
        found = chunks(self.task, self.indices, self.batch_size, self.step.dtype, self.step.device)
        for place, (batch, share) in enumerate(found):
            yield batch, share, _fixed(derive(self.seed, "curvature", place))

    def slope(self, batch: Batch) -> Callable[[Tensor, Buffers], tuple[Tensor, Tensor]]:
        """Return the function from one point to gradient and loss of a chunk."""

        def train(params: Tensor, buffers: Buffers) -> tuple[Tensor, Tensor]:
            return self.step.gradient(params, buffers, batch)[:2]

        def evaluated(params: Tensor, buffers: Buffers) -> tuple[Tensor, Tensor]:
            def loss(p: Tensor) -> Tensor:
                return check_scalar(self.step.evaluate(self.task.loss, p, buffers, batch))

            gradient, value = grad_and_value(loss)(params)
            return gradient, value.detach()

        return train if self.mode == "train" else evaluated

    def each(self, batch: Batch, params: Tensor, buffers: Buffers) -> tuple[Tensor, Tensor]:
        """Return gradients and losses of a chunk at each point, in the fastest way that works."""
        slope = self.slope(batch)
        if len(params) > 1:
            with contextlib.suppress(RuntimeError):  # as by .item() in the model
                found: tuple[Tensor, Tensor] = vmap(slope, randomness="same")(params, buffers)
                return found
        own = [{k: b[i] for k, b in buffers.items()} for i in range(len(params))]
        try:
            rows = [slope(p, b) for p, b in zip(params, own, strict=True)]
        except RuntimeError:  # old-style functions, gradient checkpointing
            rows = [by_module(self, p, b, batch) for p, b in zip(params, own, strict=True)]
        return (
            torch.stack([g.detach() for g, _ in rows]),
            torch.stack([v.detach() for _, v in rows]),
        )

    def _placed(self, tensor: Tensor) -> Tensor:
        kind = self.step.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(self.step.device, kind)


@contextlib.contextmanager
def _fixed(seed: int) -> Iterator[None]:
    with seeded(seed), sdpa_kernel(SDPBackend.MATH):
        yield


def layers_of(step: TrainingStep) -> dict[str, slice]:
    """Return for each module that owns trainable parameters its slice of the flat vector.

    A module whose parameters do not lie side by side (in several groups of the optimizer) is
    given tensor by tensor, under the parameters' own names. A module without a name (the model
    itself) is called ".".

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> layers_of(TrainingStep(circles_task((4,)), torch.float64, torch.device("cpu")))
        {'1': slice(0, 12, None), '3': slice(12, 22, None)}
    """
    places = step.layout.slices
    owners: dict[str, list[str]] = {}
    for name in trainable(step.skeleton):
        owners.setdefault(name.rpartition(".")[0] or ".", []).append(name)
    found: dict[str, slice] = {}
    for owner, names in owners.items():
        parts = sorted((places[n] for n in names), key=lambda s: s.start)
        joined = all(a.stop == b.start for a, b in pairwise(parts))
        if joined:
            found[owner] = slice(parts[0].start, parts[-1].stop)
        else:
            found |= {name: places[name] for name in names}
    return found
