"""The metric "feature_gap": how far features of training data lie from those of held-out data."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import NO_HELD_OUT, UndefinedError
from wingbeat.measure.budget import forked_steps
from wingbeat.measure.features import run_features
from wingbeat.measure.layer_rows import layer_rows
from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.metrics.mmd import feature_gap as gap_of

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext
    from wingbeat.metrics.mmd import FeatureGap


@metric_of_run(
    "feature_gap",
    needs="models",
    per="layer",
    unit="1",
    range=(-inf, inf),
    direction="0 = same distribution",
    caption="Squared distance between the mean features of training and of held-out samples, "
    "unbiased, in units of their spread, of each layer and as the mean over layers",
    source="the question: arXiv 2412.01476; MMD: Gretton et al. (JMLR 13, 2012)",
    cost="two forward passes over at most 512 samples at every snapshot",
    summary=("final_feature_gap",),
    figure=Curve(axis="MMD² ÷ spread within a set"),
    definitions=(
        Definition(
            "feature gap",
            "(|x̄ − ȳ|² − s_x/n − s_y/m) ÷ ((s_x + s_y)/2)",
            "x are a layer's features of n training samples, y of m held-out ones, s their summed "
            "variances. 0 on average where the model does not tell them apart; may be negative.",
        ),
    ),
    order=270,
)
def feature_gap(context: MetricContext) -> None:
    """Add the rows of "feature_gap" and the final mean over layers for the summary."""
    task = context.model_step.task
    if task.eval_data is None:
        raise UndefinedError("feature_gap needs held-out data: set Task.eval_data", NO_HELD_OUT)
    seen, unseen = (run_features(context, d, held=2) for d in (task.data, task.eval_data))
    for step in forked_steps(context):
        context.tick(f"feature gap at step {step}")
        snapshot = context.trajectory.at(step)
        found: dict[str, list[FeatureGap]] = {}
        for place in range(len(snapshot.labels)):
            one, other = seen(snapshot, place), unseen(snapshot, place)
            for name in one.keys() & other.keys():
                found.setdefault(name, []).append(gap_of(one[name], other[name]))
        ordered = {name: found[name] for name in one if name in found}
        values = {k: np.array([g.value for g in v]) for k, v in ordered.items()}
        why = np.array([[g.reason for g in v] for v in ordered.values()], dtype=object)
        whole = layer_rows(context, "feature_gap", step, snapshot.labels, values, why=why)
    context.keep("final_feature_gap", whole)
