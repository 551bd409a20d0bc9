"""One model, layer by layer: how its samples lie, and the pieces and holes of each class."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from torch.utils import _pytree as pytree

from wingbeat.determinism import evaluation
from wingbeat.errors import CONSTANT, DIVERGED, NO_PREDICTIONS, TOO_FEW_SAMPLES, RequestError
from wingbeat.metrics.neighbours import betti_numbers
from wingbeat.metrics.persistence import MOST, gudhi, longest, persistence, total_persistence
from wingbeat.metrics.topology import distances, landmarks, scaled_tree_length_of, tree_edges
from wingbeat.representation.layers import Side
from wingbeat.task.data import len_of
from wingbeat.task.predictions import class_labels, class_scores
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray
    from torch import nn

    from wingbeat.representation.capture import Positions
    from wingbeat.task.data import Batch
    from wingbeat.task.task import Task

INPUT: Final = "(input)"
"""How rows are named that are about what goes in."""
SAMPLES: Final = 512
LANDMARKS: Final = 128
"""As in a run: see the metrics "topology" and "loops"."""


class _Clouds(NamedTuple):
    """Samples in each layer (n, features), what goes in first, and their classes."""

    layers: dict[str, Array]
    classes: NDArray[np.int64] | None


def topology_of(
    task: Task,
    model: nn.Module,
    *,
    layers: Sequence[str] | None = None,
    data: Any = None,
    samples: int = SAMPLES,
    positions: Positions = "flatten",
) -> pd.DataFrame:
    """Return how connected and how full of loops one model's layers are.

    Args:
        task: its loss runs the model, its evaluation data (else its training data) are what it runs
            on, in order, without augmentation, in eval mode.
        model: that the task's loss accepts; it is copied and not changed.
        layers: names in ``model.named_modules()``; by default all modules without children.
        data: other data than the task's.
        samples: most samples, evenly spaced over the data.
        positions: what becomes of positions and places, see `as_features`.

    Returns:
        A row for what goes in (``(input)``, where that is a tensor of numbers) and for each layer:
        ``layer``, ``samples``, ``h0_total`` (length of the spanning tree), ``h0_scaled`` (÷ that
        of equal distances), ``h1_total``, ``h1_longest``, ``h1_count`` of at most 128 landmarks,
        ``covering_radius``, ``reason``. The published expansion ratio is the largest ``h0_total``
        of the layers ÷ that of the input or of the first of them: say which.
        Where ``reason`` is ``constant`` all samples coincide, where it is ``diverged`` an
        activation is not finite.

    Raises:
        RequestError: gudhi is not installed, ``samples`` is no number from 2 on, or as
            `compare_layers`.

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> task = circles_task((8,))
        >>> topology_of(task, task.model(), samples=50)["layer"].tolist()  # doctest: +SKIP
        ['(input)', '0', '1', '2']
    """
    gudhi("sklearn.rips_persistence")
    found = _clouds(task, model, layers, data, samples, positions)
    import pandas as pd  # late: 0.3 s that other runs need not pay

    return pd.DataFrame(
        [{"layer": name, "samples": len(x), **_shape(x)} for name, x in found.layers.items()]
    )


def betti_of(
    task: Task,
    model: nn.Module,
    *,
    layers: Sequence[str] | None = None,
    data: Any = None,
    samples: int = SAMPLES,
    positions: Positions = "flatten",
    neighbours: int = 14,
    scale: float = 2.5,
) -> pd.DataFrame:
    """Return how many pieces and holes each class of samples has in each layer.

    Args:
        task: as in `topology_of`; it must tell classes (``predict``, ``targets``).
        model: as there.
        layers: as there.
        data: as there.
        samples: most samples of each class, evenly spaced; 1,000 at most.
        positions: as there.
        neighbours: of each sample, see `wingbeat.metrics.neighbours.betti_numbers`.
        scale: in steps between neighbours.

    Returns:
        A row for each layer (``(input)`` first) and class: ``layer``, ``class``, ``samples``,
        ``pieces``, ``loops``, ``reason``: ``too_few_samples`` where a class has not more than
        ``neighbours``, ``diverged`` where an activation is not finite.

    Raises:
        RequestError: gudhi is not installed, the task tells no classes (``no_predictions``), more
            than 1,000 samples are asked for, or as `topology_of`.

    Source: Naitzat, Zhitnikov and Lim, arXiv 2004.06093.
    """
    gudhi("sklearn.rips_persistence")
    if samples > MOST:
        raise RequestError(f"samples is {samples}: use at most {MOST} of each class")
    found = _clouds(task, model, layers, data, None, positions)
    if found.classes is None:
        raise RequestError(f"{task.name or 'the task'} tells no classes: {NO_PREDICTIONS}")
    rows: list[dict[str, Any]] = []
    for name, x in found.layers.items():
        for label in np.unique(found.classes):
            own = x[found.classes == label]
            own = own[_spaced(len(own), samples)]
            counted = _pieces(own, neighbours, scale)
            rows.append({"layer": name, "class": int(label), "samples": len(own), **counted})
    import pandas as pd  # late: 0.3 s that other runs need not pay

    return pd.DataFrame(rows)


def _clouds(
    task: Task,
    model: nn.Module,
    layers: Sequence[str] | None,
    data: Any,
    samples: int | None,
    positions: Positions,
) -> _Clouds:
    """Run a model once over the data and keep some samples of every layer."""
    if samples is not None and (isinstance(samples, bool) or samples < 2):
        raise RequestError(f"samples is {samples!r}: use at least 2")
    given = data if data is not None else task.eval_data
    given = task.data if given is None else given
    side = Side.of(task, model, layers, positions)
    kept: dict[str, list[Array]] = {}
    classes: list[NDArray[np.int64]] = []
    with evaluation():
        side = side.with_axes(given)
        for batch in side.batches(given, min(task.eval_batch_size, len_of(given))):
            seen = {**_entering(batch), **{k: v.cpu().numpy() for k, v in side(batch).items()}}
            for name, x in seen.items():
                kept.setdefault(name, []).append(x)
            labels = side.run(lambda m, b: _labels(task, m, b), batch)
            classes += [] if labels is None else [labels.long().cpu().numpy()]
    some = _spaced(len_of(given), samples or len_of(given))
    joined = {name: np.concatenate(parts).astype(np.float64)[some] for name, parts in kept.items()}
    return _Clouds(joined, np.concatenate(classes)[some] if classes else None)


def _entering(batch: Batch) -> dict[str, Array]:
    """Return what goes in as features, nothing where it is no tensor of numbers."""
    first = pytree.tree_leaves(batch)[0]
    there = isinstance(first, torch.Tensor) and first.is_floating_point() and first.dim() > 1
    return {INPUT: first.detach().flatten(1).cpu().numpy()} if there else {}


def _labels(task: Task, model: nn.Module, batch: Batch) -> torch.Tensor | None:
    scores = class_scores(task, model, batch)
    return None if scores is None else class_labels(task, batch, scores)


def _spaced(count: int, most: int) -> NDArray[np.int64]:
    """Return at most so many places, evenly spaced.

    >>> _spaced(10, 4).tolist(), _spaced(3, 4).tolist()
    ([0, 2, 5, 7], [0, 1, 2])
    """
    kept = min(count, most)
    return np.arange(kept) * count // kept


def _shape(x: Array) -> dict[str, Any]:
    names = ("h0_total", "h0_scaled", "h1_total", "h1_longest", "h1_count", "covering_radius")
    if not np.isfinite(x).all():
        return {**dict.fromkeys(names, nan), "reason": DIVERGED}
    apart = distances(x)
    chosen = landmarks(apart, min(LANDMARKS, len(apart)))
    diagram = persistence(apart[np.ix_(chosen.places, chosen.places)])
    scaled = scaled_tree_length_of(apart)
    values = (
        float(tree_edges(apart).sum()),
        scaled,
        total_persistence(diagram),
        longest(diagram),
        len(diagram.lengths(1)),
        chosen.radius,
    )
    why = CONSTANT if np.isnan(scaled) else ""
    return {**dict(zip(names, values, strict=True)), "reason": why}


def _pieces(x: Array, neighbours: int, scale: float) -> dict[str, Any]:
    reason = DIVERGED if not np.isfinite(x).all() else ""
    reason = reason or (TOO_FEW_SAMPLES if len(x) <= neighbours else "")
    if reason:
        return {"pieces": nan, "loops": nan, "reason": reason}
    found = betti_numbers(x, neighbours, scale)
    return {"pieces": found.pieces, "loops": found.loops, "reason": ""}
