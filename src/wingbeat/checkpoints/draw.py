"""Pictures of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wingbeat.checkpoints.moments import layer_of
from wingbeat.checkpoints.table import summed
from wingbeat.errors import StoreError
from wingbeat.files import picture_bytes, write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from wingbeat.checkpoints.moments import WeightMoments

MOST_ROWS = 60
"""Above this many tensors the blocks they belong to are drawn."""
_LONGEST = 48


def draw(found: WeightMoments, labels: Sequence[str], path: Path | None = None) -> Figure:
    """Draw a comparison; with three or more checkpoints their map and all pairs too.

    Args:
        found: what was measured of the checkpoints.
        labels: their names.
        path: where to write the picture; its suffix is the format.

    Raises:
        StoreError: the picture cannot be written.
    """
    several = len(labels) > 2
    names, values = _layers(found)
    height = min(24.0, 1.8 + 0.2 * len(names))
    size = (14.0, max(8.0, height)) if several else (8.0, max(4.5, height))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    if several:
        grid = figure.add_gridspec(2, 2)
        _heat(figure.add_subplot(grid[:, 0]), names, values)
        _pairs(figure.add_subplot(grid[0, 1]), found, labels)
        _map(figure.add_subplot(grid[1, 1]), found, len(labels))
    else:
        _bars(figure.add_subplot(), names, values[:, 0], found, labels)
    if path is not None:
        try:
            picture = picture_bytes(figure, path)
        except ValueError as error:
            msg = f"the picture {path} cannot be written ({error}): give another name, as a.png"
            raise StoreError(msg) from error
        write_bytes(path, picture)
    return figure


def plain(name: str) -> str:
    r"""Return a name as text that matplotlib does not take for a formula, cut in the middle.

    >>> plain("cost $x$")
    'cost \\$x\\$'
    """
    text = "".join(c if c.isprintable() else "?" for c in name)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"
    return text.replace("$", r"\$")


def _layers(found: WeightMoments) -> tuple[list[str], Any]:
    """Return names and relative distances (L, n − 1) of tensors, or of blocks if there are many."""
    names, norm2, _, apart2, _ = summed(found)
    many = len(found.names)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.sqrt(apart2[:, 1:] / norm2[:, None])
    keep = list(range(1, many + 1))
    if many > MOST_ROWS:
        alone = [i for i in keep if layer_of(names[i]) not in names[many + 1 :]]
        keep = [*range(many + 1, len(names)), *alone][: 2 * MOST_ROWS]
    return [names[i] for i in keep], relative[keep]


def _bars(
    axes: Axes, names: list[str], values: Any, found: WeightMoments, labels: Sequence[str]
) -> None:
    place = np.arange(len(names))
    axes.barh(place, np.nan_to_num(values))
    axes.set_yticks(place, [plain(n) for n in names], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("distance ÷ norm of the first")
    axes.set_title(
        f"{plain(labels[1])} against {plain(labels[0])}\n"
        f"distance {found.l2[1]:.4g}, relative {found.relative_l2[1]:.4g}, "
        f"cosine {found.cosine[1]:.6f}",
        fontsize=9,
    )


def _heat(axes: Axes, names: list[str], values: Any) -> None:
    image = axes.imshow(values, aspect="auto", interpolation="nearest", cmap="viridis")
    axes.set_yticks(np.arange(len(names)), [plain(n) for n in names], fontsize=7)
    places = _some(values.shape[1])
    axes.set_xticks(places, [str(i + 1) for i in places])
    axes.set_xlabel("checkpoint")
    axes.set_title("distance ÷ norm of checkpoint 0, layer by layer", fontsize=9)
    axes.figure.colorbar(image, ax=axes)


def _pairs(axes: Axes, found: WeightMoments, labels: Sequence[str]) -> None:
    image = axes.imshow(found.distances, aspect="auto", interpolation="nearest", cmap="viridis")
    places = _some(len(labels))
    axes.set_xticks(places, [str(i) for i in places])
    axes.set_yticks(places, [f"{plain(labels[i])}  {i}" for i in places], fontsize=7)
    axes.set_title("distances of all pairs", fontsize=9)
    axes.figure.colorbar(image, ax=axes)


def _some(count: int) -> list[int]:
    """Return at most 25 evenly spaced places."""
    return list(range(0, count, -(-count // 25)))


def _map(axes: Axes, found: WeightMoments, count: int) -> None:
    pca = found.pca(2)
    x, y = pca.scores.T
    axes.plot(x, y, "o-", linewidth=0.5, markersize=4)
    for i in _some(count):
        if np.isfinite(x[i]) and np.isfinite(y[i]):
            axes.annotate(f" {i}", (x[i], y[i]), fontsize=8)
    shares = [f"{100 * s:.1f} %" if np.isfinite(s) else "undefined" for s in pca.explained]
    axes.set_xlabel(f"component 1 ({shares[0]} of the variance)")
    axes.set_ylabel(f"component 2 ({shares[1]})")
    axes.set_title("map of the checkpoints, in the order given", fontsize=9)
