"""The phase diagram of two-layer ReLU nets: do the weights move, and do they condense?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, nan, sqrt
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from wingbeat.errors import TOO_FEW_POINTS, RequestError
from wingbeat.stats import Estimate

Regime = Literal["linear", "condensed", "critical"]


@dataclass(frozen=True)
class Scales:
    """Standard deviations and output scale of a two-layer net at one place of the diagram.

    Attributes:
        outer: β₁, of the output weights a.
        inner: β₂, of the input weights w.
        alpha: the output is divided by it.
    """

    outer: float
    inner: float
    alpha: float = 1.0


def scales(width: int, gamma: float, gamma_prime: float) -> Scales:
    """Return the initialisation of width m at (γ, γ'), with α = 1.

    β₁β₂/α = m^−γ and β₁/β₂ = m^−γ', so that β₁ = m^−(γ+γ')/2 and β₂ = m^−(γ−γ')/2.

    Args:
        width: m, at least 1.
        gamma: γ; ½ with γ' = 0 is the NTK scaling, 1 with γ' = 0 the mean-field scaling.
        gamma_prime: γ'.

    Raises:
        RequestError: the width is below 1.

    Source:
        Luo, Xu, Ma and Zhang, "Phase diagram for two-layer ReLU neural networks at infinite-width
        limit" (2021), section 3.

    Example:
        >>> found = scales(16, 0.5, 0.0)
        >>> found.outer, found.inner
        (0.5, 0.5)
    """
    if width < 1:
        raise RequestError(f"width is {width}: use at least 1")
    m = float(width)
    return Scales(m ** (-(gamma + gamma_prime) / 2), m ** (-(gamma - gamma_prime) / 2))


def regime(gamma: float, gamma_prime: float) -> Regime:
    """Return what theory says of a place in the diagram, in the limit of infinite width.

    Linear (weights hardly move) for γ < 1 or γ' > γ − 1, condensed for γ > 1 and γ' < γ − 1, and
    critical on the line between.

    Source:
        Luo et al. (2021), theorems 5 and 6.

    Example:
        >>> regime(0.5, 0.0), regime(1.75, 0.0), regime(1.0, 0.0)
        ('linear', 'condensed', 'critical')
    """
    if gamma < 1 or gamma_prime > gamma - 1:
        return "linear"
    return "condensed" if gamma > 1 and gamma_prime < gamma - 1 else "critical"


class TwoLayer(nn.Module):
    """f(x) = (1/α) Σₖ aₖ ReLU(wₖ·(x, 1)), with a and w at the scales of one place.

    Args:
        width: m.
        inputs: dimension of x; a constant 1 is appended.
        at: the scales.

    Example:
        >>> TwoLayer(4, 1, scales(4, 0.5, 0.0))(torch.zeros(3, 1)).shape
        torch.Size([3, 1])
    """

    def __init__(self, width: int, inputs: int, at: Scales) -> None:
        super().__init__()
        self.alpha = at.alpha
        self.w = nn.Parameter(torch.randn(width, inputs + 1) * at.inner)
        self.a = nn.Parameter(torch.randn(width) * at.outer)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs ``(n, 1)`` of inputs ``(n, inputs)``."""
        ones = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
        hidden = torch.relu(ones @ self.w.T)
        return (hidden @ self.a / self.alpha).unsqueeze(1)


def relative_change(first: Tensor, last: Tensor) -> float:
    """Return RD = ‖w − w₀‖/‖w₀‖ of the input weights, at least 0; 0 = they did not move.

    Example:
        >>> round(relative_change(torch.ones(3, 2), 1.5 * torch.ones(3, 2)), 9)
        0.5
    """
    norm = float(first.double().norm())
    return float((last.double() - first.double()).norm()) / norm if norm else nan


def slope_against_width(widths: Sequence[int], changes: Sequence[float]) -> Estimate:
    """Return the slope of ln RD against ln width with its 95 % interval from the residuals.

    Below 0: the linear regime; above 0: the condensed regime; 0: critical.

    Args:
        widths: m; several runs at one width are allowed.
        changes: RD of each.

    Returns:
        NaN with ``too_few_points`` for fewer than two different widths; no interval for two runs.

    Example:
        >>> round(slope_against_width((10, 100, 1000), (1.0, 0.1, 0.01)).value, 6)
        -1.0
    """
    from scipy.special import stdtrit

    pairs = [
        (log(m), log(r)) for m, r in zip(widths, changes, strict=True) if r > 0 and np.isfinite(r)
    ]
    x, y = (
        (np.array(column) for column in zip(*pairs, strict=True)) if pairs else (np.empty(0),) * 2
    )
    if len(set(x.tolist())) < 2:
        return Estimate.undefined(TOO_FEW_POINTS)
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    if len(x) < 3:
        return Estimate(slope, interval_reason=TOO_FEW_POINTS)
    rest = y - y.mean() - slope * centred
    error = sqrt(float(rest @ rest) / (len(x) - 2) / float(centred @ centred))
    half = float(stdtrit(len(x) - 2, 0.975)) * error
    return Estimate(slope, slope - half, slope + half)


@dataclass(frozen=True)
class Condensation:
    """How the input weights of a two-layer net are directed.

    Attributes:
        amplitudes: |aₖ|‖wₖ‖, what each neuron contributes at most, ``(m,)``.
        angles: of wₖ = (w, b) for one input, sign(b)·arccos(w/‖w‖) in (−π, π], ``(m,)``; else NaN.
        alignment: mean |cosine| between the directions of two neurons drawn with probability in
            proportion to their amplitudes; 1 = all on one line.
        directions: 1 ÷ Σ shares², the number of directions after neurons within ``within`` of
            each other were joined, weighted by amplitude.
    """

    amplitudes: Tensor
    angles: Tensor
    alignment: float
    directions: float


def condensation(w: Tensor, a: Tensor, *, within: float = 0.1) -> Condensation:
    """Return amplitudes and directions of the neurons of a two-layer net.

    Args:
        w: input weights with the bias last, ``(m, inputs + 1)``.
        a: output weights ``(m,)``.
        within: neurons at an angle below this (in radians) count as one direction.

    Source:
        Luo et al. (2021), section 5, for amplitude and angle; the two summary numbers are ours.

    Example:
        >>> found = condensation(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), torch.ones(3))
        >>> round(found.directions, 3), round(found.alignment, 3)
        (1.6, 0.625)
    """
    w, a = w.detach().double(), a.detach().double()
    norm = w.norm(dim=1)
    amplitudes = a.abs() * norm
    total = float(amplitudes.sum())
    if not total > 0 or not bool(torch.isfinite(amplitudes).all()):
        return Condensation(amplitudes, torch.full_like(norm, nan), nan, nan)
    units = w / norm.clamp(min=torch.finfo(w.dtype).tiny)[:, None]
    shares = amplitudes / total
    alignment = float(shares @ (units @ units.T).abs() @ shares)
    angles = torch.full_like(norm, nan)
    if w.shape[1] == 2:
        signs = torch.where(units[:, 1] < 0, -1.0, 1.0)
        angles = signs * torch.arccos(units[:, 0].clamp(-1, 1))
    return Condensation(amplitudes, angles, alignment, _directions(units, shares, within))


def _directions(units: Tensor, shares: Tensor, within: float) -> float:
    """Join each neuron to the strongest one near it, the strongest first, and count."""
    left, sums = shares.clone(), []
    close = units @ units.T >= np.cos(within)
    for place in shares.argsort(descending=True).tolist():
        if left[place] > 0:
            sums.append(float(left[close[place]].sum()))
            left[close[place]] = 0.0
    return 1.0 / float(np.square(sums).sum())
