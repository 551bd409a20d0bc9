"""Dense nets: two circles, and digits with dropout, batch normalisation and shifts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wingbeat.errors import RequestError, nearest
from wingbeat.task.task import Task
from wingbeat.tasks.data.sklearn import Labelled, circles, digits

ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "identity": nn.Identity,
}


def mlp(
    sizes: Sequence[int] = (2, 64, 32, 2),
    activation: str = "relu",
    *,
    batch_norm: bool = False,
    dropout: float = 0.0,
    layer_norm: bool = False,
) -> nn.Module:
    """Build a dense net; inputs ``(batch, …)`` are flattened to ``(batch, sizes[0])``.

    Args:
        sizes: widths from the inputs to the outputs, at least two.
        activation: "relu", "tanh", "gelu", "silu" or "identity", between the layers.
        batch_norm: normalise before each activation.
        dropout: probability to drop an activation, in [0, 1).
        layer_norm: layer normalisation before each activation.

    Returns:
        A module whose scores are ``(batch, sizes[-1])``.

    Raises:
        RequestError: fewer than two sizes, a size below 1, an unknown activation or a
            dropout probability out of range.

    Example:
        >>> sum(p.numel() for p in mlp((2, 64, 32, 2)).parameters())
        2338
    """
    _check(sizes, activation, dropout)
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(sizes[:-1]):
        layers.append(nn.Linear(fan_in, fan_out))
        if batch_norm:
            layers.append(nn.BatchNorm1d(fan_out))
        if layer_norm:
            layers.append(nn.LayerNorm(fan_out))
        layers.append(ACTIVATIONS[activation]())
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def circles_task(
    hidden: Sequence[int] = (64, 32),
    lr: float = 1e-2,
    epochs: int = 10,
    batch_size: int = 32,
    seed: int = 0,
    *,
    activation: str = "relu",
    n: int = 1000,
    noise: float = 0.1,
    factor: float = 0.5,
    data_seed: int = 0,
) -> Task:
    """Classify two noisy circles with a dense net and Adam.

    The default is the reference job of deep-lyapunov: 1,000 points, a 2-64-32-2 net with
    2,338 parameters, ten epochs. Evaluation uses fresh points of the same distribution.

    Args:
        hidden: widths between the two inputs and the two class scores.
        lr: Adam's learning rate.
        epochs: passes over the data.
        batch_size: points a step; the last step of an epoch takes what is left.
        seed: of initial weights and batch order.
        activation: as in ``mlp``.
        n: training points, and as many evaluation points.
        noise: standard deviation of the coordinates.
        factor: radius of the inner circle.
        data_seed: of the points.

    Raises:
        RequestError: a value is out of range.

    Example:
        >>> circles_task().steps
        320
    """
    task = Task(
        model=partial(mlp, (2, *hidden, 2), activation),
        loss=cross_entropy,
        data=circles(n, noise, factor, data_seed),
        optimizer=partial(torch.optim.Adam, lr=lr),
        batch_size=batch_size,
        steps=1,
        seed=seed,
        eval_data=circles(n, noise, factor, data_seed + 1),
        name="circles, dense net",
    )
    return for_epochs(task, epochs)


def digits_mlp_task(
    hidden: Sequence[int] = (64, 32),
    lr: float = 1e-2,
    epochs: int = 10,
    batch_size: int = 64,
    seed: int = 0,
    *,
    batch_norm: bool = True,
    dropout: float = 0.1,
    augment: bool = True,
    layer_norm: bool = False,
) -> Task:
    """Classify 8x8 digits with a dense net that uses every source of noise.

    Batch order, dropout masks and random shifts by one pixel all enter the training, and
    batch normalisation adds running statistics: a task to try noise sources on.

    Args:
        hidden: widths between the 64 pixels and the ten class scores.
        lr: Adam's learning rate.
        epochs: passes over the 1,400 training images.
        batch_size: images a step.
        seed: of initial weights, batch order, masks and shifts.
        batch_norm: normalise before each activation.
        dropout: probability to drop an activation.
        augment: shift each image by -1, 0 or 1 pixel in each direction.
        layer_norm: layer normalisation before each activation.

    Raises:
        RequestError: a value is out of range.

    Example:
        >>> digits_mlp_task(epochs=2).steps
        44
    """
    train, test = digits()
    sizes = (train[0][0].numel(), *hidden, 10)
    norms: dict[str, Any] = {"batch_norm": batch_norm, "dropout": dropout}
    if layer_norm:  # said only where it is asked for: without it the task is described as ever
        norms["layer_norm"] = True
    task = Task(
        model=partial(mlp, sizes, **norms),
        loss=cross_entropy,
        data=train,
        optimizer=partial(torch.optim.Adam, lr=lr),
        batch_size=batch_size,
        steps=1,
        seed=seed,
        eval_data=test,
        augment=shift_by_a_pixel if augment else None,
        name="digits, dense net",
    )
    return for_epochs(task, epochs)


def for_epochs(task: Task, epochs: int) -> Task:
    """Return the task with as many steps as ``epochs`` passes over its data take.

    Raises:
        RequestError: fewer than one epoch.

    Example:
        >>> for_epochs(circles_task(), 3).steps
        96
    """
    if epochs < 1:
        msg = f"epochs is {epochs!r}: use a whole number of at least 1"
        raise RequestError(msg)
    return replace(task, steps=epochs * task.steps_per_epoch)


def cross_entropy(model: nn.Module, batch: Labelled) -> Tensor:
    """Return the mean cross-entropy in nats of a batch ``(inputs, labels)``, at least 0.

    Example:
        >>> batch = torch.zeros(3, 2), torch.tensor([0, 1, 1])
        >>> round(float(cross_entropy(nn.Identity(), batch)), 4)
        0.6931
    """
    inputs, labels = batch
    return F.cross_entropy(model(inputs), labels)


def shift_by_a_pixel(batch: Labelled, draws: Callable[[int], Tensor]) -> Labelled:
    """Move each image by -1, 0 or 1 pixel down and right, each with probability 1/3.

    Args:
        batch: images ``(batch, channels, height, width)`` and labels.
        draws: ``draws(2)`` gives uniforms ``(batch, 2)`` in [0, 1).

    Returns:
        The shifted images, zero where nothing was, and the same labels.

    Example:
        >>> image = torch.arange(4.0).reshape(1, 1, 2, 2)
        >>> shifted, _ = shift_by_a_pixel(
        ...     (image, torch.zeros(1)), lambda k: torch.tensor([[0.9, 0.5]])
        ... )
        >>> shifted[0, 0].tolist()
        [[0.0, 0.0], [0.0, 1.0]]
    """
    images, labels = batch
    height, width = images.shape[-2:]
    down, right = (draws(2) * 3).long().to(images.device).unbind(1)
    padded = F.pad(images, (1, 1, 1, 1)).movedim(1, -1)
    rows = torch.arange(2, height + 2, device=images.device) - down[:, None]
    columns = torch.arange(2, width + 2, device=images.device) - right[:, None]
    each = torch.arange(len(images), device=images.device)
    shifted = padded[each[:, None, None], rows[:, :, None], columns[:, None, :]]
    return shifted.movedim(-1, 1).contiguous(), labels


def _check(sizes: Sequence[int], activation: str, dropout: float) -> None:
    if len(sizes) < 2 or min(sizes) < 1:
        msg = (
            f"sizes is {tuple(sizes)!r}: give at least an input and an output width, each 1 or more"
        )
        raise RequestError(msg)
    if activation not in ACTIVATIONS:
        msg = f"activation is {activation!r}: {nearest(activation, ACTIVATIONS)}"
        raise RequestError(msg)
    if not 0 <= dropout < 1:
        msg = f"dropout is {dropout!r}: use a probability of at least 0 and below 1"
        raise RequestError(msg)


def binary_cross_entropy(model: nn.Module, batch: Labelled) -> Tensor:
    """Return the mean cross-entropy in nats of a net with one logit, at least 0.

    Example:
        >>> batch = torch.zeros(2, 1), torch.tensor([0, 1])
        >>> round(float(binary_cross_entropy(nn.Identity(), batch)), 4)
        0.6931
    """
    inputs, labels = batch
    logits = model(inputs).squeeze(-1)
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def binary_scores(model: nn.Module, batch: Labelled) -> Tensor:
    """Return scores ``(batch, 2)`` of a net with one logit: 0 for class 0, the logit for class 1.

    Example:
        >>> binary_scores(nn.Identity(), (torch.tensor([[3.0]]), torch.tensor([1]))).tolist()
        [[0.0, 3.0]]
    """
    logits = model(batch[0])
    return torch.cat([torch.zeros_like(logits), logits], dim=1)
