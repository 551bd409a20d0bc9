"""Layer statistics and a phase-space view of any training loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from math import nan

import numpy as np
import torch
from torch import Tensor, nn

from wingbeat.deep_lyapunov.assess import Recording, assess
from wingbeat.deep_lyapunov.config import MetricsConfig
from wingbeat.deep_lyapunov.results import AnalysisResults, TrajectoryMetrics
from wingbeat.deep_lyapunov.tracking.tracker import TrajectoryTracker, pace
from wingbeat.errors import TOO_FEW_POINTS, RequestError
from wingbeat.params import trainable
from wingbeat.typing import Array


@dataclass(frozen=True, eq=False)
class LayerSnapshot:
    """One tensor of a model at one moment, in float64.

    Attributes:
        name: of the parameter.
        step: at which it was taken, in the units of the caller.
        weight_mean: and ``_std`` (ddof 0), ``_min``, ``_max`` and ``_norm`` (L2) of the weights.
        grad_mean: and ``_std`` (ddof 0) and ``_norm`` (L2) of the gradient; NaN without one.
        singular_values: falling, of the tensor as a matrix of its first axis by all others;
            None for fewer than two axes, or if not asked for; NaN where a weight is not finite.

    >>> shot = LayerSnapshot.of("weight", torch.diag(torch.tensor([3.0, 4.0])))
    >>> shot.weight_norm, shot.singular_values, shot.grad_norm
    (5.0, array([4., 3.]), nan)
    """

    name: str
    step: float
    weight_mean: float
    weight_std: float
    weight_min: float
    weight_max: float
    weight_norm: float
    grad_mean: float = nan
    grad_std: float = nan
    grad_norm: float = nan
    singular_values: Array | None = None

    @classmethod
    def of(
        cls,
        name: str,
        tensor: Tensor,
        gradient: Tensor | None = None,
        step: float = 0,
        *,
        singular_values: bool = True,
    ) -> LayerSnapshot:
        """Take a snapshot of a tensor that is not empty.

        Raises:
            RequestError: the tensor holds no number.
        """
        if tensor.numel() == 0:
            raise RequestError(f"tensor {name!r} is empty")
        weights = tensor.detach().cpu().double()
        (mean, std, norm), slope = _moments(weights), _moments(gradient)
        low, high = float(weights.min()), float(weights.max())
        values = _singular(weights) if singular_values and weights.dim() > 1 else None
        return cls(name, step, mean, std, low, high, norm, *slope, values)


_SERIES = tuple(f.name for f in fields(LayerSnapshot) if f.name not in ("name", "step"))


class DynamicsTracker:
    """Records layer snapshots and weight trajectories during any training loop.

    Args:
        model: one model, or several copies whose trajectories are to be compared. Layer
            snapshots are taken of the first.
        singular_values: also take singular values, which costs a decomposition per matrix.

    Attributes:
        steps: of the records.
        layers: for each record, `LayerSnapshot` by parameter name.

    Raises:
        RequestError: there is no model, or one without trainable parameters.

    >>> tracker = DynamicsTracker(nn.Linear(2, 1))
    >>> tracker.record(0)
    >>> tracker.record(10)
    >>> tracker.layer("weight", "weight_norm").shape, tracker.trajectories.shape
    ((2,), (2, 1, 3))
    """

    def __init__(
        self, model: nn.Module | Sequence[nn.Module], *, singular_values: bool = True
    ) -> None:
        self.models = [model] if isinstance(model, nn.Module) else list(model)
        if not self.models or not all(trainable(m) for m in self.models):
            raise RequestError("give at least one model, each with trainable parameters")
        self._singular_values = singular_values
        self._trackers = [TrajectoryTracker(m) for m in self.models]
        self.steps: list[float] = []
        self.layers: list[dict[str, LayerSnapshot]] = []

    def record(self, step: float | None = None) -> None:
        """Record all models now; gradients are those of the last backward pass.

        Args:
            step: or epoch, larger than the one before; None counts records.

        Raises:
            RequestError: the step does not increase.
        """
        last = self.steps[-1] if self.steps else None
        now = (0.0 if last is None else last + 1.0) if step is None else float(step)
        if last is not None and now <= last:
            raise RequestError(f"step {now:g} does not come after {last:g}")
        for tracker in self._trackers:
            tracker.capture()
        self.steps.append(now)
        wanted = self._singular_values
        self.layers.append(
            {
                name: LayerSnapshot.of(name, p, p.grad, now, singular_values=wanted)
                for name, p in trainable(self.models[0]).items()
                if p.numel()
            }
        )

    @property
    def trackers(self) -> list[TrajectoryTracker]:
        """The weights of each model, one tracker each."""
        return self._trackers

    @property
    def trajectories(self) -> Array:
        """All weights, ``(records, models, P)``, as a copy.

        Raises:
            RequestError: nothing was recorded.
        """
        return np.stack([t.get_trajectory() for t in self._trackers], axis=1)

    def layer(self, name: str, value: str) -> Array:
        """Return one field of the snapshots of one parameter over the records.

        Args:
            name: of the parameter.
            value: a field of `LayerSnapshot`.

        Returns:
            ``(records,)``, or ``(records, k)`` for singular values; NaN before a parameter
            became trainable.

        Raises:
            RequestError: there is no such parameter or field, or it has no singular values.

        """
        if value not in _SERIES:
            raise RequestError(f"value is {value!r}; use one of {', '.join(_SERIES)}")
        known = next((record[name] for record in reversed(self.layers) if name in record), None)
        if known is None:
            raise RequestError(f"no parameter {name!r} was recorded")
        shape = np.shape(getattr(known, value))
        if getattr(known, value) is None:
            raise RequestError(f"parameter {name!r} has no {value}")
        gap = np.full(shape, nan)
        return np.array([getattr(r[name], value) if name in r else gap for r in self.layers])


class DynamicalSystemsAnalyzer:
    """A phase-space view of what a tracker recorded.

    Args:
        tracker: a `DynamicsTracker`. Spread, ratio and exponent need at least two models in it.
        model: one of the models that it tracks.
        n_pca_components: of the phase-space picture.

    Raises:
        RequestError: the tracker does not track this model, or fewer than one component.

    >>> models = [nn.Linear(1, 1, bias=False) for _ in range(2)]
    >>> tracker = DynamicsTracker(models)
    >>> for size in (1.0, 4.0):
    ...     for sign, model in zip((-1, 1), models):
    ...         _ = model.weight.data.fill_(sign * size)
    ...     tracker.record()
    >>> DynamicalSystemsAnalyzer(tracker, models[0]).analyze().convergence_ratio
    4.0
    """

    def __init__(
        self, tracker: DynamicsTracker, model: nn.Module, n_pca_components: int = 10
    ) -> None:
        if not any(model is known for known in tracker.models):
            raise RequestError("the tracker does not track this model; give one that it tracks")
        if n_pca_components < 1:
            raise RequestError(f"n_pca_components is {n_pca_components}; ask for at least one")
        self.tracker = tracker
        self.model = model
        self.n_pca_components = n_pca_components
        self.metrics_config = MetricsConfig()

    def analyze(self) -> AnalysisResults:
        """Return spread, convergence ratio, λ, early/late ratio, components and their variance.

        λ and the early/late ratio are per unit of the steps given to ``record``. With one model
        the measures of its path are given; the others are NaN, reason ``too_few_replicas``.

        Raises:
            RequestError: fewer than two records.
        """
        if len(self.tracker.steps) < 2:
            raise RequestError(
                f"{TOO_FEW_POINTS}: {len(self.tracker.steps)} records; make at least two"
            )
        trackers = self.tracker.trackers
        recording = Recording(
            tuple(zip(*(t.vectors for t in trackers), strict=True)), tuple(self.tracker.steps)
        )
        results = assess(recording, self.n_pca_components, self.metrics_config)
        steps = self.tracker.steps
        each = [TrajectoryMetrics(i, **pace(t.hops(), steps)) for i, t in enumerate(trackers)]
        return replace(results, trajectory_metrics=each)

    def variance_explained(self) -> Array:
        """Return the running sum of the shares of the variance, ``(k,)`` in [0, 1]."""
        return np.cumsum(self.analyze().pca_explained_variance)


def _moments(values: Tensor | None) -> tuple[float, float, float]:
    if values is None:
        return nan, nan, nan
    wide = values.detach().cpu().double()
    return float(wide.mean()), float(wide.std(correction=0)), float(wide.norm())


def _singular(weights: Tensor) -> Array:
    matrix = weights.reshape(weights.shape[0], -1)
    if not torch.isfinite(matrix).all():
        return np.full(min(matrix.shape), nan)
    return np.asarray(torch.linalg.svdvals(matrix).numpy())
