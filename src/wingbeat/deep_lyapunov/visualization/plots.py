"""The six pictures, as records of `wingbeat.report` drawn on matplotlib axes.

Each returns its figure; with ``ax`` given it draws there, else on a new pyplot figure. Lines differ
in colour, dash pattern and marker. A start is hollow, an end filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.deep_lyapunov.metrics.lyapunov import compute_local_lyapunov
from wingbeat.errors import RequestError
from wingbeat.files import picture_bytes, write_bytes
from wingbeat.report.drawing.matplotlib import draw
from wingbeat.report.figures import records
from wingbeat.report.prose import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike


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
        **line: any property of matplotlib's ``Line2D``.

    Raises:
        RequestError: an unknown component or colour map, or a three-dimensional axes.

    >>> from matplotlib.figure import Figure
    >>> ways, ax = np.zeros((4, 2, 3)), Figure().subplots()
    >>> plot_trajectories_2d(ways, np.ones(3) / 3, ax) is ax.figure
    True
    """
    points, names = _chosen(pca_trajectories, pca_variance, components, 2)
    if points.shape[2] == 1:
        time = np.broadcast_to(np.arange(len(points))[:, None, None], points.shape)
        points, names = np.concatenate([time, points], axis=2), ("checkpoint", *names)
    style = {"alpha": alpha, **line}
    return _ways(points, names, 2, ax, colormap, style, show_endpoints=show_endpoints)


def plot_trajectories_3d(
    pca_trajectories: ArrayLike,
    pca_variance: ArrayLike,
    ax: Axes | None = None,
    components: Sequence[int] = (0, 1, 2),
    colormap: str = "viridis",
    alpha: float = 0.7,
) -> Figure:
    """Draw trajectories in three principal components.

    Arguments and errors as in `plot_trajectories_2d`; ``ax`` needs ``projection="3d"``.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().add_subplot(projection="3d")
    >>> plot_trajectories_3d(np.zeros((4, 2, 3)), np.ones(3) / 3, ax) is ax.figure
    True
    """
    points, names = _chosen(pca_trajectories, pca_variance, components, 3)
    return _ways(points, names, 3, ax, colormap, {"alpha": alpha}, show_endpoints=True)


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
        **line: any property of matplotlib's ``Line2D``.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> _ = plot_spread_evolution([1.0, 2.0], ax, "divergent", 2.0)
    >>> ax.get_title(loc="left")
    'Spread of the trajectories: divergent, ratio 2'
    """
    values = np.asarray(spread, dtype=np.float64)
    time, unit = _time(values, epochs)
    title = "Spread of the trajectories" + ("" if behavior == "unknown" else f": {behavior}")
    if convergence_ratio is not None:
        title += f", ratio {number(convergence_ratio)}"
    low = high = None
    if interval is not None and show_confidence_bands:
        low, high = (tuple(bound) for bound in np.asarray(interval, dtype=np.float64).T)
    drawn = np.where(values > 0.0, values, np.nan)
    curve = records.Line("spread", "spread", 0, (*time,), (*drawn,), low, high, marked=True)
    return _curve(title, unit, "spread (unit weight)", curve, ax, line, log_y=True)


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
        **line: any property of matplotlib's ``Line2D``.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> _ = plot_lyapunov_evolution([1.0, np.e], 1.0, ax)
    >>> ax.lines[0].get_ydata()
    array([1.])
    """
    values = np.asarray(spread, dtype=np.float64)
    time, unit = _time(values, epochs)
    rates, middle = compute_local_lyapunov(values), (time[1:] + time[:-1]) / 2
    rates = rates / np.diff(time) if values.size > 1 else rates[:0]
    curve = records.Line("local", "local", 1, (*middle,), (*rates,), marked=True)
    guides = [records.Guide("0: neither parting nor merging", 0.0)]
    if isfinite(global_lyapunov):
        guides.append(records.Guide(f"all epochs: {number(global_lyapunov)}", global_lyapunov))
    title = "Local exponent: above 0 they part"
    return _curve(title, unit, f"Δ ln spread per {unit}", curve, ax, line, guides)


def plot_convergence_basin(
    pca_trajectories: ArrayLike,
    pca_variance: ArrayLike,
    ax: Axes | None = None,
    components: Sequence[int] = (0, 1),
) -> Figure:
    """Draw where trajectories start and end, each group within its convex hull.

    Both groups are drawn about their own mean, so that their sizes can be compared. Arguments and
    errors as in `plot_trajectories_2d`.

    >>> from matplotlib.figure import Figure
    >>> ways, ax = np.arange(24.0).reshape(4, 2, 3), Figure().subplots()
    >>> plot_convergence_basin(ways, np.ones(3) / 3, ax) is ax.figure
    True
    """
    points, names = _chosen(pca_trajectories, pca_variance, components, 2)
    paths: list[records.Path] = []
    for style, (group, at) in enumerate((("first", 0), ("last", -1))):
        if points.shape[2] < 2 or not np.isfinite(points[[0, -1]]).all():
            break
        spots = points[at] - points[at].mean(axis=0)
        paths += [_path(group, style, way) for way in (*spots[:, None], *_outline(spots))]
    axes = tuple(f"{name}, from the mean" for name in names)
    title = "First and last points about their means"
    return _figure(draw(_path_figure(title, axes, 2, paths), ax))


def create_analysis_dashboard(
    pca_trajectories: ArrayLike,
    pca_variance: ArrayLike,
    spread_evolution: ArrayLike,
    lyapunov: float,
    convergence_ratio: float,
    behavior: str,
    save_path: str | Path | None = None,
) -> Figure:
    """Draw trajectories, basin, spread and local exponents on one sheet of pyplot.

    Args:
        pca_trajectories: ``(checkpoints, N, k)`` scores.
        pca_variance: ``(k,)`` shares of the variance.
        spread_evolution: ``(checkpoints,)``.
        lyapunov: per checkpoint.
        convergence_ratio: for the title.
        behavior: likewise.
        save_path: write the sheet there, and close it in pyplot: it is returned all the same. The
            ending chooses the format.

    >>> ways = np.arange(24.0).reshape(4, 2, 3)
    >>> shares, spread = np.ones(3) / 3, np.ones(4)
    >>> sheet = create_analysis_dashboard(ways, shares, spread, 0.0, 1.0, "undetermined")
    >>> len(sheet.axes)
    4
    """
    from matplotlib import pyplot as plt

    sheet, places = plt.subplots(2, 2, figsize=(13.0, 9.0), layout="constrained")
    kept = False
    try:
        plot_trajectories_2d(pca_trajectories, pca_variance, places[0, 0])
        plot_convergence_basin(pca_trajectories, pca_variance, places[0, 1])
        plot_spread_evolution(spread_evolution, places[1, 0], behavior, convergence_ratio)
        plot_lyapunov_evolution(spread_evolution, lyapunov, places[1, 1])
        if save_path is not None:
            picture = picture_bytes(sheet, Path(save_path), dpi=150)
            write_bytes(Path(save_path), picture)
        kept = save_path is None
    finally:
        if not kept:
            plt.close(sheet)
    return sheet


def _ways(
    points: Any,
    names: tuple[str, ...],
    wanted: int,
    ax: Axes | None,
    colormap: str,
    line: dict[str, Any],
    *,
    show_endpoints: bool,
) -> Figure:
    """Draw one way per trajectory and give it the colours and properties asked for."""
    import matplotlib as mpl

    if colormap not in mpl.colormaps:
        raise RequestError(f"colormap is {colormap!r}, which matplotlib does not know")
    count = points.shape[1]
    fits = points.shape[2] == wanted and np.isfinite(points).any()
    paths = [
        _path(f"{i} (unperturbed)" if i == 0 else str(i), i, points[:, i]) for i in range(count)
    ]
    record = _path_figure("Trajectories in principal components", names, wanted, paths * bool(fits))
    before = 0 if ax is None else len(ax.lines)
    where = draw(record, ax)
    # The pale end of a colour map cannot be seen on white.
    shades = mpl.colormaps[colormap](np.linspace(0.0, 0.85, max(count, 1)))
    drawn = where.lines[before:]
    for i, way in enumerate(drawn[::3]):
        start, end = drawn[3 * i + 1 : 3 * i + 3]
        way.set(**{"color": shades[i], **line})
        start.set(color=shades[i], visible=show_endpoints)
        end.set(color=shades[i], markerfacecolor=shades[i], visible=show_endpoints)
    legend: Any = where.get_legend()
    for handle, shade in zip(legend.legend_handles if legend else (), shades, strict=False):
        handle.set(color=shade)
    return _figure(where)


def _path(group: str, style: int, way: Any) -> records.Path:
    steps = tuple(range(len(way)))
    return records.Path(group, group, style, steps, tuple(map(tuple, way.T)))


def _path_figure(
    title: str, axes: tuple[str, ...], wanted: int, paths: Sequence[records.Path]
) -> records.PathFigure:
    padded = (*axes, *[""] * wanted)[:wanted]
    return records.PathFigure("", title, "", padded, tuple(paths))


def _curve(
    title: str,
    unit: str,
    y_label: str,
    curve: records.Line,
    ax: Axes | None,
    line: dict[str, Any],
    guides: Sequence[records.Guide] = (),
    *,
    log_y: bool = False,
) -> Figure:
    record = records.LineFigure("", title, "", unit, y_label, (curve,), tuple(guides), log_y=log_y)
    before = 0 if ax is None else len(ax.lines)
    where = draw(record, ax)
    if not record.empty:
        where.lines[before].set(**line)
    return _figure(where)


def _figure(ax: Axes) -> Figure:
    from matplotlib.figure import Figure

    found = ax.get_figure(root=True)
    if not isinstance(found, Figure):
        raise RequestError("the axes belongs to no figure")
    return found


def _chosen(
    trajectories: ArrayLike, variance: ArrayLike, components: Sequence[int], wanted: int
) -> tuple[Any, tuple[str, ...]]:
    """Return the scores ``(T, N, ≤ wanted)`` of those components that there are, and their names.

    Raises:
        RequestError: wrong shape, or an index that is not there.
    """
    points, shares = (np.asarray(given, dtype=np.float64) for given in (trajectories, variance))
    if points.ndim != 3:
        raise RequestError(
            f"pca_trajectories have shape {points.shape}; give (checkpoints, trajectories, k)"
        )
    if len(components) != wanted or len(set(components)) != wanted or min(components) < 0:
        raise RequestError(f"components are {tuple(components)}; give {wanted} different indices")
    k = points.shape[2]
    if k >= wanted and max(components) >= k:
        raise RequestError(f"components are {tuple(components)}; there are {k}, counted from 0")
    shown = [c for c in components if c < k]
    return points[:, :, shown], tuple(_name(c, shares) for c in shown)


def _name(component: int, shares: Any) -> str:
    known = component < len(shares) and isfinite(shares[component])
    share = f" ({100 * shares[component]:.1f} % of the variance)" if known else ""
    return f"PC{component + 1}{share}"


def _time(values: Any, epochs: ArrayLike | None) -> tuple[Any, str]:
    if values.ndim != 1:
        raise RequestError(f"spread has shape {values.shape}; give (checkpoints,)")
    if epochs is None:
        return np.arange(values.size, dtype=np.float64), "checkpoint"
    time = np.asarray(epochs, dtype=np.float64)
    if time.shape != values.shape:
        raise RequestError(f"epochs have shape {time.shape} for {values.size} checkpoints")
    return time, "epoch"


def _outline(points: Any) -> tuple[Any, ...]:
    """Return the closed convex hull, or nothing for points that span no area."""
    from scipy.spatial import ConvexHull, QhullError

    if len(points) < 3:
        return ()
    try:
        corners = ConvexHull(points).vertices
    except QhullError:  # all on a line
        return ()
    return (points[[*corners, corners[0]]],)
