"""The scalars of a run with their intervals: over replicas, or over base seeds if several."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.errors import (
    BELOW_NOISE_FLOOR,
    DIVERGED,
    METRIC_NOT_FINITE,
    NOT_RESAMPLED,
    TOO_FEW_POINTS,
    TOO_FEW_REPLICAS,
)
from wingbeat.metrics import (
    early_late_ratio,
    finite_time,
    finite_time_slopes,
    fit_window,
    mean_rate,
    participation_ratio,
    spread_from_gram,
    spread_ratio,
)
from wingbeat.stats import VERDICT_LEVEL, Estimate, Scale, bootstrap, verdict
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from wingbeat.measure.context import Scalar
    from wingbeat.measure.exponents import Saturation
    from wingbeat.metrics.projection import ProjectedSpread


@dataclass(frozen=True)
class PerturbationStatistics:
    """What one perturbation of one base seed comes down to.

    Attributes:
        seed: base seed.
        steps: recorded steps since the fork, (T,).
        distances: to the reference, (T, N).
        grams: Gram matrices of the replicas about one of them, (T, N, N), over the tensors that
            do not move by rounding alone.
        projected: spread in the leading components.
        floor: noise floor of the run.
        saturation: where growth ends.
        disagreement: with the reference at the end, (N,); None if not measured.
        steps_per_epoch: of the task.
        scalars: further values of the replicas at the end, (N,) each, by name in the summary.
        numbers: further values of the perturbation as a whole, by name in the summary.
        all_grams: as ``grams``, over all tensors; None where none was left out.
        projections: whether a metric asked for leading components.
    """

    seed: int
    steps: NDArray[np.int64]
    distances: Array
    grams: Array
    projected: ProjectedSpread | None
    floor: float
    saturation: Saturation
    disagreement: Array | None
    steps_per_epoch: int
    scalars: Mapping[str, Scalar] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    all_grams: Array | None = None
    projections: bool = True


def summarise(facts: Sequence[PerturbationStatistics]) -> dict[str, Estimate]:
    """Return the scalars of one perturbation over all base seeds."""
    slope, r2 = _exponent(facts)
    epochs = facts[0].steps_per_epoch
    found = {
        "convergence_ratio": _ratio(facts),
        "lyapunov": slope,
        "lyapunov_per_epoch": _scaled(slope, epochs),
        "lyapunov_two_point": _two_point(facts),
        "lyapunov_r2": r2,
        "early_late_ratio": _mean_of(facts, _early_late, _why_no_rates(facts)),
        "participation_ratio": _mean_of(facts, _participation, _why_no_end(facts)),
        "initial_l2": _mean_distance(facts, 0),
        "final_l2": _mean_distance(facts, -1),
        "saturation_distance": _mean_of(facts, lambda f: f.saturation.distance, DIVERGED),
    }
    if all(f.projections for f in facts):
        found["convergence_ratio_projected"] = _projected(facts)
    if any(f.all_grams is not None for f in facts):
        found["convergence_ratio_all"] = _ratio([replace(f, grams=_whole(f)) for f in facts])
    if all(f.disagreement is not None for f in facts):
        values = np.concatenate([f.disagreement for f in facts if f.disagreement is not None])
        found["final_disagreement"] = _within(_mean(values, facts), 0.0, 1.0)
    return found | _growth(facts) | _further(facts)


def _whole(fact: PerturbationStatistics) -> Array:
    return fact.grams if fact.all_grams is None else fact.all_grams


def _further(facts: Sequence[PerturbationStatistics]) -> dict[str, Estimate]:
    """Return means of what was measured besides, where every base seed has it."""
    found = {}
    for name, one in facts[0].scalars.items():
        if all(name in f.scalars for f in facts):
            values = np.concatenate([f.scalars[name].values for f in facts])
            estimate = _mean(values, facts, why=one.reason)
            found[name] = _within(estimate, one.low, one.high)
    for name in facts[0].numbers:
        if all(name in f.numbers for f in facts):
            whole = all(np.isfinite(f.distances).all() for f in facts)
            why = METRIC_NOT_FINITE if whole else DIVERGED
            why = TOO_FEW_REPLICAS if facts[0].distances.shape[1] < 2 else why
            found[name] = _mean_of(facts, lambda f, key=name: f.numbers[key], why)
    return found


def behavior(facts: Sequence[PerturbationStatistics], ratio: Estimate) -> dict[str, Any]:
    """Return the word in the form of the summary, with the interval that it rests on.

    It asks for more than the ratio's interval of 95 %: see `wingbeat.stats.VERDICT_LEVEL`.
    """
    reason = ratio.reason or ratio.interval_reason
    if ratio.reason:
        return {"value": verdict(ratio), "low": None, "high": None, "reason": reason}
    wide = spread_ratio([(f.grams[0], f.grams[-1]) for f in facts], level=VERDICT_LEVEL)
    return {**wide.to_json(), "value": verdict(wide), "reason": reason}


def _growth(facts: Sequence[PerturbationStatistics]) -> dict[str, Estimate]:
    """Return how many copies there are, how many grew, and by which factors.

    A copy has grown that ends further from the reference than it began and above the noise
    floor; one that broke down (not finite) has.
    """
    first = np.concatenate([f.distances[0] for f in facts])
    last = np.concatenate([np.nan_to_num(f.distances[-1], nan=np.inf) for f in facts])
    floor = max([0.0, *(f.floor for f in facts if np.isfinite(f.floor))])
    grown = float(((last > first) & (last > floor)).sum())
    begun = bool(np.isfinite(first).all())
    found = {
        "copies": Estimate(float(len(first))),
        "copies_grown": Estimate(grown) if begun else Estimate.undefined(DIVERGED),
    }
    why = "" if np.isfinite(last).all() and begun else DIVERGED
    why = why or ("" if (first > floor).all() else BELOW_NOISE_FLOOR)
    for name, end in (("smallest", np.min), ("largest", np.max)):
        one = Estimate.undefined(why) if why else Estimate(float(end(last / first)))
        found[f"growth_{name}"] = one
    return found


def _groups(facts: Sequence[PerturbationStatistics]) -> list[int]:
    return [f.seed for f in facts for _ in range(f.distances.shape[1])]


def _ratio(facts: Sequence[PerturbationStatistics]) -> Estimate:
    reason = _why_no_ratio(facts)
    if reason:
        return Estimate.undefined(reason)

    return spread_ratio([(fact.grams[0], fact.grams[-1]) for fact in facts])


def _why_no_ratio(facts: Sequence[PerturbationStatistics]) -> str:
    for fact in facts:
        if len(fact.steps) < 2:
            return TOO_FEW_POINTS
        if fact.grams.shape[-1] < 2:
            return TOO_FEW_REPLICAS
        ends = spread_from_gram(fact.grams[[0, -1]])
        if not np.isfinite(ends).all():
            return DIVERGED
        if (ends <= fact.floor).any():
            return BELOW_NOISE_FLOOR
    return ""


def _why_no_end(facts: Sequence[PerturbationStatistics]) -> str:
    """Return why the last step says nothing about how replicas lie to each other."""
    for fact in facts:
        if fact.grams.shape[-1] < 2:
            return TOO_FEW_REPLICAS
        if not np.isfinite(fact.grams[-1]).all():
            return DIVERGED
    return BELOW_NOISE_FLOOR


def _why_no_rates(facts: Sequence[PerturbationStatistics]) -> str:
    reason = _why_no_end(facts)
    short = reason == BELOW_NOISE_FLOOR and min(len(f.steps) for f in facts) < 3
    return TOO_FEW_POINTS if short else reason


def _projected(facts: Sequence[PerturbationStatistics]) -> Estimate:
    reason = _why_no_ratio(facts)
    if reason:
        return Estimate.undefined(reason)
    ratios = [f.projected.ratio if f.projected else np.nan for f in facts]
    if not np.isfinite(ratios).all() or min(ratios) <= 0:
        return Estimate.undefined(BELOW_NOISE_FLOOR)
    value = float(np.exp(np.mean(np.log(ratios))))
    return Estimate(value, interval_reason=NOT_RESAMPLED)


def _exponent(facts: Sequence[PerturbationStatistics]) -> tuple[Estimate, Estimate]:
    """Return slope and quality of the fit of ln distance against step before saturation."""
    slopes, quality, ends = [], [], []
    for fact in facts:
        floor, end = fact.floor, fact.saturation.distance
        window = fit_window(fact.steps, fact.distances, floor=floor, saturation=end)
        if window.reason:
            return Estimate.undefined(window.reason), Estimate.undefined(window.reason)
        logs = np.log(fact.distances[window.used])
        slopes.append(finite_time_slopes(fact.steps[window.used], logs, np.eye(logs.shape[1])))
        ends.append(fact.grams[window.used][[0, -1]])
        quality.append(finite_time(fact.steps, fact.distances, floor=floor, saturation=end).r2)
    flat = np.isnan(quality).any()
    r2 = (
        Estimate.undefined("constant")
        if flat
        else Estimate(float(np.mean(quality)), interval_reason=NOT_RESAMPLED)
    )
    return _mean_rate(slopes, ends, facts), r2


def _two_point(facts: Sequence[PerturbationStatistics]) -> Estimate:
    values = []
    for fact in facts:
        first, last = fact.distances[0], fact.distances[-1]
        if len(fact.steps) < 2:
            return Estimate.undefined(TOO_FEW_POINTS)
        if not (np.isfinite(first).all() and np.isfinite(last).all()):
            return Estimate.undefined(DIVERGED)
        if (first <= fact.floor).any() or (last <= fact.floor).any():
            return Estimate.undefined(BELOW_NOISE_FLOOR)
        values.append(np.log(last / first) / (fact.steps[-1] - fact.steps[0]))
    return _mean_rate(values, [fact.grams[[0, -1]] for fact in facts], facts)


def _mean_rate(
    rates: Sequence[Array], ends: Sequence[Array], facts: Sequence[PerturbationStatistics]
) -> Estimate:
    """Return the mean rate of all copies; those of one base seed are skewed, as their Grams say."""
    if len(facts) == 1 and np.isfinite(rates[0]).all():
        return mean_rate(rates[0], *ends[0])
    return _mean(np.concatenate(rates), facts)


def _mean_distance(facts: Sequence[PerturbationStatistics], place: int) -> Estimate:
    values = np.concatenate([f.distances[place] for f in facts])
    floor = max(f.floor for f in facts)
    if floor > 0 and (values <= floor).any():
        return Estimate.undefined(BELOW_NOISE_FLOOR)
    return _mean(values, facts, log=bool((values > 0).all()))


def _within(estimate: Estimate, low: float, high: float) -> Estimate:
    """Cut an interval to the range that its quantity can have."""
    ends = np.clip([estimate.low, estimate.high], low, high)  # NaN stays NaN
    return replace(estimate, low=float(ends[0]), high=float(ends[1]))


def _mean(
    values: Array,
    facts: Sequence[PerturbationStatistics],
    *,
    log: bool = False,
    why: str = DIVERGED,
) -> Estimate:
    if not np.isfinite(values).all():
        return Estimate.undefined(why)
    groups = _groups(facts)
    scale: Scale = "log" if log else "linear"
    return bootstrap(lambda w: w @ values / w.sum(axis=1), len(groups), groups=groups, scale=scale)


def _mean_of(facts: Sequence[PerturbationStatistics], statistic: Any, reason: str) -> Estimate:
    """Return the mean over base seeds of a number that has no interval within one seed."""
    values = np.array([statistic(f) for f in facts], dtype=float)
    if not np.isfinite(values).all():
        return Estimate.undefined(reason)
    if len(values) < 3:
        return Estimate(float(values.mean()), interval_reason=NOT_RESAMPLED)
    return bootstrap(lambda w: w @ values / w.sum(axis=1), len(values))


def _early_late(fact: PerturbationStatistics) -> float:
    if len(fact.steps) < 3:
        return float("nan")
    size = spread_from_gram(fact.grams)
    return float(early_late_ratio(fact.steps, np.where(size <= fact.floor, 0.0, size)))


def _participation(fact: PerturbationStatistics) -> float:
    if fact.grams.shape[-1] < 2 or spread_from_gram(fact.grams[-1]) <= fact.floor:
        return float("nan")
    return participation_ratio(fact.grams[-1], precomputed=True)


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(
        estimate.value * factor,
        estimate.low * factor,
        estimate.high * factor,
        estimate.reason,
        estimate.interval_reason,
    )
