"""The covariance of gradients, its spectrum and conditioning, from their Gram matrix.

With L centred gradients as rows of G the covariance K = GᵀG/L (P x P) and the Gram matrix GGᵀ/L
(L x L) have the same non-zero eigenvalues: the large one is never formed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils import _pytree as pytree

from wingbeat.curvature.hvp import Hessian
from wingbeat.curvature.lanczos import eigenpairs
from wingbeat.errors import CONSTANT, DIVERGED, RequestError
from wingbeat.task.data import len_of
from wingbeat.typing import Buffers

if TYPE_CHECKING:
    from wingbeat.task.data import Batch


@dataclass(frozen=True)
class GradientNoise:
    """The covariance K of gradients at one point.

    Attributes:
        eigenvalues: the non-zero ones, descending, ``(rank,)``, in units of gradient².
        trace: of K, at least 0.
        mean_norm: norm of the mean gradient.
        gradients: how many gradients K was made of.
        reason: why the numbers are NaN, else "".
    """

    eigenvalues: Tensor
    trace: float
    mean_norm: float
    gradients: int
    reason: str = ""

    @property
    def largest(self) -> float:
        """λ_K, the largest eigenvalue; 0 where all gradients agree."""
        if self.reason == DIVERGED:
            return torch.nan
        return float(self.eigenvalues[0]) if len(self.eigenvalues) else 0.0

    @property
    def conditioning(self) -> float:
        """λ*_K/λ_K, smallest non-zero over largest eigenvalue, in (0, 1]; 1 = isotropic.

        It depends on the number of gradients: compare only at equal ones.
        """
        if not len(self.eigenvalues):
            return torch.nan
        return float(self.eigenvalues[-1] / self.eigenvalues[0])


def covariance(gradients: Tensor) -> GradientNoise:
    """Return the covariance of gradients ``(L, P)`` from their Gram matrix, in float64.

    Args:
        gradients: one a row, at least two.

    Raises:
        RequestError: fewer than two gradients.

    Source:
        Jastrzebski et al., "The break-even point on optimization trajectories of deep neural
        networks" (2020), section 3.

    Example:
        >>> found = covariance(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 2.0], [-1.0, -2.0]]))
        >>> found.trace, round(found.largest, 3), found.gradients
        (3.0, 2.618, 4)
    """
    if gradients.dim() != 2 or len(gradients) < 2:
        raise RequestError(f"gradients of shape {tuple(gradients.shape)}: give (2 or more, size)")
    rows = gradients.double()
    if not bool(torch.isfinite(rows).all()):
        return GradientNoise(rows[:0, 0], torch.nan, torch.nan, len(rows), DIVERGED)
    mean = rows.mean(0)
    centred = rows - mean
    gram = centred @ centred.T / len(rows)
    values = torch.linalg.eigvalsh(gram).flip(0)
    # Below this an eigenvalue is rounding, of the Gram matrix or of the gradients themselves.
    grain = float(torch.finfo(gradients.dtype).eps * rows.norm(dim=1).max()) ** 2
    floor = len(rows) * max(float(values[0]) * torch.finfo(torch.float64).eps, grain)
    kept = values[: len(rows) - 1]
    kept = kept[kept > floor]
    reason = "" if len(kept) else CONSTANT
    return GradientNoise(kept, float(gram.trace()), float(mean.norm()), len(rows), reason)


def gradients_at(hessian: Hessian, where: Any, *, batch_size: int = 1, chunk: int = 128) -> Tensor:
    """Return the gradient of each sample, or of each batch, at one point: ``(L, P)``.

    Args:
        hessian: which loss on which samples, in which mode. With batch normalisation in "train"
            mode a gradient per sample does not exist: use batches or mode="eval".
        where: one point, see ``Hessian.point``.
        batch_size: samples a gradient; those left over are not used.
        chunk: gradients computed at once; memory grows with chunk x P.

    Raises:
        RequestError: several points, or fewer than two gradients.

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> hessian = Hessian(circles_task((4,)), samples=10)
        >>> gradients_at(hessian, hessian.start(0), batch_size=2).shape
        torch.Size([5, 22])
    """
    params, buffers = hessian.point(where)
    if len(params) != 1:
        raise RequestError(f"{len(params)} points: give one")
    count = len(hessian.indices) // batch_size
    if count < 2:
        raise RequestError(f"{count} gradients of {batch_size} samples: ask for 2 or more")
    own = {name: b[0] for name, b in buffers.items()}
    rows = [
        row
        for batch, _, around in hessian.parts()
        for row in _of_batch(hessian, params[0], own, batch, around, batch_size, chunk)
    ]
    return torch.cat(rows)


def _of_batch(
    hessian: Hessian,
    params: Tensor,
    buffers: Buffers,
    batch: Batch,
    around: Any,
    batch_size: int,
    chunk: int,
) -> Iterator[Tensor]:
    count = len_of(batch) // batch_size
    parts = pytree.tree_map(
        lambda t: t[: count * batch_size].unflatten(0, (count, batch_size)), batch
    )
    with around:
        for start in range(0, count, chunk):
            several = pytree.tree_map(lambda t, a=start: t[a : a + chunk], parts)
            try:
                found = vmap(
                    lambda b: hessian.slope(b)(params, buffers)[0], randomness="different"
                )(several)
            except RuntimeError:  # a model that cannot be vectorised
                ones = [
                    pytree.tree_map(lambda t, i=i: t[i], several) for i in range(len_of(several))
                ]
                found = torch.stack([hessian.slope(b)(params, buffers)[0] for b in ones])
            yield found


@dataclass(frozen=True)
class BreakEven:
    """What the break-even study follows at one point.

    Attributes:
        lambda_k: largest eigenvalue of the gradients' covariance K.
        trace_k: trace of K.
        conditioning: smallest non-zero over largest eigenvalue of K, in (0, 1].
        lambda_h: largest eigenvalue of the Hessian.
        reason: why a number is NaN, else "".
    """

    lambda_k: float
    trace_k: float
    conditioning: float
    lambda_h: float
    reason: str = ""


def break_even(
    hessian: Hessian, where: Any, *, batch_size: int = 1, tolerance: float = 1e-3
) -> BreakEven:
    """Return λ_K, Tr K, the conditioning of K, and λ_H at one point.

    Args:
        hessian: which loss on which samples.
        where: one point, see ``Hessian.point``.
        batch_size: samples a gradient of K.
        tolerance: residual of λ_H, relative.

    Raises:
        RequestError: several points, or fewer than two gradients.

    Source:
        Jastrzebski et al. (2020), sections 3 and 4.

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> hessian = Hessian(circles_task((4,)), samples=20)
        >>> found = break_even(hessian, hessian.start(0))
        >>> found.trace_k >= found.lambda_k > 0
        True
    """
    params, _ = hessian.point(where)
    if not bool(torch.isfinite(params).all()):
        return BreakEven(torch.nan, torch.nan, torch.nan, torch.nan, DIVERGED)
    noise = covariance(gradients_at(hessian, where, batch_size=batch_size))
    top = eigenpairs(hessian.at(where), tolerance=tolerance)
    return BreakEven(
        noise.largest, noise.trace, noise.conditioning, float(top.values[0, 0]), noise.reason
    )


def is_past_break_even(
    lr: float, lambda_h: float, curvature_variance: float, samples: int, batch_size: int
) -> bool:
    """Tell whether gradient noise makes SGD unstable along the sharpest direction.

    Unstable when (1 − ηλ_H)² + s²η²(n − S)/(S(n − 1)) > 1, with s² the variance over samples of
    the curvature along that direction.

    Args:
        lr: learning rate η.
        lambda_h: largest eigenvalue of the Hessian.
        curvature_variance: s².
        samples: n, of the training set.
        batch_size: S.

    Raises:
        RequestError: fewer than two samples.

    Source:
        Jastrzebski et al. (2020), section 4; Wu et al., "How SGD selects the global minima"
        (2018).

    Example:
        >>> is_past_break_even(0.1, 10.0, 0.0, 100, 10), is_past_break_even(0.1, 21.0, 0.0, 100, 10)
        (False, True)
    """
    if samples < 2:
        raise RequestError(f"samples is {samples}: use at least 2")
    noise = curvature_variance * lr**2 * (samples - batch_size) / (batch_size * (samples - 1))
    return (1 - lr * lambda_h) ** 2 + noise > 1
