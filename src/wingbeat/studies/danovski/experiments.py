"""What the study of Danovski, Soriano and Lacasa does to its nets: pure functions over arrays.

Source: arXiv 2404.05782 and the authors' published code. Nets are rows ``(n, 83)`` in float64
(`wingbeat.tasks.iris`), time is the number of updates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from wingbeat.determinism import derive
from wingbeat.errors import RequestError
from wingbeat.tasks.iris import FIRST, LAST, WEIGHTS, IrisMap, without_shift
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray


KERNELS: Final = 70
"""Weights that are perturbed: N of the paper."""
RESCALED: Final = 1e-8
"""Distance (Euclidean) to which the two orbits of an exponent are drawn together each step."""
_TOGETHER = 32  # nets that are followed at a time


def nudges(epsilon: float, inits: int, perturbations: int, *, seed: int = 0) -> Tensor:
    """Return uniform nudges in (−ε, ε) of every kernel weight; biases stay.

    The same draws, multiplied by ε, serve every ε.

    Args:
        epsilon: size, above 0.
        inits: number of initialisations.
        perturbations: nudges for each.
        seed: of the draws.

    Returns:
        ``(inits, perturbations, 83)``.

    Raises:
        RequestError: a size that is not above 0.

    >>> found = nudges(1e-8, 2, 3)
    >>> tuple(found.shape), int((found != 0).sum()), bool(found.abs().max() < 1e-8)
    ((2, 3, 83), 420, True)
    """
    if not epsilon > 0:
        raise RequestError(f"epsilon is {epsilon!r}: give a size above 0, such as 1e-8")
    generator = np.random.Generator(np.random.PCG64(derive(seed, "danovski", "nudges")))
    unit = generator.uniform(-1.0, 1.0, size=(inits, perturbations, KERNELS))
    found = np.zeros((inits, perturbations, WEIGHTS))
    found[..., FIRST], found[..., LAST] = unit[..., :40], unit[..., 40:]
    return torch.from_numpy(epsilon * found)


@dataclass(frozen=True)
class FollowedNets:
    """Distances of nudged copies from their reference.

    Attributes:
        distances: ``(inits, perturbations, T)``, L1 over all kernels and biases.
        essential: the same without the part that only shifts all logits alike.
        steps: ``(T,)``, updates since the nudge.
    """

    distances: Array
    essential: Array
    steps: NDArray[np.int64]


def run_beside(
    step: IrisMap, starts: Tensor, nudged: Tensor, steps: int, every: int = 1
) -> FollowedNets:
    """Advance references and their nudged copies, and note how far apart they are.

    Args:
        step: the map.
        starts: ``(inits, 83)``.
        nudged: what is added, ``(inits, perturbations, 83)``.
        steps: updates.
        every: updates between records; 0 is always recorded.
    """
    size = max(1, _TOGETHER // (1 + nudged.shape[1]))
    pairs = zip(torch.split(starts, size), torch.split(nudged, size), strict=True)
    parts = [_follow(step, start, nudge, steps, every) for start, nudge in pairs]
    whole, essential = (np.concatenate(p) for p in zip(*parts, strict=True))
    return FollowedNets(whole, essential, np.arange(0, steps + 1, every))


def _follow(
    step: IrisMap, start: Tensor, nudge: Tensor, steps: int, every: int
) -> tuple[Array, Array]:
    w = torch.cat([start[:, None], start[:, None] + nudge], dim=1)
    shape, flat = w.shape, w.flatten(0, 1)
    whole, essential = [], []
    for t in range(steps + 1):
        if t % every == 0:
            w = flat.view(shape)
            apart = w[:, 1:] - w[:, :1]
            whole.append(apart.abs().sum(-1))
            essential.append(without_shift(apart).abs().sum(-1))
        if t < steps:
            flat = step(flat)
    return torch.stack(whole, -1).numpy(), torch.stack(essential, -1).numpy()


@dataclass(frozen=True)
class Renormalised:
    """Growth of ln distance between two orbits that are drawn together after every step.

    Attributes:
        logs: ``(inits, steps)``, growth in each step; NaN once a run is not finite.
        essential: the same for a difference without the part that shifts all logits alike,
            which neither grows nor shrinks.
        final: ``(inits, 83)``, weights at the end.
    """

    logs: Array
    essential: Array
    final: Tensor

    def over(self, first: int, last: int) -> Array:
        """Mean growth per step ``(inits,)`` over the steps first, …, last − 1."""
        found: Array = self.logs[:, first:last].mean(axis=1)
        return found

    def essential_over(self, first: int, last: int) -> Array:
        """The same up to the shifts of the logits."""
        found: Array = self.essential[:, first:last].mean(axis=1)
        return found


def renormalised(step: IrisMap, starts: Tensor, steps: int, *, seed: int = 0) -> Renormalised:
    """Measure the largest exponent with two orbits, Euclidean distance, rescaled each step.

    Args:
        step: the map.
        starts: ``(inits, 83)``.
        steps: updates.
        seed: of the first direction.

    Source: Benettin, Galgani and Strelcyn, Physical Review A 14 (1976).

    >>> from wingbeat.tasks.iris import initial
    >>> renormalised(IrisMap(0.01), initial([0]), 50).logs.shape
    (1, 50)
    """
    generator = torch.Generator().manual_seed(derive(seed, "danovski", "direction"))
    first = torch.randn(len(starts), 2, WEIGHTS, generator=generator, dtype=torch.float64)
    size = _TOGETHER // 3
    pairs = zip(torch.split(starts, size), torch.split(first, size), strict=True)
    parts = [_renormalised(step, w, direction, steps) for w, direction in pairs]
    logs = torch.cat([part[0] for part in parts]).numpy()
    return Renormalised(logs[..., 0], logs[..., 1], torch.cat([part[1] for part in parts]))


def _renormalised(step: IrisMap, w: Tensor, direction: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    logs = torch.empty(len(w), steps, 2, dtype=torch.float64)
    twins = _placed(w, direction)
    for t in range(steps):
        before = _apart(twins, w).norm(dim=-1)
        after = step(torch.cat([w[:, None], twins], dim=1).flatten(0, 1)).view(len(w), 3, -1)
        w, twins = after[:, 0], after[:, 1:]
        apart = _apart(twins, w)
        logs[:, t] = (apart.norm(dim=-1) / before).log()
        twins = _placed(w, apart)
    return logs, w


def _apart(twins: Tensor, w: Tensor) -> Tensor:
    """Return the differences ``(n, 2, 83)``; of the second twin without the logits' shift."""
    apart = twins - w[:, None]
    return torch.stack([apart[:, 0], without_shift(apart[:, 1])], dim=1)


def _placed(w: Tensor, apart: Tensor) -> Tensor:
    apart = torch.stack([apart[:, 0], without_shift(apart[:, 1])], dim=1)
    placed: Tensor = w[:, None] + apart * (RESCALED / apart.norm(dim=-1, keepdim=True))
    return placed


@dataclass(frozen=True)
class Moved:
    """How far each weight went, and by which way.

    Attributes:
        displacement: ``(inits, 70)``, |w_T − w_0| ÷ |w_0| of each kernel weight.
        path: ``(inits, 70)``, Σ |w_{t+1} − w_t|.
        total: ``(inits,)``, ‖W_T − W_0‖₁ ÷ ‖W_0‖₁ over kernels and biases.
        start: ``(inits,)``, ‖W_0‖₁.
        end: ``(inits,)``, ‖W_T‖₁.
        final: ``(inits, 83)``.
    """

    displacement: Array
    path: Array
    total: Array
    start: Array
    end: Array
    final: Tensor


def moved(step: IrisMap, starts: Tensor, steps: int) -> Moved:
    """Return displacement and path length of every weight over so many updates."""
    w, path = starts, torch.zeros_like(starts)
    for _ in range(steps):
        after = step(w)
        path += (after - w).abs()
        w = after
    away, size = (w - starts).abs(), starts.abs()
    return Moved(
        displacement=_kernels(away / size).numpy(),
        path=_kernels(path).numpy(),
        total=(away.sum(1) / size.sum(1)).numpy(),
        start=size.sum(1).numpy(),
        end=w.abs().sum(1).numpy(),
        final=w,
    )


def _kernels(w: Tensor) -> Tensor:
    return torch.cat([w[:, FIRST], w[:, LAST]], dim=1)


def without_one(step: IrisMap, w: Tensor) -> Array:
    """Return L_w ÷ L ``(n, 40)``: the loss with one weight of the first layer set to 0.

    1 = the weight does not matter.

    >>> from wingbeat.tasks.iris import initial
    >>> without_one(IrisMap(1.0), initial([0])).shape
    (1, 40)
    """
    each = w[:, None].repeat(1, 40, 1)
    places = torch.arange(40)
    each[:, places, places] = 0.0
    losses = step.loss(each.flatten(0, 1)).view(len(w), 40)
    return (losses / step.loss(w)[:, None]).numpy()


def first_reached(step: IrisMap, starts: Tensor, steps: int, share: float) -> Array:
    """Return after how many updates the test accuracy first is at least ``share`` ``(n,)``.

    Args:
        step: the map.
        starts: ``(n, 83)``.
        steps: updates at most.
        share: in (0, 1].

    Returns:
        Infinity where it is not reached.
    """
    reached = torch.full((len(starts),), torch.inf, dtype=torch.float64)
    for place in range(0, len(starts), _TOGETHER):
        w, own = starts[place : place + _TOGETHER], reached[place : place + _TOGETHER]
        for t in range(steps + 1):
            own[(step.accuracy(w) >= share) & own.isinf()] = t
            if bool(own.isfinite().all()) or t == steps:
                break
            w = step(w)
    return reached.numpy()
