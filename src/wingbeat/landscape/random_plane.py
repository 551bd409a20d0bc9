"""Loss and error on a random plane around one model, its directions normalised filter by filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from wingbeat.brief import brief
from wingbeat.determinism import derive
from wingbeat.errors import RequestError
from wingbeat.landscape.models import Models
from wingbeat.landscape.plane import values_on_grid
from wingbeat.typing import Array

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.landscape.probe import Probe
    from wingbeat.params import Layout


@dataclass(frozen=True)
class RandomPlane:
    """Values on a grid around a model.

    Attributes:
        x: (X,), along the first direction; the model lies at 0, 1 is one norm of every filter.
        y: (Y,), along the second.
        values: (Y, X) by name: "loss_train", "error_train", "loss_test", "error_test".
        directions: (2, P) float64, in weights, as ``TrainingStep.layout`` lays them out.
        label: of the model.
        seed: of the directions.
    """

    x: Array
    y: Array
    values: dict[str, Array]
    directions: Array
    label: str
    seed: int

    __repr__ = brief


def random_plane(
    probe: Probe,
    models: Models,
    place: int = 0,
    points: int = 21,
    extent: float = 1.0,
    *,
    seed: int = 0,
) -> RandomPlane:
    """Evaluate a random plane around one model, in one batched pass.

    Both directions are drawn from a Gaussian, and each filter of a direction (the weights into one
    unit or channel) gets the norm of the model's own filter: what rescaling the units of a network
    does not change, the picture does not show. Biases and the parameters of normalisation layers
    stay as they are.

    Args:
        probe: on which data, and how. Its ``statistics="interpolated"`` keeps the running
            statistics of the model at every point, as the source does; "exact" estimates them anew.
        models: at least one.
        place: which of them.
        points: grid points in each direction, at least 2; an odd number has the model among them.
        extent: how far the grid goes to each side, in norms of the filters, > 0.
        seed: the same seed gives the same plane for all models of an architecture.

    Returns:
        The values on the grid.

    Raises:
        RequestError: arguments out of range, or weights that are not finite.

    Source: Li et al., "Visualizing the Loss Landscape of Neural Nets", arXiv 1712.09913, section 4.

    >>> from wingbeat.landscape import Probe
    >>> from wingbeat.tasks.dense import circles_task
    >>> task = circles_task()
    >>> probe = Probe.of(task, samples=64)
    >>> models = Models.of_modules(probe.step, {"net": task.model()})
    >>> found = random_plane(probe, models, points=3)
    >>> found.values["loss_train"].shape, found.x.tolist()
    ((3, 3), [-1.0, 0.0, 1.0])
    """
    if isinstance(points, bool) or not isinstance(points, int) or points < 2:
        raise RequestError(f"points is {points!r}; give a whole number of at least 2")
    if not (np.isfinite(extent) and extent > 0):
        raise RequestError(f"extent is {extent!r}; give a number above 0")
    if not 0 <= place < len(models):
        raise RequestError(f"place is {place!r}; give one of the {len(models)} models")
    centre = models.take([place])
    centre.require_finite()
    directions = [_direction(probe.step.layout, centre.params[0], seed, k) for k in (0, 1)]
    ends = [centre.params[0].double() + d for d in directions]
    three = Models(
        (centre.labels[0], "first direction", "second direction"),
        torch.stack([centre.params[0], *(end.to(centre.params) for end in ends)]),
        {name: torch.cat([buffer] * 3) for name, buffer in centre.buffers.items()},
    )
    axis = np.linspace(-extent, extent, points)
    values = values_on_grid(probe, three, _coefficients(axis), (points, points))
    found = torch.stack(directions).cpu().numpy()
    return RandomPlane(axis, axis.copy(), values, found, centre.labels[0], seed)


def _direction(layout: Layout, params: Tensor, seed: int, number: int) -> Tensor:
    """Return a random direction in float64, normalised filter by filter; 0 at biases and norms."""
    own = layout.unflatten(params.double())
    found = {}
    for name, tensor in own.items():
        if tensor.dim() < 2:
            found[name] = torch.zeros_like(tensor)
            continue
        generator = torch.Generator().manual_seed(derive(seed, "random plane", number, name))
        draws = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        draws = draws.to(tensor.device)
        filters, goal = draws.flatten(1).norm(dim=1), tensor.flatten(1).norm(dim=1)
        scale = goal / filters
        found[name] = draws * scale.reshape(-1, *[1] * (tensor.dim() - 1))
    return layout.flatten(found)


def _coefficients(axis: Array) -> Array:
    """Return the affine coefficients (points², 3) of the model and of it plus each direction."""
    xs, ys = (one.ravel() for one in np.meshgrid(axis, axis))
    return np.stack([1.0 - xs - ys, xs, ys], axis=1)
