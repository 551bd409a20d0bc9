"""What an analysis found: numbers, plots, reports, JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from wingbeat.deep_lyapunov import serial
from wingbeat.deep_lyapunov.config import VisualizationConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Array = NDArray[np.float64]


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
class AnalysisResults:
    """The result of an analysis. Undefined numbers are NaN and ``reason`` says why.

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
        convergence_interval: 95 % bootstrap interval of the ratio over the trajectories.
        lyapunov_interval: the same of the exponent.
        lyapunov_slope: least-squares slope of ln spread over the first intervals, 1/epoch.
        early_late_ratio: how much more ln spread changes in the first half; > 1 = early.
        spread_interval: ``(T, 2)`` bounds of the spread.
        checkpoint_epochs: ``(T,)``, the epoch (or call) at which each checkpoint was taken.
        gradient_norms: ``(T, N)``, if asked for; NaN where there was no gradient.
        legacy_convergence_ratio: what deep-lyapunov 0.1.2 gives for the same weights.
        legacy_lyapunov: likewise; per checkpoint interval, in three components.
        legacy_spread_evolution: ``(T,)``, likewise.
        legacy_variance_kept: ``(T,)``, share of the variance that its projection keeps.
        notes: what to know before reading the numbers; every warning is here too.

    >>> results = AnalysisResults(0.5, -0.1, "convergent", np.ones(2), np.ones((2, 3, 1)),
    ...                           np.ones(1), 1.0)
    >>> results.to_dict()["convergence_ratio"]
    0.5
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

    def plot_trajectories(
        self, ax: Axes | None = None, components: tuple[int, ...] = (0, 1), **kwargs: Any
    ) -> Figure:
        """Draw the trajectories in two principal components and return the figure.

        Args:
            ax: where; None opens a new pyplot figure.
            components: two indices. Where there are fewer components, against the epoch.
            **kwargs: ``colormap``, or anything that ``Axes.plot`` takes.

        Raises:
            RequestError: an index is not there (with two or more components).
        """
        from wingbeat.deep_lyapunov.visualization import plots

        return plots.plot_trajectories_2d(
            self.pca_trajectories, self.pca_explained_variance, ax, components, **kwargs
        )

    def plot_convergence(self, ax: Axes | None = None, **kwargs: Any) -> Figure:
        """Draw the spread over the epochs with its interval and return the figure.

        ``kwargs``: ``show_confidence_bands``, or anything that ``Axes.plot`` takes.
        """
        from wingbeat.deep_lyapunov.visualization import plots

        return plots.plot_spread_evolution(
            self.spread_evolution,
            ax,
            self.behavior,
            self.convergence_ratio,
            epochs=self.checkpoint_epochs,
            interval=self.spread_interval,
            **kwargs,
        )

    def plot_lyapunov(self, ax: Axes | None = None, **kwargs: Any) -> Figure:
        """Draw the local exponents beside the one over all epochs and return the figure.

        ``kwargs``: anything that ``Axes.plot`` takes.
        """
        from wingbeat.deep_lyapunov.visualization import plots

        return plots.plot_lyapunov_evolution(
            self.spread_evolution, self.lyapunov, ax, epochs=self.checkpoint_epochs, **kwargs
        )

    def save_report(
        self,
        output_dir: str | Path,
        embed_images: bool = True,
        format: Literal["markdown", "html"] = "html",  # noqa: A002 (deep-lyapunov's name)
        *,
        config: VisualizationConfig | None = None,
    ) -> None:
        """Write ``report.html`` or ``report.md``, and ``metrics.json``, to a folder.

        Args:
            output_dir: made if it is not there.
            embed_images: pictures inside the report; False writes trajectories, convergence
                and lyapunov as files of their own beside it.
            format: "html" or "markdown".
            config: resolution, file format, colours, bands.

        Raises:
            RequestError: the path ends like a file, or an unknown format.
        """
        from wingbeat.deep_lyapunov.report import write_report

        write_report(self, Path(output_dir), embed_images, format, config or VisualizationConfig())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain types that JSON can hold; NaN and infinity become None."""
        return serial.as_dict(self)

    def to_json(self, path: str | Path) -> None:
        """Write `to_dict` as strict JSON."""
        serial.write_json(self.to_dict(), Path(path))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AnalysisResults:
        """Return the result that `to_dict` described; None becomes NaN again.

        Dictionaries of deep-lyapunov, which hold no ``pca_trajectories``, are read too.

        Raises:
            RequestError: a field is missing or is not what it should be.
        """
        return serial.results_from(cls, TrajectoryMetrics, data)
