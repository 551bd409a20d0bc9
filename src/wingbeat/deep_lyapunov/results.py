"""What an analysis found: numbers, plots, reports, JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from wingbeat.deep_lyapunov.config import VisualizationConfig
from wingbeat.deep_lyapunov.numbers import PlainResults, TrajectoryMetrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["AnalysisResults", "TrajectoryMetrics"]


@dataclass(eq=False)
class AnalysisResults(PlainResults):
    """The result of an analysis: the numbers, and how they are drawn and written.

    >>> import numpy as np
    >>> results = AnalysisResults(0.5, -0.1, "convergent", np.ones(2), np.ones((2, 3, 1)),
    ...                           np.ones(1), 1.0)
    >>> results.to_dict()["convergence_ratio"]
    0.5
    """

    def plot_trajectories(
        self, ax: Axes | None = None, components: tuple[int, ...] = (0, 1), **kwargs: Any
    ) -> Figure:
        """Draw the trajectories in two principal components and return the figure.

        Args:
            ax: where; None opens a new pyplot figure.
            components: two indices. Where there are fewer components, against the epoch.
            **kwargs: ``colormap``, or any property of matplotlib's ``Line2D``.

        Raises:
            RequestError: an index is not there (with two or more components).
        """
        from wingbeat.deep_lyapunov.visualization import plots

        return plots.plot_trajectories_2d(
            self.pca_trajectories, self.pca_explained_variance, ax, components, **kwargs
        )

    def plot_convergence(self, ax: Axes | None = None, **kwargs: Any) -> Figure:
        """Draw the spread over the epochs with its interval and return the figure.

        ``kwargs``: ``show_confidence_bands``, or any property of matplotlib's ``Line2D``.
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
        """Draw the local exponents beside the one over all epochs and return the figure."""
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

        look = config or VisualizationConfig()
        band = look.show_confidence_bands
        drawings = {
            "trajectories": lambda ax: self.plot_trajectories(ax, colormap=look.colormap),
            "convergence": lambda ax: self.plot_convergence(ax, show_confidence_bands=band),
            "lyapunov": self.plot_lyapunov,
        }
        write_report(self, drawings, Path(output_dir), embed_images, format, look)
