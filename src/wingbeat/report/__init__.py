"""From a result to something a person reads: figures as plain records, drawn twice, and a page."""

from __future__ import annotations

from wingbeat.report.card import notebook_html
from wingbeat.report.draw_matplotlib import (
    plot_distance,
    plot_layers,
    plot_local_lyapunov,
    plot_losses,
    plot_spread,
    plot_trajectories,
)
from wingbeat.report.page import render_page, write_page

__all__ = [
    "notebook_html",
    "plot_distance",
    "plot_layers",
    "plot_local_lyapunov",
    "plot_losses",
    "plot_spread",
    "plot_trajectories",
    "render_page",
    "write_page",
]
