"""Numbers, intervals and reasons in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from wingbeat import errors
from wingbeat.report.result_access import Entry

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


def percent(share: float) -> str:
    """Return a share as a percentage.

    >>> percent(0.7312), percent(1.0)
    ('73.1 %', '100 %')
    """
    return f"{number(100 * share)} %"
