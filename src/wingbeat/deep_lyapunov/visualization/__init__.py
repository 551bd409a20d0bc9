"""Pictures of trajectories, spread and exponents, drawn from plain arrays."""

from __future__ import annotations

from wingbeat.deep_lyapunov.visualization.plots import (
    create_analysis_dashboard,
    plot_convergence_basin,
    plot_lyapunov_evolution,
    plot_spread_evolution,
    plot_trajectories_2d,
    plot_trajectories_3d,
)

__all__ = [
    "create_analysis_dashboard",
    "plot_convergence_basin",
    "plot_lyapunov_evolution",
    "plot_spread_evolution",
    "plot_trajectories_2d",
    "plot_trajectories_3d",
]
