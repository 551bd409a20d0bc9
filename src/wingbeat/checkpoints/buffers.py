"""What one thread reads into and multiplies: pieces of every checkpoint, widened to float64."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from wingbeat.checkpoints.source import Numbers, bytes_of
from wingbeat.typing import Array

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.checkpoints.names import Shared
    from wingbeat.checkpoints.read_plan import ReadPlan


_FAR = 1.0 / 16.0  # |b - a|^2 / (|a|^2 + |b|^2) from which on it may come from inner products


class ReadBuffers:
    """The buffers of one thread.

    Args:
        plan: how much is read and multiplied at once.
    """

    def __init__(self, plan: ReadPlan) -> None:
        self.plan = plan
        self.raw = torch.empty(plan.count, plan.quantum * plan.width, dtype=torch.uint8)
        self.wide = torch.empty(plan.count * plan.quantum, dtype=torch.float64)
        self.last: tuple[int, tuple[torch.dtype, ...], _Views] | None = None

    def products(self, tensor: Shared, start: int, stop: int) -> Array:
        """Read a block of every checkpoint; return the products of its quanta (q, n, n)."""
        quantum, count = self.plan.quantum, self.plan.count
        dtypes = tuple(e.torch_dtype for e in tensor.entries)
        products: Array = np.empty((-(-(stop - start) // quantum), count, count))
        ahead, far = (self.plan.workers + 1) * self.plan.block, count == 2
        with ExitStack() as stack:
            files = [stack.enter_context(Numbers(e, start, ahead)) for e in tensor.entries]
            for place, begin in enumerate(range(start, stop, quantum)):
                if place == 0 or stop - begin < quantum:
                    views = self._views(min(quantum, stop - begin), dtypes)
                for file, buffer in zip(files, views.buffers, strict=True):
                    file.fill(buffer)
                for wide, narrow in views.pairs:
                    wide.copy_(narrow)
                far = far and _far(views.product())
                if not far:  # for the rest of the block too: neighbours are alike
                    views.others.sub_(views.first)
                    views.product()
                products[place] = views.found
        return products

    def _views(self, width: int, dtypes: tuple[torch.dtype, ...]) -> _Views:
        """Return the buffers as they are used; making them takes a quarter of the work itself."""
        if self.last is None or self.last[:2] != (width, dtypes):
            wide = self.wide[: len(dtypes) * width].view(len(dtypes), width)
            self.last = width, dtypes, _views(self.raw, wide, dtypes)
        return self.last[2]


@dataclass(frozen=True)
class _Views:
    """The same memory in the shapes that the calls need."""

    buffers: list[memoryview]
    pairs: list[tuple[Tensor, Tensor]]
    wide: Tensor
    turned: Tensor
    first: Tensor
    others: Tensor
    out: Tensor
    found: Array

    def product(self) -> Array:
        """Return the inner products of the rows as they now are, until the next call."""
        torch.mm(self.wide, self.turned, out=self.out)
        return self.found


def _far(product: Array) -> bool:
    """Turn inner products of two checkpoints into those of the first and the difference.

    |b − a|² = |a|² − 2⟨a, b⟩ + |b|² loses at most five binary digits while it is a sixteenth of
    |a|² + |b|² or more, and subtracting number by number takes a sixth of the time.

    Args:
        product: (2, 2), changed in place if they lie that far apart.

    Returns:
        Whether they do.
    """
    first, inner, other = float(product[0, 0]), float(product[0, 1]), float(product[1, 1])
    apart = first - 2.0 * inner + other
    if not apart >= _FAR * (first + other) < float("inf"):
        return False
    product[0, 1] = product[1, 0] = inner - first
    product[1, 1] = apart
    return True


def _views(raw: Tensor, wide: Tensor, dtypes: tuple[torch.dtype, ...]) -> _Views:
    width = wide.shape[1]
    parts = [raw[i, : width * d.itemsize] for i, d in enumerate(dtypes)]
    if len(set(dtypes)) == 1:  # one call for all
        pairs = [(wide, raw[:, : width * dtypes[0].itemsize].view(dtypes[0]))]
    else:
        pairs = [(wide[i], p.view(d)) for i, (p, d) in enumerate(zip(parts, dtypes, strict=True))]
    buffers, out = [bytes_of(p) for p in parts], wide.new_empty(len(dtypes), len(dtypes))
    return _Views(buffers, pairs, wide, wide.T, wide[0], wide[1:], out, out.numpy())
