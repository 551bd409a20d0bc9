"""Did the reference train at all? Its loss from start to end, and its accuracy against chance.

Whatever copies of a training run do, a run that failed says nothing about training that works.
The first fifth of the losses, and the first five, are compared with the last fifth by ranks: one
outlier or a loss of 1e30 decides nothing that the others do not.

Sources: Mann and Whitney, Annals of Mathematical Statistics 18 (1947), for the comparison; the
binomial tail for an accuracy above the share of the commonest class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from wingbeat import special
from wingbeat.errors import DIVERGED
from wingbeat.measure.rank_sum import larger_by_chance
from wingbeat.stats import Estimate
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.measure.outputs import Outputs


Change = Literal["fell", "rose", "unclear", "not finite"]
State = Literal["trained", "unproven", "failed"]

_DOUBT: Final = 0.005
"""One-sided, in each of two comparisons: five losses against five, wholly apart, have 1 in 252."""
_SHARE: Final = 5
"""The first and the last fifth of the losses are compared."""
_FEWEST: Final = 5
_BLOCKS: Final = 20
"""Neighbouring losses are alike: at most so many means of stretches stand for each end."""
_AT_ONCE: Final = 1.0
"""A last fifth that lies wholly above twice the loss before the first update has risen: a step that
is far too large lifts the loss at once, and then the first fifth is as bad as the last."""


@dataclass(frozen=True)
class ReferenceTraining:
    """What the reference of one base seed made of its training.

    Attributes:
        seed: base seed.
        start: mean loss over the first fifth of the steps; before the first update where the loss
            rose at once.
        end: over the last fifth.
        change: what the loss did, beyond doubt, or "unclear".
        accuracy: of the reference at the end on the evaluation data, with Clopper and Pearson's
            interval; None where there are no classes or no evaluation data.
        chance: share of the commonest class there; NaN likewise.
        above_chance: whether the accuracy is above it beyond doubt; None likewise.
    """

    seed: int
    start: float
    end: float
    change: Change
    accuracy: Estimate | None = None
    chance: float = nan
    above_chance: bool | None = None

    @property
    def state(self) -> State:
        """Judge it: a loss that rose or broke down has failed, unless the classes say otherwise."""
        if self.change == "not finite":
            return "failed"
        if self.change == "rose":
            return "unproven" if self.above_chance else "failed"
        fell = self.change == "fell"
        return "trained" if fell and self.above_chance is not False else "unproven"


def reference_training(
    seed: int, losses: Array, last: Outputs | None = None
) -> ReferenceTraining | None:
    """Judge one reference.

    Args:
        seed: base seed.
        losses: its training loss at every update, (T,).
        last: what the replicas give on the evaluation data at the end, the reference first.

    Returns:
        None where no loss was recorded.

    >>> reference_training(0, np.geomspace(2.0, 0.1, 50)).state
    'trained'
    >>> reference_training(0, np.geomspace(0.7, 7e5, 50)).state
    'failed'
    """
    if not len(losses):
        return None
    size = min(max(_FEWEST, len(losses) // _SHARE), max(1, len(losses) // 2))
    first, end = losses[:size], losses[-size:]
    change = change_of(losses, first, end)
    at_once = change == "not finite" or _rose_at_once(losses, end)
    start = float(losses[0] if at_once else first.mean())
    found = ReferenceTraining(seed, start, float(end.mean()), change)
    if last is None or last.labels is None or "accuracy" not in last.scalars:
        return found
    return _with_classes(found, float(last.scalars["accuracy"][0]), last.labels)


def change_of(losses: Array, first: Array, last: Array) -> Change:
    """Tell what losses did from the first stretch to the last."""
    if not np.isfinite(losses).all():
        return "not finite"
    if _rose_at_once(losses, last):
        return "rose"
    if len(first) < _FEWEST:
        return "unclear"
    a, b = (
        [part.mean() for part in np.array_split(x, min(len(x), _BLOCKS))] for x in (first, last)
    )
    # The first losses alone too: where learning takes three steps, a fifth of all drowns it.
    for start in (a, losses[:_FEWEST]):
        if larger_by_chance(start, b) < _DOUBT:
            return "fell"
        if larger_by_chance(b, start) < _DOUBT:
            return "rose"
    return "unclear"


def _rose_at_once(losses: Array, last: Array) -> bool:
    return len(losses) > 1 and bool(last.min() > losses[0] + _AT_ONCE * abs(losses[0]))


def _with_classes(
    found: ReferenceTraining, accuracy: float, labels: NDArray[np.int64]
) -> ReferenceTraining:
    if not isfinite(accuracy):  # a score that is not finite: no class was named
        return replace(found, change="not finite")
    n = len(labels)
    chance = float(np.bincount(labels - labels.min()).max()) / n
    right = round(accuracy * n)
    low = float(special.betaincinv(right, n - right + 1, 0.025)) if right else 0.0
    high = float(special.betaincinv(right + 1, n - right, 0.975)) if right < n else 1.0
    # The chance of as many right answers where each is right with the share of the commonest
    # class; where all are of one class nothing can be above it.
    tail = float(special.bdtrc(right - 1, n, chance)) if right and chance < 1.0 else 1.0
    accurate = Estimate(accuracy, low, high)
    return replace(found, accuracy=accurate, chance=chance, above_chance=tail < _DOUBT)


def entries(found: Sequence[ReferenceTraining | None]) -> dict[str, dict[str, Any]]:
    """Return what the summary says of the references of all base seeds: the worst of them.

    ``training`` is its state, ``training_change`` what its loss did, ``training_failed`` in how
    many base seeds training failed; the accuracy stands there only where it was measured.
    """
    known = [one for one in found if one is not None]
    if not known:
        return {}
    order: Mapping[State, int] = {"failed": 0, "unproven": 1, "trained": 2}
    worst = min(known, key=lambda one: order[one.state])
    words: dict[str, str] = {"training": worst.state, "training_change": worst.change}
    numbers = {
        "training_failed": Estimate(float(sum(one.state == "failed" for one in known))),
        "training_seed": Estimate(float(worst.seed)),
        "training_loss_start": _known(worst.start),
        "training_loss_end": _known(worst.end),
    }
    if worst.accuracy is not None:
        numbers["training_accuracy"] = worst.accuracy
        numbers["training_chance"] = Estimate(worst.chance)
        words["training_above_chance"] = "yes" if worst.above_chance else "no"
    texts = {k: {"value": v, "low": None, "high": None, "reason": ""} for k, v in words.items()}
    return texts | {key: number.to_json() for key, number in numbers.items()}


def _known(loss: float) -> Estimate:
    return Estimate(loss) if isfinite(loss) else Estimate.undefined(DIVERGED)
