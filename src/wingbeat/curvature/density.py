"""The spectral density of a symmetric operator, by stochastic Lanczos quadrature."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import torch
from torch import Tensor

from wingbeat.curvature.linear import Operator
from wingbeat.errors import RequestError


@dataclass(frozen=True)
class Density:
    """How the eigenvalues of several replicas are distributed.

    Attributes:
        nodes: Ritz values ``(replicas, probes, steps)``.
        weights: of the nodes, at least 0, each probe's sum is 1; a function's mean over the
            spectrum (its trace ÷ size) is about ``(weights * f(nodes)).sum(-1)``.
    """

    nodes: Tensor
    weights: Tensor

    def moment(self, power: int) -> tuple[Tensor, Tensor]:
        """Return trace(Aᵖ) ÷ size and its standard error over probes, ``(replicas,)`` each."""
        found = (self.weights * self.nodes**power).sum(-1)
        count = found.shape[1]
        error = found.std(1) / sqrt(count) if count > 1 else torch.full_like(found[:, 0], torch.nan)
        return found.mean(1), error

    def curve(self, points: int = 400, width: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return eigenvalues, density and its standard error over probes.

        Each node becomes a Gaussian, and the curves of the probes are averaged.

        Args:
            points: of the grid, which reaches four widths beyond the outermost nodes.
            width: standard deviation of the Gaussians; None takes 1 % of the nodes' range.

        Returns:
            ``(replicas, points)`` each; a density integrates to 1.

        Raises:
            RequestError: fewer than two points, or a width that is not positive.
        """
        if points < 2 or (width is not None and width <= 0):
            raise RequestError(f"points {points}, width {width}: use 2 or more, and more than 0")
        low, high = self.nodes.amin((1, 2)), self.nodes.amax((1, 2))
        least = 1e-12 * torch.maximum(low.abs(), high.abs()) + torch.finfo(low.dtype).tiny
        sd = torch.maximum(0.01 * (high - low), least)
        sd = sd if width is None else torch.full_like(sd, width)
        share = torch.linspace(0, 1, points, dtype=low.dtype, device=low.device)
        start, stop = low - 4 * sd, high + 4 * sd
        grid = start[:, None] + share * (stop - start)[:, None]
        z = (grid[:, None, :, None] - self.nodes[:, :, None, :]) / sd[:, None, None, None]
        bells = torch.exp(-0.5 * z**2) / (sd[:, None, None, None] * sqrt(2 * pi))
        curves = (self.weights[:, :, None, :] * bells).sum(-1)
        count = curves.shape[1]
        error = curves.std(1) / sqrt(count) if count > 1 else torch.full_like(grid, torch.nan)
        return grid, curves.mean(1), error


def density(operator: Operator, *, probes: int = 8, steps: int = 60, seed: int = 0) -> Density:
    """Return the spectral density of an operator, over all its eigenvalues.

    Each probe gives a Gauss quadrature of the spectrum with as many nodes as Lanczos steps, with
    full re-orthogonalisation. It is exact for polynomials up to degree 2·steps − 1.

    Args:
        operator: the matrices.
        probes: random starting vectors, the same for all replicas.
        steps: of Lanczos for each probe; at most the size is used.
        seed: of the probes.

    Raises:
        RequestError: fewer than one probe or step.

    Source:
        Ubaru, Chen and Saad, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature"
        (2017); Ghorbani, Krishnan and Xiao, "An investigation into neural net optimization via
        Hessian eigenvalue density" (2019).

    Example:
        >>> found = density(Operator.of(torch.diag(torch.tensor([2.0, 2.0, 8.0]))), probes=2)
        >>> [round(x, 3) for x in found.nodes[0, 0, :2].tolist()]
        [2.0, 8.0]
    """
    if probes < 1 or steps < 1:
        raise RequestError(f"probes {probes}, steps {steps}: use at least 1 of each")
    start = operator.random(probes, seed)
    diagonal, beside = _tridiagonal(operator, start, min(steps, operator.size))
    matrix = torch.diag_embed(diagonal)
    if beside.shape[-1]:
        matrix += torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
    bad = ~torch.isfinite(matrix).flatten(2).all(2)
    nodes, mixing = torch.linalg.eigh(torch.where(bad[..., None, None], 0.0, matrix))
    weights = mixing[..., 0, :] ** 2
    # A space that was exhausted leaves nodes without weight: give them a place that has some.
    main = nodes.gather(-1, weights.argmax(-1, keepdim=True))
    nodes = torch.where(weights > 1e-14, nodes, main)
    nan = torch.nan
    return Density(
        torch.where(bad[..., None], nan, nodes).sort(-1).values, _sorted_like(nodes, weights)
    )


def _sorted_like(nodes: Tensor, weights: Tensor) -> Tensor:
    return weights.gather(-1, nodes.argsort(-1))


def _tridiagonal(operator: Operator, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Return diagonal ``(replicas, probes, steps)`` and what lies beside it, one fewer."""
    vector = start / torch.linalg.vector_norm(start, dim=2, keepdim=True)
    basis, diagonal, beside = [vector], [], []
    scale = torch.zeros_like(vector[..., 0])
    for step in range(steps):
        found = operator(basis[-1])
        inner = (found * basis[-1]).sum(2)
        diagonal.append(inner)
        if step == steps - 1:
            break
        known = torch.stack(basis, dim=2)
        for _ in range(2):
            found = found - ((known @ found[..., None]) * known).sum(2)
        length = torch.linalg.vector_norm(found, dim=2)
        scale = torch.maximum(scale, torch.maximum(inner.abs(), length))
        ended = length <= 1e3 * torch.finfo(found.dtype).eps * scale
        beside.append(torch.where(ended, 0.0, length))
        safe = torch.where(ended, 1.0, length)[..., None]
        basis.append(torch.where(ended[..., None], 0.0, found / safe))
    rest = torch.stack(beside, dim=2) if beside else start[..., :0]
    return torch.stack(diagonal, dim=2), rest
