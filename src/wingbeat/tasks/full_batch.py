"""Tasks for the studies of curvature: full-batch squared error, and two-layer ReLU nets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wingbeat.curvature.condensation import TwoLayer, scales
from wingbeat.errors import RequestError, nearest
from wingbeat.task.task import Task
from wingbeat.tasks.data.cifar10 import photos
from wingbeat.tasks.data.sklearn import Labelled, digits, evenly_spaced
from wingbeat.tasks.data.sources import DataSource, digest_of
from wingbeat.tasks.dense import cross_entropy, mlp

DATA: Final = ("digits", "cifar10")


def half_squared_error(model: nn.Module, batch: Labelled) -> Tensor:
    """Return ½‖f − onehot‖², summed over outputs and averaged over samples, at least 0.

    Source:
        Cohen et al., "Gradient descent on neural networks typically occurs at the edge of
        stability" (2021), section 3.

    Example:
        >>> batch = torch.zeros(1, 2), torch.tensor([1])
        >>> float(half_squared_error(nn.Identity(), batch))
        0.5
    """
    inputs, labels = batch
    scores = model(inputs)
    error: Tensor = 0.5 * ((scores - F.one_hot(labels, scores.shape[1])) ** 2).sum(1).mean()
    return error


def tanh_task(
    lr: float = 0.02,
    momentum: float = 0.0,
    *,
    nesterov: bool = False,
    data: str = "digits",
    n: int = 1000,
    hidden: Sequence[int] = (100, 100),
    steps: int = 2000,
    batch_size: int | None = None,
    loss: str = "mse",
    seed: int = 0,
    digest: str = "",
) -> Task:
    """Train a tanh net with squared error, by default on all samples at once.

    With ``data="cifar10"`` and n = 5000 it is the fully connected net of the paper, with hidden
    widths of your choice (there 200, 200).

    Args:
        lr: learning rate.
        momentum: β; 0 is plain gradient descent.
        nesterov: Nesterov's momentum in place of Polyak's.
        data: "digits" or "cifar10" (or its labelled stand-in, see `wingbeat.tasks.data.cifar10`).
        n: the first so many training samples.
        hidden: widths between inputs and class scores.
        steps: updates.
        batch_size: samples a step; None takes all.
        loss: "mse" or "cross-entropy".
        seed: of the initial weights and the batch order.
        digest: what ``source(data).digest`` must be; "" takes any.

    Raises:
        RequestError: an unknown data set or loss, more samples than there are, or other data
            than the digest is of.

    Source:
        Cohen et al. (2021), section 3 and appendix.

    Example:
        >>> task = tanh_task(n=100, steps=5)
        >>> task.batch_size, task.steps
        (100, 5)
    """
    train, test = centred(data, n)
    losses = {"mse": half_squared_error, "cross-entropy": cross_entropy}
    if loss not in losses:
        raise RequestError(f"loss is {loss!r}: {nearest(loss, losses)}")
    if digest and digest != source(data).digest:
        raise RequestError(f"{data} is not the data that was asked for: {source(data).label}")
    options: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov} if momentum else {}
    return Task(
        model=partial(mlp, (train[0].shape[1], *hidden, 10), "tanh"),
        loss=losses[loss],
        data=train,
        optimizer=partial(torch.optim.SGD, lr=lr, **options),
        batch_size=batch_size or n,
        steps=steps,
        seed=seed,
        eval_data=test,
        name=f"{data}, tanh net, {loss}",
    )


def centred(data: str, n: int) -> tuple[Labelled, Labelled]:
    """Return training and test samples as centred vectors of mean square 1 a coordinate.

    Coordinates that are constant over the training samples stay 0. The first 1,000 test samples
    are kept at most.

    Raises:
        RequestError: an unknown data set, or more samples than there are.

    Example:
        >>> (x, _), _ = centred("digits", 200)
        >>> tuple(x.shape), round(float((x**2).mean()), 3)
        ((200, 64), 1.0)
    """
    if data not in DATA:
        raise RequestError(f"data is {data!r}: {nearest(data, DATA)}")
    if data == "digits":
        train, test = digits()
    else:
        found = photos()
        train, test = found.train, found.test
    if not 2 <= n <= len(train[0]):
        raise RequestError(f"n is {n}: {data} has {len(train[0])} training samples")
    if data == "cifar10":  # a file of it may be sorted by class; digits are mixed
        train, test = evenly_spaced(train, n), evenly_spaced(test, min(1000, len(test[0])))
    x, other = train[0][:n].flatten(1), test[0][:1000].flatten(1)
    mean = x.mean(0)
    size = (x - mean).square().mean().sqrt()
    return ((x - mean) / size, train[1][:n]), ((other - mean) / size, test[1][:1000])


def source(data: str) -> DataSource:
    """Return what a data set of ``tanh_task`` is.

    Raises:
        RequestError: an unknown data set.

    Example:
        >>> source("digits").stand_in
        False
    """
    if data not in DATA:
        raise RequestError(f"data is {data!r}: {nearest(data, DATA)}")
    if data == "cifar10":
        return photos().source
    train, test = digits()
    label = f"scikit-learn's 8x8 digits ({len(train[0]):,} / {len(test[0]):,} images)"
    return DataSource("digits", label, False, digest_of(*train, *test))


def stand_in_alarms(data: str) -> tuple[str, ...]:
    """Return what a page must say first about its data: nothing, or that they stand in.

    Example:
        >>> stand_in_alarms("digits")
        ()
    """
    found = source(data)
    return (f"Not the data of that name: {found.label}.",) if found.stand_in else ()


def target(x: Tensor) -> Tensor:
    """Return −σ(x) + σ(2(x + .3)) − σ(1.5(x − .4)) + σ(.5(x − .8)) with σ the ReLU.

    Source:
        Luo, Xu, Ma and Zhang, "Phase diagram for two-layer ReLU neural networks at infinite-width
        limit" (2021), the demonstration on the authors' page.

    Example:
        >>> round(float(target(torch.tensor(0.0))), 6)
        0.6
    """
    relu = torch.relu
    return -relu(x) + relu(2 * (x + 0.3)) - relu(1.5 * (x - 0.4)) + relu(0.5 * (x - 0.8))


def two_layer_task(
    width: int = 256,
    gamma: float = 0.5,
    gamma_prime: float = 0.0,
    *,
    n: int = 40,
    time: float = 200.0,
    rate: float = 0.2,
    seed: int = 0,
) -> Task:
    """Fit a line with kinks by a two-layer ReLU net at one place of the phase diagram.

    Full-batch gradient descent with a step well below the stability threshold, so that it follows
    the gradient flow. The step is ``rate`` over a bound of the tangent kernel's largest
    eigenvalue: that at the start plus one for the function to be learnt.

    Args:
        width: m.
        gamma: γ.
        gamma_prime: γ'.
        n: training points, evenly spaced in [−1, 1].
        time: number of steps ÷ 10; more let the condensed regime finish.
        rate: step over 1 ÷ that bound, in (0, 2).
        seed: of the initial weights.

    Raises:
        RequestError: a value is out of range.

    Source:
        Luo et al. (2021), section 3.

    Example:
        >>> two_layer_task(16, time=1.0).steps
        10
    """
    if not 0 < rate < 2:
        raise RequestError(f"rate is {rate!r}: use more than 0 and less than 2")
    at = scales(width, gamma, gamma_prime)
    x = torch.linspace(-1, 1, n).unsqueeze(1)
    # Mean of |(x, 1)|² is 4/3; half the neurons are active.
    start = width * (at.outer**2 + at.inner**2) * (4 / 3) / 2 / at.alpha**2
    return Task(
        model=partial(TwoLayer, width, 1, at),
        loss=half_mean_squares,
        data=(x, target(x)),
        optimizer=partial(torch.optim.SGD, lr=rate / (start + 4.0)),
        batch_size=n,
        steps=max(1, round(10 * time)),
        seed=seed,
        name=f"two-layer ReLU, m = {width}, γ = {gamma:g}, γ' = {gamma_prime:g}",
    )


def half_mean_squares(model: nn.Module, batch: Any) -> Tensor:
    """Return half the mean squared error, at least 0.

    Example:
        >>> float(half_mean_squares(nn.Identity(), (torch.zeros(2, 1), torch.ones(2, 1))))
        0.5
    """
    return 0.5 * F.mse_loss(model(batch[0]), batch[1])
