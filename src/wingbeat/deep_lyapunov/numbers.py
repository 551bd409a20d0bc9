"""The numbers of an analysis, and how they are kept as strict JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from math import nan
from pathlib import Path
from typing import Any, Self

import numpy as np

from wingbeat.errors import RequestError
from wingbeat.files import json_safe, write_bytes
from wingbeat.typing import Array


@dataclass
class TrajectoryMetrics:
    """What is known of one trajectory.

    Attributes:
        trajectory_id: 0 is the unperturbed copy.
        final_loss: the last that the training function gave; None where it gave none.
        final_accuracy: likewise; where it gave none and there is a ``test_loader`` with class
            labels, the share of right predictions on it.
        path_length: sum of the distances between neighbouring checkpoints, unit weight.
        velocity_mean: mean distance per epoch, over the intervals.
        velocity_std: its standard deviation (ddof 0).

    >>> TrajectoryMetrics(0).final_loss is None
    True
    """

    trajectory_id: int
    final_loss: float | None = None
    final_accuracy: float | None = None
    path_length: float = 0.0
    velocity_mean: float = 0.0
    velocity_std: float = 0.0


@dataclass(eq=False)
class PlainResults:
    """The fields of `AnalysisResults`. Undefined numbers are NaN and ``reason`` says why.

    Attributes:
        convergence_ratio: last ÷ first spread, in full weight space; < 1 = came closer.
        lyapunov: ln(convergence_ratio) per epoch, so the two never disagree in sign.
        behavior: "convergent" or "divergent" if the whole interval of the ratio lies on that
            side of 1, else "undetermined".
        spread_evolution: ``(T,)``, √(Σ_p Var_i w_ip) at each checkpoint; 0 = identical.
        pca_trajectories: ``(T, N, k)`` scores in the common principal components.
        pca_explained_variance: ``(k,)`` shares of the variance.
        effective_dimensionality: mean participation ratio over windows of checkpoints, ≥ 1.
        trajectory_metrics: one entry for each trajectory.
        n_trajectories: N.
        n_checkpoints: T, the initial state included.
        n_parameters: trainable weights.
        reason: why ratio and exponent are NaN, else "": a reason of `wingbeat.errors` or
            `NOT_TRAINED`.
        interval_reason: why a defined ratio has no interval, else "".
        convergence_interval: 95 % interval of the ratio over the trajectories, see
            `wingbeat.metrics.spread_ratio`.
        lyapunov_interval: the same of the exponent.
        lyapunov_slope: least-squares slope of ln spread over the first intervals, 1/epoch.
        early_late_ratio: how much more ln spread changes in the first half; > 1 = early.
        spread_interval: ``(T, 2)``, 95 % interval of the spread, see
            `wingbeat.metrics.spread_interval`; NaN below three trajectories.
        checkpoint_epochs: ``(T,)``, the epoch (or call) at which each checkpoint was taken.
        gradient_norms: ``(T, N)``, if asked for; NaN where there was no gradient.
        legacy_convergence_ratio: what deep-lyapunov 0.1.2 gives for the same weights.
        legacy_lyapunov: likewise; per checkpoint interval, in three components.
        legacy_spread_evolution: ``(T,)``, likewise.
        legacy_variance_kept: ``(T,)``, share of the variance that its projection keeps.
        notes: what to know before reading the numbers; every warning is here too.
    """

    convergence_ratio: float
    lyapunov: float
    behavior: str
    spread_evolution: Array
    pca_trajectories: Array
    pca_explained_variance: Array
    effective_dimensionality: float
    trajectory_metrics: list[TrajectoryMetrics] = field(default_factory=list)
    n_trajectories: int = 0
    n_checkpoints: int = 0
    n_parameters: int = 0
    reason: str = ""
    interval_reason: str = ""
    convergence_interval: tuple[float, float] = (nan, nan)
    lyapunov_interval: tuple[float, float] = (nan, nan)
    lyapunov_slope: float = nan
    early_late_ratio: float = nan
    spread_interval: Array | None = None
    checkpoint_epochs: Array | None = None
    gradient_norms: Array | None = None
    legacy_convergence_ratio: float = nan
    legacy_lyapunov: float = nan
    legacy_spread_evolution: Array | None = None
    legacy_variance_kept: Array | None = None
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain types that JSON can hold; NaN and infinity become None."""
        found: dict[str, Any] = json_safe(vars(self))
        found["trajectory_metrics"] = [json_safe(vars(m)) for m in self.trajectory_metrics]
        return found

    def to_json(self, path: str | Path) -> None:
        """Write `to_dict` as strict JSON, in ASCII so that any locale can read it."""
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False)
        write_bytes(Path(path), f"{text}\n".encode())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the result that `to_dict` described; None becomes NaN again.

        Dictionaries of deep-lyapunov, which hold no ``pca_trajectories``, are read too.

        Raises:
            RequestError: a field is missing or is not what it should be.
        """
        made = _read(cls, {"pca_trajectories": None, **data})
        if made["pca_trajectories"] is None or made["pca_trajectories"].size == 0:
            shape = (made.get("n_checkpoints", 0), made.get("n_trajectories", 0), 0)
            made["pca_trajectories"] = np.empty(shape)
        each = made.pop("trajectory_metrics", [])
        read = [TrajectoryMetrics(**_read(TrajectoryMetrics, one)) for one in each]
        return cls(**made, trajectory_metrics=read)


def _read(kind: type[PlainResults | TrajectoryMetrics], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a dataclass from what JSON holds, each checked by its type."""
    needed = {f.name for f in fields(kind) if f.default is f.default_factory is MISSING}
    if missing := sorted(needed - data.keys()):
        raise RequestError(f"the dictionary holds no {', '.join(missing)}")
    made = {}
    for one in fields(kind):
        if one.name in data:
            try:
                made[one.name] = _reader(one.name, str(one.type))(data[one.name])
            except (TypeError, ValueError) as error:
                raise RequestError(
                    f"{one.name} is {data[one.name]!r}, which cannot be read: {error}"
                ) from error
    return made


_AXES = {"pca_trajectories": 3, "spread_interval": 2, "gradient_norms": 2}
"""Axes of the arrays that have more than one."""
_READERS: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "str": str,
    "float": lambda value: nan if value is None else float(value),
    "float | None": lambda value: None if value is None else float(value),
    "tuple[float, float]": lambda value: tuple(nan if v is None else float(v) for v in value),
    "list[str]": lambda value: [str(v) for v in value],
    "list[TrajectoryMetrics]": lambda value: list(value or []),
}
"""How a field is read, by how its type is written."""


def _reader(name: str, written: str) -> Callable[[Any], Any]:
    if written in _READERS:
        return _READERS[written]

    def array(value: Any) -> Array | None:
        """Return what JSON holds as an array, with the axes that the field has."""
        if value is None:
            optional = "None" in written or name == "pca_trajectories"
            return None if optional else np.empty(0)
        found = np.array(value, dtype=np.float64)  # None becomes NaN
        if found.ndim != _AXES.get(name, 1) and found.size:
            raise RequestError(f"it has {found.ndim} axes and needs {_AXES.get(name, 1)}")
        return found

    return array
