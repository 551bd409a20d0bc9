"""How long conditions of a study will take here, from what they took for the published tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wingbeat.report.prose import duration
from wingbeat.studies.dynamics.cost import MATRIX_SECONDS, speed
from wingbeat.study.condition import Condition


def expected_line(
    left: Sequence[Condition], workers: int, usual: Callable[[Condition], float]
) -> str:
    """Return the expected time of what is left, in words.

    Args:
        left: conditions to train.
        workers: how many processes.
        usual: seconds of a condition on the machine of the published tables; what they are here
            follows from the time of one product of matrices on either.
    """
    here = sum(usual(c) for c in left) * speed() / MATRIX_SECONDS
    busy = min(workers, len(left))
    return f"expected time with {busy} process(es): about {duration(here / busy)}"
