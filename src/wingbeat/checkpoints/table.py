"""The tidy table of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from wingbeat.checkpoints.moments import WeightMoments, cosines, layer_of
from wingbeat.errors import CONSTANT, DIVERGED
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.checkpoints.adapters import Adapters


COLUMNS = ("metric", "step", "perturbation", "a", "b", "layer", "value", "reason")


def tidy(
    found: WeightMoments,
    labels: Sequence[str],
    steps: Sequence[int],
    adapters: Adapters | None = None,
) -> pd.DataFrame:
    """Return all rows; see `Comparison.table`.

    Args:
        found: what was measured of the checkpoints.
        labels: their names.
        steps: their training steps.
        adapters: what low-rank adapters add, if there are any.
    """
    frames = [
        _to_first(found, labels, steps),
        _pairs(found, labels, steps),
        _spreads(found, steps[-1]),
        *([] if adapters is None else [_products(adapters, labels, steps)]),
        _map(found, labels, steps),
    ]
    table = pd.concat([f for f in frames if len(f)], ignore_index=True)
    table["step"] = table["step"].astype(np.int64)
    return table[list(COLUMNS)]


def summed(m: WeightMoments) -> tuple[list[str], Array, Array, Array, Array]:
    """Return names, norm2, cross, apart2 and variance: whole model, tensors, then blocks."""
    blocks = dict.fromkeys(b for b in map(layer_of, m.names) if b)
    owner = np.array([layer_of(n) for n in m.names], dtype=object)
    several = [b for b in blocks if (owner == b).sum() > 1]

    def stack(values: Array) -> Array:
        parts = [values.sum(axis=0, keepdims=True), values]
        parts += [values[owner == b].sum(axis=0, keepdims=True) for b in several]
        return np.concatenate(parts)

    names = ["", *m.names, *several]
    return names, stack(m.norm2), stack(m.cross), stack(m.apart2), stack(m.variance)


def _to_first(found: WeightMoments, labels: Sequence[str], steps: Sequence[int]) -> pd.DataFrame:
    layers, norm2, cross, apart2, _ = summed(found)
    distance = np.sqrt(apart2)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = distance / np.sqrt(norm2)[:, None]
    cosine = cosines(norm2[:, None], cross, apart2)
    frames = [
        _frame(
            name,
            values[:, 1:],
            step=np.array(steps[1:]),
            a=labels[0],
            b=_words(labels[1:]),
            layer=_words(layers)[:, None],
            finite=np.isfinite(distance[:, 1:]),
        )
        for name, values in (("l2", distance), ("relative_l2", relative), ("cosine", cosine))
    ]
    return pd.concat(frames, ignore_index=True)


def _pairs(found: WeightMoments, labels: Sequence[str], steps: Sequence[int]) -> pd.DataFrame:
    """Return the whole model's rows of all pairs without the first checkpoint."""
    n, g = len(labels), found.gram
    first, second = np.triu_indices(n - 1, 1)
    if not len(first):
        return _frame("l2", np.zeros(0), step=0)
    first, second = first + 1, second + 1
    distance = found.distances[first, second]
    norm2, cross = found.norm2.sum(), found.cross.sum(axis=0)
    own2 = norm2 + 2.0 * cross + np.diagonal(g)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = distance / np.sqrt(np.maximum(own2[first], 0.0))
        inner = norm2 + cross[first] + cross[second] + g[first, second]
        cosine = inner / np.sqrt(np.maximum(own2[first] * own2[second], 0.0))
    shared: dict[str, Any] = {
        "step": np.array(steps)[second],
        "a": _words(labels)[first],
        "b": _words(labels)[second],
        "finite": np.isfinite(distance),
    }
    rows = (("l2", distance), ("relative_l2", relative), ("cosine", np.clip(cosine, -1.0, 1.0)))
    return pd.concat([_frame(k, v, **shared) for k, v in rows], ignore_index=True)


def _spreads(found: WeightMoments, step: int) -> pd.DataFrame:
    layers, *_, variance = summed(found)
    return _frame("spread", np.sqrt(variance), step=step, layer=_words(layers))


def _products(found: Adapters, labels: Sequence[str], steps: Sequence[int]) -> pd.DataFrame:
    """Return the distances of what low-rank adapters add, whole and by layer."""
    values = np.concatenate([found.total[None], found.l2])[:, 1:]
    size = np.concatenate([[np.sqrt((found.norm**2).sum())], found.norm])
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = values / size[:, None]
    shared: dict[str, Any] = {
        "step": np.array(steps[1:]),
        "a": labels[0],
        "b": _words(labels[1:]),
        "layer": _words(["", *found.layers])[:, None],
        "finite": np.isfinite(values),
    }
    rows = (("l2_product", values), ("relative_l2_product", relative))
    return pd.concat([_frame(name, x, **shared) for name, x in rows], ignore_index=True)


def _map(found: WeightMoments, labels: Sequence[str], steps: Sequence[int]) -> pd.DataFrame:
    n = len(labels)
    pca = found.pca(min(10, n - 1))
    frames = [
        _frame(f"pc{i + 1}", pca.scores[:, i], step=np.array(steps), b=_words(labels))
        for i in range(min(3, pca.scores.shape[1]))
    ]
    components = np.arange(1, len(pca.explained) + 1)
    # Identical checkpoints have no variance to explain.
    finite = np.isfinite(found.gram).all()
    explained = _frame("pca_explained", pca.explained, step=components, finite=np.array(finite))
    return pd.concat([*frames, explained], ignore_index=True)


def _frame(
    metric: str,
    value: Array,
    *,
    step: Any,
    a: Any = "",
    b: Any = "",
    layer: Any = "",
    finite: Any = None,
) -> pd.DataFrame:
    """Return one row for each value; ``finite`` tells where the weights are finite."""
    good = np.isfinite(value)
    why = np.broadcast_to(np.asarray(good if finite is None else finite), value.shape)
    lost = np.where(why & (finite is not None), CONSTANT, DIVERGED)
    given = {"step": step, "perturbation": "", "a": a, "b": b, "layer": layer}
    columns = {
        k: np.broadcast_to(np.asarray(v, dtype=object), value.shape).ravel()
        for k, v in given.items()
    }
    reason = np.where(good, "", lost).astype(object)
    values = np.where(good, value, np.nan)
    return pd.DataFrame(
        {"metric": metric, **columns, "value": values.ravel(), "reason": reason.ravel()}
    )


def _words(items: Sequence[str]) -> Any:
    out = np.empty(len(items), dtype=object)
    out[:] = list(items)
    return out
