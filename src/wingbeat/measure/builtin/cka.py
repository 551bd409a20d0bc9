"""The metric "cka": how far each replica's representations have turned from the reference's.

At every recorded step since the first fork (at the last alone where ``Task.barriers.along`` is
off), layer by layer, on at most 512 evenly spaced samples of the evaluation data (of the training
data where there are none), in minibatches of at most 128: about as much arithmetic as three forward
passes over these samples. The debiased estimator makes the size of a minibatch matter for the noise
only.
"""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wingbeat.determinism import evaluation
from wingbeat.landscape.data import select_samples
from wingbeat.measure.budget import looked_at
from wingbeat.measure.layer_rows import mean_over_layers
from wingbeat.measure.metric import Definition, metric_of_run
from wingbeat.measure.table import object_array, owners
from wingbeat.metrics.cka import LARGEST_ANGLE, LEAST_SAMPLES
from wingbeat.replicas.fork import REFERENCE
from wingbeat.representation.capture import Recorder
from wingbeat.representation.layers import compare_stack, fitting, with_axes
from wingbeat.task.batches import eval_batches, placer
from wingbeat.task.data import len_of
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext
    from wingbeat.replicas.snapshot import Snapshot


SAMPLES: Final = 512
"""Samples that representations are compared on, at most."""
MINIBATCH: Final = 128
"""Samples of a minibatch, at most."""
MEMORY: Final = 128 << 20
"""Bytes for one replica's activations on a minibatch: 128 MiB."""


@metric_of_run(
    "cka",
    needs="models",
    per="layer",
    unit="1, rad",
    range=(-1, pi),
    direction="cka 1, angle 0 = same",
    label="CKA",
    caption="Similarity of a replica's and the reference's activations on the same samples, of "
    "each layer and as the mean over layers, debiased, and its angle",
    source="Kornblith et al., arXiv 1905.00414",
    cost="about three forward passes over at most 512 samples at every snapshot",
    rows=("cka", "angular_cka"),
    summary=("final_angular_cka",),
    definitions=(
        Definition(
            "angular CKA",
            "arccos CKA, CKA = HSIC(X, Y) ÷ √(HSIC(X, X) HSIC(Y, Y)), debiased",
            "X and Y are a layer's activations in two replicas on the same samples. 0 = the same "
            "up to rotation and scale, π/2 = unrelated.",
        ),
    ),
    order=240,
)
def cka(context: MetricContext) -> None:
    """Add the rows of "cka" and the final mean angle for the summary."""
    batches: list[Any] = []
    for step in looked_at(context):
        context.tick(f"representations at step {step}")
        snapshot = context.trajectory.at(step)
        batches = batches or minibatches(context, snapshot)
        angles = _rows(context, snapshot, batches)
    context.keep("final_angular_cka", angles, low=0.0, high=LARGEST_ANGLE["debiased"])


def minibatches(context: MetricContext, snapshot: Snapshot) -> list[Any]:
    """Return what all comparisons of a run are made on: minibatches of about equal size."""
    step, task = context.model_step, context.model_step.task
    kept = select_samples(task.data if task.eval_data is None else task.eval_data, SAMPLES)
    place, count = placer(step.dtype, step.device), len_of(kept)
    few = next(iter(eval_batches(kept, min(4, count), place)))[0]
    params = step.layout.flatten(snapshot.params)[0].to(step.device)
    buffers = {name: b[0].to(step.device) for name, b in snapshot.buffers.items()}
    with evaluation():
        recorder = with_axes(step, Recorder(task.loss), params, buffers, [few])
        probe = step.evaluate(recorder, params, buffers, few)
    size = min(MINIBATCH, count, max(LEAST_SAMPLES["debiased"], fitting(probe, MEMORY)))
    size = -(-count // -(-count // size))
    return [batch for batch, _ in eval_batches(kept, size, place)]


def _rows(context: MetricContext, snapshot: Snapshot, batches: list[Any]) -> Array:
    """Add the rows of one step; returns the mean angle over layers of every replica, (E,)."""
    params = context.model_step.layout.flatten(snapshot.params)
    found = compare_stack(context.model_step, params, snapshot.buffers, batches)
    layers = object_array(["", *found])
    # For the whole model the mean over the layers that have a value; else the first one's reason.
    rows = [sums.cka()[0] for sums in found.values()]
    whys = np.stack([sums.reasons()[0] for sums in found.values()])
    for metric, values in (("cka", np.stack(rows)), ("angular_cka", np.arccos(np.stack(rows)))):
        mean = mean_over_layers(values)
        reasons = np.vstack([np.where(np.isfinite(mean), "", whys[0])[None], whys])
        context.out.add(
            metric,
            np.vstack([mean[None], values])[:, 1:],
            step=snapshot.step,
            perturbation=owners(snapshot.labels)[1:],
            a=REFERENCE,
            b=object_array(snapshot.labels[1:]),
            layer=layers[:, None],
            reason=reasons[:, 1:],
        )
    return mean
