"""Numbers and verdicts in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from wingbeat import errors
from wingbeat.report.result_access import Entry, ResultLike, entry, first_name, text_value

REASON_TEXT: Final[Mapping[str, str]] = {
    errors.BELOW_NOISE_FLOOR: "it is not larger than the noise floor",
    errors.DIVERGED: "a replica has weights or a loss that are not finite",
    errors.TOO_FEW_POINTS: "too few steps were recorded",
    errors.TOO_FEW_REPLICAS: "there are too few replicas",
    errors.SATURATED: "the distance left the linear range too early",
    errors.CONSTANT: "the quantity it is divided by is exactly zero",
    errors.NO_VARIATION: "all values are the same, which bounds nothing",
    errors.NOT_YET_FORKED: "the replica did not exist yet",
    errors.NO_PREDICTIONS: "the task gives no class predictions",
    errors.TOO_FEW_SEEDS: "there are too few base seeds",
    errors.NOT_TRAINED: "the copies were not trained",
    errors.NOT_RESAMPLED: "it is one number for each base seed",
    errors.TOO_FEW_EXPONENTS: "too few exponents were computed to reach it",
    errors.OVERFLOW: "a tangent vector left the range of its type",
    errors.NO_LINEAR_REGION: "the growth follows no line anywhere",
    errors.TOO_FEW_BATCHES: "there are too few batches of evaluation data",
    errors.NO_THRESHOLD: "no stability threshold is known for this optimizer",
    errors.TOO_FEW_CONDITIONS: "there are too few conditions with both quantities",
    errors.NO_TWIN: "there is no unperturbed twin",
    errors.NOT_MATCHED: "no condition differs in this axis alone",
    errors.NOT_REACHED: "it had not happened by the end",
    errors.TOO_FEW_SAMPLES: "there are too few samples",
    errors.UNDECIDED: "the replicates do not decide at the stated confidence",
    errors.NO_PERMUTATIONS: "the model's permutation symmetries could not be found",
    errors.SHARED_NORMALISATION: "a batch normalisation runs several times in one evaluation",
    errors.NOT_SYMMETRIC: "permuting this replica's units would change what it computes",
    errors.NOT_TWICE_DIFFERENTIABLE: "the loss cannot be differentiated twice",
}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits, powers of ten written out.

    >>> number(43.21), number(1234567.0), number(0.000012), number(0.0), number(math.nan)
    ('43.2', '1.23 × 10⁶', '1.2 × 10⁻⁵', '0', 'undefined')
    """
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    if 1e-3 <= abs(rounded) < 1e5:
        places = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
        text = f"{rounded:,.{places}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        mantissa, _, power = f"{rounded:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        text = f"{mantissa} × 10{str(int(power)).translate(_SUPERSCRIPT)}"
    return text.replace("-", "−")


def interval(value: Entry) -> str:
    """Return the interval as text, "" where there is none.

    >>> interval(Entry(2.0, 1.5, 2.5, ""))
    '1.5 to 2.5'
    """
    return f"{number(value.low)} to {number(value.high)}" if value.has_interval else ""


def reason(value: Entry) -> str:
    """Return why a value is undefined, as half a sentence; "" where no reason is recorded."""
    return REASON_TEXT.get(value.reason, value.reason.replace("_", " "))


def no_interval(value: Entry) -> str:
    """Return in words that there is no interval, and why where that is recorded."""
    why = REASON_TEXT.get(value.interval_reason, value.interval_reason.replace("_", " "))
    return f"no interval: {why}" if why else "no interval"


def floor_text(floor: float) -> str:
    """Return the noise floor in words.

    >>> floor_text(0.0)
    'noise floor: exactly 0'
    """
    if math.isnan(floor):
        return "noise floor: undefined"
    return "noise floor: exactly 0" if floor == 0 else f"noise floor: {number(floor)}"


def verdict(result: ResultLike, perturbation: str | None = None) -> str:
    """Return the recorded verdict: convergent, divergent or undetermined.

    None as perturbation means the first one.
    """
    if perturbation is None:
        first = first_name(result)
        return str(result.behavior) if first is None else verdict(result, first)
    return text_value(result, "behavior", perturbation) or "undetermined"


def headline(result: ResultLike) -> str:
    """Return the verdict on the first perturbation as one sentence."""
    known = {
        "convergent": "Convergent: training drew the nudged copies closer together.",
        "divergent": "Divergent: training drove the nudged copies apart.",
    }
    found = known.get(
        verdict(result), _undetermined(entry(result, "convergence_ratio", first_name(result)))
    )
    return f"{found} Read the warning first." if alarms(result) else found


def _undetermined(ratio: Entry) -> str:
    if not ratio.defined:
        why = reason(ratio)
        tail = f", because {why}." if why else "."
        return f"Undetermined: the convergence ratio is not defined{tail}"
    if not ratio.has_interval:
        why = no_interval(ratio)
        return f"Undetermined: the convergence ratio has {why}."
    if ratio.low <= 1 <= ratio.high:
        return "Undetermined: the interval holds 1, so the copies may have drawn together or apart."
    return "Undetermined: the run gives no verdict."


def percent(share: float) -> str:
    """Return a share as a percentage.

    >>> percent(0.7312), percent(1.0)
    ('73.1 %', '100 %')
    """
    return f"{number(100 * share)} %"


def meaning(result: ResultLike) -> tuple[str, ...]:
    """Return what the headline number says, one paragraph each, in plain language."""
    ratio = entry(result, "convergence_ratio", first_name(result))
    said = [
        (
            "The convergence ratio is the spread of the copies at the last step divided by their "
            "spread right after the nudge. Spread is the root of the summed variance of every "
            "trainable weight that the loss depends on, over the copies. Below 1 the copies drew "
            "together, above 1 they drifted apart, and 1 means that training kept their distance."
        )
    ]
    if ratio.defined:
        said.append(
            f"Here the copies end with {number(ratio.value)} times the spread they started with"
            + (f" (95 % interval {interval(ratio)})." if ratio.has_interval else ".")
        )
    rate = entry(result, "lyapunov", first_name(result))
    if rate.defined:
        sense = "grew" if rate.value > 0 else "shrank"
        steps = math.log(2) / abs(rate.value) if rate.value else math.inf
        said.append(
            f"Over the fitted window the distance {sense} at a rate of {number(rate.value)} per "
            f"step; kept up, that would {'double' if rate.value > 0 else 'halve'} it every "
            f"{number(steps)} steps.{_fit_quality(result)}"
        )
    return tuple(said)


def _fit_quality(result: ResultLike) -> str:
    r2 = entry(result, "lyapunov_r2", first_name(result))
    if not r2.defined:
        return ""
    poor = ": the change was not exponential, and one rate is a crude summary" * (r2.value < 0.8)
    return f" The straight line explains {percent(r2.value)} of ln distance{poor}."


def limits(result: ResultLike) -> tuple[str, ...]:
    """Return what the headline number does not say, one paragraph each."""
    said = [
        (
            "It speaks of this model, these data, this optimizer and schedule, this size and time "
            "of the nudge, and this many steps. Training for longer can give another verdict."
        ),
        (
            "“Convergent” does not mean that training reached a minimum, and “divergent” does not "
            "mean that it failed: both speak of the distance between copies in weight space only."
        ),
        (
            "Distance in weights is not difference in function. Two nets far apart in weights can "
            "predict the same; the losses and the disagreement of predictions show that."
        ),
    ]
    if not entry(result, "convergence_ratio", first_name(result)).has_interval:
        said.append("There is no interval, so nothing is known about the error of this value.")
    else:
        said.append(
            "The interval comes from the copies that were run. It covers the draw of the nudges, "
            "and other base seeds only where the run was asked for several."
        )
    return tuple(said)


def alarms(result: ResultLike) -> tuple[str, ...]:
    """Return what must be read before any number: the run's warnings, and a broken null twin."""
    found = [str(w) for w in result.warnings]
    if result.noise_floor != 0 and not found:
        found.append(
            f"The unperturbed twin did not stay identical to the reference "
            f"({floor_text(result.noise_floor)}). Distances at or below the floor are noise of "
            f"the execution, not sensitivity, and are marked as undefined."
        )
    return tuple(found)
