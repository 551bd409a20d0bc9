"""Axes, colours and words that all pictures share."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wingbeat.errors import RequestError
from wingbeat.report.figures.style import (
    DASHES,
    MARKERS,
    MATPLOTLIB_DASHES,
    MATPLOTLIB_MARKERS,
    THEMES,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

COLOURS: Final = THEMES["light"]
_SIZE = (7.2, 4.5)
# The pale end of a colour map cannot be seen on white.
_DARKEST, _PALEST = 0.0, 0.85


def axes(ax: Axes | None, *, three: bool = False) -> Axes:
    """Return the axes given, or those of a new pyplot figure."""
    if ax is not None:
        if three != (ax.name == "3d"):
            need = 'an axes with projection="3d"' if three else "a flat axes"
            raise RequestError(f"this picture needs {need}, not {ax.name!r}")
        return ax
    from matplotlib import pyplot as plt

    new = plt.figure(figsize=_SIZE, layout="constrained")
    return new.add_subplot(projection="3d") if three else new.add_subplot()


def figure_of(ax: Axes) -> Figure:
    """Return the outermost figure of an axes."""
    from matplotlib.figure import Figure

    found = ax.get_figure(root=True)
    if not isinstance(found, Figure):
        raise RequestError("the axes belongs to no figure")
    return found


def tidy(ax: Axes, title: str, x: str, y: str) -> None:
    """Set the words of a flat axes, a pale grid, and no frame above and to the right."""
    ax.set_title(title, fontsize="medium", loc="left")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, color=COLOURS["@grid"], linewidth=0.7)
    ax.set_axisbelow(True)


def strokes(count: int, colormap: str) -> list[dict[str, Any]]:
    """Return how each of ``count`` lines looks: colour, dash pattern and marker all change.

    Raises:
        RequestError: matplotlib knows no such colour map.
    """
    import matplotlib as mpl

    if colormap not in mpl.colormaps:
        raise RequestError(f"colormap is {colormap!r}, which matplotlib does not know")
    shades = mpl.colormaps[colormap](np.linspace(_DARKEST, _PALEST, max(count, 1)))
    return [
        {
            "color": shades[i],
            "linestyle": MATPLOTLIB_DASHES[DASHES[i % len(DASHES)]],
            "marker": MATPLOTLIB_MARKERS[MARKERS[i % len(MARKERS)]],
        }
        for i in range(count)
    ]


def ends(ax: Any, points: Array, stroke: dict[str, Any]) -> None:
    """Mark where a line starts (hollow) and where it ends (filled); ``points`` is (T, axes)."""
    for at, face in ((0, COLOURS["@paper"]), (-1, stroke["color"])):
        where = [[c] for c in points[at]]
        look = {"color": stroke["color"], "marker": stroke["marker"]}
        ax.plot(*where, linestyle="", markersize=6, markerfacecolor=face, **look)


def label(component: int, shares: Array) -> str:
    """Return the text of an axis: the component and its share of the variance.

    >>> label(0, np.array([0.25]))
    'PC1 (25.0 % of the variance)'
    """
    known = component < len(shares) and isfinite(shares[component])
    return f"PC{component + 1}" + (
        f" ({100 * shares[component]:.1f} % of the variance)" if known else ""
    )


def say(ax: Any, text: str) -> None:
    """Write in the middle of an axes why there is nothing to see."""
    write = ax.text2D if ax.name == "3d" else ax.text
    write(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=COLOURS["@muted"])


def number(value: float, form: str = ".3g") -> str:
    """Return a number, or a dash where it is undefined.

    >>> number(1.5), number(float("nan"))
    ('1.5', '–')
    """
    return format(value, form) if isfinite(value) else "–"


def chosen(trajectories: Any, components: Sequence[int], wanted: int) -> tuple[Array, list[int]]:
    """Return the array ``(T, N, k)`` and the components to draw, checked.

    With fewer components than the picture has axes, the list is shorter.

    Raises:
        RequestError: wrong shape, or an index that is not there.
    """
    points = np.asarray(trajectories, dtype=np.float64)
    if points.ndim != 3:
        raise RequestError(
            f"pca_trajectories have shape {points.shape}; give (checkpoints, trajectories, k)"
        )
    if len(components) != wanted or len(set(components)) != wanted or min(components) < 0:
        raise RequestError(f"components are {tuple(components)}; give {wanted} different indices")
    k = points.shape[2]
    if k >= wanted and max(components) >= k:
        raise RequestError(f"components are {tuple(components)}; there are {k}, counted from 0")
    return points, [c for c in components if c < k]
