"""All 10 exponents of a 10-dimensional map, beside lyapynov 1.0.1 in one run, as ratios.

The maps: the generalised Hénon map and a ring of logistic maps, both in 10 dimensions, both
from the same start. lyapynov is given the map and its Jacobian by hand in NumPy, as its
documentation asks; wingbeat only the map in torch. Both orthonormalise after every step; the
second figure of wingbeat is for every fifth step, which gives the same exponents. One thread;
rounds alternate and the median processor time is taken, with wingbeat's recording included.

    python -m benchmarks.lyapunov_map [--steps 20000] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lyapynov import LCE, DiscreteDS

from wingbeat.lyapunov import spectrum

N = 10
SKIPPED = 200
START = np.linspace(0.1, 0.2, N)
SHIFT = np.eye(N, k=-1)
SHIFT[0, -1] = -0.1


def henon(x: Any, _t: Any) -> Any:
    y = np.empty_like(x)
    y[0] = 1.76 - x[-2] ** 2 - 0.1 * x[-1]
    y[1:] = x[:-1]
    return y


def henon_jacobian(x: Any, _t: Any) -> Any:
    matrix = SHIFT.copy()
    matrix[0, -2] = -2 * x[-2]
    return matrix


def henon_torch(x: torch.Tensor, _t: int) -> torch.Tensor:
    return torch.cat([(1.76 - x[-2] ** 2 - 0.1 * x[-1])[None], x[:-1]])


RING = 0.9 * np.eye(N) + 0.05 * (np.roll(np.eye(N), 1, axis=0) + np.roll(np.eye(N), -1, axis=0))


def ring(x: Any, _t: Any) -> Any:
    f = 3.9 * x * (1 - x)
    return 0.9 * f + 0.05 * (np.roll(f, 1) + np.roll(f, -1))


def ring_jacobian(x: Any, _t: Any) -> Any:
    return RING * (3.9 * (1 - 2 * x))


def ring_torch(x: torch.Tensor, _t: int) -> torch.Tensor:
    f = 3.9 * x * (1 - x)
    return 0.9 * f + 0.05 * (f.roll(1) + f.roll(-1))


@dataclass(frozen=True)
class Job:
    """One map: by hand for lyapynov, in torch for wingbeat."""

    name: str
    numpy: Callable[..., Any]
    jacobian: Callable[..., Any]
    torch: Callable[..., Any]


JOBS = (
    Job("generalised Hénon, 10-D", henon, henon_jacobian, henon_torch),
    Job("ring of 10 logistic maps", ring, ring_jacobian, ring_torch),
)


def theirs(job: Job, steps: int) -> tuple[float, Any]:
    """Return processor seconds and exponents of lyapynov."""
    begin = time.process_time()
    system = DiscreteDS(START.copy(), 0, job.numpy, job.jacobian)
    found, _ = LCE(system, N, SKIPPED, steps, True)
    return time.process_time() - begin, found


def ours(job: Job, steps: int, every: int) -> tuple[float, Any]:
    """Return processor seconds and the spectrum of wingbeat."""
    begin = time.process_time()
    start = torch.from_numpy(START.copy())
    found = spectrum(job.torch, start, steps + SKIPPED, discard=SKIPPED, every=every)
    return time.process_time() - begin, found


def measure(job: Job, steps: int, rounds: int) -> dict[str, Any]:
    """Alternate the candidates; return medians, ratios and how well the exponents agree."""
    seconds: dict[str, list[float]] = {"lyapynov": [], "every=1": [], "every=5": []}
    for _ in range(rounds):
        cost, exponents = theirs(job, steps)
        seconds["lyapynov"].append(cost)
        for every in (5, 1):  # compared is the last, which orthonormalises as lyapynov does
            cost, found = ours(job, steps, every)
            seconds[f"every={every}"].append(cost)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    difference = np.abs(np.sort(exponents)[::-1] - found.exponents)
    return {
        "map": job.name,
        "steps": steps,
        "seconds": {name: round(value, 3) for name, value in middle.items()},
        "ratio": {
            name: round(middle["lyapynov"] / value, 2)
            for name, value in middle.items()
            if name != "lyapynov"
        },
        "difference_of_the_sums": float(exponents.sum() - found.exponents.sum()),
        "largest_difference": float(difference.max()),
        "largest_standard_error": float(found.errors.max()),
        "exponents": [round(float(x), 4) for x in found.exponents],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    spectrum(henon_torch, torch.from_numpy(START.copy()), 10)  # torch loads parts on first use
    found = [measure(job, options.steps, options.rounds) for job in JOBS]
    print(f"{'map':24} {'lyapynov, s':>12} {'wingbeat, s':>12} {'ratio':>6}  every")
    for row in found:
        for name, ratio in row["ratio"].items():
            theirs_, ours_ = row["seconds"]["lyapynov"], row["seconds"][name]
            print(f"{row['map']:24} {theirs_:12.3f} {ours_:12.3f} {ratio:6.2f}  {name}")
        print(
            f"    largest difference of an exponent {row['largest_difference']:.2g}, "
            f"largest standard error {row['largest_standard_error']:.2g}"
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
