"""The longer measurements of the study: orbital stability, idle weights, and loss series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wingbeat.lyapunov.series.recurrence import autocorrelation, period
from wingbeat.studies.danovski.estimates import (
    Estimates,
    curve,
    mean_of,
    median_of,
    plain,
    share_of,
)
from wingbeat.studies.danovski.experiments import (
    KERNELS,
    FollowedNets,
    moved,
    nudges,
    run_beside,
    without_one,
)
from wingbeat.studies.danovski.plan import LENGTH, DanovskiOptions
from wingbeat.studies.danovski.series import expansion_rates
from wingbeat.tasks.iris import IrisMap, initial
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray


LEVEL: Final = 0.05
"""An L_w ÷ L nearer to 1 than this: the weight does not matter."""
PUBLISHED_LAGS: Final = (-0.28, -0.32, 0.17)
"""Autocorrelation of the paper's loss series at lags 1, 2 and 3."""
LAGS: Final = 12
_SHOWN = 120


def followed(
    options: DanovskiOptions, step: IrisMap, steps: int = LENGTH, every: int = 1
) -> FollowedNets:
    """Follow nudged copies of the initialisations of a measurement."""
    starts = initial(range(options.inits))
    nudged = nudges(options.epsilon, options.inits, options.perturbations)
    return run_beside(step, starts, nudged, steps, every)


def measure_orbit(options: DanovskiOptions, step: IrisMap) -> Estimates:
    """Follow nudged copies from the start, and others from a late update on.

    ``late_ratio`` is d at the end ÷ d after the late nudge: below 1 the copies come back.
    """
    every = max((options.steps - options.late) // 20, 1)
    early = followed(options, step, options.steps, every)
    there = step.advance(initial(range(options.inits)), options.late)
    nudged = nudges(options.epsilon, options.inits, options.perturbations, seed=1)
    after = run_beside(step, there, nudged, options.steps - options.late, every)
    size = options.epsilon
    grown = {n: relative(f.distances, size) for n, f in (("early", early), ("late", after))}
    # Of an initialisation's copies the one that comes nearest to the reference again.
    nearest = (after.distances[..., -1] / after.distances[..., 0]).min(axis=1)
    essential = after.essential[..., -1].mean(1) / after.essential[..., 0].mean(1)
    found: Estimates = {}
    for name, values in grown.items():
        found[f"{name}_start"] = mean_of(values[:, 0])
        found[f"{name}_end"] = mean_of(values[:, -1])
        found[f"{name}_largest"] = plain(float(values.max()), options.inits)
        steps = early.steps if name == "early" else options.late + after.steps
        found |= curve(name, steps, columns(values))
    found["late_ratio"] = mean_of(grown["late"][:, -1] / grown["late"][:, 0])
    found["late_ratio_essential"] = mean_of(essential)
    found["late_ratio_least"] = plain(float(nearest.min()), options.inits)
    return found


def measure_weights(options: DanovskiOptions, step: IrisMap) -> Estimates:
    """Compare the way of each weight with how far it got, and take out one at a time."""
    went = moved(step, initial(range(options.inits)), options.steps)
    ratios = without_one(step, went.final)
    x, y = np.log(went.path), np.log(went.displacement)
    slopes = [np.polyfit(a, b, 1)[0] for a, b in zip(x, y, strict=True)]
    agreement = [np.corrcoef(a, b)[0, 1] for a, b in zip(x, y, strict=True)]
    at = np.argsort(went.path.ravel())[:: max(1, went.path.size // 250)]
    points = [plain(float(v)) for v in went.displacement.ravel()[at]]
    counts, edges = np.histogram(ratios, bins=[0.0, *np.arange(0.75, 4.01, 0.1), np.inf])
    middles = [0.7, *(0.8 + 0.1 * i for i in range(len(edges) - 3)), 4.1]
    return {
        "displacement": mean_of(went.total),
        "displacement_least": plain(float(went.total.min()), options.inits),
        "displacement_most": plain(float(went.total.max()), options.inits),
        "norm_start": mean_of(went.start),
        "norm_end": mean_of(went.end),
        "log_slope": mean_of(slopes),
        "log_correlation": mean_of(agreement),
        "weight_least": plain(float(went.displacement.min())),
        "weight_most": plain(float(went.displacement.max())),
        "irrelevant": mean_of((np.abs(ratios - 1) < LEVEL).mean(axis=1)),
        "within_half": mean_of((np.abs(ratios - 1) < 10 * LEVEL).mean(axis=1)),
        "loss_ratio_median": median_of(np.median(ratios, axis=1)),
        "loss_ratio_most": plain(float(ratios.max()), options.inits),
        "loss_ratio_least": plain(float(ratios.min()), options.inits),
        **curve("displacement", [float(v) for v in went.path.ravel()[at]], points),
        **curve("loss_ratio", middles, [plain(c / ratios.size) for c in counts]),
    }


def measure_series(options: DanovskiOptions, step: IrisMap) -> Estimates:
    """Look for periods and recurrences in the training loss after the transient."""
    losses = step.losses(initial(range(options.inits)), options.steps).numpy()
    tail = losses[:, options.late :]
    lags = np.array([autocorrelation(x, longest=LAGS, shuffles=20).values for x in tail])
    lags = lags[np.isfinite(lags).all(axis=1)]
    null = [autocorrelation(x, longest=3, shuffles=50) for x in tail[:1]]
    periods = np.array([period(x, tolerance=1e-3).period for x in tail])
    away = np.abs(lags[:, :3] - np.array(PUBLISHED_LAGS)).max(axis=1)
    found: Estimates = {f"lag_{i + 1}": mean_of(lags[:, i]) for i in range(3)}
    nearest = lags[away.argmin()] if len(lags) else np.full(LAGS, np.nan)
    found |= {f"nearest_lag_{i + 1}": plain(float(nearest[i])) for i in range(3)}
    found |= {
        "nearest_init": plain(float(away.argmin())) if len(lags) else plain(np.nan),
        "null_high": plain(null[0].high),
        "lags_defined": share_of(np.ptp(tail, axis=1) > 0),
        "constant": share_of(periods == 1),
        "period_3": share_of((periods > 0) & (periods % 3 == 0)),
        "periodic": share_of(periods > 1),
        "irregular": share_of(periods == 0),
        "stuck_at_ln3": share_of(np.abs(tail[:, -100:] - np.log(3)).max(axis=1) < 1e-2),
        "loss_least": plain(float(tail.min()), options.inits),
        "loss_most": plain(float(tail.max()), options.inits),
    }
    found |= curve(
        "acf", np.arange(1, LAGS + 1), columns(lags) if len(lags) else [plain(np.nan)] * LAGS
    )
    for place, row in _shown(periods).items():
        found |= curve(
            f"loss {place}", _at(options), [plain(float(v)) for v in losses[row][_at(options)]]
        )
    return found | _expansion(tail[periods != 1])


def _at(options: DanovskiOptions) -> NDArray[np.int64]:
    """The updates whose losses are kept for a figure: 120 in a row."""
    return np.arange(options.steps - _SHOWN, options.steps)


def _shown(periods: NDArray[np.int64]) -> dict[str, int]:
    """Return one initialisation of each kind: the first of period 3, and the first irregular."""
    kinds = {"of period 3": periods == 3, "without a period": periods == 0}
    return {name: int(hits.argmax()) for name, hits in kinds.items() if hits.any()}


def _expansion(tail: Array) -> Estimates:
    """Rates of the series that have not settled to one value."""
    each = [expansion_rates(x) for x in tail]
    rates = np.concatenate([np.empty(0), *(e.rates for e in each)])
    defined = [e for e in each if e.rates.size]
    counts, edges = np.histogram(rates, bins=np.arange(-0.5, 2.51, 0.05))
    size = max(int(rates.size), 1)
    return {
        "expansion_defined": share_of([e.rates.size > 0 for e in each]),
        "expansion_mode": plain(float(0.5 * (edges[counts.argmax()] + edges[counts.argmax() + 1])))
        if rates.size
        else plain(np.nan),
        "expansion_median": median_of([np.median(e.rates) for e in defined]),
        "expansion_positive": mean_of([(e.rates > 0).mean() for e in defined]),
        "expansion_most": plain(float(rates.max())) if rates.size else plain(np.nan),
        **curve("expansion", 0.5 * (edges[1:] + edges[:-1]), [plain(c / size) for c in counts]),
    }


def relative(distances: Array, epsilon: float) -> Array:
    """Return the mean over perturbations of d ÷ (εN) ``(inits, T)``."""
    found: Array = distances.mean(axis=1) / (epsilon * KERNELS)
    return found


def columns(values: Array) -> list[dict[str, Any]]:
    """Return the mean of each column with its interval."""
    return [mean_of(column) for column in values.T]
