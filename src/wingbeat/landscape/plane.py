"""Loss and error on the plane through three models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.brief import brief
from wingbeat.errors import RequestError
from wingbeat.metrics.blocks import blocks
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.landscape.models import Models
    from wingbeat.landscape.probe import Probe


@dataclass(frozen=True)
class Plane:
    """Values on a grid of the plane, in orthonormal coordinates.

    Attributes:
        x: (X,), along the way from the first model to the second, in units of weight; the first
            model lies at 0.
        y: (Y,), at right angles to it, towards the third model.
        values: (Y, X) by name: "loss_train", "error_train", "loss_test", "error_test".
        corners: (3, 2), where the three models lie.
        labels: their names.
    """

    x: Array
    y: Array
    values: dict[str, Array]
    corners: Array
    labels: tuple[str, ...]

    __repr__ = brief


def plane(
    probe: Probe,
    models: Models,
    places: tuple[int, int, int] = (0, 1, 2),
    points: int = 21,
    margin: float = 0.2,
) -> Plane:
    """Evaluate the plane through three models, in one batched pass.

    Args:
        probe: on which data, and how.
        models: at least three.
        places: which three.
        points: grid points in each direction, at least 2.
        margin: how far the grid goes beyond the models, as a share of their extent, ≥ 0.

    Returns:
        The values on the grid. Distances in the drawing are distances in weight space.

    Raises:
        RequestError: models on one line, or arguments out of range.

    Source: Garipov et al., arXiv 1802.10026, appendix (projection to the plane).
    """
    if isinstance(points, bool) or not isinstance(points, int) or points < 2:
        raise RequestError(f"points is {points!r}; give a whole number of at least 2")
    if not (np.isfinite(margin) and margin >= 0):
        raise RequestError(f"margin is {margin!r}; give a share of at least 0")
    if len(places) != 3 or not all(0 <= p < len(models) for p in places):
        raise RequestError(f"places is {places!r}; give three of the {len(models)} models")
    three = models.take(places)
    three.require_finite()
    corners = _corners(three)
    x, y = (_axis(corners[:, k], points, margin) for k in (0, 1))
    values = values_on_grid(probe, three, _coefficients(corners, x, y), (len(y), len(x)))
    return Plane(x, y, values, corners, three.labels)


def values_on_grid(
    probe: Probe, models: Models, coefficients: Array, shape: tuple[int, int]
) -> dict[str, Array]:
    """Return loss and error of each set of data at points between models, as a grid.

    Args:
        probe: on which data, and how.
        models: N of them.
        coefficients: (points, N), each row summing to 1.
        shape: of the grid, (Y, X).
    """
    values = {}
    for name, one in probe(models, coefficients).items():
        values[f"loss_{name}"] = one.mean("loss").reshape(shape)
        if one.error is not None:
            values[f"error_{name}"] = one.mean("error").reshape(shape)
    return values


def _corners(three: Models) -> Array:
    """Return the models' orthonormal coordinates (3, 2), first one at the origin."""
    gram = np.zeros((2, 2))
    for block in blocks(three.params):
        away = block[1:] - block[0]
        gram += away @ away.T
    length = np.sqrt(gram[0, 0])
    along = gram[0, 1] / length if length > 0 else 0.0
    square = gram[1, 1] - along**2
    if length == 0 or square <= 1e-12 * max(gram[1, 1], gram[0, 0]):
        raise RequestError(
            f"models {', '.join(map(repr, three.labels))} lie on one line: three models that span "
            "a plane are needed"
        )
    return np.array([[0.0, 0.0], [length, 0.0], [along, np.sqrt(square)]])


def _axis(coordinates: Array, points: int, margin: float) -> Array:
    low, high = coordinates.min(), coordinates.max()
    beyond = margin * (high - low)
    return np.linspace(low - beyond, high + beyond, points)


def _coefficients(corners: Array, x: Array, y: Array) -> Array:
    """Return the affine coefficients (Y · X, 3) of the points of a grid."""
    (_, (length, _), (along, height)) = corners
    xs, ys = (axis.ravel() for axis in np.meshgrid(x, y))
    third = ys / height
    second = (xs - third * along) / length
    return np.stack([1.0 - second - third, second, third], axis=1)
