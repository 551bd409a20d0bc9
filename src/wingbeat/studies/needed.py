"""How many base seeds would decide a claim that is open, or what else its interval counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.studies.seedwise import MOST, POWER, forecast, needed_text
from wingbeat.study.correlation import groups_to_decide

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wingbeat.stats import Estimate
    from wingbeat.study.ranges import Range

Needed = Callable[[], tuple[str, int]]
"""A sentence, and the number of base seeds in it; 0 where base seeds do not decide."""
NOT_SEEDS: Final = "More base seeds would not decide it: its interval counts {}."


def unknown() -> tuple[str, int]:
    """Say nothing.

    >>> unknown()
    ('', 0)
    """
    return "", 0


def of_seeds(values: ArrayLike, bound: float, within: Range | None = None) -> Needed:
    """Return the forecast of a mean over base seeds, made where it is asked for.

    Args:
        values: one for each base seed, on the scale on which the mean is taken.
        bound: of the claim, on that scale.
        within: least and largest value that there can be.

    Example:
        >>> of_seeds([1.0, 2.0, 3.0], 0.0)()
        ('If mean and scatter stay as they are here, 5 base seeds decide it (power 80 %).', 5)
    """

    def needed() -> tuple[str, int]:
        """Return the sentence and the number."""
        if not np.isfinite(values).all():
            return unknown()
        return needed_text(values, bound, within=within), forecast(values, bound, within=within)

    return needed


def of_groups(found: Estimate | None, bound: float, what: str = "nets") -> Needed:
    """Return the forecast of a rank correlation whose interval counts nets, or something else.

    Of nets too few for an interval nothing is forecast.

    Args:
        found: the correlation.
        bound: of the claim.
        what: is counted, in words.

    Example:
        >>> from wingbeat.stats import Estimate
        >>> of_groups(Estimate(0.5, -0.1, 0.8), 0.0)()[0].partition(". ")[2]
        'If it stays as it is here, 35 nets decide it (power 80 %).'
    """

    def needed() -> tuple[str, int]:
        """Return the sentence and the number."""
        if found is None or not np.isfinite([found.value, found.low, found.high]).all():
            return unknown()
        count = groups_to_decide(found.value, bound, power=POWER, most=MOST)
        many = f"more than {MOST:,}" if count > MOST else f"{count:,}"
        power = f"{POWER:.0%}".replace("%", " %")
        said = f"If it stays as it is here, {many} {what} decide it (power {power})."
        return f"{NOT_SEEDS.format(what)} {said}", 0

    return needed
