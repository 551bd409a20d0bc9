"""One task for three families: dense nets, convolutional nets and transformers on the digits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from wingbeat.errors import RequestError, nearest
from wingbeat.task.task import Task
from wingbeat.tasks.cnn import digits_cnn
from wingbeat.tasks.data.sklearn import digits, evenly_spaced
from wingbeat.tasks.dense import ACTIVATIONS, cross_entropy, mlp
from wingbeat.tasks.full_batch import half_squared_error
from wingbeat.tasks.models.sparse import pruned_mlp, sparse_mlp
from wingbeat.tasks.models.vit import ViT

FAMILIES: Final = ("dense", "cnn", "transformer")
LOSSES: Final = {"cross-entropy": cross_entropy, "mse": half_squared_error}
OPTIMIZERS: Final[dict[str, Callable[..., torch.optim.Optimizer]]] = {
    "gd": torch.optim.SGD,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
    "adam": torch.optim.Adam,
}
"""By name: "gd" is plain, "sgd" has momentum 0.9."""
PATCH: Final = 2
"""Side of a patch: sixteen tokens of an 8x8 image."""


MASKS: Final = ("random", "pruned")
PRUNING: Final = 5
"""Seed of the batches of the training that says which weights are large."""


def family_net(
    family: str, shape: Sequence[int], activation: str = "relu", density: float = 1.0
) -> nn.Module:
    """Build a net of one family for images ``(batch, 1, 8, 8)`` with scores ``(batch, 10)``.

    Args:
        family: "dense", "cnn" or "transformer".
        shape: hidden widths; channels of each stage; width and number of blocks.
        activation: of the dense net; the others have a ReLU and a GELU.
        density: share of the weights of a dense net's hidden layers that exist; see
            `wingbeat.tasks.models.sparse`.

    Raises:
        RequestError: an unknown family, or a shape that does not fit it.

    Example:
        >>> shapes = {"dense": (56,), "cnn": (16, 22), "transformer": (16, 1)}
        >>> [sum(p.numel() for p in family_net(f, s).parameters()) for f, s in shapes.items()]
        [4210, 4240, 3818]
    """
    if family not in FAMILIES:
        raise RequestError(f"family is {family!r}: {nearest(family, FAMILIES)}")
    if density != 1.0 and (family != "dense" or activation not in ACTIVATIONS):
        msg = f"density is {density!r}: only dense nets have one ({family}, {activation})"
        raise RequestError(msg)
    if density != 1.0:
        return sparse_mlp((64, *shape, 10), density, ACTIVATIONS[activation])
    if family == "dense":
        return mlp((64, *shape, 10), activation)
    if family == "cnn":
        return digits_cnn(shape)
    if len(shape) != 2:
        raise RequestError(f"shape is {tuple(shape)!r}: give a transformer width and blocks")
    return ViT(shape[0], shape[1], PATCH, heads=2, channels=1, side=8)


def family_task(
    family: str = "dense",
    shape: Sequence[int] = (32, 32),
    lr: float = 3e-3,
    steps: int = 440,
    *,
    optimizer: str = "adam",
    batch_size: int | None = 64,
    n: int | None = None,
    loss: str = "cross-entropy",
    activation: str = "relu",
    density: float = 1.0,
    mask: str = "random",
    seed: int = 0,
) -> Task:
    """Classify 8x8 digits with a net of one family; nothing but the batch order is random.

    Args:
        family: as in ``family_net``.
        shape: as in ``family_net``.
        lr: learning rate.
        steps: updates.
        optimizer: "gd", "sgd" (momentum 0.9) or "adam".
        batch_size: images a step; None takes all.
        n: training images, evenly spaced; None takes all 1,400.
        loss: "cross-entropy", or "mse" for half the squared error of the scores.
        activation: of a dense net.
        density: share of a dense net's hidden weights that exist.
        mask: which of them: "random", or "pruned": the largest after the full net was trained by
            the same optimizer for as many updates.
        seed: of initial weights and batch order.

    Raises:
        RequestError: an unknown name, or a value out of range.

    Example:
        >>> task = family_task("transformer", (8, 1), batch_size=None, n=200)
        >>> task.batch_size, task.steps, task.name
        (200, 440, 'digits, transformer')
    """
    for name, value, known in (
        ("optimizer", optimizer, OPTIMIZERS),
        ("loss", loss, LOSSES),
        ("mask", mask, MASKS),
    ):
        if value not in known:
            raise RequestError(f"{name} is {value!r}: {nearest(value, list(known))}")
    train, test = digits()
    data: Any = evenly_spaced(train, n)
    family_net(family, shape, activation, density)  # so that a wrong shape is refused now
    net: Callable[[], nn.Module] = partial(family_net, family, tuple(shape), activation, density)
    if mask == "pruned" and density != 1.0:
        full = partial(mlp, (64, *shape, 10), activation)
        net = partial(_pruned, full, density, loss, partial(OPTIMIZERS[optimizer], lr=lr), steps)
    return Task(
        model=net,
        loss=LOSSES[loss],
        data=data,
        optimizer=partial(OPTIMIZERS[optimizer], lr=lr),
        batch_size=batch_size or len(data[0]),
        steps=steps,
        seed=seed,
        eval_data=test,
        name=f"digits, {family}",
    )


def _pruned(
    full: Callable[[], nn.Module],
    density: float,
    loss: str,
    optimizer: Callable[..., torch.optim.Optimizer],
    steps: int,
) -> nn.Module:
    return pruned_mlp(full(), density, partial(_train, LOSSES[loss], optimizer, steps))


def _train(
    loss: Callable[..., Tensor],
    optimizer: Callable[..., torch.optim.Optimizer],
    steps: int,
    net: nn.Module,
) -> None:
    """Train a net on the digits in place, with an order of the batches of its own."""
    (images, labels), _ = digits()
    order, rule = torch.Generator().manual_seed(PRUNING), optimizer(net.parameters())
    with torch.enable_grad():
        for _ in range(steps):
            own = torch.randint(len(labels), (64,), generator=order)
            rule.zero_grad()
            loss(net, (images[own], labels[own])).backward()  # type: ignore[no-untyped-call]
            rule.step()
