"""From recorded weights to numbers, each with its interval or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, log, nan
from typing import Any, Final

import numpy as np

from wingbeat import metrics
from wingbeat.deep_lyapunov.config import MetricsConfig
from wingbeat.deep_lyapunov.metrics.dimensionality import windows
from wingbeat.deep_lyapunov.metrics.lyapunov import compute_lyapunov_exponent
from wingbeat.deep_lyapunov.results import AnalysisResults
from wingbeat.errors import (
    BELOW_NOISE_FLOOR,
    DIVERGED,
    NOT_TRAINED,
    TOO_FEW_REPLICAS,
    RequestError,
)
from wingbeat.metrics.blocks import BLOCK_NUMBERS
from wingbeat.stats import VERDICT_LEVEL, Estimate, verdict
from wingbeat.typing import Array, Vector

LEGACY_COMPONENTS: Final = 3
LEGACY_BYTES: Final = 1 << 28
"""The legacy ratio needs all points in one array; it is left out above this size."""


@dataclass(frozen=True)
class Recording:
    """Recorded weights: ``vectors[t][i]`` are the ``(P,)`` weights of trajectory i at ``times[t]``.

    ``trained`` says whether the weights could have moved at all; where they did not, ratio and
    exponent have no value.
    """

    vectors: tuple[tuple[Vector, ...], ...]
    times: tuple[float, ...]
    trained: bool = True

    def __post_init__(self) -> None:
        sizes = {v.size for row in self.vectors for v in row}
        if len(sizes) != 1 or 0 in sizes:
            raise RequestError(
                f"the trajectories have {sorted(sizes)} weights; all need the same number above 0"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Checkpoints, trajectories, parameters."""
        return len(self.vectors), len(self.vectors[0]), self.vectors[0][0].size


def assess(recording: Recording, components: int, config: MetricsConfig) -> AnalysisResults:
    """Compute every number of a result but those of the training function.

    Reads the recorded weights a few parameters at a time: beside them it needs the
    (T·N)² inner products, and for the legacy ratio one copy of them up to 256 MiB.

    >>> rows = ((np.zeros(2), np.ones(2)), (np.zeros(2), np.full(2, 3.0)))
    >>> round(assess(Recording(rows, (0.0, 1.0)), 2, MetricsConfig()).convergence_ratio, 6)
    3.0
    """
    t, n, p = recording.shape
    near = np.stack([metrics.gram(_columns(row), centre="mean") for row in recording.vectors])
    spread = metrics.spread_from_gram(near)
    ratio, reason = _ratio(recording, near, spread, config)
    scores, shares, dimension, whole = _shape(recording, components)
    span = recording.times[-1] - recording.times[0]
    legacy = _legacy(recording, whole, spread, components)
    rates = [log(x) / span if x > 0 else nan for x in (ratio.value, ratio.low, ratio.high)]
    untrained = reason in (NOT_TRAINED, TOO_FEW_REPLICAS)
    return AnalysisResults(
        convergence_ratio=ratio.value,
        lyapunov=rates[0],
        behavior=_verdict(near, ratio, config),
        spread_evolution=np.full(t, nan) if untrained else spread,
        pca_trajectories=scores,
        pca_explained_variance=shares,
        effective_dimensionality=dimension,
        n_trajectories=n,
        n_checkpoints=t,
        n_parameters=p,
        reason=reason,
        interval_reason=ratio.interval_reason,
        convergence_interval=(ratio.low, ratio.high),
        lyapunov_interval=(rates[1], rates[2]),
        lyapunov_slope=nan if reason else _slope(recording.times, spread, config),
        early_late_ratio=nan if reason else metrics.early_late_ratio(recording.times, spread),
        spread_interval=_band(near, spread) if not untrained else np.full((t, 2), nan),
        checkpoint_epochs=np.array(recording.times),
        **({} if untrained else legacy),
    )


def _ratio(
    recording: Recording, near: Array, spread: Array, config: MetricsConfig
) -> tuple[Estimate, str]:
    """Return last ÷ first spread with its interval, and the reason if it is undefined."""
    n = near.shape[-1]
    reason = ""
    if not recording.trained:
        reason = NOT_TRAINED
    elif n < 2:
        reason = TOO_FEW_REPLICAS
    elif not np.isfinite(spread[[0, -1]]).all():
        reason = DIVERGED
    elif spread[0] == 0.0:
        reason = BELOW_NOISE_FLOOR
    if reason:
        return Estimate.undefined(reason), reason
    if not config.use_robust_estimators:
        return Estimate(metrics.ratio_of(float(spread[0]), float(spread[-1]))), ""

    return metrics.spread_ratio([(near[0], near[-1])]), ""


def _verdict(near: Array, ratio: Estimate, config: MetricsConfig) -> str:
    """Judge the ratio; with intervals at the level of verdicts, which is above the ratio's own."""
    limit = config.convergence_threshold
    if not isfinite(ratio.value):
        return "undetermined"
    if config.use_robust_estimators:
        wide = metrics.spread_ratio([(near[0], near[-1])], level=VERDICT_LEVEL)
        return verdict(Estimate(wide.value / limit, wide.low / limit, wide.high / limit))
    return "convergent" if ratio.value < limit else "divergent"


def _slope(times: Sequence[float], spread: Array, config: MetricsConfig) -> float:
    """Return the least-squares slope of ln spread over the first intervals."""
    used = slice(0, config.lyapunov_window + 1)
    return metrics.finite_time(times[used], spread[used]).slope


def _band(near: Array, spread: Array) -> Array:
    """Return the 95 % interval of each spread, ``(T, 2)``, as a run has it; NaN below 3 copies."""
    n = near.shape[-1]
    if n < 3:
        return np.full((len(near), 2), nan)
    found = [metrics.spread_interval(g) for g in near]
    # It is that of the root of the variance divided by N - 1; the spread here divides by N.
    bounds = np.array([(one.low, one.high) for one in found]) * ((n - 1) / n) ** 0.5
    return np.where(np.isfinite(spread)[:, None], bounds, nan)


def _shape(recording: Recording, components: int) -> tuple[Array, Array, float, Array | None]:
    """Return scores, shares, dimension, and the Gram matrix of all points if all are finite.

    Points that are not finite are left out of the components and have NaN scores.
    """
    t, n, p = recording.shape
    flat = [v for row in recording.vectors for v in row]
    finite = np.array([bool(np.isfinite(v).all()) for v in flat])
    k = min(components, t * n, p)
    scores, shares = np.full((t * n, k), nan), np.full(k, nan)
    if not finite.any():
        return scores.reshape(t, n, k), shares, nan, None
    g = metrics.gram(_columns([v for v, ok in zip(flat, finite, strict=True) if ok]))
    some = min(k, len(g))
    pca = metrics.trajectory_pca(g, some, precomputed=True)
    scores[finite, :some], shares[:some] = pca.scores, pca.explained
    grid = np.cumsum(finite).reshape(t, n) - 1
    kept = finite.reshape(t, n)
    dimensions = []
    for w in windows(t):
        rows = grid[w][kept[w]]
        if rows.size:
            dimensions.append(metrics.participation_ratio(g[np.ix_(rows, rows)], precomputed=True))
    defined = [d for d in dimensions if isfinite(d)]
    dimension = float(np.mean(defined)) if defined else nan
    return scores.reshape(t, n, k), shares, dimension, g if finite.all() else None


def _legacy(
    recording: Recording, whole: Array | None, spread: Array, components: int
) -> dict[str, Any]:
    """Return what deep-lyapunov 0.1.2 gives for the same weights, where it gives numbers."""
    t, n, p = recording.shape
    if whole is None or n < 2 or t < 2:
        return {}
    k = min(LEGACY_COMPONENTS, components, p)  # fewer where fewer were asked for, as there
    seen = metrics.projected_spread_from_gram(whole, n, k, full=spread)
    first = recording.vectors[0][0]
    small = t * n * p * first.itemsize <= LEGACY_BYTES
    ratio = metrics.legacy_ratio(np.array(recording.vectors), k) if small else nan
    return {
        "legacy_convergence_ratio": ratio,
        "legacy_lyapunov": compute_lyapunov_exponent(seen.spread, 0),
        "legacy_spread_evolution": seen.spread,
        "legacy_variance_kept": seen.kept,
    }


def _columns(vectors: Sequence[Vector]) -> Iterator[Vector]:
    """Yield ``(n, p)`` blocks of vectors without joining them as a whole."""
    width = max(1, BLOCK_NUMBERS // len(vectors))
    for start in range(0, vectors[0].size, width):
        yield np.stack([v[start : start + width] for v in vectors])
