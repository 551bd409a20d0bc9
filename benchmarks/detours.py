"""How often the test of detours is wrong, and how often it finds one: planted forks.

``python -m benchmarks.detours [DRAWS] [SEED]``: twenty runs of sixty records and three statistics;
every other run passes through a state that the others skip. Times to converge are drawn without
regard to the way (a detour is then a false alarm), or late by a delay for those that take it.
Beside it the published rule on the same fits: the state is optional, and its occupancy has a
positive coefficient with p < 0.05 in a regression of the time to converge.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from scipy.stats import binomtest, linregress

from wingbeat.analyses.states import FittedStates, RunSeries, detours, fit_states

RUNS, RECORDS, EVERY = 20, 60, 10
DELAYS = (0.0, 50.0, 100.0, 200.0)
"""Steps; times spread over 200 steps, with a deviation of 58."""


def forking(seed: int) -> RunSeries:
    r = np.random.default_rng(seed)
    through = np.arange(RUNS) % 2 == 0
    leave = r.integers(8, 12, RUNS)
    end = np.where(through, 25, leave)
    t = np.arange(RECORDS)[None]
    state = np.where(t < leave[:, None], 0, np.where(t < end[:, None], 1, 2))
    means = np.array([[0, 0, 0], [3, -3, 0], [0, 3, 3]], dtype=float)
    x = means[state] + 0.3 * r.normal(size=(RUNS, RECORDS, 3))
    names = tuple(f"s{i}" for i in range(3))
    return RunSeries(tuple(f"r{i}" for i in range(RUNS)), names, tuple(range(0, 600, EVERY)), x)


def published(fitted: FittedStates, times: np.ndarray) -> bool:
    for k in fitted.optional:
        found = linregress(fitted.occupancy[:, k], times)
        if found.slope > 0 and found.pvalue < 0.05:
            return True
    return False


def rate(hits: list[bool]) -> str:
    found = binomtest(sum(hits), len(hits)).proportion_ci()
    return f"{np.mean(hits):6.1%} [{found.low:.1%} to {found.high:.1%}]"


def main() -> None:
    draws, first = (int(v) for v in (sys.argv[1:] + ["200", "0"][len(sys.argv) - 1 :])[:2])
    begun = time.process_time()
    ours: dict[float, list[bool]] = {d: [] for d in DELAYS}
    theirs: dict[float, list[bool]] = {d: [] for d in DELAYS}
    for seed in range(first, first + draws):
        fitted = fit_states(forking(seed), (3,), restarts=2, seed=seed)
        noise = np.random.default_rng(10_000 + seed).uniform(0, 200, RUNS)
        for delay in DELAYS:
            times = 300 + noise + delay * (np.arange(RUNS) % 2 == 0)
            ours[delay].append(any(d.verdict == "detour" for d in detours(fitted, times)))
            theirs[delay].append(published(fitted, times))
    print(f"{draws} draws, {time.process_time() - begun:.0f} s of processor time")
    for delay in DELAYS:
        print(f"delay {delay:5.0f}: {rate(ours[delay])}   published rule {rate(theirs[delay])}")


if __name__ == "__main__":
    main()
