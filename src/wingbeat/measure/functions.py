"""How replicas' predictions differ and combine, added up batch by batch.

Nothing of size replicas × samples × classes is kept: a batch of class scores goes in, sums stay.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import DIVERGED, NO_PREDICTIONS, TOO_FEW_REPLICAS
from wingbeat.metrics.disagreement import disagreement
from wingbeat.metrics.divergence import centred_products, correlation_of, js, kl
from wingbeat.metrics.ensemble import ensemble

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

PAIRWISE: Final = ("kl", "js", "logit_correlation")
"""Metrics of a replica's predictions against the reference's."""
FUNCTIONAL: Final = frozenset({*PAIRWISE, "ensemble"})
"""Metrics that need the class scores themselves."""
GAINS: Final = (
    "ensemble_loss_gain",
    "ensemble_accuracy_gain",
    "ensemble_logit_loss_gain",
    "ensemble_logit_accuracy_gain",
)
_PREFIX = {"probability": "ensemble", "logit": "ensemble_logit"}


@dataclass(frozen=True)
class FunctionValues:
    """What E replicas' predictions come to at one step.

    Attributes:
        pairs: for each of `PAIRWISE` the value of every replica against the reference, (E,).
        diversity: disagreement with the reference ÷ (1 − accuracy), (E,).
        gains: for each perturbation the values of `GAINS`.
        reasons: why a perturbation's gains, or under "" the diversity, have no value.
    """

    pairs: dict[str, Array] = field(default_factory=dict)
    diversity: Array | None = None
    gains: dict[str, dict[str, float]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


class FunctionTotals:
    """Sums over the batches of one step.

    Args:
        wanted: the metrics asked for.
        groups: places of each perturbation's replicas in the stack.
    """

    def __init__(self, wanted: Collection[str], groups: Mapping[str, list[int]]) -> None:
        self.wanted, self.groups = set(wanted), dict(groups)
        self.samples, self.labelled = 0, True
        self._sums: dict[str, Array] = defaultdict(lambda: np.zeros(()))

    def add(self, scores: Array, labels: NDArray[np.int64] | None) -> None:
        """Add a batch: scores (E, samples, classes), the reference first; labels (samples,)."""
        count = scores.shape[1]
        self.samples += count
        reference = scores[:1]
        for name, measure in (("kl", kl), ("js", js)):
            if name in self.wanted:
                self._sums[name] = self._sums[name] + count * measure(reference, scores)
        if "logit_correlation" in self.wanted:
            own = centred_products(reference, scores)
            self._sums["logit_correlation"] = self._sums["logit_correlation"] + own
        if "ensemble" in self.wanted:
            self._add_ensembles(scores, labels, count)

    def _add_ensembles(self, scores: Array, labels: NDArray[np.int64] | None, count: int) -> None:
        if labels is None:
            self.labelled = False
            return
        wrong = (scores.argmax(axis=-1) != labels).sum(axis=1)
        apart = count * disagreement(scores[:1], scores)
        self._sums["wrong"] = self._sums["wrong"] + wrong
        self._sums["apart"] = self._sums["apart"] + apart
        for name, places in self.groups.items():
            for combine, prefix in _PREFIX.items():
                found = ensemble(scores[places], labels, combine)  # type: ignore[arg-type]
                gains = np.array([found.loss_gain, found.accuracy_gain])
                self._sums[f"{name}/{prefix}"] = self._sums[f"{name}/{prefix}"] + count * gains

    def values(self) -> FunctionValues:
        """Return the means over all samples seen; nothing where no batch had class scores."""
        if not self.samples:
            return FunctionValues()
        pairs: dict[str, Array] = {
            k: self._sums[k] / self.samples for k in PAIRWISE[:2] if k in self.wanted
        }
        if "logit_correlation" in self.wanted:
            pairs["logit_correlation"] = correlation_of(self._sums["logit_correlation"])
        if "ensemble" not in self.wanted:
            return FunctionValues(pairs)
        if not self.labelled:
            none = dict.fromkeys(("", *self.groups), NO_PREDICTIONS)
            return FunctionValues(pairs, reasons=none)
        with np.errstate(invalid="ignore", divide="ignore"):
            errors = self._sums["wrong"] / self.samples
            share = self._sums["apart"] / self.samples
            diversity = np.where(errors > 0, share / errors, np.nan)
        gains = {name: self._gains(name) for name in self.groups}
        reasons = {name: self._why(name, own) for name, own in gains.items()}
        return FunctionValues(pairs, diversity, gains, {k: v for k, v in reasons.items() if v})

    def _gains(self, name: str) -> dict[str, float]:
        if len(self.groups[name]) < 2:
            return dict.fromkeys(GAINS, float("nan"))
        sums = np.concatenate([self._sums[f"{name}/{p}"] for p in _PREFIX.values()])
        return dict(zip(GAINS, (sums / self.samples).tolist(), strict=True))

    def _why(self, name: str, gains: Mapping[str, float]) -> str:
        if len(self.groups[name]) < 2:
            return TOO_FEW_REPLICAS
        return "" if np.isfinite(list(gains.values())).all() else DIVERGED
