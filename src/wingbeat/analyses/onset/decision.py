"""Whether replicates decide: an exact binomial test, and how many replicates can decide at all.

Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of
the binomial", Biometrika 26 (1934).
"""

from __future__ import annotations

import math
from typing import Literal

from scipy.special import betaincinv

from wingbeat.errors import RequestError, require

Verdict = Literal["stable", "unstable", "undecided"]


def decide(left: int, counted: int, *, share: float = 0.5, confidence: float = 0.95) -> Verdict:
    """Judge whether replicas end elsewhere more or less often than a share of the time.

    "stable" if so few left that a probability of ``share`` is refuted from above, "unstable" if
    so many did that it is refuted from below, else "undecided". Each verdict is wrong with a
    probability of at most 1 − ``confidence``, whatever the true one is.

    Args:
        left: replicas that ended elsewhere.
        counted: replicas in all.
        share: the probability that divides stable from unstable, in (0, 1).
        confidence: of each verdict, in (0, 1).

    Raises:
        RequestError: numbers out of range.

    >>> decide(0, 5), decide(0, 4), decide(1, 8), decide(5, 5)
    ('stable', 'undecided', 'stable', 'unstable')
    """
    low, high = limits(left, counted, confidence=confidence)
    if high <= _share("share", share):
        return "stable"
    return "unstable" if low >= share else "undecided"


def limits(left: int, counted: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact lower and upper limit of a probability, from ``left`` of ``counted``.

    Each limit alone holds with the given confidence, both together with 2·confidence − 1.

    >>> [round(x, 4) for x in limits(0, 5)]
    [0.0, 0.4507]
    """
    if not 0 <= left <= counted:
        raise RequestError(f"{left} of {counted} replicas cannot have left: give 0 to {counted}")
    error = 1.0 - _share("confidence", confidence)
    low = 0.0 if left == 0 else float(betaincinv(left, counted - left + 1, error))
    high = 1.0 if left == counted else float(betaincinv(left + 1, counted - left, 1.0 - error))
    return low, high


def fewest(*, share: float = 0.5, confidence: float = 0.95) -> int:
    """Return how many replicas it takes for a unanimous outcome to decide, either way.

    >>> fewest(), fewest(confidence=0.99)
    (5, 7)
    """
    error = math.log1p(-_share("confidence", confidence))
    worst = max(_share("share", share), 1.0 - share)
    near = max(1, round(error / math.log(worst)))
    # Around a whole number rounding decides, so the verdict itself is asked.
    counts = (n for n in range(max(1, near - 1), near + 3) if _decides(n, share, confidence))
    return next(counts)


def _decides(count: int, share: float, confidence: float) -> bool:
    verdicts = [decide(k, count, share=share, confidence=confidence) for k in (0, count)]
    return verdicts == ["stable", "unstable"]


def _share(name: str, value: float) -> float:
    require(0.0 < value < 1.0, name, value, "give a number between 0 and 1, such as 0.5")
    return value
