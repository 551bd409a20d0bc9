"""What a measure of the models themselves is given, and what it gives back."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wingbeat.errors import DIVERGED
from wingbeat.measure.rows import owners
from wingbeat.trajectory.trajectory import perturbed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from wingbeat.measure.table import TableBuilder
    from wingbeat.task.step import TrainingStep
    from wingbeat.trajectory.trajectory import Trajectory

    Array = NDArray[np.float64]


class Scalar(NamedTuple):
    """Values of one perturbation's replicas for the summary, (N,), and their possible range.

    ``reason`` says why a value that is NaN is undefined.
    """

    values: Array
    low: float = -np.inf
    high: float = np.inf
    reason: str = DIVERGED


@dataclass(frozen=True)
class Scene:
    """A recorded run with everything that is needed to run its models again.

    Attributes:
        out: takes the rows.
        trajectory: the recorded run.
        step: the task's pure step.
        tick: called with a word for each stage of the work.
        scalars: by perturbation and name, for the summary.
        shared: what one measure found and another needs too.
    """

    out: TableBuilder
    trajectory: Trajectory
    step: TrainingStep
    tick: Callable[[str], None] = lambda _: None
    scalars: dict[str, dict[str, Scalar]] = field(default_factory=lambda: defaultdict(dict))
    shared: dict[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """All replicas: the reference, the null twin, then the perturbed ones."""
        return self.trajectory.labels

    @property
    def groups(self) -> dict[str, list[int]]:
        """Places of each perturbation's replicas."""
        return perturbed(self.labels)

    def owner(self, place: int) -> str:
        """Return the perturbation of a replica; "" for the reference, "null" for its twin."""
        return str(owners(self.labels)[place])

    def keep(
        self,
        name: str,
        values: Array,
        low: float = -np.inf,
        high: float = np.inf,
        reason: str = DIVERGED,
    ) -> None:
        """Keep one value for each replica (all E of them) for the summary, by perturbation."""
        for perturbation, places in self.groups.items():
            self.scalars[perturbation][name] = Scalar(values[places], low, high, reason)
