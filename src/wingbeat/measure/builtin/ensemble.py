"""The metric "ensemble": what averaging the replicas' predictions gains, and their diversity."""

from __future__ import annotations

from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import DIVERGED, NO_PREDICTIONS, TOO_FEW_REPLICAS
from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.measure.rows import comparison_rows
from wingbeat.metrics.disagreement import disagreement
from wingbeat.metrics.ensemble import ensemble as ensemble_of
from wingbeat.trajectory.trajectory import perturbed
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from wingbeat.measure.context import MetricContext


GAINS: Final = (
    "ensemble_loss_gain",
    "ensemble_accuracy_gain",
    "ensemble_logit_loss_gain",
    "ensemble_logit_accuracy_gain",
)
DIVERSITY: Final = "ensemble_diversity"
_PREFIX: Final = {"probability": "ensemble", "logit": "ensemble_logit"}


class EnsembleTotals:
    """Sums over the batches of one moment.

    Nothing of size replicas × samples × classes is kept: a batch of class scores goes in, sums
    stay.

    Args:
        groups: places of each perturbation's replicas in the stack.
    """

    def __init__(self, groups: Mapping[str, list[int]]) -> None:
        self.groups = dict(groups)
        self.samples, self.labeled = 0, True
        self._sums: dict[str, Array] = defaultdict(lambda: np.zeros(()))

    def add(self, scores: Array, targets: NDArray[np.int64] | None) -> None:
        """Add a batch."""
        count = scores.shape[1]
        self.samples += count
        if targets is None:
            self.labeled = False
            return
        wrong = (scores.argmax(axis=-1) != targets).sum(axis=1)
        apart = count * disagreement(scores[:1], scores)
        self._sums["wrong"] = self._sums["wrong"] + wrong
        self._sums["apart"] = self._sums["apart"] + apart
        for name, places in self.groups.items():
            for combine, prefix in _PREFIX.items():
                found = ensemble_of(scores[places], targets, combine)  # type: ignore[arg-type]
                gains = np.array([found.loss_gain, found.accuracy_gain])
                self._sums[f"{name}/{prefix}"] = self._sums[f"{name}/{prefix}"] + count * gains

    def diversity(self) -> Array:
        """Return disagreement with the reference ÷ error rate of every replica, (E,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            errors = self._sums["wrong"] / self.samples
            share = self._sums["apart"] / self.samples
            return np.where(errors > 0, share / errors, np.nan)

    def gains(self, name: str) -> dict[str, float]:
        """Return the values of `GAINS` for one perturbation."""
        if len(self.groups[name]) < 2:
            return dict.fromkeys(GAINS, float("nan"))
        sums = np.concatenate([self._sums[f"{name}/{p}"] for p in _PREFIX.values()])
        return dict(zip(GAINS, (sums / self.samples).tolist(), strict=True))


@metric_of_run(
    "ensemble",
    needs="outputs",
    per="perturbation",
    unit="nat, share",
    range=(-inf, inf),
    direction="> 0 = better than its members",
    caption="What the mean of the replicas' predictions gains over its members, in loss and in "
    "accuracy, and how diverse the members are",
    rows=(*GAINS, DIVERSITY),
    summary=GAINS,
    figure=Curve(
        row=DIVERSITY,
        label="diversity",
        axis="disagreement ÷ error rate",
        caption="Disagreement with the reference over the replica's own error rate on held-out "
        "data",
    ),
    definitions=(
        Definition(
            "ensemble gain",
            "mean loss of the replicas − loss of the mean of their probabilities",
            "In nats, above 0 = the ensemble is better. Diversity is disagreement with the "
            "reference ÷ the replica's own error rate.",
        ),
    ),
    accumulate=EnsembleTotals,
    order=170,
    cost="a pass over the evaluation data at every snapshot",
)
def ensemble(context: MetricContext) -> None:
    """Add diversity and gains at one moment."""
    snapshot, outputs = context.moment
    total = outputs.totals.get("ensemble")
    known = total if isinstance(total, EnsembleTotals) and total.labeled else None
    comparison_rows(context, DIVERSITY, None if known is None else known.diversity())
    for name, places in perturbed(snapshot.labels).items():
        gains = {} if known is None else known.gains(name)
        reason = TOO_FEW_REPLICAS if len(places) < 2 else DIVERGED
        # One value that is not finite says that a member broke down: none of the gains counts.
        why = NO_PREDICTIONS if known is None else reason
        for row in GAINS:
            value = gains.get(row, np.nan)
            lost = "" if np.isfinite(value) else why
            context.out.add(row, value, step=snapshot.step, perturbation=name, reason=lost)
        if context.at_the_end and gains:
            context.numbers[name] |= gains
