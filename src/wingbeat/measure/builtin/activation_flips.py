"""The metric "activation_flips": which units are on for which samples, and how many have switched.

Bits of modules that are activations and keep the sign of what they are given, such as nn.ReLU or
nn.Tanh: a unit is on for a sample where the output is above 0. What a model computes by functions
(``torch.relu`` within ``forward``) is not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from torch import nn

from wingbeat.errors import DIVERGED, NO_ACTIVATIONS, UndefinedError
from wingbeat.measure.budget import forked_steps
from wingbeat.measure.features import run_features, seen_data
from wingbeat.measure.layer_rows import layer_rows
from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.metrics.activation import flips, partition
from wingbeat.replicas.fork import REFERENCE
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.measure.context import MetricContext
    from wingbeat.measure.features import RunFeatures

    Bits = dict[str, NDArray[np.bool_]]

KEEPS_SIGN: Final = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU,
    nn.SiLU, nn.Mish, nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.Softsign,
)  # fmt: skip
"""Activations whose output is above 0 exactly where their input is."""
PARTS: Final = {"units_dead": "dead", "units_always_on": "always_on", "units_split": "split"}


@metric_of_run(
    "activation_flips",
    needs="models",
    per="layer",
    compares=True,
    unit="share",
    range=(0, 1),
    direction="0 = same pattern",
    caption="Share of (sample, unit) that is on in one and off in the other of replica and "
    "reference, and of a replica now and at the record before; shares of units that are on for no, "
    "for every, for some samples",
    source="Fort et al., arXiv 2010.15110; the neuron partition: arXiv 2206.02139",
    cost="one forward pass over at most 512 samples at every snapshot",
    rows=("activation_flips", "activation_flips_step", *PARTS),
    summary=("final_activation_flips",),
    figure=Curve(row="activation_flips", axis="share of bits that differ", reference=False),
    definitions=(
        Definition(
            "activation flips",
            "mean over samples and units of [b ≠ b′], b = [input of the activation > 0]",
            "0 = the same pattern, 1/2 on average for unrelated units.",
        ),
    ),
    order=260,
)
def activation_flips(context: MetricContext) -> None:
    """Add the rows of "activation_flips" and the final share for the summary."""
    model = context.model_step.skeleton
    layers = tuple(name for name, m in model.named_modules() if name and type(m) in KEEPS_SIGN)
    if not layers:
        raise UndefinedError(
            "the model has no activation module: use modules such as nn.ReLU in place of functions",
            NO_ACTIVATIONS,
        )
    features = run_features(context, seen_data(context), layers=layers)
    before: list[Bits] = []
    for step in forked_steps(context):
        context.tick(f"activation patterns at step {step}")
        before, share = _moment(context, features, step, before)
    context.keep("final_activation_flips", share, low=0.0, high=1.0)


def _moment(
    context: MetricContext, features: RunFeatures, step: int, before: list[Bits]
) -> tuple[list[Bits], Array]:
    snapshot = context.trajectory.at(step)
    every, finite = [], []
    for place in range(len(snapshot.labels)):
        found = features(snapshot, place)
        finite.append(all(np.isfinite(x).all() for x in found.values()))
        every.append({name: x > 0 for name, x in found.items()})
    ok = np.array(finite)
    # A replica that forks here has no record before; it is its own.
    past = [*before, *every[len(before) :]]
    share = _rows(context, "activation_flips", step, ok & ok[0], every, every[:1] * len(every))
    _rows(context, "activation_flips_step", step, ok, every, past)
    parts = {name: [partition(bits[name]) for bits in every] for name in every[0]}
    for row, part in PARTS.items():
        values = {k: np.where(ok, [getattr(p, part) for p in v], np.nan) for k, v in parts.items()}
        layer_rows(context, row, step, snapshot.labels, values, why=DIVERGED)
    return every, share


def _rows(
    context: MetricContext, row: str, step: int, ok: Any, now: list[Bits], then: list[Bits]
) -> Array:
    pairs = list(zip(now, then, strict=True))
    values = {
        name: np.where(ok, [flips(a[name], b[name]) for a, b in pairs], np.nan) for name in now[0]
    }
    labels, first = context.trajectory.at(step).labels, int(row == "activation_flips")
    kept = {name: v[first:] for name, v in values.items()}
    a = REFERENCE if first else ""
    whole = layer_rows(context, row, step, labels[first:], kept, a=a, why=DIVERGED)
    return np.concatenate([np.zeros(first), whole])
