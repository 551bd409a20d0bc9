"""The metric "cka": how far each replica's representations have turned from the reference's.

At every recorded step since the first fork, layer by layer, on at most 512 evenly spaced samples
of the evaluation data (of the training data where there are none), in minibatches of at most 128:
about as much arithmetic as three forward passes over these samples. The debiased estimator makes
the size of a minibatch matter for the noise only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wingbeat.landscape.data import chosen
from wingbeat.measure.rows import owners
from wingbeat.measure.table import words
from wingbeat.metrics.cka import LARGEST_ANGLE, LEAST_SAMPLES
from wingbeat.replicas.fork import REFERENCE
from wingbeat.representation.capture import Recorder
from wingbeat.representation.layers import compare_stack, evaluation, fitting
from wingbeat.task.batches import eval_batches, len_of, placer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.measure.scene import Scene
    from wingbeat.replicas.snapshot import Snapshot

    Array = NDArray[np.float64]

SAMPLES: Final = 512
"""Samples that representations are compared on, at most."""
MINIBATCH: Final = 128
"""Samples of a minibatch, at most."""
MEMORY: Final = 128 << 20
"""Bytes for one replica's activations on a minibatch: 128 MiB."""


def representations(scene: Scene) -> None:
    """Add the rows of "cka" and the final mean angle for the summary."""
    forked = [s.step for s in scene.trajectory if len(s.labels) > 2]
    batches: list[Any] = []
    for step in forked or [scene.trajectory.steps[-1]]:
        scene.tick(f"representations at step {step}")
        snapshot = scene.trajectory.at(step)
        batches = batches or minibatches(scene, snapshot)
        angles = _rows(scene, snapshot, batches)
    scene.keep("final_angular_cka", angles, low=0.0, high=LARGEST_ANGLE["debiased"])


def minibatches(scene: Scene, snapshot: Snapshot) -> list[Any]:
    """Return what all comparisons of a run are made on: minibatches of about equal size."""
    step, task = scene.step, scene.step.task
    kept = chosen(task.data if task.eval_data is None else task.eval_data, SAMPLES)
    place, count = placer(step.dtype, step.device), len_of(kept)
    few = next(iter(eval_batches(kept, min(4, count), place)))[0]
    params = step.layout.flatten(snapshot.params)[0].to(step.device)
    buffers = {name: b[0].to(step.device) for name, b in snapshot.buffers.items()}
    with evaluation():
        probe = step.evaluate(Recorder(task.loss), params, buffers, few)
    size = min(MINIBATCH, count, max(LEAST_SAMPLES["debiased"], fitting(probe, MEMORY)))
    size = -(-count // -(-count // size))
    return [batch for batch, _ in eval_batches(kept, size, place)]


def _rows(scene: Scene, snapshot: Snapshot, batches: list[Any]) -> Array:
    """Add the rows of one step; returns the mean angle over layers of every replica, (E,)."""
    params = scene.step.layout.flatten(snapshot.params)
    found = compare_stack(scene.step, params, snapshot.buffers, batches)
    layers = words(["", *found])
    # For the whole model the mean over the layers that have a value; else the first one's reason.
    rows = [sums.cka()[0] for sums in found.values()]
    whys = np.stack([sums.reasons()[0] for sums in found.values()])
    for metric, values in (("cka", np.stack(rows)), ("angular_cka", np.arccos(np.stack(rows)))):
        mean = _mean(values)
        reasons = np.vstack([np.where(np.isfinite(mean), "", whys[0])[None], whys])
        scene.out.add(
            metric,
            np.vstack([mean[None], values])[:, 1:],
            step=snapshot.step,
            perturbation=owners(snapshot.labels)[1:],
            a=REFERENCE,
            b=words(snapshot.labels[1:]),
            layer=layers[:, None],
            reason=reasons[:, 1:],
        )
    return mean


def _mean(values: Array) -> Array:
    """Return the mean over layers (L, E) of the defined values, NaN where there is none."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
