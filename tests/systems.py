"""Maps with known exponents. Every one is ``step(state, t) -> state`` on torch tensors."""

from __future__ import annotations

from math import log, sqrt
from typing import Any

import torch
from torch import Tensor

DOUBLE = torch.float64
CAT_ENTROPY = log((3 + sqrt(5)) / 2)


def vector(*values: float) -> Tensor:
    """Return a float64 vector."""
    return torch.tensor(values, dtype=DOUBLE)


def logistic(x: Tensor, t: int, r: float = 4.0) -> Tensor:
    """λ = ln 2 at r = 4."""
    return r * x * (1 - x)


def henon(s: Tensor, t: int) -> Tensor:
    """λ = .419, −1.623; their sum is exactly ln .3."""
    return torch.stack([1 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]])


def cat(s: Tensor, t: int) -> Tensor:
    """Arnold's map, λ = ± ln((3 + √5) / 2)."""
    return torch.remainder(torch.stack([2 * s[0] + s[1], s[0] + s[1]]), 1.0)


LORENZ_STEP = 0.01


def lorenz_flow(s: Tensor) -> Tensor:
    x, y, z = s.unbind()
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])


def lorenz(s: Tensor, t: int) -> Tensor:
    """One Runge–Kutta step of .01; λ per unit of time .906, 0, −14.57."""
    h = LORENZ_STEP
    a = lorenz_flow(s)
    b = lorenz_flow(s + h / 2 * a)
    c = lorenz_flow(s + h / 2 * b)
    d = lorenz_flow(s + h * c)
    return s + h / 6 * (a + 2 * b + 2 * c + d)


def quadratic(h: Tensor, eta: float) -> Any:
    """Gradient descent on ½ Σ h x²: λ = ln |1 − η h|."""
    return lambda x, t: x - eta * h * x


def double_well(eta: float) -> Any:
    """Gradient descent on (w² − 1)² / 4: λ = ln 3 at η = 2."""
    return lambda w, t: w - eta * w * (w * w - 1)


def composite(rotation: Tensor, h: float = 0.4, eta: float = 2.0) -> Any:
    """Descent on a rotated sum of the double well, the logistic loss and h x²/2.

    λ = ln 3, ln 2, ln |1 − η h|.
    """

    def step(x: Tensor, t: int) -> Tensor:
        u = rotation.T @ x
        slope = torch.stack([u[0] * (u[0] ** 2 - 1), (4 * u[1] ** 2 - 3 * u[1]) / eta, h * u[2]])
        return x - eta * (rotation @ slope)

    return step


def rotation(n: int, seed: int = 0) -> Tensor:
    """Return a random orthogonal matrix."""
    drawn = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
    return torch.linalg.qr(drawn)[0]


def heavy_ball(loss: Any, eta: float, beta: float) -> Any:
    """Momentum on a loss of one vector; the state is {x, m}; Σλ = D ln β."""
    slope = torch.func.grad(loss)

    def step(state: dict[str, Tensor], t: int) -> dict[str, Tensor]:
        m = beta * state["m"] + slope(state["x"])
        return {"x": state["x"] - eta * m, "m": m}

    return step


def henon10(s: Tensor, t: int) -> Tensor:
    """The generalised Hénon map in as many dimensions as the state has (1.76, .1)."""
    return torch.cat([(1.76 - s[-2] ** 2 - 0.1 * s[-1])[None], s[:-1]])


def coupled_logistic(s: Tensor, t: int) -> Tensor:
    """A ring of logistic maps, coupling .1."""
    f = 3.9 * s * (1 - s)
    return 0.9 * f + 0.05 * (f.roll(1) + f.roll(-1))
