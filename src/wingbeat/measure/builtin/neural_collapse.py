"""The metric "neural_collapse": how far the last features have shrunk to corners of a simplex.

The last features are the input of the linear layer that gives the class scores. On at most 1,000
evenly spaced training samples, in eval mode, without augmentation.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wingbeat.curvature.along import even_samples
from wingbeat.curvature.samples import chunks
from wingbeat.determinism import evaluation
from wingbeat.errors import NO_CLASSIFIER, NO_PREDICTIONS, UndefinedError
from wingbeat.measure.budget import forked_steps
from wingbeat.measure.features import replica_tensors
from wingbeat.measure.layer_rows import layer_rows
from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.metrics.collapse import Collapse
from wingbeat.metrics.collapse import neural_collapse as collapse_of
from wingbeat.representation.head import HeadInput, head_of
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.measure.context import MetricContext
    from wingbeat.replicas.snapshot import Snapshot

ROWS: Final = {
    "nc1": "nc1",
    "nc2_norm": "nc2_norm",
    "nc2_angle": "nc2_angle",
    "nc3": "nc3",
}


@metric_of_run(
    "neural_collapse",
    needs="models",
    per="replica",
    unit="1",
    range=(0, inf),
    direction="0 = collapsed",
    caption="Collapse of the last features on training data: spread within classes over that "
    "between them, evenness of the class means' norms and angles, and distance of the classifier "
    "from the class means",
    source="Papyan, Han and Donoho, arXiv 2008.08186",
    cost="one forward pass over at most 1,000 samples at every snapshot",
    rows=tuple(ROWS),
    summary=("final_nc1",),
    figure=Curve(
        row="nc1", label="collapse NC1", axis="tr(Σ_W Σ_B⁺)/K", log=True,
        caption="Spread of the last features within classes, in units of that between classes",
    ),
    definitions=(
        Definition(
            "neural collapse NC1",
            "tr(Σ_W Σ_B⁺) ÷ K",
            "Σ_W is the covariance of the last features within the K classes, Σ_B that of the "
            "class means. 0 = each class is one point.",
        ),
    ),
    order=280,
)  # fmt: skip
def neural_collapse(context: MetricContext) -> None:
    """Add the rows of "neural_collapse" and the final NC1 for the summary."""
    step = context.model_step
    batch = next(chunks(step.task, even_samples(step.task), None, step.dtype, step.device))[0]
    first = replica_tensors(step, context.trajectory.at(context.trajectory.steps[0]), 0)
    with evaluation():
        name, labels = head_of(step, *first, batch)
    if labels is None:
        raise UndefinedError("neural_collapse needs classes: set Task.targets", NO_PREDICTIONS)
    if not name:
        raise UndefinedError("no linear layer of the model gives the class scores", NO_CLASSIFIER)
    look = HeadInput(step.task.loss, name)
    for at in forked_steps(context):
        context.tick(f"collapse at step {at}")
        snapshot = context.trajectory.at(at)
        every = [_one(context, snapshot, i, look, batch, labels) for i in _places(snapshot)]
        for row, field in ROWS.items():
            values = np.array([getattr(one, field) for one in every])
            why = np.array([one.reason or NO_CLASSIFIER for one in every], dtype=object)
            layer_rows(context, row, at, snapshot.labels, {"": values}, why=why, mean=False)
        nc1 = np.array([one.nc1 for one in every])
    context.keep("final_nc1", nc1, low=0.0, reason=every[-1].reason or NO_CLASSIFIER)


def _places(snapshot: Snapshot) -> range:
    return range(len(snapshot.labels))


def _one(
    context: MetricContext,
    snapshot: Snapshot,
    place: int,
    look: HeadInput,
    batch: Any,
    labels: NDArray[np.int64],
) -> Collapse:
    step = context.model_step
    with evaluation():
        found = step.evaluate(look, *replica_tensors(step, snapshot, place), batch)
    weights = _weights(snapshot, place, f"{look.layer}.weight", np.unique(labels))
    return collapse_of(found.double().cpu().numpy(), labels, weights)


def _weights(snapshot: Snapshot, place: int, name: str, classes: NDArray[np.int64]) -> Array | None:
    """Return the classifier's rows of the classes that occur; None where it is tied to others."""
    tensor = {**snapshot.params, **snapshot.buffers}.get(name)
    if tensor is None or classes.min() < 0 or classes.max() >= tensor.shape[1]:
        return None
    return np.asarray(tensor[place].double().cpu().numpy()[classes])
