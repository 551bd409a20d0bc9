"""A claim judged by one number for each base seed, and how many seeds an open one would need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import nct, t

from wingbeat.errors import TOO_FEW_SEEDS
from wingbeat.report.figures.estimates import estimate_text
from wingbeat.study.finished import over_seeds
from wingbeat.study.ranges import check_bound, inside, scaled, slope
from wingbeat.study.verdicts import UNDETERMINED, Claim, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import ArrayLike

    from wingbeat.study.ranges import Range

POWER: Final = 0.8
"""Chance to decide, with as many seeds as are named: the usual choice of planned experiments."""
MOST: Final = 10_000
"""Above so many seeds nobody would run it: then that is what is said."""
FEWEST: Final = 3
"""Base seeds below which a scatter is not worth a forecast."""


def seed_claim(
    ident: str,
    text: str,
    values: ArrayLike,
    bound: float,
    *,
    above: bool,
    unit: str = "",
    note: str = "",
    part: str = "",
    asked: str = "",
    reason: str = "",
    within: Range | None = None,
) -> Claim:
    """Judge that the mean over base seeds lies above (or below) a bound.

    By Student's interval of 95 % over the seeds, inside the range of the quantity. Where it
    stays open, the note says how many base seeds would decide it.

    Args:
        ident: short name.
        text: the claim.
        values: one for each base seed; one that is undefined leaves the claim undetermined.
        bound: in their units.
        above: whether the claim says above.
        unit: what the number is, for the text of what was measured.
        note: what has to be known to read it.
        part: which part of a claim.
        asked: who says or asks it.
        reason: why a value is undefined, from `wingbeat.errors`.
        within: least and largest value that the quantity can have; see `wingbeat.study.ranges`.

    Raises:
        RequestError: a value outside its range, or a bound on one of its limits.

    Example:
        >>> seed_claim("a", "It grows.", [1.0, 2.0, 3.0], 0.0, above=True).measured
        '2 [−0.463 to 4.46]'
    """
    numbers = np.asarray(values, dtype=np.float64)
    check_bound(bound, within)
    found = over_seeds(numbers, reason=reason, within=within)
    verdict = judge(found, bound, above=above)
    needed = 0
    if verdict == UNDETERMINED and np.isfinite(numbers).all():
        note = " ".join(filter(None, (note, needed_text(numbers, bound, within=within))))
        needed = forecast(numbers, bound, within=within)
    said = " ".join(filter(None, (unit, estimate_text(found))))
    return Claim(ident, text, asked, said, verdict, note, part, needed)


Claimed = tuple[str, str, float, bool, str]
"""Name, column of the table of seeds, bound, whether above it, and the claim."""


def claims_by_net(
    seeds: pd.DataFrame,
    claimed: Sequence[Claimed],
    units: Mapping[str, str],
    *,
    asked: str,
    reason: str,
    ranges: Mapping[str, Range] | None = None,
) -> tuple[Claim, ...]:
    """Return the verdict on each claim for each net, from a table with a row for each base seed.

    Args:
        seeds: a row for each "net" and base seed, a column for each number.
        claimed: what is judged.
        units: what the number of each column is.
        asked: who asks it.
        reason: why a value is undefined where there are several base seeds.
        ranges: what the number of a column can be, where it has limits.
    """
    limits = ranges or {}
    return tuple(
        seed_claim(
            f"{ident}-{net}", text, own[column], bound, above=above, unit=units[column] + ":",
            part=str(net), asked=asked, reason=reason if len(own) > 1 else TOO_FEW_SEEDS,
            within=limits.get(column),
        )
        for net, own in seeds.groupby("net", sort=True)
        for ident, column, bound, above, text in claimed
    )  # fmt: skip


def needed_text(values: ArrayLike, bound: float, *, within: Range | None = None) -> str:
    """Return in a sentence how many base seeds would decide on which side of a bound a mean lies.

    >>> needed_text([1.0, 2.0, 3.0], 0.0)
    'If mean and scatter stay as they are here, 5 base seeds decide it (power 80 %).'
    """
    count = seeds_to_decide(values, bound, within=within)
    if count == 0:
        return "Too few base seeds for a forecast."
    if count > MOST:
        return (
            f"If mean and scatter stay as they are here, more than {MOST:,} base seeds decide it."
        )
    return (
        f"If mean and scatter stay as they are here, {count:,} base seeds decide it "
        f"(power {POWER:.0%}).".replace("%", " %")
    )


def forecast(values: ArrayLike, bound: float, *, within: Range | None = None) -> int:
    """Return how many base seeds would decide; 0 where that cannot be said, or nobody would run it.

    >>> forecast([1.0, 2.0, 3.0], 0.0), forecast([-1.0, 0.0, 1.0], 0.0)
    (5, 0)
    """
    count = seeds_to_decide(values, bound, within=within)
    return count if count <= MOST else 0


def seeds_to_decide(
    values: ArrayLike,
    bound: float,
    *,
    level: float = 0.95,
    power: float = POWER,
    within: Range | None = None,
) -> int:
    """Return how many base seeds decide, with a power, on which side of a bound a mean lies.

    As if mean and standard deviation were those of the values: a forecast, as rough as they are.
    Power of the two-sided one-sample t test, by the noncentral t distribution.

    Args:
        values: one for each base seed.
        bound: in their units.
        level: of the interval that is to leave the bound out.
        power: chance that it does.
        within: range of the quantity, on whose scale its intervals are formed.

    Returns:
        At least 2; 0 where there are fewer than three values or one is undefined; above ``MOST``
        where more are needed.

    Source:
        Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), chapter 2.

    Example:
        >>> one_half = np.array([-0.5, 0.5, 1.5])  # half a standard deviation above 0
        >>> seeds_to_decide(one_half, 0.0)
        34
    """
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) < FEWEST or not np.isfinite(numbers).all():
        return 0
    middle = float(inside(numbers, within).mean())
    spread = float(numbers.std(ddof=1))
    if spread:  # of values that differ the mean lies inside the range
        spread *= slope(middle, within)
    away = abs(scaled(middle, within) - scaled(bound, within))
    if spread == 0.0:
        return 2 if away > 0 else MOST + 1
    low, high = 2, MOST + 1
    while low < high:  # power grows with the number
        count = (low + high) // 2
        if _power(away / spread, count, level) >= power:
            high = count
        else:
            low = count + 1
    return low


def _power(effect: float, count: int, level: float) -> float:
    """Return the chance that the interval of so many values leaves the bound out."""
    limit = float(t.ppf(0.5 + level / 2.0, count - 1))
    shift = effect * count**0.5
    # The other side is reached by chance only: its share is below .025.
    return float(nct.sf(limit, count - 1, shift))
