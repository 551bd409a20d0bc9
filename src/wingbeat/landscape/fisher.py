"""Diagonal Fisher information of a model on data, and the divergence it gives two solutions."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.func import grad, vmap
from torch.utils import _pytree as pytree

from wingbeat.determinism import evaluation
from wingbeat.errors import RequestError
from wingbeat.landscape.activation_memory import activation_bytes
from wingbeat.landscape.line import line
from wingbeat.metrics.fisher import fisher_precision, gaussian_kl
from wingbeat.task.data import len_of
from wingbeat.task.predictions import class_scores
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from wingbeat.landscape.models import Models
    from wingbeat.landscape.probe import Probe
    from wingbeat.task.data import Batch


Kind = Literal["empirical", "model"]
_BACKWARD = 3
"""A gradient keeps about this many times the memory of the forward pass."""


@dataclass(frozen=True)
class FisherDivergence:
    """Two solutions as Gaussians.

    Attributes:
        forward: KL(a ‖ b), nats, ≥ 0.
        backward: KL(b ‖ a), nats, ≥ 0.
        barrier: train-loss barrier between the same two, to compare with; NaN if not computed.
    """

    forward: float
    backward: float
    barrier: float

    @property
    def symmetric(self) -> float:
        """Mean of both directions, nats (half of Jeffreys' divergence); 0 = identical."""
        return 0.5 * (self.forward + self.backward)


def diagonal_fisher(
    probe: Probe, models: Models, kind: Kind = "empirical", data: str | None = None
) -> Array:
    """Return the diagonal Fisher information per sample of every model.

    Args:
        probe: on which data, and within which memory.
        models: N of them, finite; in eval mode with their own running statistics.
        kind: "empirical": mean over samples of the squared gradient of the task's loss on the
            sample with its given target. "model": the gradient of −ln p(class), squared and
            averaged over the model's own predicted classes; needs class scores.
        data: name of the probe's set; by default the first.

    Returns:
        (N, P) float64, ≥ 0, unit loss²/weight²: 0 = the loss does not feel the weight. The loss
        must be a mean over samples of a negative log-likelihood for it to be information.

    Raises:
        RequestError: unknown kind or data, weights that are not finite, no class scores.

    Source: Kunstner, Balles and Hennig, arXiv 1905.12558, equations 2 and 3.
    """
    if kind not in ("empirical", "model"):
        raise RequestError(f"kind is {kind!r}: use 'empirical' or 'model'")
    name = data or next(iter(probe.data))
    if name not in probe.data:
        raise RequestError(f"no data {name!r}: known are {', '.join(probe.data)}")
    models.require_finite()
    return np.stack([_of_one(probe, models.take([i]), kind, name) for i in range(len(models))])


def fisher_divergence(
    probe: Probe,
    models: Models,
    pair: tuple[int, int] = (0, 1),
    *,
    kind: Kind = "empirical",
    prior: float = 1.0,
    barrier: bool = True,
) -> FisherDivergence:
    """Return how far two solutions are apart as Gaussians, and the barrier between them.

    Each solution stands for N(θ, (n F + prior)⁻¹) with F its diagonal Fisher information on the
    probe's first data and n the number of the task's training samples.

    Args:
        probe: on which data, and how.
        models: among them the two.
        pair: their places.
        kind: of Fisher information, see `diagonal_fisher`.
        prior: precision of each weight without data, > 0.
        barrier: whether to compute the train-loss barrier of the pair too.

    Source: Gaussian (Laplace) approximation, MacKay (1992); diagonal Fisher information for it:
    Kirkpatrick et al., arXiv 1612.00796.
    """
    two = models.take(pair)
    information = diagonal_fisher(probe, two, kind)
    samples = len_of(probe.task.data)
    forward, backward = divergences(two.params, information, samples, prior)
    height = float("nan")
    if barrier:
        name = f"loss_{next(iter(probe.data))}"
        height = float(line(probe, two).curve(name).barrier().value[0])
    return FisherDivergence(float(forward[0]), float(backward[0]), height)


def divergences(
    params: Tensor, information: Array, samples: int, prior: float = 1.0
) -> tuple[Array, Array]:
    """Return KL from the first model to each other one, and back, (N − 1,) each.

    Args:
        params: (N, P).
        information: diagonal Fisher information (N, P).
        samples: number of training samples.
        prior: precision of each weight without data.
    """
    sharp = fisher_precision(information, samples, prior)
    forward = gaussian_kl(params[0], sharp[0], params[1:], sharp[1:])
    return forward, gaussian_kl(params[1:], sharp[1:], params[0], sharp[0])


def _of_one(probe: Probe, model: Models, kind: Kind, name: str) -> Array:
    params = model.params[0].to(probe.step.device)
    buffers = {k: b[0].to(probe.step.device) for k, b in model.buffers.items()}
    squares = _empirical if kind == "empirical" else _expected
    batches, sizes = probe.data[name].batches, probe.data[name].sizes
    sample = pytree.tree_map(lambda t: t[:1], batches[0])
    one = activation_bytes(probe.step, model, probe.task.loss, sample)
    chunk = max(1, probe.memory // (_BACKWARD * one + 3 * params.numel() * params.element_size()))
    total = torch.zeros(params.numel(), dtype=torch.float64, device=params.device)
    with evaluation(), torch.enable_grad():
        for batch in batches:
            for start in range(0, len_of(batch), chunk):
                cut = pytree.tree_map(lambda t, a=start: t[a : a + chunk, None], batch)
                total += _mapped(squares(probe, params, buffers), cut)
    found: Array = (total / sum(sizes)).cpu().numpy()
    return found


def _empirical(probe: Probe, params: Tensor, buffers: dict[str, Tensor]) -> Callable[[Any], Tensor]:
    gradient = grad(lambda p, sample: probe.step.evaluate(probe.task.loss, p, buffers, sample))
    return lambda sample: gradient(params, sample).double() ** 2


def _expected(probe: Probe, params: Tensor, buffers: dict[str, Tensor]) -> Callable[[Any], Tensor]:
    """Return Σ over classes of p · (∂ −ln p)², one backward pass a class."""

    def logs(model: nn.Module, batch: Batch) -> Tensor:
        scores = class_scores(probe.task, model, batch)
        if scores is None:
            raise RequestError("kind='model' needs class scores: set Task.predict")
        return scores[0].log_softmax(-1)

    def of(p: Tensor, sample: Any) -> Tensor:
        return probe.step.evaluate(logs, p, buffers, sample)  # type: ignore[no-any-return]

    jacobian = torch.func.jacrev(of)

    def squares(sample: Any) -> Tensor:
        chances = of(params, sample).exp().double()
        found: Tensor = chances @ jacobian(params, sample).double() ** 2
        return found

    return squares


def _mapped(squares: Callable[[Any], Tensor], cut: Batch) -> Tensor:
    """Return the sum over samples, vectorised where the model allows it."""
    try:
        return vmap(squares, randomness="same")(cut).sum(dim=0)
    except RuntimeError:
        samples = (pytree.tree_map(itemgetter(i), cut) for i in range(len_of(cut)))
        return torch.stack([squares(sample) for sample in samples]).sum(dim=0)
