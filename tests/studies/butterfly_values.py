"""Made-up values of the spawn-and-perturb study."""

from __future__ import annotations

from typing import Any

import pandas as pd

from wingbeat.studies.butterfly.found import VALUES


def table_of(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """Values of the standard recipe: kind, size, time, seed, replica, quantity, value."""
    full = [("standard", k, s, t, 0, seed, str(r), q, v, "") for k, s, t, seed, r, q, v in rows]
    return pd.DataFrame(full, columns=list(VALUES))


def made(height: dict[float, float], spread: float = 0.05, seeds: int = 3) -> pd.DataFrame:
    """Barriers that depend on time only, a little different for each base seed and replica."""
    rows = []
    for (time, value), size in ((p, s) for p in height.items() for s in (0.001, 0.01, 0.1)):
        for seed in range(seeds):
            for replica in (1, 2, 3):
                factor = 1 + spread * (seed - 1) * (1 + time + size) + 0.01 * replica
                here = value * factor
                l2 = (10 + 3 * here) * size**0.1
                rows += [
                    ("gaussian", size, time, seed, replica, "barrier_train", here),
                    ("gaussian", size, time, seed, replica, "l2", l2),
                    ("gaussian", size, time, seed, replica, "l2_start", 50 * size),
                ]
                if time == 0 and size == 0.01:
                    rows.append(("single", size, time, seed, replica, "barrier_train", here))
    return table_of(*rows)
