"""Rows of a value for every layer and replica, and their mean over layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.errors import CONSTANT
from wingbeat.measure.table import object_array, owners
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wingbeat.measure.context import MetricContext


def layer_rows(
    context: MetricContext,
    metric: str,
    step: int,
    labels: Sequence[str],
    values: Mapping[str, Array],
    *,
    a: Any = "",
    why: Any = CONSTANT,
    mean: bool = True,
) -> Array:
    """Add one row for each layer and replica, and one without a layer: the mean over layers.

    Args:
        context: takes the rows.
        metric: name of the rows.
        step: of the moment.
        labels: E replicas.
        values: by layer, (E,); NaN where there is none.
        a: what replicas are compared with.
        why: reason of what is NaN: one, or one for each replica, or (layers, E).
        mean: whether the mean over the layers that have a value is added.

    Returns:
        The mean over layers of every replica, (E,); NaN where no layer has a value.
    """
    every = np.stack(list(values.values())) if values else np.full((1, len(labels)), np.nan)
    whole = mean_over_layers(every)
    reasons = np.broadcast_to(np.asarray(why, dtype=object), every.shape)
    layers, rows = list(values) or [""], every
    if mean and values:
        layers, rows = ["", *layers], np.vstack([whole, every])
        reasons = np.vstack([reasons[:1], reasons])
    finite = np.isfinite(rows)
    context.out.add(
        metric,
        np.where(finite, rows, np.nan),
        step=step,
        perturbation=owners(labels),
        a=a,
        b=object_array(labels),
        layer=object_array(layers)[:, None],
        reason=np.where(finite, "", reasons),
    )
    return whole


def mean_over_layers(values: Array) -> Array:
    """Return the mean of the defined values of (layers, E), NaN where there is none.

    >>> mean_over_layers(np.array([[1.0, np.nan], [3.0, np.nan]]))
    array([ 2., nan])
    """
    there = np.isfinite(values)
    count = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
