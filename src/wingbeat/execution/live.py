"""Tell trackers of a run while it goes on: what each recorded moment shows by itself."""

from __future__ import annotations

import itertools
import warnings
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from wingbeat.errors import RequestError
from wingbeat.execution.curves import curves_of
from wingbeat.measure.metric import METRICS
from wingbeat.measure.one_moment import rows_of_moment
from wingbeat.measure.table import TableBuilder, object_array, owners
from wingbeat.replicas.fork import NULL, REFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd

    from wingbeat.execution.result import Result
    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.task.step import TrainingStep
    from wingbeat.trajectory.store import Store

SHOWN: Final = ("l2", "relative_l2", "spread")
"""Metrics of a running run beside the losses: of weights, of one moment, cheap. The others follow
when it is measured."""


class Tracker(Protocol):
    """Somebody who logs a run; those of `wingbeat.integrations.trackers`, or one of your own."""

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of curves at a step; steps of several base seeds may go back."""
        ...

    def finish(self, result: Result) -> None:
        """Take the result; all of its curves have been recorded."""
        ...


class Live:
    """The trackers of a run, and what they were told.

    A tracker that fails is named in a warning and told no more: the run goes on without it.

    Args:
        trackers: to be told.
        seeds: whether names begin with the base seed.

    Raises:
        RequestError: one of them is none.
    """

    def __init__(self, trackers: Sequence[Tracker], *, seeds: bool) -> None:
        for one in trackers:
            if not all(callable(getattr(one, name, None)) for name in ("record", "finish")):
                msg = (
                    f"trackers holds a {type(one).__name__}: pass those of "
                    "wingbeat.integrations.trackers as TensorBoard('logs'), or objects with "
                    "record(step, values) and finish(result)"
                )
                raise RequestError(msg)
        self.trackers, self.seeds = list(trackers), seeds
        self._told: dict[tuple[str, int], float] = {}

    def moment(self, snapshot: Snapshot, step: TrainingStep) -> None:
        """Tell what a recorded moment shows."""
        if self.trackers:
            table = rows_of_moment([METRICS.find(name) for name in SHOWN], snapshot, step)
            self._tell([table, _losses(snapshot)], step.task.seed)

    def copy(
        self,
        label: str,
        group: Sequence[str],
        moment: Callable[[Sequence[str]], Snapshot],
        *,
        seed: int = 0,
    ) -> None:
        """Tell what a recorded moment of one copy shows, where copies train one after another.

        Bands and spreads follow with the last copy of a perturbation: they are of all of them.

        Args:
            label: of the copy.
            group: the copies of its perturbation, itself among them, in the order of training.
            moment: returns the moment of several copies together, of those that have one.
            seed: base seed.
        """
        if not self.trackers:
            return
        whole = label == group[-1]
        asked = (REFERENCE, NULL, *(group if whole else (label,)))
        snapshot = moment(tuple(dict.fromkeys(asked)))
        table = rows_of_moment([METRICS.find(name) for name in SHOWN], snapshot, None)
        place = f"seed-{seed}/" if self.seeds else ""
        self._give(
            (name, step, value)
            for one in (table, _losses(snapshot))
            for name, step, value in curves_of(one.assign(seed=seed), seeds=self.seeds)
            if (name, step) not in self._told
            and (whole or name.removeprefix(place).partition("/")[2] == label)
        )

    def replay(self, store: Store, step: TrainingStep) -> None:
        """Tell what was recorded before this run went on."""
        for recorded in store.steps() if self.trackers else ():
            self.moment(store.read(recorded), step)

    def finish(self, result: Result) -> Result:
        """Tell all that is not told yet, and that it is over; returns the result."""
        if self.trackers:
            self._give(curves_of(result.table, seeds=len(result.trajectories) > 1))
            for one in list(self.trackers):
                self._ask(one, partial(one.finish, result))
        return result

    def _tell(self, tables: Sequence[pd.DataFrame], seed: int) -> None:
        named = [curves_of(table.assign(seed=seed), seeds=self.seeds) for table in tables]
        self._give(itertools.chain(*named))

    def _give(self, curves: Iterable[tuple[str, int, float]]) -> None:
        news: dict[int, dict[str, float]] = {}
        for name, step, value in curves:
            if self._told.get((name, step)) != value:
                news.setdefault(step, {})[name] = self._told[name, step] = value
        for step in sorted(news):
            for one in list(self.trackers):
                self._ask(one, partial(one.record, step, news[step]))

    def _ask(self, one: Tracker, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:  # of others: what is computed counts
            self.trackers.remove(one)
            name = type(one).__name__
            warnings.warn(
                f"the tracker {name} failed ({type(error).__name__}: {error}): the run goes on "
                "without it, and its result can be logged afterwards",
                stacklevel=2,
            )


def _losses(snapshot: Snapshot) -> pd.DataFrame:
    """Return the training loss of each copy since the record before, as "train_loss" has it."""
    out, losses = TableBuilder(), snapshot.losses.double().numpy()
    if len(losses):
        means = losses.mean(axis=0)  # NaN of a copy that had not forked yet: left out
        out.add(
            "train_loss",
            np.where(np.isfinite(means), means, np.nan),
            step=snapshot.step,
            perturbation=owners(snapshot.labels),
            b=object_array(snapshot.labels),
        )
    return out.table()
