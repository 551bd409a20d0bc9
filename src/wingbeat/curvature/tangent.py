"""The empirical tangent kernel of a task's outputs: its matrix, and its products with vectors.

Three kernels go by that name, and their numbers differ by factors of ten: say which. In eval mode
with the snapshot's own buffers, so that samples do not act on each other through normalisation;
without augmentation and dropout.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.func import jacrev, jvp, vjp, vmap
from torch.utils import _pytree as pytree

from wingbeat.curvature.linear import Operator
from wingbeat.curvature.samples import Samples, chunks, sample_places
from wingbeat.determinism import evaluation, seeded
from wingbeat.errors import NO_PREDICTIONS, RequestError, UndefinedError, nearest
from wingbeat.task.predictions import class_labels, class_scores
from wingbeat.task.step import TrainingStep
from wingbeat.typing import Array, Buffers

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.task.data import Batch
    from wingbeat.task.task import Task

Kind = Literal["full", "trace", "logit_sum"]
"""Which kernel of N samples and K outputs: "full" J Jᵀ of size NK; "trace" its mean over equal
outputs, of size N; "logit_sum" that of the summed outputs over √K, of size N. Under cross-entropy
the sum over classes of the last layer's weights never moves, so that "logit_sum" looks only along
the one direction of the outputs that the loss cannot push."""
MEMORY: Final = 256 << 20
"""Bytes of a block of the Jacobian: 256 MiB."""


class TangentKernel:
    """The tangent kernel on stated training samples, at any recorded moment.

    Args:
        task: model and data. Its outputs are ``task.predict(model, batch)``, by default
            ``model(batch[0])``: (samples,) or (samples, K).
        samples: the first so many training samples, these indices, or (None) all.
        kind: see ``Kind``.
        dtype: of the computation.
        device: where it runs.

    Raises:
        RequestError: an unknown kind, or samples that are not there.

    Source: Jacot et al., arXiv 1806.07572; "logit_sum": Mohamadi et al., arXiv 2206.12543.

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> kernel = TangentKernel(circles_task((4,)), 5)
        >>> state = kernel.step.start(0)
        >>> kernel.matrix(state.params, state.buffers).shape
        (5, 5)
    """

    def __init__(
        self,
        task: Task,
        samples: Samples = 128,
        kind: Kind = "trace",
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        if kind not in get_args(Kind):
            raise RequestError(f"kind is {kind!r}: use one of {get_args(Kind)}")
        self.task, self.kind = task, kind
        self.step = TrainingStep(task, dtype, torch.device(device))
        self.indices = sample_places(task, samples)
        self.batch = next(chunks(task, self.indices, None, dtype, self.step.device))[0]

    def gram(self, snapshot: Snapshot) -> Array:
        """Return the kernel of every replica of a moment, (E, n, n); NaN where one is broken."""
        params = self.step.layout.flatten(snapshot.params)
        own = [{k: b[i] for k, b in snapshot.buffers.items()} for i in range(len(params))]
        return np.stack([self.matrix(p, b) for p, b in zip(params, own, strict=True)])

    def matrix(self, params: Tensor, buffers: Buffers) -> Array:
        """Return the kernel of one model, (n, n), n = N or, for "full", N·K (samples first).

        Filled block by block of the parameters: the Jacobian is never held whole.

        Args:
            params: flat weights (P,).
            buffers: by name.

        Raises:
            UndefinedError: the task gives no outputs, one row a sample.
        """
        params, buffers = self._placed(params, buffers)
        count = self.outputs(params, buffers).shape[1]
        total: Any = 0.0
        for _, rows in self._jacobians(params, buffers, count):
            total = total + torch.einsum("ip,jp->ij", rows, rows)
        return np.asarray(total.double().cpu().numpy())

    def by_layer(self, params: Tensor, buffers: Buffers) -> dict[str, Array]:
        """Return the part of one model's kernel that each tensor of its weights makes, (n, n).

        Their sum is the kernel, exactly but for rounding: a kernel is a sum over parameters. It
        costs what `matrix` does; the parts are cut out of the same blocks.

        Args:
            params: flat weights (P,).
            buffers: by name.

        Raises:
            UndefinedError: the task gives no outputs, one row a sample.

        Example:
            >>> from wingbeat.tasks.dense import circles_task
            >>> kernel = TangentKernel(circles_task((4,)), 5)
            >>> state = kernel.step.start(0)
            >>> parts = kernel.by_layer(state.params, state.buffers)
            >>> bool(np.allclose(sum(parts.values()), kernel.matrix(state.params, state.buffers)))
            True
        """
        params, buffers = self._placed(params, buffers)
        count = self.outputs(params, buffers).shape[1]
        found: dict[str, Any] = {}
        for place, rows in self._jacobians(params, buffers, count):
            for name, own in self.step.layout.slices.items():
                a, b = max(own.start, place.start), min(own.stop, place.stop)
                if a < b:
                    part = rows[:, a - place.start : b - place.start]
                    found[name] = found.get(name, 0.0) + torch.einsum("ip,jp->ij", part, part)
        return {name: np.asarray(k.double().cpu().numpy()) for name, k in found.items()}

    def gram_by_layer(self, snapshot: Snapshot) -> dict[str, Array]:
        """Return `by_layer` of every replica of a moment, (E, n, n) each."""
        params = self.step.layout.flatten(snapshot.params)
        own = [{k: b[i] for k, b in snapshot.buffers.items()} for i in range(len(params))]
        every = [self.by_layer(p, b) for p, b in zip(params, own, strict=True)]
        return {name: np.stack([one[name] for one in every]) for name in every[0]}

    def outputs(self, params: Tensor, buffers: Buffers) -> Tensor:
        """Return what the model gives, (N, K)."""
        with seeded(0):
            found: Tensor = self._function(self.batch, buffers)(params)
            return found

    def classes(self, params: Tensor, buffers: Buffers) -> NDArray[np.int64] | None:
        """Return the right classes of the samples, (N,), None where the task tells none."""
        found: list[Tensor | None] = []

        def look(model: nn.Module, batch: Batch) -> None:
            """Note the classes."""
            scores = class_scores(self.task, model, batch)
            found.append(None if scores is None else class_labels(self.task, batch, scores))

        with evaluation():
            self.step.evaluate(look, *self._placed(params, buffers), self.batch)
        return None if found[0] is None else found[0].long().cpu().numpy()

    def at(self, params: Tensor, buffers: Buffers, layer: str | None = None) -> Operator:
        """Return the kernel of one model as an operator: products J(Jᵀv), no matrix.

        Each is one backward and one forward derivative of the outputs; for "trace" one for each
        output.

        Args:
            params: flat weights (P,).
            buffers: by name.
            layer: a tensor of the weights, whose part of the kernel it is; None for all of it.

        Raises:
            RequestError: there is no such tensor.
        """
        params, buffers = self._placed(params, buffers)
        chosen = self._chosen(layer)
        function = self._function(self.batch, buffers)
        count = self.outputs(params, buffers).shape[1]
        n = len(self.indices)

        def once(cotangent: Tensor) -> Tensor:
            """Return J(Jᵀv) for v (N, K)."""
            (slope,) = vjp(function, params)[1](cotangent)
            if layer is not None:
                slope = torch.zeros_like(slope).index_copy(0, chosen, slope[chosen])
            moved: Tensor = jvp(function, (params,), (slope,))[1]
            return moved

        def single(v: Tensor) -> Tensor:
            """Return the kernel's product with one vector."""
            if self.kind == "full":
                return once(v.reshape(n, count)).reshape(-1)
            if self.kind == "logit_sum":
                return once(v[:, None].expand(n, count)).sum(dim=1) / count
            eye = torch.eye(count, dtype=v.dtype, device=v.device)
            return (
                torch.stack([once(v[:, None] * e)[:, k] for k, e in enumerate(eye)]).sum(0) / count
            )

        def apply(vectors: Tensor) -> Tensor:
            """Return the products with (1, vectors, size)."""
            with seeded(0):
                return torch.stack([single(v) for v in vectors[0]])[None]

        size = n * count if self.kind == "full" else n
        return Operator(apply, 1, size, self.step.dtype, self.step.device)

    def _chosen(self, layer: str | None) -> Tensor:
        """Return the places of a tensor among the flat weights; of all of them for None."""
        slices = self.step.layout.slices
        if layer is not None and layer not in slices:
            raise RequestError(f"the weights have no {layer!r}: {nearest(layer, slices)}")
        place = slice(0, self.step.layout.size) if layer is None else slices[layer]
        return torch.arange(place.start, place.stop, device=self.step.device)

    def cosine(self, params: Tensor, others: Tensor, buffers: Buffers, probes: int = 100) -> float:
        """Estimate the cosine of two kernels from products with the same random signs.

        The error falls as 1/√probes. Random projections of the gradients themselves would be
        biased: their noise does not cancel.

        Args:
            params: flat weights (P,) of one model.
            others: of another; ``buffers`` serve both.
            buffers: by name.
            probes: random sign vectors.
        """
        first, second = (self.at(p, buffers) for p in (params, others))
        made = torch.Generator().manual_seed(0)
        z = torch.randint(0, 2, (1, probes, first.size), generator=made).to(first.dtype) * 2 - 1
        a, b = first(z.to(first.device)), second(z.to(first.device))
        return float((a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt())

    def _jacobians(
        self, params: Tensor, buffers: Buffers, count: int
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield pieces of the Jacobian whose Gram matrices add up to the kernel, and their place.

        The place is that of their columns among the flat weights.
        """
        for places in self._blocks(count):
            if self.kind == "full":
                yield places, self._rows(params, buffers, places, None).flatten(0, 1)
                continue
            weights = torch.eye(count, dtype=params.dtype, device=params.device)
            for row in weights if self.kind == "trace" else weights.sum(0, keepdim=True):
                yield places, self._rows(params, buffers, places, row) / count**0.5

    def _rows(
        self, params: Tensor, buffers: Buffers, place: slice, weights: Tensor | None
    ) -> Tensor:
        """Return the derivative of each sample's outputs, or of a weighted sum of them."""

        def single(part: Tensor, sample: Batch) -> Tensor:
            """Return the outputs of one sample as a function of some of the parameters."""
            whole = torch.cat([params[: place.start], part, params[place.stop :]])
            batch = pytree.tree_map(lambda t: t[None], sample)
            out = self._function(batch, buffers)(whole)[0]
            found: Tensor = out if weights is None else out @ weights
            return found

        derive = jacrev(single)
        part = params[place]
        with seeded(0):
            try:
                found: Tensor = vmap(derive, in_dims=(None, 0))(part, self.batch)
                return found.detach()
            except RuntimeError:  # what vmap has no rule for, as .item() in the model
                each = [pytree.tree_map(lambda t, i=i: t[i], self.batch) for i in self._places]
                return torch.stack([derive(part, sample).detach() for sample in each])

    @property
    def _places(self) -> range:
        return range(len(self.indices))

    def _blocks(self, count: int) -> list[slice]:
        """Return blocks of the parameters, as large as memory allows."""
        rows = len(self.indices) * (count if self.kind == "full" else 1)
        width = max(1, MEMORY // (8 * rows))
        size = self.step.layout.size
        return [slice(a, min(size, a + width)) for a in range(0, size, width)]

    def _function(self, batch: Batch, buffers: Buffers) -> Any:
        """Return the outputs (samples, K) as a function of the flat parameters."""

        def of(params: Tensor) -> Tensor:
            """Return the outputs."""
            found: Tensor = self.step.evaluate(self._outputs, params, buffers, batch)
            return found

        return of

    def _outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        if self.task.predict is not None:
            out = self.task.predict(model, batch)
        elif isinstance(batch, (tuple, list)):
            out = model(batch[0])
        else:
            out = None
        if not isinstance(out, Tensor) or out.dim() not in (1, 2):
            raise UndefinedError(
                "the tangent kernel needs outputs (samples,) or (samples, K): set Task.predict",
                NO_PREDICTIONS,
            )
        return out.reshape(len(out), -1)

    def _placed(self, params: Tensor, buffers: Buffers) -> tuple[Tensor, Buffers]:
        kind, device = self.step.dtype, self.step.device
        return params.to(device, kind), {
            k: b.to(device, kind if b.is_floating_point() else b.dtype) for k, b in buffers.items()
        }
