"""Fitted states as one plain file: kept, sent on, and asked about runs that came later.

The format is safetensors with a description in JSON and a digest over both: readable without
wingbeat, no pickle, and refused where it was altered.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import torch

from wingbeat.analyses.states.fitted import FittedStates
from wingbeat.analyses.states.hmm import GaussianStates
from wingbeat.analyses.states.series import RunSeries, Scale
from wingbeat.errors import StoreError
from wingbeat.trajectory.tensorfile import read_tensors, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

KIND: Final = "latent states of training"
VERSION: Final = 1
MODEL: Final = ("start", "transitions", "means", "covariances")
SERIES: Final = ("runs", "names", "steps", "left_out", "dropped")
SCORES: Final = ("states", "training", "held_out", "bic", "spread", "converged")


def save_states(fitted: FittedStates, path: str | Path) -> Path:
    """Write fitted states to a file, all or nothing.

    Args:
        fitted: model, scale, the runs that were fitted with their paths, and the selection.
        path: of the file, usually ``.safetensors``; a file that is there is replaced.

    Returns:
        The path.

    Raises:
        StoreError: it cannot be written; nothing was changed.

    Example:
        >>> import tempfile
        >>> from wingbeat.analyses.states import load_states
        >>> rng = np.random.default_rng(0)
        >>> series = RunSeries(
        ...     tuple("abcde"), ("x",), tuple(range(10)), rng.normal(size=(5, 10, 1))
        ... )
        >>> one = np.ones((1, 1))
        >>> model = GaussianStates(one[0], one, 0 * one, one[None])
        >>> paths = np.zeros((5, 10), dtype=np.int64)
        >>> scores = pd.DataFrame([dict.fromkeys(SCORES, 1.0)])
        >>> fitted = FittedStates(series.standardised(), model, paths, scores)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = load_states(save_states(fitted, f"{folder}/states.safetensors"))
        >>> (again.follow(series) == fitted.follow(series)).all()
        np.True_
    """
    series, model = fitted.series, fitted.model
    arrays: dict[str, Any] = {
        **{name: getattr(model, name) for name in MODEL},
        "values": series.values,
        "paths": fitted.paths,
        **{f"selection.{n}": fitted.selection[n].to_numpy(dtype=np.float64) for n in SCORES},
    }
    if series.scale is not None:
        arrays |= {"scale.mean": series.scale.mean, "scale.deviation": series.scale.deviation}
    meta = {
        "kind": KIND,
        "version": VERSION,
        **{name: list(getattr(series, name)) for name in SERIES},
        "standardised": None if series.scale is None else series.scale.how,
        "converged": bool(model.converged),
        "spread": float(model.spread),
    }
    write_tensors(Path(path), {k: _tensor(v) for k, v in arrays.items()}, meta)
    return Path(path)


def load_states(path: str | Path) -> FittedStates:
    """Read fitted states that `save_states` wrote: they decode every run as before, to the bit.

    `FittedStates.follow` then tells the states of runs that were not there, new checkpoints say.

    Args:
        path: of the file.

    Raises:
        StoreError: it is missing, damaged, was altered, or holds something else.
    """
    path = Path(path)
    tensors, meta = read_tensors(path)
    if meta.get("kind") != KIND or meta.get("version") != VERSION:
        raise StoreError(
            f"{path} holds {meta.get('kind', 'something else')!r} in version "
            f"{meta.get('version')!r}: give a file that save_states wrote, version {VERSION}"
        )
    arrays = {name: t.numpy() for name, t in tensors.items()}
    how = meta["standardised"]
    scale = how and Scale(how, arrays["scale.mean"], arrays["scale.deviation"])
    given = {name: tuple(meta[name]) for name in SERIES}
    series = RunSeries(**given, values=arrays["values"], scale=scale)
    model = GaussianStates(
        **{name: arrays[name] for name in MODEL},
        converged=meta["converged"],
        spread=meta["spread"],
    )
    scores = pd.DataFrame({name: arrays[f"selection.{name}"] for name in SCORES})
    scores = scores.astype({"states": int, "converged": bool})
    return FittedStates(series, model, arrays["paths"], scores)


def _tensor(values: Any) -> Tensor:
    """Return an array as a tensor of its own, laid out row after row."""
    return torch.from_numpy(np.array(values, order="C"))
