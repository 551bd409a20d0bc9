"""Numbers, intervals and reasons in plain words."""

from __future__ import annotations

import math

from wingbeat.errors import REASON_TEXT
from wingbeat.report.result_access import ResultEntry

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


def interval(value: ResultEntry) -> str:
    """Return the interval as text, "" where there is none.

    >>> interval(ResultEntry(2.0, 1.5, 2.5, ""))
    '1.5 to 2.5'
    """
    return f"{number(value.low)} to {number(value.high)}" if value.has_interval else ""


def reason(value: ResultEntry) -> str:
    """Return why a value is undefined, as half a sentence; "" where no reason is recorded."""
    return REASON_TEXT.get(value.reason, value.reason.replace("_", " "))


def no_interval(value: ResultEntry) -> str:
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


def plural(count: int, what: str) -> str:
    """Return how many there are of something.

    >>> plural(1, "step"), plural(2000, "step")
    ('1 step', '2,000 steps')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> duration(4.2), duration(200), duration(9000)
    ('4 s', '3 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
