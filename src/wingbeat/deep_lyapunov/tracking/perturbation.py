"""Copies of a model with small Gaussian noise on their weights."""

from __future__ import annotations

import copy
import logging
from math import nan

import numpy as np
import torch
from torch import Tensor, nn

from wingbeat import metrics
from wingbeat.errors import RequestError
from wingbeat.params import trainable
from wingbeat.replicas.perturb.magnitude import size_of

logger = logging.getLogger("deep_lyapunov.tracking.perturbation")


def apply_perturbation(model: nn.Module, scale: float = 0.01, seed: int | None = None) -> None:
    """Add noise N(0, (scale · s)²) to each trainable tensor, in place.

    s is the standard deviation of the tensor; where that is 0 or undefined (one element, all
    equal) it is the root mean square. A tensor of zeros has no size and stays as it is.

    Args:
        model: changed in place; frozen parameters and buffers are left alone.
        scale: size of the noise in standard deviations, > 0.
        seed: of the noise; torch's global generator is then neither used nor changed. With
            the same seed a float32 model on the processor gets deep-lyapunov's noise. None
            draws from the global generator.

    Raises:
        RequestError: for a scale that is not positive.

    >>> model = nn.Linear(1, 1)
    >>> before = model.bias.item()
    >>> apply_perturbation(model, 0.01, seed=0)
    >>> 0 < abs(model.bias.item() - before) < 0.05 * abs(before)
    True
    """
    if not scale > 0:
        raise RequestError(f"scale is {scale}; give a number above 0")
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in trainable(model).values():
            noise = _noise_like(parameter, generator)
            size = scale * size_of(parameter)
            # Half-precision weights are nudged in float32 and rounded once.
            nudged = parameter.to(noise.dtype) + size * noise.to(parameter.device)
            parameter.copy_(nudged)


def create_perturbed_copies(
    model: nn.Module,
    n_copies: int,
    scale: float = 0.01,
    base_seed: int = 42,
    include_original: bool = True,
) -> list[nn.Module]:
    """Return deep copies of a model, perturbed with seeds base_seed, base_seed + 1, ….

    Args:
        model: left unchanged.
        n_copies: how many, at least 1.
        scale: see `apply_perturbation`.
        base_seed: copy i is perturbed with ``base_seed + i``.
        include_original: leave copy 0 unperturbed.

    Raises:
        RequestError: for fewer than one copy or a scale that is not positive.

    >>> copies = create_perturbed_copies(nn.Linear(2, 2), 3)
    >>> len(copies), compute_perturbation_magnitude(copies[0], copies[1]) > 0
    (3, True)
    """
    if n_copies < 1:
        raise RequestError(f"n_copies is {n_copies}; ask for at least one")
    copies = []
    for i in range(n_copies):
        twin = copy.deepcopy(model)
        if i > 0 or not include_original:
            apply_perturbation(twin, scale, base_seed + i)
        copies.append(twin)
    logger.debug("Created %d model copies", n_copies)
    return copies


def compute_perturbation_magnitude(original: nn.Module, perturbed: nn.Module) -> float:
    """Return the L2 distance of the trainable weights of two models, in float64.

    Raises:
        RequestError: the models have different numbers of trainable weights.

    >>> compute_perturbation_magnitude(model := nn.Linear(2, 2), model)
    0.0
    """
    first, second = _weights(original), _weights(perturbed)
    if first.shape != second.shape:
        raise RequestError(f"the models have {first.numel()} and {second.numel()} weights")
    return float(metrics.l2(first, second)) if first.numel() else 0.0


def get_parameter_statistics(model: nn.Module) -> dict[str, float]:
    """Return n_parameters, mean, std (divisor n − 1), min and max of the trainable weights.

    The four are NaN where there are no weights, std also for one.

    >>> with torch.no_grad():
    ...     model = nn.Linear(2, 1, bias=False).requires_grad_()
    ...     _ = model.weight.copy_(torch.tensor([[1.0, 3.0]]))
    >>> stats = get_parameter_statistics(model)
    >>> stats["n_parameters"], stats["mean"], stats["max"]
    (2, 2.0, 3.0)
    """
    weights = _weights(model).double().numpy()
    some = weights.size > 0
    return {
        "n_parameters": int(weights.size),
        "mean": float(weights.mean()) if some else nan,
        "std": float(np.std(weights, ddof=1)) if weights.size > 1 else nan,
        "min": float(weights.min()) if some else nan,
        "max": float(weights.max()) if some else nan,
    }


def _noise_like(parameter: Tensor, generator: torch.Generator | None) -> Tensor:
    dtype = torch.float64 if parameter.dtype == torch.float64 else torch.float32
    return torch.randn(parameter.shape, generator=generator, dtype=dtype)


def _weights(model: nn.Module) -> Tensor:
    pieces = [p.detach().cpu().reshape(-1) for p in trainable(model).values()]
    return torch.cat(pieces) if pieces else torch.empty(0)
