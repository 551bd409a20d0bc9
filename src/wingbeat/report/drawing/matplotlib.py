"""Figure records drawn on matplotlib axes, for notebooks and papers.

With an axes given, nothing of pyplot's global state is read or changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from wingbeat.errors import RequestError, nearest
from wingbeat.report.drawing.plotly.parts import shortened
from wingbeat.report.figures import curves, maps
from wingbeat.report.figures.any_metric import figure_of
from wingbeat.report.figures.losses import losses, replica_metrics
from wingbeat.report.figures.records import (
    MOST_NAMES,
    Figure,
    Guide,
    HeatFigure,
    Line,
    LineFigure,
    PathFigure,
    groups,
)
from wingbeat.report.figures.style import (
    GUIDE_STYLE,
    MATPLOTLIB_DASHES,
    MATPLOTLIB_MARKERS,
    THEMES,
    look,
)
from wingbeat.report.result_access import ResultLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = THEMES["light"]


def draw(figure: Figure, ax: Axes | None = None) -> Axes:
    """Draw a figure record and return its axes.

    Args:
        figure: what to draw; three-component ways need an axes with
            ``projection="3d"``.
        ax: where to draw; None opens a new pyplot figure.
    """
    if ax is not None:
        return _draw_on(figure, ax)
    from matplotlib import pyplot as plt

    new = _new_axes(figure)
    try:
        return _draw_on(figure, new)
    except BaseException:
        plt.close(cast("Any", new.figure))  # nobody else could: it would stay open for good
        raise


def _draw_on(figure: Figure, where: Axes) -> Axes:
    if isinstance(figure, HeatFigure):
        _heat(figure, where)
    elif isinstance(figure, PathFigure):
        _paths(figure, where)
    else:
        _lines(figure, where)
    if figure.empty:
        _say(where, "no value here is defined")
    # A note shares the upper edge of the axes, so the title moves up by one line.
    pad = 20 if isinstance(figure, LineFigure) and figure.note else None
    where.set_title(plain(figure.title), fontsize="medium", loc="left", wrap=True, pad=pad)
    return where


def _say(ax: Axes, words: str) -> None:
    anywhere = cast("Any", ax)  # a flat text on three-dimensional axes has a name of its own
    write = anywhere.text2D if ax.name == "3d" else anywhere.text
    colour = _COLOURS["@muted"]
    write(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=colour)


def plain(text: str) -> str:
    r"""Return text that matplotlib shows as it is: no mathematics, no hidden key entries.

    >>> plain("a $x$ b"), plain("_hidden")
    ('a \\$x\\$ b', ' _hidden')
    """
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _new_axes(figure: Figure) -> Axes:
    from matplotlib import pyplot as plt

    three = isinstance(figure, PathFigure) and len(figure.axes) == 3
    height = 4.5
    if isinstance(figure, HeatFigure):
        height = min(30.0, max(3.0, 0.22 * len(figure.layers) + 1.5))
    new = plt.figure(figsize=(7.2, height), layout="constrained")
    return new.add_subplot(projection="3d") if three else new.add_subplot()


def _tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, color=_COLOURS["@grid"], linewidth=0.7)
    ax.set_axisbelow(True)


def _lines(figure: LineFigure, ax: Axes) -> None:
    _tidy(ax)
    if figure.log_y:
        ax.set_yscale("log")
    for line in figure.lines:
        _line(line, ax, stepped=figure.stepped)
    for guide in figure.guides:
        _guide(guide, ax)
    if figure.note:
        ax.text(
            1, 1.01, plain(figure.note), transform=ax.transAxes, ha="right", va="bottom",
            fontsize="small", color=_COLOURS["@muted"],
        )  # fmt: skip
    if 0 < len(figure.names) <= MOST_NAMES:
        texts = [plain(shortened(name)) for name in figure.names]
        ax.set_xticks(range(len(texts)), texts, rotation=90)
    ax.set_xlabel(plain(figure.x_label))
    ax.set_ylabel(plain(figure.y_label))
    _key(figure, ax)


def _line(line: Line, ax: Axes, *, stepped: bool) -> None:
    style = look(line.style)
    colour = _COLOURS[style.colour]
    if line.low is not None and line.high is not None:
        ax.fill_between(
            line.x, line.low, line.high, color=colour, alpha=0.18, linewidth=0,
            step="pre" if stepped else None,
        )  # fmt: skip
    ax.plot(
        line.x,
        line.y,
        color=colour,
        linestyle=MATPLOTLIB_DASHES[line.dash or style.dash],
        linewidth=0.9 if line.thin else 1.7,
        alpha=0.8 if line.thin else 1.0,
        marker=MATPLOTLIB_MARKERS[style.marker] if line.marked or len(line.x) == 1 else "",
        markersize=4,
        drawstyle="steps-pre" if stepped else "default",
        label=plain(line.name),
    )


def _guide(guide: Guide, ax: Axes) -> None:
    shape = look(GUIDE_STYLE)
    dashes = MATPLOTLIB_DASHES[shape.dash]
    ax.axhline(guide.y, color=_COLOURS[shape.colour], linestyle=dashes, linewidth=1.1)


def _key(figure: LineFigure | PathFigure, ax: Axes) -> None:
    from matplotlib.lines import Line2D

    entries = groups(figure)
    handles = []
    for entry in entries:
        shape = look(entry.style)
        handles.append(
            Line2D(
                [], [], color=_COLOURS[shape.colour], linewidth=1.7,
                linestyle=MATPLOTLIB_DASHES[entry.dash or shape.dash],
                marker=MATPLOTLIB_MARKERS[shape.marker] if entry.marked else "", markersize=4,
            )
        )  # fmt: skip
    if handles:
        texts = [plain(shortened(entry.text, 48)) for entry in entries]
        # A long key would hide the curves: it goes beside the axes.
        beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1)} if len(handles) > 5 else {}
        cast("Any", ax).legend(handles, texts, fontsize="small", frameon=False, **beside)


def _paths(figure: PathFigure, ax: Axes) -> None:
    three = len(figure.axes) == 3
    if three != (ax.name == "3d"):
        need = 'an axes with projection="3d"' if three else "a flat axes"
        raise RequestError(f"{len(figure.axes)} components need {need}, got {ax.name!r}")
    if not three:
        _tidy(ax)
    plot = cast("Any", ax)  # Axes3D.plot takes one coordinate more than Axes.plot
    for path in figure.paths:
        style = look(path.style)
        colour, marker = _COLOURS[style.colour], MATPLOTLIB_MARKERS[style.marker]
        plot.plot(
            *path.coordinates, color=colour, linestyle=MATPLOTLIB_DASHES[style.dash],
            linewidth=0.9 if path.thin else 1.7, label=plain(path.name),
        )  # fmt: skip
        for end, face in ((0, _COLOURS["@paper"]), (-1, colour)):
            point = [[c[end]] for c in path.coordinates]
            plot.plot(*point, marker=marker, color=colour, markerfacecolor=face, markersize=5)
    ax.set_xlabel(plain(figure.axes[0]))
    ax.set_ylabel(plain(figure.axes[1]))
    if three:
        plot.set_zlabel(plain(figure.axes[2]))
        plot.set_box_aspect(None, zoom=0.82)
    _key(figure, ax)


def _heat(figure: HeatFigure, ax: Axes) -> None:
    values = np.ma.masked_invalid(np.asarray(figure.values, dtype=np.float64))
    mesh = ax.pcolormesh(
        _edges(figure.steps), np.arange(len(figure.layers) + 1) - 0.5, values,
        cmap="cividis", vmin=figure.limits[0], vmax=figure.limits[1],
    )  # fmt: skip
    ax.invert_yaxis()
    shown = range(len(figure.layers))
    ax.set_yticks(list(shown), [plain(shortened(figure.layers[i])) for i in shown])
    ax.tick_params(axis="y", labelsize="small")
    ax.set_xlabel(plain(figure.x_label))
    ax.figure.colorbar(mesh, ax=ax, label=plain(figure.value_label))


def _edges(steps: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return cell borders halfway between the steps."""
    centre = np.asarray(steps, dtype=np.float64)
    if len(centre) == 1:
        return np.array([centre[0] - 0.5, centre[0] + 0.5])
    middle = (centre[1:] + centre[:-1]) / 2
    first, last = 2 * centre[0] - middle[0], 2 * centre[-1] - middle[-1]
    edges: np.ndarray[Any, np.dtype[np.float64]] = np.concatenate([[first], middle, [last]])
    return edges


def _need(figure: Figure | None, what: str) -> Figure:
    if figure is None:
        raise RequestError(f"this result holds no {what}: ask for it in metrics=(…) and run again")
    return figure


def plot_spread(result: ResultLike, ax: Axes | None = None) -> Axes:
    """Draw the spread of the replicas over training, logarithmic, with the noise floor.

    Args:
        result: what to draw.
        ax: where; None opens a new pyplot figure.

    Returns:
        The axes.

    Raises:
        RequestError: the result holds no spread.
    """
    return draw(_need(curves.spread_figure(result), "spread"), ax)


def plot_distance(result: ResultLike, ax: Axes | None = None) -> Axes:
    """Draw the L2 distance to the reference (median and range), as `plot_spread` does."""
    return draw(_need(curves.distance(result), "l2"), ax)


def plot_local_lyapunov(result: ResultLike, ax: Axes | None = None) -> Axes:
    """Draw the local exponent in 1/step over training; above 0 the copies part."""
    return draw(_need(curves.local_lyapunov(result), "local_lyapunov"), ax)


def plot_trajectories(
    result: ResultLike, ax: Axes | None = None, components: tuple[int, ...] = (0, 1)
) -> Axes:
    """Draw the ways of the replicas through principal components.

    Args:
        result: what to draw.
        ax: where; None opens a new pyplot figure. Three components need an axes
            with ``projection="3d"``.
        components: two or three different component indices, 0 the largest.

    Returns:
        The axes.

    Raises:
        RequestError: the result holds no such components, or the axes does not fit.
    """
    if len(components) not in (2, 3) or len(set(components)) != len(components):
        raise RequestError(f"components must be two or three different indices, got {components}")
    what = ", ".join(f"pc{c + 1}" for c in components)
    return draw(_need(maps.trajectories(result, components), what), ax)


def plot_losses(result: ResultLike, ax: Axes | None = None, metric: str = "train_loss") -> Axes:
    """Draw one value per replica: train_loss, eval_loss, accuracy, disagreement or an own measure.

    Raises:
        RequestError: the result holds no such values per replica.
    """
    known = replica_metrics(result)
    if known and metric not in known:
        raise RequestError(f"no values per replica for {metric!r}: {nearest(metric, known)}")
    return draw(_need(losses(result, metric), metric), ax)


def plot_layers(
    result: ResultLike, ax: Axes | None = None, perturbation: str | None = None
) -> Axes:
    """Draw the map of tensors by steps for one perturbation (None: the first).

    Raises:
        RequestError: the result holds no values per tensor.
    """
    return draw(_need(maps.layers(result, perturbation), "relative_l2 or spread per tensor"), ax)


def plot_metric(
    result: ResultLike,
    ax: Axes | None = None,
    *,
    metric: str,
    perturbation: str | None = None,
    components: tuple[int, ...] = (0, 1),
) -> Axes:
    """Draw any metric that a result holds, by its name.

    Args:
        result: what to draw.
        ax: where; None opens a new pyplot figure.
        metric: its name, also "layers".
        perturbation: of "layers": whose map; None means the first.
        components: of "pca": which.

    Raises:
        RequestError: the result holds no such metric, or the axes does not fit.
    """
    if metric == "pca":
        return plot_trajectories(result, ax, components)
    if metric == "layers":
        return plot_layers(result, ax, perturbation)
    return draw(figure_of(result, metric), ax)
