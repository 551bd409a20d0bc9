"""NAdam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from wingbeat.errors import DriverError
from wingbeat.task.optimizers.moments import (
    AdamFamily,
    root_scale,
    shrunk,
)
from wingbeat.task.optimizers.pure import State, root
from wingbeat.task.optimizers.registry import pure_form

BLOCK: Final = 1024


@pure_form(torch.optim.NAdam)
@dataclass(frozen=True)
class NAdam(AdamFamily):
    """``torch.optim.NAdam``: Adam with Nesterov's momentum and a momentum schedule.

    Source: Dozat, "Incorporating Nesterov momentum into Adam" (2016), algorithm 2,
    with the schedule of its section 3. State: see :mod:`~.moments`.

    torch multiplies the momentum schedule up in float32 unless its default dtype is
    float64, even for float64 weights. ``single_schedule`` does the same, so that
    both agree to rounding either way. ``mu_product`` is what the schedule's product was
    when the optimizer was handed over, 1 for a fresh one.

    >>> import torch
    >>> rule = NAdam(lr=0.1, betas=(0.0, 0.5), eps=0.0)
    >>> params = torch.tensor([1.0])
    >>> c = [torch.tensor(x, dtype=torch.float64) for x in rule.coefficients(0, 1.0)]
    >>> rule.update(torch.tensor([7.0]), rule.start(params), params, c)[0]
    tensor([0.9000])
    """

    momentum_decay: float = 4e-3
    single_schedule: bool = False
    mu_product: float = 1.0

    def coefficients(self, step: int, factor: float) -> tuple[float, ...]:
        """Return the two step sizes, epsilon and, decoupled, the weights' shrinkage."""
        beta1, beta2 = self.betas
        lr = self.lr * factor
        schedule, now = (beta1, self.momentum_decay), step + self.taken
        scale = root_scale(beta2, now)
        mu, following = _mu(*schedule, now + 1), _mu(*schedule, now + 2)
        product = self._product(step)
        fresh = -lr * scale * (1 - mu) / (1 - product)
        sums = -lr * scale * (1 - beta1) * following / (1 - product * following)
        decay = self.shrinkage(lr)
        return (fresh, sums, self.eps * scale, *decay)

    def _product(self, step: int) -> float:
        block, place = divmod(step, BLOCK)
        begin = (self.taken, self.mu_product, self.single_schedule)
        return _products(self.betas[0], self.momentum_decay, begin, block)[place]

    def update(
        self, grad: Tensor, state: Mapping[str, Tensor], params: Tensor, c: Sequence[Tensor]
    ) -> tuple[Tensor, State]:
        """Take one step; see :meth:`PureOptimizer.update`."""
        grad, first, second = self.decayed(grad, state, params)
        move = (grad * c[0] + first * c[1]) / (root(second, self.smooth) + c[2])
        new = {"gradient_sum": first, "square_sum": second}
        return shrunk(params, c[3:]) + move, new

    @classmethod
    def settings(
        cls, optimizer: torch.optim.Optimizer, options: Mapping[str, Any], taken: int
    ) -> dict[str, Any]:
        """Return where the product of momenta stands, and whether it is kept in float32.

        Raises:
            DriverError: it is not the same number for all parameters of the group.
        """
        if not taken:
            return {"single_schedule": torch.get_default_dtype() != torch.float64}
        states = (optimizer.state[p] for p in options["params"] if p.requires_grad)
        products = {(float(s["mu_product"]), _is_single(s["mu_product"])) for s in states}
        if len(products) > 1:
            msg = "NAdam: its parameters have different products of momenta"
            raise DriverError(msg)
        product, single = products.pop()
        return {"mu_product": product, "single_schedule": single}


def _is_single(product: Any) -> bool:
    return isinstance(product, Tensor) and product.dtype == torch.float32


def _mu(beta1: float, momentum_decay: float, step: float) -> float:
    """Return the momentum of a step that is counted from 1."""
    power: float = 0.96 ** (step * momentum_decay)
    return beta1 * (1.0 - 0.5 * power)


@lru_cache(maxsize=256)
def _products(
    beta1: float, momentum_decay: float, begin: tuple[int, float, bool], block: int
) -> tuple[float, ...]:
    """Return the products of all momenta up to each step of a block of steps."""
    taken, product, single = begin
    start = _products(beta1, momentum_decay, begin, block - 1)[-1] if block else product
    steps = range(taken + block * BLOCK + 1, taken + (block + 1) * BLOCK + 1)
    momenta = [start, *(_mu(beta1, momentum_decay, step) for step in steps)]
    dtype = np.float32 if single else np.float64
    return tuple(np.multiply.accumulate(np.array(momenta, dtype))[1:].tolist())
