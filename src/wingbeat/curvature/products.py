"""Three ways to the same Hessian-vector products, and which one a model allows.

The derivative of the gradient is taken first and vectorised afterwards. The other order, the
derivative (``vjp`` or ``jvp``) of a gradient that ``vmap`` has mapped over replicas, is silently
wrong through batch, layer and instance normalisation in torch 2.13 (relative errors of 0.1 to
0.3), as ``grad`` of ``jvp`` is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import Tensor
from torch.func import vjp, vmap

from wingbeat.curvature.refusals import check_twice_differentiable
from wingbeat.params import trainable
from wingbeat.task.batches import copied
from wingbeat.task.objective import check_scalar
from wingbeat.typing import Buffers

if TYPE_CHECKING:
    from wingbeat.curvature.sampled_loss import SampledLoss
    from wingbeat.task.data import Batch

Way = Literal["kept", "stacked", "module"]
"""How products are made: from the kept graph of each replica's gradient, for all replicas in one
vectorised call, or by differentiating the module itself twice."""
STACK_FROM: Final = 8
"""Replicas from which one vectorised call is no slower than kept graphs (measured, processor time
of a product on one thread, nets of 42 and 2,338 parameters: 0.6 and 0.9 times as fast with 4
replicas, 1.0 and 1.8 with 8, 2.1 and 2.2 with 16, 7.2 and 2.5 with 50)."""


class Products:
    """Products with the Hessians of several replicas at fixed points.

    Args:
        hessian: of which loss on which samples.
        params: the points ``(replicas, P)``.
        buffers: of each replica, by name.

    Attributes:
        way: see ``Way``; settled at the first product.
    """

    def __init__(self, hessian: SampledLoss, params: Tensor, buffers: Buffers) -> None:
        self.hessian, self.params, self.buffers = hessian, params, buffers
        self.way: Way = "stacked" if len(params) >= STACK_FROM else "kept"
        self._kept: dict[int, Callable[[Tensor], Tensor]] = {}
        self._checked = False

    def __call__(self, vectors: Tensor) -> Tensor:
        """Return the products ``(replicas, vectors, P)``.

        Raises:
            RequestError: an operation of the loss may be differentiated only once.
        """
        vectors = vectors.to(self.params)
        if not self._checked:
            own = {name: b[0] for name, b in self.buffers.items()}
            check_twice_differentiable(self.hessian, self.params[0], own)
            self._checked = True
        if self.way == "module":
            return self._by_module(vectors)
        try:
            return self._by_transforms(vectors)
        except RuntimeError:  # old-style functions, .item(), gradient checkpointing
            self._kept = {}
            self.way = "module" if self.way == "kept" else "kept"
            return self(vectors)

    def _by_transforms(self, vectors: Tensor) -> Tensor:
        if self.way == "stacked":
            return self._summed(lambda batch: self._stacked(batch, vectors))
        if self._keeps:
            return self._each(lambda i: self._pull(i, None), vectors)
        return self._summed(lambda batch: self._each(lambda i: self._pull(i, batch), vectors))

    @property
    def _keeps(self) -> bool:
        size = self.hessian.batch_size
        return size is None or size >= len(self.hessian.indices)

    def _summed(self, of: Callable[[Batch], Tensor]) -> Tensor:
        total: Any = 0.0
        for batch, share, around in self.hessian.parts():
            with around:
                total = total + share * of(batch)
        found: Tensor = total
        return found

    def _stacked(self, batch: Batch, vectors: Tensor) -> Tensor:
        slope = self.hessian.slope(batch)

        def single(p: Tensor, b: Buffers, several: Tensor) -> Tensor:
            # One vector after the other: a second vmap ends the process (a segmentation fault)
            # in scaled_dot_product_attention with dropout, torch 2.13.
            pull = vjp(lambda q: slope(q, b)[0], p)[1]
            return torch.stack([pull(v)[0] for v in several])

        found: Tensor = vmap(single, randomness="same")(self.params, self.buffers, vectors)
        return found

    @staticmethod
    def _each(pull: Callable[[int], Callable[[Tensor], Tensor]], vectors: Tensor) -> Tensor:
        return torch.stack([vmap(pull(i))(several) for i, several in enumerate(vectors)])

    def _pull(self, replica: int, batch: Batch | None) -> Callable[[Tensor], Tensor]:
        """Return the product with one replica's Hessian of a chunk, or of the kept only one."""
        if batch is not None:
            return self._derived(replica, batch)
        if replica not in self._kept:
            for only, _, around in self.hessian.parts():
                with around:
                    self._kept[replica] = self._derived(replica, only)
        return self._kept[replica]

    def _derived(self, replica: int, batch: Batch) -> Callable[[Tensor], Tensor]:
        slope = self.hessian.slope(batch)
        own = {name: b[replica] for name, b in self.buffers.items()}
        pull = vjp(lambda p: slope(p, own)[0], self.params[replica])[1]
        return lambda v: pull(v)[0]

    def _by_module(self, vectors: Tensor) -> Tensor:
        return torch.stack([self._twice(i, several) for i, several in enumerate(vectors)])

    def _twice(self, replica: int, vectors: Tensor) -> Tensor:
        """Differentiate the module itself twice, for one replica."""
        total = torch.zeros_like(vectors)
        for batch, share, around in self.hessian.parts():
            with around, torch.enable_grad():
                total += share * torch.stack(list(self._rows(replica, vectors, batch)))
        return total

    def _rows(self, replica: int, vectors: Tensor, batch: Batch) -> Iterator[Tensor]:
        own = {k: b[replica] for k, b in self.buffers.items()}
        flat, _ = by_module(self.hessian, self.params[replica], own, batch)
        named = trainable(self.hessian.step.skeleton)
        leaves = list(named.values())
        for vector in vectors:
            if not flat.requires_grad:  # a loss that is linear in the parameters
                yield torch.zeros_like(vector)
                continue
            found = torch.autograd.grad(
                flat, leaves, vector, retain_graph=True, materialize_grads=True
            )
            yield self.hessian.layout.flatten(dict(zip(named, found, strict=True)))


def by_module(
    hessian: SampledLoss, params: Tensor, buffers: Buffers, batch: Batch
) -> tuple[Tensor, Tensor]:
    """Return gradient ``(P,)`` and loss at one point from the module itself, with their graph."""
    step = hessian.step
    step.put(params, buffers)
    step.set_mode(hessian.mode)
    own = trainable(step.skeleton)
    with torch.enable_grad():
        loss = check_scalar(step.task.loss(step.skeleton, copied(batch)))
        slopes = torch.autograd.grad(
            loss, list(own.values()), create_graph=True, materialize_grads=True
        )
    return step.layout.flatten(dict(zip(own, slopes, strict=True))), loss
