"""From a result to something a person reads: figures as plain records, drawn twice, and a page."""

from __future__ import annotations

from wingbeat.report.drawing.matplotlib import (
    plot_distance,
    plot_layers,
    plot_local_lyapunov,
    plot_losses,
    plot_metric,
    plot_spread,
    plot_trajectories,
)
from wingbeat.report.pages.notebook import notebook_html
from wingbeat.report.pages.run import render_page, write_page

__all__ = [
    "notebook_html",
    "plot_distance",
    "plot_layers",
    "plot_local_lyapunov",
    "plot_losses",
    "plot_metric",
    "plot_spread",
    "plot_trajectories",
    "render_page",
    "write_page",
]
