"""The six pictures. Each returns its figure; with ``ax`` given it draws there.

Lines differ in colour, dash pattern and marker. A start is hollow, an end filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.deep_lyapunov.metrics.lyapunov import compute_local_lyapunov
from wingbeat.deep_lyapunov.visualization import canvas
from wingbeat.deep_lyapunov.visualization.canvas import COLOURS
from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

_MOST_KEYS = 12
"""Trajectories named in the key at most."""


def plot_trajectories_2d(
    pca_trajectories: ArrayLike,
    pca_variance: ArrayLike,
    ax: Axes | None = None,
    components: Sequence[int] = (0, 1),
    colormap: str = "viridis",
    alpha: float = 0.7,
    show_endpoints: bool = True,
    **line: Any,
) -> Figure:
    """Draw trajectories in two principal components.

    Args:
        pca_trajectories: ``(checkpoints, N, k)`` scores. With one component it is drawn
            against the checkpoint; with none, or all NaN, the picture says so.
        pca_variance: ``(k,)`` shares of the variance.
        ax: where; None opens a new pyplot figure.
        components: two different indices.
        colormap: of matplotlib.
        alpha: opacity of the lines.
        show_endpoints: mark start and end.
        **line: passed on to ``Axes.plot``.

    Returns:
        The figure.

    Raises:
        RequestError: an unknown component or colour map, or a three-dimensional axes.

    >>> from matplotlib.figure import Figure
    >>> ways, ax = np.zeros((4, 2, 3)), Figure().subplots()
    >>> plot_trajectories_2d(ways, np.ones(3) / 3, ax) is ax.figure
    True
    """
    points, shown = canvas.chosen(pca_trajectories, components, 2)
    shares = np.asarray(pca_variance, dtype=np.float64)
    where = canvas.axes(ax)
    names = [canvas.label(c, shares) for c in shown]
    flat = points[:, :, shown]
    if len(shown) == 1:
        time = np.broadcast_to(np.arange(len(flat))[:, None, None], flat.shape)
        flat, names = np.concatenate([time, flat], axis=2), ["checkpoint", *names]
    names = names or ["", ""]
    canvas.tidy(where, "Trajectories in principal components", *names)
    if not shown or not np.isfinite(flat).any():
        canvas.say(where, "no principal components")
        return canvas.figure_of(where)
    _draw_paths(where, flat, colormap, {"linewidth": 1.6, "alpha": alpha, **line}, show_endpoints)
    return canvas.figure_of(where)


def plot_trajectories_3d(
    pca_trajectories: ArrayLike,
    pca_variance: ArrayLike,
    ax: Axes | None = None,
    components: Sequence[int] = (0, 1, 2),
    colormap: str = "viridis",
    alpha: float = 0.7,
) -> Figure:
    """Draw trajectories in three principal components.

    Arguments as in `plot_trajectories_2d`; ``ax`` needs ``projection="3d"``.

    Raises:
        RequestError: an unknown component or colour map, or a flat axes.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().add_subplot(projection="3d")
    >>> plot_trajectories_3d(np.zeros((4, 2, 3)), np.ones(3) / 3, ax) is ax.figure
    True
    """
    points, shown = canvas.chosen(pca_trajectories, components, 3)
    shares = np.asarray(pca_variance, dtype=np.float64)
    where: Any = canvas.axes(ax, three=True)
    where.set_title("Trajectories in principal components", fontsize="medium", loc="left")
    if len(shown) < 3 or not np.isfinite(points).any():
        canvas.say(where, "fewer than three principal components")
        return canvas.figure_of(where)
    _draw_paths(where, points[:, :, shown], colormap, {"linewidth": 1.6, "alpha": alpha}, True)
    for axis, component in zip("xyz", shown, strict=True):
        getattr(where, f"set_{axis}label")(canvas.label(component, shares))
    where.set_box_aspect(None, zoom=0.82)
    return canvas.figure_of(where)


def plot_spread_evolution(
    spread: ArrayLike,
    ax: Axes | None = None,
    behavior: str = "unknown",
    convergence_ratio: float | None = None,
    *,
    epochs: ArrayLike | None = None,
    interval: ArrayLike | None = None,
    show_confidence_bands: bool = True,
    **line: Any,
) -> Figure:
    """Draw the spread at each checkpoint, on a logarithmic axis.

    Args:
        spread: ``(checkpoints,)``; zeros and NaN are left out.
        ax: where; None opens a new pyplot figure.
        behavior: the verdict, for the title.
        convergence_ratio: likewise.
        epochs: ``(checkpoints,)``; None counts checkpoints.
        interval: ``(checkpoints, 2)`` bounds, drawn as a band.
        show_confidence_bands: False leaves the band out.
        **line: passed on to ``Axes.plot``.

    Returns:
        The figure.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> _ = plot_spread_evolution([1.0, 2.0], ax, "divergent", 2.0)
    >>> ax.get_title(loc="left")
    'Spread of the trajectories: divergent, ratio 2'
    """
    values = np.asarray(spread, dtype=np.float64)
    where = canvas.axes(ax)
    time, name = _time(values, epochs)
    title = "Spread of the trajectories" + ("" if behavior == "unknown" else f": {behavior}")
    if convergence_ratio is not None:
        title += f", ratio {canvas.number(convergence_ratio)}"
    canvas.tidy(where, title, name, "spread (unit weight)")
    drawn = np.where(values > 0.0, values, np.nan)
    if not np.isfinite(drawn).any():
        canvas.say(where, "no spread above 0")
        return canvas.figure_of(where)
    where.set_yscale("log")
    if interval is not None and show_confidence_bands:
        low, high = np.asarray(interval, dtype=np.float64).T
        where.fill_between(time, low, high, color=COLOURS["@0"], alpha=0.18, linewidth=0)
    style = {"color": COLOURS["@0"], "marker": "o", "markersize": 4, "linewidth": 1.7}
    where.plot(time, drawn, **{**style, **line})
    return canvas.figure_of(where)


def plot_lyapunov_evolution(
    spread: ArrayLike,
    global_lyapunov: float,
    ax: Axes | None = None,
    *,
    epochs: ArrayLike | None = None,
    **line: Any,
) -> Figure:
    """Draw the growth of ln spread between neighbouring checkpoints.

    Args:
        spread: ``(checkpoints,)``.
        global_lyapunov: the value over all epochs, drawn as a dotted line.
        ax: where; None opens a new pyplot figure.
        epochs: ``(checkpoints,)``, then rates are per epoch; None: per checkpoint.
        **line: passed on to ``Axes.plot``.

    Returns:
        The figure.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> _ = plot_lyapunov_evolution([1.0, np.e], 1.0, ax)
    >>> ax.lines[0].get_ydata()
    array([1.])
    """
    values = np.asarray(spread, dtype=np.float64)
    where = canvas.axes(ax)
    time, name = _time(values, epochs)
    canvas.tidy(where, "Local exponent: above 0 they part", name, f"Δ ln spread per {name}")
    if values.size < 2 or not np.isfinite(compute_local_lyapunov(values)).any():
        canvas.say(where, "no exponent: fewer than two spreads above 0")
        return canvas.figure_of(where)
    rates = compute_local_lyapunov(values) / np.diff(time)
    style = {"color": COLOURS["@1"], "marker": "s", "markersize": 4, "linewidth": 1.7}
    where.plot((time[1:] + time[:-1]) / 2, rates, **{**style, "label": "local", **line})
    where.axhline(0.0, color=COLOURS["@axis"], linewidth=1)
    if np.isfinite(global_lyapunov):
        whole = f"all epochs: {canvas.number(global_lyapunov)}"
        where.axhline(global_lyapunov, color=COLOURS["@ink"], linestyle=":", label=whole)
    where.legend(frameon=False, fontsize="small")
    return canvas.figure_of(where)


def plot_convergence_basin(
    pca_trajectories: ArrayLike,
    pca_variance: ArrayLike,
    ax: Axes | None = None,
    components: Sequence[int] = (0, 1),
) -> Figure:
    """Draw where trajectories start and end, each group within its convex hull.

    Both groups are drawn about their own mean, so that their sizes can be compared.

    Arguments, return value and errors as in `plot_trajectories_2d`.

    >>> from matplotlib.figure import Figure
    >>> ways, ax = np.arange(24.0).reshape(4, 2, 3), Figure().subplots()
    >>> plot_convergence_basin(ways, np.ones(3) / 3, ax) is ax.figure
    True
    """
    points, shown = canvas.chosen(pca_trajectories, components, 2)
    shares = np.asarray(pca_variance, dtype=np.float64)
    where = canvas.axes(ax)
    names = [f"{canvas.label(c, shares)}, from the mean" for c in shown]
    canvas.tidy(where, "First and last points about their means", *(names * 2 or ["", ""])[:2])
    groups = (("first", 0, "@0", "o", ""), ("last", -1, "@1", "s", "//"))
    if len(shown) < 2 or not np.isfinite(points[[0, -1]][:, :, shown]).all():
        canvas.say(where, "fewer than two principal components")
        return canvas.figure_of(where)
    for name, at, colour, marker, hatch in groups:
        group = points[at][:, shown] - points[at][:, shown].mean(axis=0)
        where.scatter(*group.T, color=COLOURS[colour], marker=marker, label=name, zorder=3)
        corners = _hull(group)
        if corners is not None:
            where.fill(
                *corners.T, facecolor=COLOURS[colour] + "22", edgecolor=COLOURS[colour], hatch=hatch
            )
    where.legend(frameon=False, fontsize="small")
    return canvas.figure_of(where)


def create_analysis_dashboard(
    pca_trajectories: ArrayLike,
    pca_variance: ArrayLike,
    spread_evolution: ArrayLike,
    lyapunov: float,
    convergence_ratio: float,
    behavior: str,
    save_path: str | Path | None = None,
) -> Figure:
    """Draw trajectories, basin, spread and local exponents on one sheet.

    Args:
        pca_trajectories: ``(checkpoints, N, k)`` scores.
        pca_variance: ``(k,)`` shares of the variance.
        spread_evolution: ``(checkpoints,)``.
        lyapunov: per checkpoint.
        convergence_ratio: for the title.
        behavior: likewise.
        save_path: write the sheet there too; the ending chooses the format.

    Returns:
        The figure, of pyplot.

    >>> ways = np.arange(24.0).reshape(4, 2, 3)
    >>> shares, spread = np.ones(3) / 3, np.ones(4)
    >>> sheet = create_analysis_dashboard(ways, shares, spread, 0.0, 1.0, "undetermined")
    >>> len(sheet.axes)
    4
    """
    from matplotlib import pyplot as plt

    sheet, places = plt.subplots(2, 2, figsize=(13.0, 9.0), layout="constrained")
    plot_trajectories_2d(pca_trajectories, pca_variance, places[0, 0])
    plot_convergence_basin(pca_trajectories, pca_variance, places[0, 1])
    plot_spread_evolution(spread_evolution, places[1, 0], behavior, convergence_ratio)
    plot_lyapunov_evolution(spread_evolution, lyapunov, places[1, 1])
    if save_path is not None:
        sheet.savefig(save_path, dpi=150)
    return sheet


def _draw_paths(ax: Any, points: Any, colormap: str, line: dict[str, Any], mark: bool) -> None:
    count = points.shape[1]
    looks = canvas.strokes(count, colormap)
    for i, stroke in enumerate(looks):
        named = f"{i} (unperturbed)" if i == 0 else str(i)
        own = {"label": named, "color": stroke["color"], "linestyle": stroke["linestyle"]}
        ax.plot(*points[:, i].T, **{**own, **line})
        if mark:
            canvas.ends(ax, points[:, i], stroke)
    if 1 < count <= _MOST_KEYS:
        ax.legend(title="trajectory", frameon=False, fontsize="small")


def _time(values: Any, epochs: ArrayLike | None) -> tuple[Any, str]:
    if values.ndim != 1:
        raise RequestError(f"spread has shape {values.shape}; give (checkpoints,)")
    if epochs is None:
        return np.arange(values.size, dtype=np.float64), "checkpoint"
    time = np.asarray(epochs, dtype=np.float64)
    if time.shape != values.shape:
        raise RequestError(f"epochs have shape {time.shape} for {values.size} checkpoints")
    return time, "epoch"


def _hull(points: Any) -> Any:
    """Return the corners of the convex hull, or None for points that span no area."""
    from scipy.spatial import ConvexHull, QhullError

    if len(points) < 3:
        return None
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:  # all on a line
        return None
