"""Rows that several metrics write in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.errors import (
    BELOW_NOISE_FLOOR,
    CONSTANT,
    DIVERGED,
    METRIC_NOT_FINITE,
    NO_PREDICTIONS,
    TOO_FEW_POINTS,
    TOO_FEW_REPLICAS,
)
from wingbeat.measure.table import object_array, owners
from wingbeat.measure.weights import with_whole
from wingbeat.metrics import spread_from_gram
from wingbeat.replicas.fork import REFERENCE
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from wingbeat.measure.context import MetricContext
    from wingbeat.measure.weights import Weights

    Spreads = dict[str, tuple[NDArray[np.intp], Array]]


def why_no_spread(w: Weights, name: str) -> str:
    """Return why a perturbation has no spread."""
    return DIVERGED if w.groups[name].shape[-1] > 1 else TOO_FEW_REPLICAS


def apart(w: Weights) -> Array:
    """Return the distance of every replica but the reference, whole and by layer (T, 1 + L, E − 1).

    Not finite where a replica is not; NaN where it had not forked.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(with_whole(w.apart2)[..., 1:]))


def distance_rows(context: MetricContext, metric: str, values: Array) -> None:
    """Add a value of every replica against the reference, whole and by layer (T, 1 + L, E − 1)."""
    w = context.weights
    floor, l2 = w.noise_floor, apart(w)
    forked = np.broadcast_to(w.present[:, None, 1:], l2.shape)
    below = np.zeros(l2.shape, dtype=bool) if floor == 0 else l2 <= floor
    value = np.where(np.isfinite(values), values, np.nan)
    zero = np.isnan(value) & np.isfinite(l2)
    reason = np.where(below, BELOW_NOISE_FLOOR, np.where(zero, CONSTANT, ""))
    reason = np.where(np.isfinite(l2), reason, DIVERGED)
    layers = object_array(("", *w.layers))[:, None]
    context.out.add(
        metric,
        value[forked],
        step=np.broadcast_to(w.steps[:, None, None], l2.shape)[forked],
        perturbation=np.broadcast_to(owners(w.labels)[1:], l2.shape)[forked],
        a=REFERENCE,
        b=np.broadcast_to(object_array(w.labels[1:]), l2.shape)[forked],
        layer=np.broadcast_to(layers, l2.shape)[forked],
        reason=reason[forked].astype(object),
    )


def spreads(context: MetricContext) -> Spreads:
    """Return for each perturbation the places of its steps and its spread (T', 1 + L)."""
    if "spreads" not in context.shared:
        w = context.weights
        places = {name: w.since(name) for name in w.groups}
        context.shared["spreads"] = {
            name: (own, spread_from_gram(with_whole(w.groups[name])[own]))
            for name, own in places.items()
        }
    found: Spreads = context.shared["spreads"]
    return found


def path_rows(context: MetricContext, metric: str, values: Array, duration: Array) -> None:
    """Add one value per replica of its whole path, (E,); undefined where nothing was recorded."""
    w = context.weights
    broken = w.lost.any(axis=0)
    reason = np.where(broken, DIVERGED, np.where(duration > 0, "", TOO_FEW_POINTS))
    context.out.add(
        metric,
        np.where(reason == "", values, np.nan),
        step=w.steps[-1],
        perturbation=owners(w.labels),
        b=object_array(w.labels),
        reason=reason,
    )


def why_not_finite(
    context: MetricContext, values: Array, step: int, labels: Sequence[str], *, compares: bool
) -> NDArray[np.object_]:
    """Return for each replica why its value is not finite; "" where it is.

    A replica that is finite has not diverged: it is the metric that has no number for it.
    """
    finite = np.isfinite(values)
    if finite.all():
        return np.full(len(labels), "", dtype=object)
    broken = context.broken(step, labels)
    broken |= compares and bool(broken[0])  # the reference's
    return np.where(finite, "", np.where(broken, DIVERGED, METRIC_NOT_FINITE)).astype(object)


def own_scalar_rows(context: MetricContext, metric: str) -> None:
    """Add what a metric of the user's gives for every replica on the evaluation data."""
    snapshot, outputs = context.moment
    values, labels = outputs.scalars.get(metric), snapshot.labels
    why: ArrayLike = DIVERGED
    if values is not None:
        why = why_not_finite(context, values, snapshot.step, labels, compares=False)
    replica_rows(context, metric, labels, values, "", why)


def scalar_rows(context: MetricContext, metric: str) -> None:
    """Add what every replica gives on the evaluation data at one moment."""
    snapshot, outputs = context.moment
    replica_rows(context, metric, snapshot.labels, outputs.scalars.get(metric), a="")


def replica_rows(
    context: MetricContext,
    metric: str,
    labels: Sequence[str],
    values: Array | None,
    a: str,
    reason: ArrayLike = DIVERGED,
) -> None:
    """Add one value per replica at the moment, (E,); None where the task gives no such thing."""
    snapshot, _ = context.moment
    lost: Any = reason if values is not None else NO_PREDICTIONS
    known = np.full(len(labels), np.nan) if values is None else values
    finite = np.isfinite(known)
    context.out.add(
        metric,
        np.where(finite, known, np.nan),
        step=snapshot.step,
        perturbation=owners(labels),
        a=a,
        b=object_array(labels),
        reason=np.where(finite, "", lost),
    )


def comparison_rows(context: MetricContext, metric: str, values: Array | None) -> None:
    """Add how each replica's predictions differ from the reference's at the moment, (E,)."""
    snapshot, outputs = context.moment
    why: ArrayLike = NO_PREDICTIONS
    if values is not None and outputs.predictions is not None:
        bad = np.asarray((outputs.predictions < 0).any(axis=1))
        # What is finite may have no ratio: logits that do not vary, a model without errors.
        why = np.where(bad | bad[0], DIVERGED, CONSTANT).astype(object)[1:]
    others = None if values is None else values[1:]
    replica_rows(context, metric, snapshot.labels[1:], others, REFERENCE, why)
