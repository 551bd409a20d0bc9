"""The trace of a symmetric operator from random probes, with its standard error."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt

import torch
from torch import Tensor

from wingbeat.curvature.linear import Operator
from wingbeat.errors import RequestError


@dataclass(frozen=True)
class Trace:
    """An estimated trace.

    Attributes:
        value: ``(replicas,)``.
        error: standard error ``(replicas,)``, at least 0; NaN with a single probe.
        products: operator-vector products that each replica took.
    """

    value: Tensor
    error: Tensor
    products: int


def hutchinson(operator: Operator, probes: int = 30, *, seed: int = 0) -> Trace:
    """Return the mean of zᵀAz over random signs z, with its standard error.

    Unbiased; its variance is 2(‖A‖² − Σ aᵢᵢ²)/probes, so that a diagonal matrix is exact.

    Args:
        operator: the matrices.
        probes: products to take, at least 1.
        seed: of the probes, the same for all replicas.

    Raises:
        RequestError: fewer than one probe.

    Source:
        Hutchinson, "A stochastic estimator of the trace of the influence matrix" (1990).

    Example:
        >>> hutchinson(Operator.of(torch.diag(torch.tensor([3.0, -1.0]))), 4).value
        tensor([2.])
    """
    if probes < 1:
        raise RequestError(f"probes is {probes}: use at least 1")
    signs = _signs(operator, probes, seed)
    found = (signs * operator(signs)).sum(2)
    return Trace(found.mean(1), _error(found), probes)


def hutch_plus_plus(operator: Operator, probes: int = 30, *, seed: int = 0) -> Trace:
    """Return the trace by Hutch++: exact on a sketched subspace, random signs on the rest.

    A third of the products sketches the range of the operator, a third takes its trace there, and
    a third estimates what is left. Unbiased, exact where the rank is at most a third of the
    probes, and more precise than ``hutchinson`` where few eigenvalues hold most of the norm.

    Args:
        operator: the matrices.
        probes: products to take in all, at least 3; three times the size takes the trace exactly.
        seed: of the probes, the same for all replicas.

    Returns:
        The trace; ``error`` is that of the estimated rest.

    Raises:
        RequestError: fewer than three probes.

    Source:
        Meyer, Musco, Musco and Woodruff, "Hutch++: Optimal stochastic trace estimation" (2021),
        algorithm 1.

    Example:
        >>> matrix = torch.ones(5, 5, dtype=torch.float64)
        >>> round(float(hutch_plus_plus(Operator.of(matrix), 6).value), 9)
        5.0
    """
    if probes < 3:
        raise RequestError(f"probes is {probes}: Hutch++ needs at least 3")
    sketch = min(probes // 3, operator.size)
    drawn = _signs(operator, sketch + probes // 3, seed)
    basis = torch.linalg.qr(operator(drawn[:, :sketch]).mT)[0].mT
    inside = (basis * operator(basis)).sum((1, 2))
    rest = drawn[:, sketch:]
    rest = rest - (rest @ basis.mT) @ basis
    if sketch == operator.size:
        return Trace(inside, torch.zeros_like(inside), 2 * sketch)
    outside = (rest * operator(rest)).sum(2)
    return Trace(inside + outside.mean(1), _error(outside), 2 * sketch + outside.shape[1])


def _signs(operator: Operator, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(2, (count, operator.size), generator=generator)
    signs = (2 * bits - 1).to(operator.device, operator.dtype)
    return signs.expand(operator.replicas, -1, -1)


def _error(found: Tensor) -> Tensor:
    count = found.shape[1]
    if count < 2:
        return torch.full_like(found[:, 0], nan)
    return found.std(1) / sqrt(count)
