"""The measurements of the study, from a finished run of the engine beside them to estimates."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wingbeat.lyapunov.series.nmle import Nmle, nmle
from wingbeat.studies.danovski.estimates import (
    Estimates,
    curve,
    mean_of,
    median_of,
    plain,
    share_of,
)
from wingbeat.studies.danovski.experiments import Renormalised, first_reached, renormalised
from wingbeat.studies.danovski.orbits import (
    columns,
    followed,
    measure_orbit,
    measure_series,
    measure_weights,
    relative,
)
from wingbeat.studies.danovski.plan import LENGTH, SHARE, DanovskiOptions
from wingbeat.tasks.iris import IrisMap, initial, map_error

if TYPE_CHECKING:
    from wingbeat.execution.result import Result

CALM: Final = 5e-4
"""Exponents below this in size count as none."""
CHAOTIC: Final = 5e-3
"""Exponents above this count as chaos: five times the largest at η = 0.01, and more."""
_POINTS = 60


def measure(result: Result) -> Estimates:
    """Return the estimates of the condition that a result belongs to.

    The engine's run of the same net is compared with the bulk map first: ``map_error`` is the
    largest difference of a weight over 5 updates, ``map_null`` the distance of two equal nets
    in different rows of a batch.
    """
    arguments: dict[str, Any] = result.condition["factory"]["arguments"]
    options = DanovskiOptions(**arguments)
    found = {
        "map_error": plain(map_error(result.trajectory, options.eta)),
        "map_null": plain(null_distance(options.eta)),
    }
    return found | measured(options)


def null_distance(eta: float, steps: int = LENGTH) -> float:
    """Return how far equal nets in different rows part, at most; 0 = execution repeats.

    >>> null_distance(1.0, 20)
    0.0
    """
    start = initial([0, 1, 0, 2, 1, 0, 0])
    end = IrisMap(eta).advance(start, steps)
    return float((end[[2, 5, 6]] - end[0]).abs().max())


def measured(options: DanovskiOptions) -> Estimates:
    """Return the estimates of one measurement, without the engine's run beside it.

    >>> found = measured(DanovskiOptions("nmle", 0.01, 3, 200, 1e-8, 2))
    >>> found["nmle"]["reason"], found["accepted"]["value"]
    ('no_linear_region', 0.0)
    """
    step = IrisMap(options.eta)
    found: Estimates = {
        "nmle": _measure_nmle,
        "renormalised": _measure_renormalised,
        "orbit": measure_orbit,
        "weights": measure_weights,
        "series": measure_series,
        "accuracy": _measure_accuracy,
    }[options.experiment](options, step)
    return found


@lru_cache(maxsize=2)
def _orbits(eta: float, inits: int, steps: int) -> Renormalised:
    """The same for every size of nudge."""
    return renormalised(IrisMap(eta), initial(range(inits)), steps)


def _measure_nmle(options: DanovskiOptions, step: IrisMap) -> Estimates:
    apart = followed(options, step, options.steps)
    fitted = nmle(apart.distances)
    orbits = _orbits(options.eta, options.inits, options.steps)
    at = np.unique(np.linspace(0, options.steps, _POINTS).astype(int))
    grown = relative(apart.distances, options.epsilon)[:, at]
    return _fit(fitted) | _beside(fitted, orbits) | curve("distance", at, columns(np.log(grown)))


def _fit(fitted: Nmle) -> Estimates:
    kept = fitted.slopes[fitted.accepted]
    return {
        "nmle": mean_of(kept, fitted.reason),
        "nmle_sd": plain(fitted.deviation, len(kept), fitted.reason),
        "accepted": share_of(fitted.accepted),
        "window_start": mean_of(fitted.windows[fitted.accepted, 0], fitted.reason),
        "window_width": mean_of(fitted.windows[fitted.accepted, 1], fitted.reason),
    }


def _beside(fitted: Nmle, orbits: Renormalised) -> Estimates:
    """What the renormalised exponent says of the same nets, in the same windows and over all."""
    rows = np.flatnonzero(fitted.accepted)
    windows = [(int(i), *map(int, fitted.windows[i])) for i in rows]
    same = [orbits.logs[i, m : m + w - 1].mean() for i, m, w in windows]
    whole = orbits.logs.mean(axis=1)
    return {
        "renormalised_same_window": mean_of(same, fitted.reason),
        "renormalised_accepted": mean_of(whole[rows], fitted.reason),
        "renormalised_all": mean_of(whole),
    }


def _measure_renormalised(options: DanovskiOptions, step: IrisMap) -> Estimates:
    starts, total, late = initial(range(options.inits)), options.steps, options.late
    orbits = renormalised(step, starts, total)
    # One name for each: a short study may end at 1000.
    windows = {(0, 100), (0, 200), (0, 1000), (0, total), (late, total)}
    found: Estimates = {}
    for first, last in sorted(w for w in windows if w[1] <= total):
        name = f"{first}-{last}"
        found[f"exponent_{name}"] = mean_of(orbits.over(first, last))
        found[f"sd_{name}"] = plain(float(orbits.over(first, last).std()), options.inits)
        found[f"essential_{name}"] = mean_of(orbits.essential_over(first, last))
    block = max(total // 50, 20)
    edges = np.arange(0, total - block + 1, block)
    rates = np.stack([orbits.over(int(a), int(a) + block) for a in edges], axis=1)
    after = orbits.over(late, total)
    found |= {
        "late_calm": share_of(np.abs(after) < CALM),
        "late_positive": share_of(after > CHAOTIC),
        "late_largest": plain(float(after.max()), options.inits),
        "early_positive": share_of(orbits.over(0, LENGTH) > CHAOTIC),
        "accuracy_end": mean_of(step.accuracy(orbits.final).numpy()),
    }
    return found | curve("rate", edges + block / 2, columns(rates))


def _measure_accuracy(options: DanovskiOptions, step: IrisMap) -> Estimates:
    starts = initial(range(options.inits))
    times = first_reached(step, starts, options.steps, SHARE)
    orbits = renormalised(step, starts[: max(3, options.inits // 3)], LENGTH)
    nudged = DanovskiOptions(
        "nmle", options.eta, options.inits, LENGTH, options.epsilon, options.perturbations
    )
    fitted = nmle(followed(nudged, step).distances)
    return {
        "time": median_of(times),
        "reached": share_of(np.isfinite(times)),
        "renormalised": mean_of(orbits.over(0, LENGTH)),
        "nmle": mean_of(fitted.slopes[fitted.accepted], fitted.reason),
        "accepted": share_of(fitted.accepted),
    }
