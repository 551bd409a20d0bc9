"""Fourteen statistics of a model's weights and biases and the stable rank, of many replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.arguments import as_float64
from wingbeat.errors import RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Mapping

OF_MATRICES: Final = (
    "matrix_l1", "matrix_l2", "matrix_l1_l2", "matrix_trace", "matrix_spectral",
    "matrix_trace_spectral", "singular_mean", "singular_var", "stable_rank",
)  # fmt: skip
"""Of each weight matrix, then the mean over matrices."""
OF_ALL: Final = (
    "weights_mean", "weights_median", "weights_var", "biases_mean", "biases_median", "biases_var",
)  # fmt: skip
"""Of all weights together, and of all biases."""
STATISTICS: Final = (*OF_MATRICES, *OF_ALL)
"""The fourteen of the paper and the stable rank."""
INVARIANT: Final = tuple(name for name in STATISTICS if "trace" not in name)
"""Those that permuting hidden units leaves as they are: without the two of the trace."""


def matrix_statistics(stack: Array) -> dict[str, Array]:
    """Return the statistics of one weight matrix of each replica.

    Args:
        stack: (E, outputs, inputs …); a convolution's kernel is read as (outputs, inputs·places).

    Returns:
        By name, (E,): Σ|w| and Frobenius norm (weight), their ratio, trace of the leading square
        block, largest singular value, their ratio, mean and variance (divisor n) of the singular
        values, and ‖W‖_F²/‖W‖₂². NaN where a weight is not finite or a divisor is 0.

    Raises:
        RequestError: fewer than three axes.

    Source: arXiv 2308.09543; stable rank in place of the trace, which permuting units changes.

    >>> found = matrix_statistics(np.eye(3)[None])
    >>> [round(float(found[k][0]), 9) for k in ("matrix_l1", "matrix_spectral", "stable_rank")]
    [3.0, 1.0, 3.0]
    """
    stack = as_float64(stack, "weights")
    if stack.ndim < 3:
        raise RequestError(f"weights have shape {stack.shape}: give (replicas, outputs, inputs)")
    w = stack.reshape(*stack.shape[:2], -1)
    finite = np.asarray(np.isfinite(w).all(axis=(1, 2)))
    w = np.where(finite[:, None, None], w, 0.0)
    values = np.linalg.svd(w, compute_uv=False)
    side = min(w.shape[1:])
    trace = np.einsum("eii->e", w[:, :side, :side])
    l1, l2, top = np.abs(w).sum(axis=(1, 2)), np.linalg.norm(w, axis=(1, 2)), values[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (
            l1, l2, l1 / l2, trace, top, trace / top,
            values.mean(axis=1), values.var(axis=1), l2**2 / top**2,
        )  # fmt: skip
    named = zip(OF_MATRICES, found, strict=True)
    return {name: np.where(finite & np.isfinite(v), v, np.nan) for name, v in named}


def weight_statistics(params: Mapping[str, Array]) -> dict[str, Array]:
    """Return all statistics of a model, averaged over its weight matrices.

    Args:
        params: trainable tensors by name, each (E, *shape). Those of at least two axes are weight
            matrices, embeddings too; one-axis tensors named "bias" are biases. Normalisations are
            left out: their one-axis "weight", and the "bias" beside it.

    Returns:
        By name of `STATISTICS`, (E,); NaN where there is no such tensor.

    Source: arXiv 2308.09543.

    >>> found = weight_statistics({"w": np.ones((1, 2, 2)), "b.bias": np.array([[1.0, 3.0]])})
    >>> float(found["matrix_l1"][0]), float(found["biases_mean"][0])
    (4.0, 2.0)
    """
    count = len(next(iter(params.values())))
    matrices = [matrix_statistics(t) for t in params.values() if t.ndim >= 3]
    nothing = np.full(count, np.nan)
    found = {
        name: np.mean([m[name] for m in matrices], axis=0) if matrices else nothing
        for name in OF_MATRICES
    }
    kinds = {
        "weights": [t for t in params.values() if t.ndim >= 3],
        "biases": [t for k, t in params.items() if t.ndim == 2 and _is_bias(k, params)],
    }
    for kind, tensors in kinds.items():
        for name, value in _moments(tensors, count).items():
            found[f"{kind}_{name}"] = value
    return found


def _is_bias(name: str, params: Mapping[str, Array]) -> bool:
    """Tell whether a one-axis tensor is a bias, and not of a normalisation."""
    beside = params.get(name.removesuffix("bias") + "weight")
    return name.endswith("bias") and (beside is None or beside.ndim > 2)


def _moments(tensors: list[Array], count: int) -> dict[str, Array]:
    """Return mean, median and variance (divisor n) of all numbers of each replica."""
    if not tensors:
        return {name: np.full(count, np.nan) for name in ("mean", "median", "var")}
    flat = np.concatenate([np.asarray(t, np.float64).reshape(count, -1) for t in tensors], axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        found = {
            "mean": flat.mean(axis=1),
            "median": np.median(flat, axis=1),
            "var": flat.var(axis=1),
        }
    return {name: np.where(np.isfinite(v), v, np.nan) for name, v in found.items()}
