"""Centred kernel alignment (CKA) of two models' features, whole or streamed over minibatches.

Notation: for features X (n samples, d features) centred over the samples, K = X Xᵀ with diagonal
k, and L with diagonal l for the other model. The three estimators of HSIC need three numbers only:
⟨K, L⟩, k·l and Σk Σl. CKA = HSIC(X, Y) / √(HSIC(X, X) HSIC(Y, Y)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np
import torch

from wingbeat.arguments import as_float64, one_of, points_of, shown, whole_number
from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_SAMPLES, RequestError
from wingbeat.metrics.features import feature_pair, rescaled
from wingbeat.metrics.hsic_terms import Estimator, Terms, hsic_of
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from wingbeat.arguments import Points


LEAST_SAMPLES: Final[dict[str, int]] = {"debiased": 4, "biased": 2, "zero_diagonal": 2}
"""Fewest samples, in each minibatch, that an estimator is defined on."""
LARGEST_ANGLE: Final[dict[str, float]] = {
    "debiased": np.pi,
    "biased": np.pi / 2,
    "zero_diagonal": np.pi,
}
"""End of the range of an angle: only biased CKA is never negative."""
ROUNDING: Final = 1e-12
"""A debiased HSIC of features with themselves below this share of the biased one is 0."""

_MOST: Final = 1_000_000  # layers of one model


def cka(x: Points, y: Points, estimator: Estimator = "debiased") -> float:
    """Return the linear centred kernel alignment of two feature matrices.

    Args:
        x: (samples, features) of one model.
        y: (samples, features) of another on the same samples; the widths may differ.
        estimator: "debiased" (Song), which is 0 on average for independent features; "biased",
            which is about d/(n + d) for them; "zero_diagonal", the doubly centred Gram matrices
            with their diagonals set to 0, which removes most of the bias but not all of it.

    Returns:
        No unit, 1 = the same up to rotation, one factor and a shift. In [0, 1] for "biased", in
        [−1, 1] for the others. NaN (`why_undefined` tells why) with fewer than 4 samples (2 for
        the other estimators), where no feature varies, or where one is not finite.

    Raises:
        RequestError: no matrices, different numbers of samples, or an unknown estimator.

    Source: Kornblith et al., arXiv 1905.00414; debiased: Song et al. (JMLR 13, 2012), equation 5;
    zero diagonal: the Angular CKA of Altintas et al., arXiv 2506.13234.

    >>> x = np.random.default_rng(0).normal(size=(100, 10))
    >>> round(cka(x, 3.0 * x[:, ::-1] + 7.0), 12)
    1.0
    """
    first, second = feature_pair(x, y)
    sums = CKASums.empty(1, 1, estimator).add([rescaled(first)], [rescaled(second)])
    return float(sums.cka()[0, 0])


def angular_cka(x: Points, y: Points, estimator: Estimator = "debiased") -> float:
    """Return arccos of `cka`: an angle in radian, 0 = the same representation.

    In [0, π/2] for "biased"; in [0, π] for "debiased" and "zero_diagonal", which can be negative.
    An angle below 1e-7 is rounding: the arc cosine takes the root of the error of CKA. Arguments,
    errors and NaN as in `cka`.

    Source: Altintas et al., arXiv 2506.13234.

    >>> x = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    >>> angular_cka(x, x), round(angular_cka(x, x**2, "biased"), 4)
    (0.0, 0.4039)
    """
    return float(np.arccos(cka(x, y, estimator)))


def hsic(x: Points, y: Points, estimator: Estimator = "debiased") -> float:
    """Return the Hilbert–Schmidt independence criterion with linear kernels.

    Arguments, errors and NaN as in `cka`, except that a constant feature gives 0. Unit: product of
    the squared units of both; "debiased" is unbiased: 0 on average for independent features.

    Source: Gretton et al. (2005), "biased"; Song et al. (JMLR 13, 2012), "debiased".

    >>> x = np.array([[0.0], [1.0], [0.0], [1.0]])
    >>> hsic(x, x, "biased")
    0.1111111111111111
    """
    first, second = feature_pair(x, y)
    sums = CKASums.empty(1, 1, estimator).add([first], [second])
    return float(sums.cross[0, 0] / sums.samples) if sums.samples else float("nan")


@dataclass(frozen=True)
class CKASums:
    """HSIC terms of A layers of one model against B of another, added up over minibatches.

    Each minibatch gives its own estimate of every HSIC, weighted by its samples; CKA is the ratio
    of the means. With "debiased" the mean is an unbiased estimate of HSIC whatever the size of the
    minibatches, as in Nguyen et al., arXiv 2010.15327; with one minibatch it is exactly the
    estimate on all data. The biases of the other two estimators are those of the minibatch's
    size, so that only numbers from equal minibatches compare.

    Attributes:
        estimator: which one.
        cross: Σ samples · HSIC of each pair, (A, B).
        first: Σ samples · HSIC of each layer of the first model with itself, (A,).
        second: likewise for the second, (B,).
        scale_first: the same without debiasing, (A,): says what is rounding.
        scale_second: likewise, (B,).
        samples: samples added so far.
        left_out: samples of minibatches too small for the estimator.

    >>> rng = np.random.default_rng(0)
    >>> sums = CKASums.empty(1, 1)
    >>> for _ in range(3):
    ...     x = rng.normal(size=(50, 4))
    ...     sums = sums.add([x], [2 * x + 1])
    >>> sums.cka().round(6), sums.samples
    (array([[1.]]), 150)
    """

    estimator: Estimator
    cross: Array
    first: Array
    second: Array
    scale_first: Array
    scale_second: Array
    samples: int = 0
    left_out: int = 0

    @classmethod
    def empty(cls, first: int, second: int, estimator: Estimator = "debiased") -> CKASums:
        """Return sums over nothing for ``first`` × ``second`` layers.

        Raises:
            RequestError: the estimator is unknown.
        """
        one_of(estimator, "estimator", get_args(Estimator))
        first, second = (
            whole_number(first, "first", 1, _MOST),
            whole_number(second, "second", 1, _MOST),
        )
        a, b = np.zeros(first), np.zeros(second)
        return cls(estimator, np.zeros((first, second)), a, b, a, b)

    def add(self, first: Sequence[Points], second: Sequence[Points]) -> CKASums:
        """Return the sums with one minibatch more.

        Args:
            first: A feature matrices (samples, features), one for each layer of one model.
            second: B of them for the other model, of the same samples.

        Besides the features themselves one layer of them in float64 is held, and at most 32 MiB
        of Gram matrices; where layers are narrower than the minibatch, all of them in float64.

        Raises:
            RequestError: shapes or numbers of layers that do not fit.
        """
        first, second = (
            [points_of(x, name) for x in _layers(part, name)]
            for part, name in ((first, "first"), (second, "second"))
        )
        if (len(first), len(second)) != self.cross.shape:
            raise RequestError(
                f"{len(first)} and {len(second)} layers were given for sums of "
                f"{self.cross.shape[0]} and {self.cross.shape[1]}: give one matrix a layer"
            )
        for x in first:
            for y in second:
                feature_pair(x[:1] if x.ndim else x, y[:1] if y.ndim else y)
        sizes = {int(x.shape[0]) for x in (*first, *second)}
        if len(sizes) != 1:
            raise RequestError(f"layers have {sorted(sizes)} samples: give all of them the same")
        return self._added(lambda: Terms.of_features(first, second), sizes.pop())

    def add_grams(self, first: Array, second: Array) -> CKASums:
        """Return the sums with one minibatch more, given as `centred_gram` of each layer.

        For layers that are compared several times and wider than the minibatch: a Gram matrix then
        takes less memory than the features.

        Args:
            first: (A, samples, samples).
            second: (B, samples, samples).
        """
        grams = [as_float64(g, n) for g, n in ((first, "first"), (second, "second"))]
        samples = grams[0].shape[-1] if grams[0].ndim else 0
        wanted = [(layers, samples, samples) for layers in self.cross.shape]
        if [g.shape for g in grams] != wanted:
            raise RequestError(
                f"Gram matrices have shapes {grams[0].shape} and {grams[1].shape}; give "
                f"({wanted[0][0]}, samples, samples) and ({wanted[1][0]}, samples, samples)"
            )
        return self._added(lambda: Terms.of_grams(*grams), samples)

    def _added(self, terms: Callable[[], Terms], n: int) -> CKASums:
        if n < LEAST_SAMPLES[self.estimator]:
            return replace(self, left_out=self.left_out + n)
        with np.errstate(invalid="ignore", over="ignore"):
            return self._with(terms(), n)

    def _with(self, t: Terms, n: int) -> CKASums:
        k, m = t.diagonal_first, t.diagonal_second

        def estimate(name: Estimator) -> list[Array]:
            """Return n·HSIC of the pairs and of both sides alone."""
            cross = hsic_of(t.cross, k @ m.T, np.outer(k.sum(1), m.sum(1)), n, name)
            own = [
                hsic_of(inner, (d * d).sum(1), d.sum(1) ** 2, n, name)
                for inner, d in ((t.first, k), (t.second, m))
            ]
            return [n * cross, *(n * o for o in own)]

        cross, first, second = estimate(self.estimator)
        # For equal features all three are the same number to the bit, so that CKA is exactly 1.
        i, j = np.nonzero(t.same)
        cross[i, j] = second[j] = first[i]
        _, scale_first, scale_second = estimate("biased")
        return replace(
            self,
            cross=self.cross + cross,
            first=self.first + first,
            second=self.second + second,
            scale_first=self.scale_first + scale_first,
            scale_second=self.scale_second + scale_second,
            samples=self.samples + n,
        )

    def cka(self) -> Array:
        """Return CKA of each pair of layers, (A, B); NaN where `reasons` has an entry."""
        a, b = self.first[:, None], self.second[None, :]
        with np.errstate(all="ignore"):
            value = np.clip(_ratio(self.cross, a, b), -1.0, 1.0)
        return np.where(self.reasons() == "", value, np.nan)

    def angular_cka(self) -> Array:
        """Return arccos of `cka` in radian, (A, B), 0 = the same; range as in `angular_cka`."""
        return np.asarray(np.arccos(self.cka()))

    def reasons(self) -> NDArray[np.object_]:
        """Return why a pair has no value, (A, B), "" where it has one."""
        out = np.full(self.cross.shape, "", dtype=object)
        if not self.samples:
            out[:] = TOO_FEW_SAMPLES
            return out
        dead = (
            self.first <= ROUNDING * self.scale_first,
            self.second <= ROUNDING * self.scale_second,
        )
        out[dead[0][:, None] | dead[1][None, :]] = CONSTANT
        finite = np.isfinite(self.first)[:, None] & np.isfinite(self.second)[None, :]
        out[~(finite & np.isfinite(self.cross))] = DIVERGED
        return out


def _layers(given: object, name: str) -> Sequence[Any]:
    """Return the matrices of a model's layers."""
    if isinstance(given, str | bytes) or not isinstance(
        given, Sequence | np.ndarray | torch.Tensor
    ):
        raise RequestError(f"{name} is {shown(given)}: give a list, one matrix a layer")
    if not isinstance(given, Sequence) and not given.ndim:
        raise RequestError(f"{name} is one number: give a list, one matrix a layer")
    return list(given)


def _ratio(cross: Array, a: Array, b: Array) -> Array:
    """Return cross / √(ab) without overflow; exactly 1 where all three are equal."""
    halves = [np.frexp(x)[1] // 2 for x in (a, b)]
    a, b = (np.ldexp(x, -2 * half) for x, half in zip((a, b), halves, strict=True))
    return np.asarray(np.ldexp(cross, -(halves[0] + halves[1])) / np.sqrt(a * b))
