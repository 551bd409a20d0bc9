"""Measure: a trajectory, its task and metric names become a tidy table and a summary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.measure import rows
from wingbeat.measure.exponents import Saturation, saturation
from wingbeat.measure.modelled import MEASURES
from wingbeat.measure.outputs import Evaluator, Outputs
from wingbeat.measure.scene import Scalar, Scene
from wingbeat.measure.signal import without_signal
from wingbeat.measure.summary import Facts
from wingbeat.measure.table import TableBuilder
from wingbeat.measure.weights import Weights, read_gram, read_weights
from wingbeat.metrics import centred, projected_spread_from_gram, spread_from_gram
from wingbeat.metrics.catalogue import CATALOGUE
from wingbeat.metrics.projection import ProjectedSpread

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from wingbeat.task.step import TrainingStep
    from wingbeat.task.task import Task
    from wingbeat.trajectory.trajectory import Trajectory

    Array = NDArray[np.float64]
    Tick = Callable[[str], None]

__all__ = ["Facts", "Measured", "measure"]


@dataclass(frozen=True)
class Measured:
    """The measures of one base seed: the table, and what the summary is made of.

    ``left_out`` names tensors that move by rounding alone; see ``measure.signal``.
    """

    table: pd.DataFrame
    facts: dict[str, Facts]
    noise_floor: float
    diverged: dict[str, int]
    left_out: tuple[str, ...] = ()


def measure(
    trajectory: Trajectory,
    task: Task,
    wanted: Sequence[str],
    evaluator: Evaluator | None,
    tick: Tick = lambda _: None,
    independent: Collection[str] = (),
    step: TrainingStep | None = None,
) -> Measured:
    """Measure a trajectory.

    Args:
        trajectory: the recorded run.
        task: what was trained; gives the seed and the epoch's length.
        wanted: metric names, checked before.
        evaluator: computes outputs; None if no metric needs them.
        tick: called with a word for each stage of the work, for progress.
        independent: perturbations whose replicas have an initialisation of their own.
        step: the task's pure step, for metrics that run the models; None if there is none.
    """
    out = TableBuilder()
    tick("weights")
    weights = read_weights(trajectory)
    projected = _weight_rows(out, trajectory, weights, wanted)
    if "train_loss" in wanted:
        rows.loss_rows(out, weights.labels, weights.steps[1:], _loss_means(trajectory, weights))
    last = _output_rows(out, trajectory, task, wanted, evaluator, tick)
    end = saturation(weights, independent)
    scalars = _modelled(out, trajectory, wanted, step, tick)
    tick("gradients")
    left_out = () if step is None else without_signal(step, trajectory)
    facts = {
        name: replace(
            _facts(name, weights, projected.get(name), task, last, end, left_out),
            scalars={**_functional(weights.labels, last, name), **scalars.get(name, {})},
            numbers={} if last is None else last.functions.gains.get(name, {}),
        )
        for name in weights.groups
    }
    return Measured(out.table(), facts, weights.noise_floor, trajectory.diverged(), left_out)


def _modelled(
    out: TableBuilder,
    trajectory: Trajectory,
    wanted: Sequence[str],
    step: TrainingStep | None,
    tick: Tick,
) -> dict[str, dict[str, Scalar]]:
    """Measure what needs the models themselves; returns the summary's values."""
    if step is None:
        return {}
    scene = Scene(out, trajectory, step, tick)
    for name in wanted:
        if name in MEASURES:
            MEASURES[name](scene)
    return scene.scalars


def _functional(
    labels: Sequence[str], last: Outputs | None, perturbation: str
) -> dict[str, Scalar]:
    """Return the last step's differences of predictions, of one perturbation's replicas."""
    if last is None:
        return {}
    own = [label.rsplit("#", 1)[0] == perturbation for label in labels]
    ranges = {name: CATALOGUE[name].range for name in last.functions.pairs}
    pairs = last.functions.pairs.items()
    return {f"final_{name}": Scalar(values[own], *ranges[name]) for name, values in pairs}


def _weight_rows(
    out: TableBuilder, trajectory: Trajectory, w: Weights, wanted: Sequence[str]
) -> dict[str, ProjectedSpread]:
    rows.distances(out, w, wanted, w.noise_floor)
    found = rows.spreads(w)
    if "spread" in wanted:
        rows.spread_rows(out, w, found)
    if "local_lyapunov" in wanted:
        rows.local_rows(out, w, found)
    rows.path_rows(out, w, wanted)
    projected = {}
    if {"pca", "spread_projected"} & set(wanted):
        forks = [int(w.steps[w.since(name)[0]]) for name in w.groups]
        g, points = read_gram(trajectory, w, forks)
        if "pca" in wanted:
            rows.pca_rows(out, g, points)
        for name in w.groups:
            steps, one = _project(name, g, points, w)
            projected[name] = one
            if "spread_projected" in wanted:
                rows.projected_rows(out, w, name, steps, one)
    return projected


def _project(
    name: str, g: Array, points: list[tuple[int, str]], w: Weights
) -> tuple[NDArray[np.int64], ProjectedSpread]:
    own = [i for i, (_, label) in enumerate(points) if label.rsplit("#", 1)[0] == name]
    replicas = w.groups[name].shape[-1]
    if len({points[i][1] for i in own}) < replicas:  # one of them was left out
        nothing = np.full(len(w.since(name)), np.nan)
        return w.steps[w.since(name)], ProjectedSpread(nothing, nothing, np.nan)
    steps = np.array([points[i][0] for i in own])[::replicas]
    places = np.searchsorted(w.steps, steps)
    full = spread_from_gram(w.groups[name].sum(axis=1)[places])
    inner = centred(g[np.ix_(own, own)])
    return steps, projected_spread_from_gram(inner, replicas, 3, full=full)


def _loss_means(trajectory: Trajectory, w: Weights) -> Array:
    """Return the mean loss between recorded steps (T − 1, E); −∞ before a replica had forked."""
    losses = trajectory.losses.double().numpy()
    means = np.full((len(w.steps) - 1, len(w.labels)), -np.inf)
    for t, (a, b) in enumerate(zip(w.steps, w.steps[1:], strict=False)):
        there = w.present[t]
        means[t, there] = losses[a:b, there].mean(axis=0)
    return means


def _output_rows(
    out: TableBuilder,
    trajectory: Trajectory,
    task: Task,
    wanted: Sequence[str],
    evaluator: Evaluator | None,
    tick: Tick,
) -> Outputs | None:
    names = [m for m in wanted if m in task.eval_metrics or CATALOGUE[m].needs == "outputs"]
    last = None
    if not names or evaluator is None:
        return None
    for snapshot in trajectory:
        tick(f"outputs at step {snapshot.step}")
        last = evaluator(snapshot)
        rows.output_rows(out, snapshot.step, snapshot.labels, last, names)
    return last


def _facts(
    name: str,
    w: Weights,
    projected: Any,
    task: Task,
    last: Outputs | None,
    end: Saturation,
    left_out: Sequence[str],
) -> Facts:
    kept = [layer not in left_out for layer in w.layers]
    own = [label.rsplit("#", 1)[0] == name for label in w.labels]
    apart = last.disagreement() if last else None
    since = w.since(name)
    return Facts(
        seed=task.seed,
        steps=w.steps[since],
        distances=w.distances(name),
        grams=w.groups[name][:, kept].sum(axis=1)[since],
        all_grams=w.groups[name].sum(axis=1)[since] if left_out else None,
        projected=projected,
        floor=w.noise_floor,
        saturation=end,
        disagreement=None if apart is None else apart[own],
        steps_per_epoch=task.steps_per_epoch,
    )
