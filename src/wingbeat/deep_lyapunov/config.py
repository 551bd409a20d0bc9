"""Settings under deep-lyapunov's names; every one of them has an effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wingbeat.errors import RequestError

DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass
class AnalyzerConfig:
    """What `StabilityAnalyzer` does.

    Attributes:
        perturbation_scale: noise added to each tensor, in its own standard deviations, > 0.
        n_trajectories: copies trained, the unperturbed one included; at least 2, and at least 3
            for an interval and so for a verdict.
        n_pca_components: components of ``pca_trajectories``, at least 1. The ``legacy_…`` numbers
            use at most so many, as deep-lyapunov 0.1.2 does; no other number depends on it.
        track_gradients: report the gradient norm of each copy at each checkpoint.
        record_interval: epochs (calls of ``record_checkpoint``) between checkpoints; the first
            and the last state are always recorded.
        device: "auto" takes CUDA, then MPS, then the processor.
        seed: of the perturbations and of everything random in training.
        verbose: show progress on the standard error stream, unless logging already does.

    Raises:
        RequestError: a setting is out of range (a ``ValueError``).

    >>> AnalyzerConfig(n_trajectories=8).n_trajectories
    8
    """

    perturbation_scale: float = 0.01
    n_trajectories: int = 5
    n_pca_components: int = 10
    track_gradients: bool = False
    record_interval: int = 1
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    seed: int = 42
    verbose: bool = True

    def __post_init__(self) -> None:
        # Written so that NaN is refused too.
        if not self.perturbation_scale > 0:
            raise RequestError(
                f"perturbation_scale must be positive, not {self.perturbation_scale}"
            )
        for name, least in (("n_trajectories", 2), ("n_pca_components", 1), ("record_interval", 1)):
            if getattr(self, name) < least:
                raise RequestError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.device not in DEVICES:
            raise RequestError(f"device is {self.device!r}; use one of {', '.join(DEVICES)}")


@dataclass
class MetricsConfig:
    """How numbers become a verdict; set ``StabilityAnalyzer.metrics_config`` to use it.

    Attributes:
        convergence_threshold: ratio that separates convergent from divergent, > 0.
        lyapunov_window: ``lyapunov_slope`` is fitted over this many intervals from the start.
        min_trajectory_length: with fewer checkpoints a note says that rates are rough.
        use_robust_estimators: True: a verdict needs the whole bootstrap interval of the ratio
            on one side of the threshold. False: no interval, and the ratio alone decides.

    >>> MetricsConfig().convergence_threshold
    1.0
    """

    convergence_threshold: float = 1.0
    lyapunov_window: int = 5
    min_trajectory_length: int = 10
    use_robust_estimators: bool = True

    def __post_init__(self) -> None:
        if not self.convergence_threshold > 0:
            raise RequestError(
                f"convergence_threshold must be positive, not {self.convergence_threshold}"
            )
        if self.lyapunov_window < 1:
            raise RequestError(f"lyapunov_window must be at least 1, not {self.lyapunov_window}")


@dataclass
class VisualizationConfig:
    """How the pictures of a report look; pass it to ``AnalysisResults.save_report``.

    Attributes:
        figure_dpi: resolution of PNG pictures.
        figure_format: of pictures in files of their own; embedded ones are PNG or SVG.
        colormap: any matplotlib colour map, for the trajectories.
        show_confidence_bands: draw the interval of the spread.

    >>> VisualizationConfig(figure_format="svg").figure_format
    'svg'
    """

    figure_dpi: int = 150
    figure_format: Literal["png", "pdf", "svg"] = "png"
    colormap: str = "viridis"
    show_confidence_bands: bool = True

    def __post_init__(self) -> None:
        if self.figure_format not in ("png", "pdf", "svg"):
            raise RequestError(f"figure_format is {self.figure_format!r}; use png, pdf or svg")
