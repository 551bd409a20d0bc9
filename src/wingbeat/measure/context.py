"""What the function of a metric is given, and what it gives back."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wingbeat.errors import DIVERGED
from wingbeat.measure.table import object_array, owners
from wingbeat.measure.weights import Weights, read_weights
from wingbeat.replicas.fork import REFERENCE
from wingbeat.trajectory.trajectory import perturbed
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from wingbeat.measure.outputs import Outputs
    from wingbeat.measure.table import TableBuilder
    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.task.step import TrainingStep
    from wingbeat.trajectory.trajectory import Trajectory


class Scalar(NamedTuple):
    """Values of one perturbation's replicas for the summary, (N,), and their possible range.

    ``reason`` says why a value that is NaN is undefined.
    """

    values: Array
    low: float = -np.inf
    high: float = np.inf
    reason: str = DIVERGED


@dataclass
class MetricContext:
    """A recorded run, and where a metric puts what it finds.

    What a replica cannot have is NaN with a reason, never a missing row. Metrics run under the
    run's seed with deterministic algorithms, once training is done.

    Attributes:
        out: takes the rows.
        trajectory: the recorded run.
        step: the task's pure step; None for checkpoints that were made elsewhere.
        tick: called with a word for each stage of the work.
        scalars: by perturbation and name, one value per replica, for the summary.
        numbers: by perturbation and name, one value for the perturbation, for the summary.
        shared: what one metric found and another needs too.
        snapshot: for metrics that need "outputs": the recorded moment.
        outputs: for metrics that need "outputs": what the replicas gave at this moment.
    """

    out: TableBuilder
    trajectory: Trajectory
    step: TrainingStep | None
    tick: Callable[[str], None] = lambda _: None
    scalars: dict[str, dict[str, Scalar]] = field(default_factory=lambda: defaultdict(dict))
    numbers: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    shared: dict[str, Any] = field(default_factory=dict)
    snapshot: Snapshot | None = None
    outputs: Outputs | None = None

    @cached_property
    def weights(self) -> Weights:
        """Second-order facts about all snapshots, read once."""
        return read_weights(self.trajectory)

    @property
    def model_step(self) -> TrainingStep:
        """The task's pure step, of which a metric that runs models can be sure."""
        assert self.step is not None
        return self.step

    @property
    def moment(self) -> tuple[Snapshot, Outputs]:
        """The recorded moment, of which a metric that needs "outputs" can be sure."""
        assert self.snapshot is not None
        assert self.outputs is not None
        return self.snapshot, self.outputs

    @property
    def at_the_end(self) -> bool:
        """Whether the moment is the last one, of which the summary speaks."""
        return self.snapshot is None or self.snapshot.step == self.trajectory.steps[-1]

    @property
    def labels(self) -> tuple[str, ...]:
        """All replicas: the reference, the null twin, then the perturbed ones."""
        return self.trajectory.labels

    @property
    def groups(self) -> dict[str, list[int]]:
        """Places of each perturbation's replicas."""
        return perturbed(self.labels)

    def broken(self, step: int, labels: Sequence[str]) -> NDArray[np.bool_]:
        """Tell which replicas have weights or a loss that are not finite, at a step or before."""
        w, losses = self.weights, self._broken_losses
        lost: NDArray[np.bool_] = np.any(w.lost[w.steps <= step], axis=0)
        own: dict[str, bool] = dict(zip(w.labels, lost.tolist(), strict=True))
        return np.array([own[name] or losses.get(name, step + 1) <= step for name in labels], bool)

    @cached_property
    def _broken_losses(self) -> dict[str, int]:
        return self.trajectory.diverged()

    def owner(self, place: int) -> str:
        """Return the perturbation of a replica; "" for the reference, "null" for its twin."""
        return str(owners(self.labels)[place])

    def undefined(self, rows: Sequence[str], summary: Sequence[str], reason: str) -> None:
        """Note that a metric has no value for any replica.

        Args:
            rows: names of its rows in the table; each gets one a replica, at the last step.
            summary: names of its scalars.
            reason: why.
        """
        nothing = np.full(len(self.labels), np.nan)
        for row in rows:
            self.out.add(
                row,
                nothing[1:],
                step=self.trajectory.steps[-1],
                perturbation=owners(self.labels)[1:],
                a=REFERENCE,
                b=object_array(self.labels[1:]),
                reason=object_array([reason] * (len(self.labels) - 1)),
            )
        for name in summary:
            self.keep(name, nothing, reason=reason)

    def keep(
        self,
        name: str,
        values: Array,
        low: float = -np.inf,
        high: float = np.inf,
        reason: str | NDArray[np.object_] = DIVERGED,
    ) -> None:
        """Keep one value for each replica (all E of them) for the summary, by perturbation.

        Mean and interval over replicas, nested in base seeds, are made of them. Of a metric that
        is called at every moment, only what it keeps at the last one counts. ``reason`` says why
        values that are not finite are undefined: all alike, or each.
        """
        if self.at_the_end:
            for perturbation, places in self.groups.items():
                why = reason if isinstance(reason, str) else _of_all(reason[places])
                self.scalars[perturbation][name] = Scalar(values[places], low, high, why)


def _of_all(reasons: NDArray[np.object_]) -> str:
    """Return why a mean over replicas is undefined: for want of training before all else."""
    own = sorted({str(reason) for reason in reasons} - {""})
    return DIVERGED if DIVERGED in own or not own else own[0]
