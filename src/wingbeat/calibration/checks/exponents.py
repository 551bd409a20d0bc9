"""Lyapunov exponents of maps that are solved, or whose sum is."""

from __future__ import annotations

from math import log, sqrt
from typing import TYPE_CHECKING, Final

import torch

from wingbeat.calibration.check import ClosedForm, Placement, check
from wingbeat.lyapunov import spectrum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    Step = Callable[[Tensor, int], Tensor]

STEPS: Final = 4000
_ORBIT: Final = 0.03
"""Of a mean of ln |slope| over 2,000 steps and more of chaotic orbits: its deviation is below .9 a
step and successive steps hardly depend on each other, which makes .02 at most (.0004 found)."""
_LORENZ: Final = 0.01
"""Step of the flow's integration; its sum is then .0001 off."""


@check(
    "exponents",
    "Lyapunov exponents of solved maps",
    "Ott, Chaos in Dynamical Systems (2002), chapters 2 and 4; Sprott, Chaos and Time-Series "
    "Analysis (2003), appendix A",
)
def exponents(place: Placement) -> Iterator[ClosedForm]:
    """Compare twelve systems: linear ones and sums to rounding, chaotic ones by long orbits."""
    yield from _linear(place)
    yield from _sums(place)
    yield from _orbits(place)


def _linear(place: Placement) -> Iterator[ClosedForm]:
    """Yield maps whose derivative is the same everywhere: their exponents are exact."""
    h = place.tensor(0.1, 0.5, 1.9)
    slack = 1e3 * place.rounding
    for i, value in enumerate(_found(place, lambda x, _: x - h * x, (1.0, 1.0, 1.0), 200)):
        gain = (0.9, 0.9, 0.5)[i]
        yield ClosedForm(f"gradient descent on a quadratic, λ{i + 1}", log(gain), value, slack)
    top, low = _found(place, lambda s, _: _cat(s), (0.2, 0.3), 500)
    golden = log((3 + sqrt(5)) / 2)
    yield ClosedForm("Arnold's cat map, λ1", golden, top, slack + golden / 500, "alignment, 1/T")
    yield ClosedForm("Arnold's cat map, λ1 + λ2", 0.0, top + low, slack)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=place.dtype, device=place.device)
    for i, value in enumerate(_found(place, lambda s, _: turn @ s, (1.0, 0.0), 200)):
        yield ClosedForm(f"rotation, λ{i + 1}", 0.0, value, slack)
    shear = torch.tensor([[0.5, 1.0], [0.0, 0.25]], dtype=place.dtype, device=place.device)
    both = _found(place, lambda s, _: shear @ s, (1.0, 1.0), 200)
    yield ClosedForm("triangular map, λ1 + λ2", log(0.125), sum(both), slack)
    momentum = _found(place, _heavy_ball, (0.3, 0.7, 0.0, 0.0), 400)
    yield ClosedForm("heavy ball, sum of λ = 2 ln β", 2 * log(0.7), sum(momentum), slack)


def _sums(place: Placement) -> Iterator[ClosedForm]:
    """Yield dissipative and conservative maps whose volume shrinks at a known rate."""
    slack = 3e3 * place.rounding
    henon = _found(place, _henon, (0.1, 0.1), STEPS)
    yield ClosedForm("Hénon map, λ1 + λ2 = ln .3", log(0.3), sum(henon), slack)
    yield ClosedForm("Hénon map, λ1", 0.4192, henon[0], _ORBIT, "length of the orbit")
    ikeda = _found(place, _ikeda, (0.1, 0.1), STEPS)
    yield ClosedForm("Ikeda map, λ1 + λ2 = 2 ln .9", 2 * log(0.9), sum(ikeda), slack)
    standard = _found(place, _standard, (0.5, 0.4), STEPS)
    yield ClosedForm("standard map, λ1 + λ2", 0.0, sum(standard), slack)
    rates = [value / _LORENZ for value in _found(place, _lorenz, (1.0, 1.0, 20.0), STEPS)]
    off = 0.02
    yield ClosedForm("Lorenz flow, sum of λ = -41/3", -41 / 3, sum(rates), off, "Runge-Kutta step")


def _orbits(place: Placement) -> Iterator[ClosedForm]:
    """Yield chaotic maps of an interval, conjugate to a piecewise linear one.

    Of 64 orbits of 200 steps: in float32 a single long one falls onto a short cycle.
    """
    maps: dict[str, tuple[Step, float]] = {
        "logistic map at 4, ln 2": (lambda x, _: 4 * x * (1 - x), log(2)),
        "Chebyshev's third polynomial, ln 3": (lambda x, _: 4 * x**3 - 3 * x, log(3)),
        "descent in a double well at rate 2, ln 3": (lambda w, _: w - 2 * w * (w * w - 1), log(3)),
    }
    starts = torch.linspace(0.01, 0.97, 64, dtype=place.dtype, device=place.device)[:, None]
    for name, (step, expected) in maps.items():
        each = spectrum(step, starts, 200, discard=50, batched=True).exponents
        yield ClosedForm(name, expected, float(each.mean()), _ORBIT, "length of the orbits")


def _found(place: Placement, step: Step, start: tuple[float, ...], steps: int) -> list[float]:
    found = spectrum(step, place.tensor(*start), steps, discard=steps // 2)
    return [float(value) for value in found.exponents]


def _cat(s: Tensor) -> Tensor:
    return torch.remainder(torch.stack([2 * s[0] + s[1], s[0] + s[1]]), 1.0)


def _henon(s: Tensor, _: int) -> Tensor:
    return torch.stack([1 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]])


def _ikeda(s: Tensor, _: int) -> Tensor:
    angle = 0.4 - 6 / (1 + s[0] ** 2 + s[1] ** 2)
    c, d = torch.cos(angle), torch.sin(angle)
    return torch.stack([1 + 0.9 * (s[0] * c - s[1] * d), 0.9 * (s[0] * d + s[1] * c)])


def _standard(s: Tensor, _: int) -> Tensor:
    momentum = torch.remainder(s[1] + 6 * torch.sin(s[0]), 2 * torch.pi)
    return torch.stack([torch.remainder(s[0] + momentum, 2 * torch.pi), momentum])


def _heavy_ball(s: Tensor, _: int) -> Tensor:
    x, m = s[:2], s[2:]
    m = 0.7 * m + x**3 - x
    return torch.cat([x - 0.2 * m, m])


def _flow(s: Tensor) -> Tensor:
    x, y, z = s.unbind()
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])


def _lorenz(s: Tensor, _: int) -> Tensor:
    a = _flow(s)
    b = _flow(s + _LORENZ / 2 * a)
    c = _flow(s + _LORENZ / 2 * b)
    d = _flow(s + _LORENZ * c)
    return s + _LORENZ / 6 * (a + 2 * b + 2 * c + d)
