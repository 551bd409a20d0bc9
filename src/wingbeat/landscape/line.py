"""Loss and error on the straight line between any two models, and the barrier on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.brief import brief
from wingbeat.errors import TOO_FEW_BATCHES, RequestError, nearest
from wingbeat.landscape.probe import averaged
from wingbeat.metrics.barrier import POINTS, Barrier, Convention, alpha_grid, barrier, check_alphas
from wingbeat.stats import Estimate, bootstrap
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from wingbeat.landscape.models import Models
    from wingbeat.landscape.probe import Probe


_FEWEST_BATCHES = 3


@dataclass(frozen=True)
class LineCurve:
    """One quantity on one set of data along the lines of Q pairs.

    Attributes:
        alphas: (A,), from the first model of a pair at 0 to the second at 1.
        per_batch: (Q, A, B), the quantity on each of B batches.
        sizes: samples in each batch, (B,).
        share: whether the quantity is a share of samples, as an error rate is.
    """

    alphas: Array
    per_batch: Array
    sizes: Array
    share: bool = False

    @property
    def values(self) -> Array:
        """The curve itself: the mean over all samples, (Q, A)."""
        return averaged(self.per_batch, self.sizes)

    def barrier(self, convention: Convention = "line") -> Barrier:
        """Return each pair's barrier and its α, (Q,); see `wingbeat.metrics.barrier`."""
        return barrier(self.alphas, self.values, convention)

    def estimates(
        self,
        convention: Convention = "line",
        *,
        level: float = 0.95,
        draws: int = 2000,
        only: Sequence[int] | None = None,
    ) -> tuple[Estimate, ...]:
        """Return each pair's barrier with a two-sided interval from the data.

        The batches of data are drawn anew with replacement, the curve is averaged
        over those drawn and its barrier taken; the interval follows as in
        `wingbeat.stats.bootstrap`. It covers which samples were measured, not which replicas were
        trained. Cut at 0, below which no barrier lies. Where no batch differs from another the
        batches say nothing: a barrier of an error rate is then bounded by Clopper and Pearson's
        limit for none of so many samples, and one of a loss has no interval (``no_variation``).

        Args:
            convention: as in `wingbeat.metrics.barrier`.
            level: nominal coverage.
            draws: number of resamples.
            only: places of the pairs wanted; None for all.
        """
        chosen = self.per_batch if only is None else self.per_batch[list(only)]
        return tuple(self._estimate(curve, convention, level, draws) for curve in chosen)

    def _estimate(self, curve: Array, convention: Convention, level: float, draws: int) -> Estimate:
        mean = averaged(curve, self.sizes)
        value = float(barrier(self.alphas, mean, convention).value)
        if len(self.sizes) < _FEWEST_BATCHES or not np.isfinite(value):
            return Estimate(value, interval_reason=TOO_FEW_BATCHES)

        def statistic(drawn: Array) -> Array:
            weights = drawn * self.sizes
            means = weights @ curve.T / weights.sum(axis=1, keepdims=True)
            return barrier(self.alphas, means, convention).value

        found = bootstrap(statistic, len(self.sizes), level=level, draws=draws)
        if found.interval_reason and not self.share:
            return replace(found, value=value)
        if found.interval_reason:
            unseen = 1.0 - ((1.0 - level) / 2.0) ** (1.0 / float(self.sizes.sum()))
            return Estimate(value, max(0.0, value - unseen), min(1.0, value + unseen))
        # Samples that are all alike leave no room but for rounding.
        low, high = np.fmin(max(0.0, found.low), value), np.fmax(found.high, value)
        return replace(found, value=value, low=float(low), high=float(high))


@dataclass(frozen=True)
class Lines:
    """Curves between Q pairs of N models.

    Attributes:
        labels: names of the N models.
        pairs: places of the two models of each pair, Q of them.
        curves: by name: "loss_train", "error_train", "loss_test", "error_test", as far as there
            are such data and classes.
        execution: how it was computed, "" for the batched pass, else why one by one.
    """

    labels: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    curves: dict[str, LineCurve]
    execution: str = ""

    __repr__ = brief

    def curve(self, name: str = "loss_train") -> LineCurve:
        """Return one of the curves.

        Raises:
            RequestError: there is none of that name; the message suggests the nearest.
        """
        if name not in self.curves:
            raise RequestError(f"no curve {name!r}: {nearest(name, self.curves)}")
        return self.curves[name]

    def matrix(self, name: str = "loss_train", convention: Convention = "line") -> Array:
        """Return the barriers of all pairs as a symmetric (N, N) matrix, for `metrics.basins`.

        NaN for a pair that was not computed, 0 on the diagonal.
        """
        out = np.full((len(self.labels), len(self.labels)), np.nan)
        np.fill_diagonal(out, 0.0)
        heights = self.curve(name).barrier(convention).value
        for (i, j), height in zip(self.pairs, heights, strict=True):
            out[i, j] = out[j, i] = height
        return out


def line(
    probe: Probe,
    models: Models,
    pairs: Sequence[tuple[int, int]] | None = None,
    points: ArrayLike | int | None = None,
    *,
    alphas: ArrayLike | int | None = None,
) -> Lines:
    """Evaluate loss and error along the lines between pairs of models, in one batched pass.

    All points of all pairs are evaluated together, in stacks that fit the probe's memory bound;
    the models themselves, where many lines meet, only once.

    Args:
        probe: on which data, and how.
        models: N of one architecture.
        pairs: places of the models to join; None for all pairs.
        points: an odd number of evenly spaced points, or the points themselves, from 0 to 1; 25 by
            default. `plane` calls it the same.
        alphas: the former name of ``points``.

    Returns:
        Curves and, by their methods, barriers with intervals.

    Raises:
        RequestError: points without an end or the middle, a pair that does not exist, weights
            that are not finite.

    Source: linear mode connectivity, Frankle et al., arXiv 1912.05671.

    >>> import torch
    >>> from wingbeat.landscape import Models, Probe
    >>> from wingbeat.task.task import Task
    >>> well = Task(
    ...     model=lambda: torch.nn.Linear(1, 1, bias=False),
    ...     loss=lambda model, batch: ((model(batch[0]) ** 2 - 1) ** 2 / 4).mean(),
    ...     data=(torch.ones(3, 1),),
    ...     optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
    ...     batch_size=1,
    ...     steps=1,
    ... )
    >>> models = Models(("left", "right"), torch.tensor([[-1.0], [1.0]]), {})
    >>> line(Probe.of(well), models).curve().estimates()
    (Estimate(value=0.25, low=nan, high=nan, reason='', interval_reason='no_variation'),)
    """
    if points is not None and alphas is not None:
        raise RequestError("points and alphas are two names of the same: give one of them")
    given = points if points is not None else alphas if alphas is not None else POINTS
    grid = alpha_grid(given) if isinstance(given, int) else check_alphas(given)
    chosen = _checked(pairs, len(models))
    used = sorted({i for pair in chosen for i in pair})
    place = {i: k for k, i in enumerate(used)}
    rows = np.zeros((len(chosen), len(grid), len(used)))
    for q, (i, j) in enumerate(chosen):
        rows[q, :, place[i]] += 1.0 - grid
        rows[q, :, place[j]] += grid
    found = probe(models.take(used), rows.reshape(-1, len(used)))
    curves = {}
    shape = (len(chosen), len(grid), -1)
    for name, values in found.items():
        curves[f"loss_{name}"] = LineCurve(grid, values.loss.reshape(shape), values.sizes)
        if values.error is not None:
            curves[f"error_{name}"] = LineCurve(
                grid, values.error.reshape(shape), values.sizes, True
            )
    return Lines(models.labels, chosen, curves, probe.reason)


def _checked(pairs: Sequence[tuple[int, int]] | None, count: int) -> tuple[tuple[int, int], ...]:
    if pairs is None:
        pairs = list(combinations(range(count), 2))
    chosen = tuple((int(i), int(j)) for i, j in pairs)
    if not chosen:
        raise RequestError(f"no pair of models to join among {count}: give at least two models")
    for i, j in chosen:
        if not (0 <= i < count and 0 <= j < count):
            raise RequestError(f"pair ({i}, {j}) does not exist: places run from 0 to {count - 1}")
    return chosen
