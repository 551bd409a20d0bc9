"""Results as strict JSON and back: no NaN, no infinity, nothing lost that has a value."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from wingbeat.deep_lyapunov.results import AnalysisResults, TrajectoryMetrics

    R = TypeVar("R", bound=AnalysisResults)

_ARRAYS = {
    "spread_evolution": 1,
    "pca_trajectories": 3,
    "pca_explained_variance": 1,
    "spread_interval": 2,
    "checkpoint_epochs": 1,
    "gradient_norms": 2,
    "legacy_spread_evolution": 1,
    "legacy_variance_kept": 1,
}
_REQUIRED_ARRAYS = ("spread_evolution", "pca_trajectories", "pca_explained_variance")
_COUNTS = ("n_trajectories", "n_checkpoints", "n_parameters", "trajectory_id")
_TEXTS = ("behavior", "reason", "interval_reason")
_PAIRS = ("convergence_interval", "lyapunov_interval")
_MAYBE = ("final_loss", "final_accuracy")


def plain(value: Any) -> Any:
    """Return lists, dicts, strings, finite numbers and None for what a result holds.

    >>> plain({"a": np.array([1.0, np.inf]), "b": (np.float32(2), "x")})
    {'a': [1.0, None], 'b': [2.0, 'x']}
    """
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value


def as_dict(results: AnalysisResults) -> dict[str, Any]:
    """Return every field of a result in plain types."""
    found = {f.name: plain(getattr(results, f.name)) for f in fields(results)}
    found["trajectory_metrics"] = [plain(vars(m)) for m in results.trajectory_metrics]
    return found


def write_json(data: dict[str, Any], path: Path) -> None:
    """Write strict JSON, in ASCII so that any locale can read it."""
    path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def results_from(kind: type[R], entry: type[TrajectoryMetrics], data: Mapping[str, Any]) -> R:
    """Build a result from `as_dict`, checking each field.

    Raises:
        RequestError: a field is missing or is not what it should be.
    """
    data = {"pca_trajectories": None, **data}
    given = {f.name: f for f in fields(kind)}
    missing = [
        name
        for name, f in given.items()
        if name not in data and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise RequestError(f"the dictionary holds no {', '.join(missing)}")
    made = {
        name: _read(name, data[name])
        for name in given
        if name in data and name != "trajectory_metrics"
    }
    if made["pca_trajectories"] is None or made["pca_trajectories"].size == 0:
        shape = (made.get("n_checkpoints", 0), made.get("n_trajectories", 0), 0)
        made["pca_trajectories"] = np.empty(shape)
    entries = [_entry(entry, one) for one in data.get("trajectory_metrics") or []]
    return kind(**made, trajectory_metrics=entries)


def _entry(kind: type[TrajectoryMetrics], data: Mapping[str, Any]) -> TrajectoryMetrics:
    known = {f.name for f in fields(kind)}
    return kind(**{name: _read(name, data[name]) for name in known if name in data})


def _read(name: str, value: Any) -> Any:
    try:
        return _reader(name)(value)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{name} is {value!r}, which cannot be read: {error}") from error


def _reader(name: str) -> Callable[[Any], Any]:
    if name in _ARRAYS:
        return lambda value: _array(name, value)
    if name in _COUNTS:
        return int
    if name in _TEXTS:
        return str
    if name in _PAIRS:
        return lambda value: tuple(_number(v) for v in value)
    if name in _MAYBE:
        return lambda value: None if value is None else float(value)
    return (lambda value: [str(v) for v in value]) if name == "notes" else _number


def _number(value: Any) -> float:
    return nan if value is None else float(value)


def _array(name: str, value: Any) -> NDArray[np.float64] | None:
    if value is None:
        return None if name not in _REQUIRED_ARRAYS or name == "pca_trajectories" else np.empty(0)
    array = np.array(value, dtype=np.float64)  # None becomes NaN
    if array.ndim != _ARRAYS[name] and array.size:
        raise RequestError(f"it has {array.ndim} axes and needs {_ARRAYS[name]}")
    return array
