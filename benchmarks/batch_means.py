"""How wide batch-mean errors of exponents are beside the scatter over many independent orbits.

The growth rates of all exponents are followed along orbits of the Lorenz flow, whose rates
oscillate, and of a ring of coupled logistic maps, whose lower rates remember long. The truth is the
deviation of the means over orbits; an error divided by it should be 1. Everything is NumPy's, so
that nothing here rests on `wingbeat.lyapunov` but the errors themselves.

    python -m benchmarks.batch_means
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from wingbeat.determinism import derive
from wingbeat.lyapunov import batch_means_error

Array = np.ndarray[Any, np.dtype[np.float64]]
Step = Callable[[Array, Array], tuple[Array, Array]]
ORBITS, STEPS = 48, (500, 2000, 6000)


@dataclass(frozen=True)
class Row:
    """Errors of one exponent ÷ the truth: medians, and the tenth and the ninetieth percent."""

    system: str
    steps: int
    exponent: int
    thirty: Array
    now: Array


def lorenz(state: Array, tangents: Array, step: float = 0.01) -> tuple[Array, Array]:
    """Carry orbits ``(N, 3)`` and tangents ``(N, 3, 3)`` by one Runge-Kutta step."""

    def slope(s: Array, v: Array) -> tuple[Array, Array]:
        x, y, z = np.moveaxis(s, -1, 0)
        a, b, c = np.moveaxis(v, -2, 0)
        x1, y1, z1 = x[:, None], y[:, None], z[:, None]
        flow = np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], axis=-1)
        along = [10 * (b - a), a * (28 - z1) - x1 * c - b, a * y1 + x1 * b - 8 / 3 * c]
        return flow, np.stack(along, axis=-2)

    k1 = slope(state, tangents)
    k2 = slope(state + step / 2 * k1[0], tangents + step / 2 * k1[1])
    k3 = slope(state + step / 2 * k2[0], tangents + step / 2 * k2[1])
    k4 = slope(state + step * k3[0], tangents + step * k3[1])
    first, second = (a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
    return state + step / 6 * first, tangents + step / 6 * second


def coupled(state: Array, tangents: Array) -> tuple[Array, Array]:
    """Carry a ring of logistic maps (3.9, coupling .1) and its tangents by one step."""
    ring = np.eye(state.shape[-1])
    mix = 0.9 * ring + 0.05 * (np.roll(ring, 1, 0) + np.roll(ring, -1, 0))
    slopes = mix * (3.9 * (1 - 2 * state))[:, None, :]
    return (3.9 * state * (1 - state)) @ mix.T, slopes @ tangents


def rates(step: Step, start: Array, steps: int, settle: int) -> Array:
    """Return the growth of every orthonormal tangent at each step, ``(N, steps, k)``."""
    count, size = start.shape
    state, tangents = start, np.broadcast_to(np.eye(size), (count, size, size)).copy()
    out = np.empty((count, steps, size))
    for t in range(settle + steps):
        state, tangents = step(state, tangents)
        tangents, upper = np.linalg.qr(tangents)
        if t >= settle:
            out[:, t - settle] = np.log(np.abs(np.einsum("nii->ni", upper)))
    return out


def systems(orbits: int, steps: int) -> Iterator[tuple[str, Array]]:
    """Yield the name and the growth rates of each system."""
    rng = np.random.Generator(np.random.PCG64(derive(0, "batch means")))
    first = rng.normal(size=(orbits, 3)) + np.array([0.0, 0.0, 25.0])
    yield "Lorenz flow", rates(lorenz, first, steps, 1000)
    yield "coupled logistic maps", rates(coupled, rng.uniform(0.1, 0.9, (orbits, 6)), steps, 300)


def rows(name: str, found: Array, steps: int) -> Iterator[Row]:
    """Yield the errors of orbits of some length ÷ the truth of that length."""
    _, whole, exponents = found.shape
    pieces = [found[:, a : a + steps].mean(axis=1) for a in range(0, whole - steps + 1, steps)]
    truth = np.sqrt(np.mean([p.var(axis=0, ddof=1) for p in pieces], axis=0))
    cut = found[:, :steps]
    thirty = np.array([batch_means_error(one, min(30, int(steps**0.5))) for one in cut]) / truth
    now = np.array([batch_means_error(one) for one in cut]) / truth
    spread = (0.5, 0.1, 0.9)
    for place in range(exponents):
        own = (np.quantile(e[:, place], spread) for e in (thirty, now))
        yield Row(name, steps, place + 1, *own)


def main() -> None:
    """Print one row for each system, length and exponent."""
    print("| system | steps | exponent | 30 batches | several lengths |")
    print("| --- | --- | --- | --- | --- |")
    for name, found in systems(ORBITS, max(STEPS)):
        for steps in STEPS:
            for row in rows(name, found, steps):
                cells = ["{:.2f} ({:.2f} to {:.2f})".format(*e) for e in (row.thirty, row.now)]
                print(f"| {name} | {steps} | {row.exponent} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
