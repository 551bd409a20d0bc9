"""Iris on a 4-10-3 sigmoid net by full-batch gradient descent: a task, and the same map in bulk.

The system of Danovski, Soriano and Lacasa (arXiv 2404.05782, section 2): raw features, 120
training rows, kernels from N(0, 1), biases 0, softmax and mean cross-entropy, float64. One step
is one update on all 120 rows. `iris_task` trains it on the engine; `IrisMap` is the same update
written out for thousands of nets at a time, and `map_error` says how far the two are apart.
"""

from __future__ import annotations

from functools import cache, partial
from math import isfinite
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor, nn

from wingbeat.determinism import seeded
from wingbeat.errors import RequestError
from wingbeat.params import Layout, trainable
from wingbeat.task.task import Task
from wingbeat.tasks.data.sklearn import shipped
from wingbeat.tasks.dense import cross_entropy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wingbeat.tasks.data.sklearn import Labelled
    from wingbeat.trajectory.trajectory import Trajectory

INPUTS: Final = 4
HIDDEN: Final = 10
CLASSES: Final = 3
WEIGHTS: Final = 83
"""Parameters of the net: 40 + 10 + 30 + 3, in the order of its tensors."""
ROWS: Final = 120
"""Training rows; the other 30 are for testing."""
FIRST: Final = slice(0, 40)
"""Kernel of the first layer, ``(10, 4)`` flattened."""
LAST: Final = slice(50, 80)
"""Kernel of the last layer, ``(3, 10)`` flattened."""
_CHUNK = 32  # nets whose activations stay in a processor's cache


@cache
def iris(seed: int = 0) -> tuple[Labelled, Labelled]:
    """Return Fisher's iris as 120 training and 30 test rows, drawn once.

    The paper does not say which rows it trains on; here they are drawn at random.

    Args:
        seed: of the draw.

    Returns:
        ``(train, test)``, each of raw features ``(n, 4)`` float64 in cm and labels ``(n,)``.

    Source:
        Fisher, The use of multiple measurements in taxonomic problems (1936), as shipped by
        ``sklearn.datasets.load_iris``.

    Example:
        >>> (x, y), (x_test, y_test) = iris()
        >>> tuple(x.shape), tuple(x_test.shape), y.unique().tolist()
        ((120, 4), (30, 4), [0, 1, 2])
    """
    features, labels = shipped().load_iris(return_X_y=True)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(labels))
    x = torch.from_numpy(np.asarray(features, dtype=np.float64)[order])
    y = torch.from_numpy(np.asarray(labels, dtype=np.int64)[order])
    return (x[:ROWS], y[:ROWS]), (x[ROWS:], y[ROWS:])


def iris_net() -> nn.Sequential:
    """Return the 4-10-3 sigmoid net in float64: kernels from N(0, 1), biases 0.

    >>> sum(p.numel() for p in iris_net().parameters())
    83
    """
    first, last = nn.Linear(INPUTS, HIDDEN).double(), nn.Linear(HIDDEN, CLASSES).double()
    for layer in (first, last):
        nn.init.normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(first, nn.Sigmoid(), last)


def iris_task(eta: float = 1.0, steps: int = 200, seed: int = 0) -> Task:
    """Return the task: full-batch gradient descent with learning rate η.

    Run it in float64. The rows are always summed in the same order.

    Args:
        eta: learning rate, above 0.
        steps: updates.
        seed: of the initial weights.

    Raises:
        RequestError: a learning rate that is not a finite number above 0.

    Example:
        >>> iris_task(0.01).steps_per_epoch
        1
    """
    _check(eta)
    train, test = iris()
    return Task(
        model=iris_net,
        loss=cross_entropy,
        data=train,
        optimizer=partial(torch.optim.SGD, lr=eta),
        batch_size=ROWS,
        steps=steps,
        seed=seed,
        eval_data=test,
        sampling="sequential",
        name=f"iris 4-10-3, learning rate {eta:g}",
    )


def initial(seeds: Iterable[int]) -> Tensor:
    """Return the initial weights ``(n, 83)`` that `iris_task` has under each seed.

    >>> tuple(initial(range(3)).shape)
    (3, 83)
    """
    found = []
    for seed in seeds:
        with seeded(seed):
            params = {k: p.detach() for k, p in trainable(iris_net()).items()}
        found.append(Layout.of(params).flatten(params))
    return torch.stack(found)


def without_shift(w: Tensor) -> Tensor:
    """Return weights, or differences of weights, ``(…, 83)`` without what shifts all logits.

    The part taken out is the projection on the 11 neutral directions.

    >>> bool(without_shift(torch.ones(83, dtype=torch.float64))[50:].abs().max() == 0)
    True
    """
    found = w.clone()
    kernel = w[..., LAST].reshape(*w.shape[:-1], CLASSES, HIDDEN)
    found[..., LAST] = (kernel - kernel.mean(-2, keepdim=True)).flatten(-2)
    found[..., 80:] = w[..., 80:] - w[..., 80:].mean(-1, keepdim=True)
    return found


class IrisMap:
    """One update of many nets at once: ``(n, 83) -> (n, 83)``, float64, without side effects.

    Rows do not touch each other, and equal rows stay equal to the last bit.

    Args:
        eta: learning rate, above 0.

    Raises:
        RequestError: a learning rate that is not a finite number above 0.

    Example:
        >>> step, start = IrisMap(1.0), initial([0, 1])
        >>> bool((step.loss(step.advance(start, 100)) < step.loss(start)).all())
        True
    """

    def __init__(self, eta: float) -> None:
        _check(eta)
        self.eta = eta
        (self._x, labels), (self._x_test, self._labels_test) = iris()
        self._wanted = nn.functional.one_hot(labels).T.to(torch.float64)

    def __call__(self, w: Tensor) -> Tensor:
        """Return the weights after one update."""
        return torch.cat([self._update(part)[0] for part in torch.split(w, _CHUNK)])

    def advance(self, w: Tensor, steps: int) -> Tensor:
        """Return the weights after so many updates."""
        found = []
        for part in torch.split(w, _CHUNK):
            now = part
            for _ in range(steps):
                now = self._update(now)[0]
            found.append(now)
        return torch.cat(found)

    def loss(self, w: Tensor) -> Tensor:
        """Return the training loss ``(n,)``, nats."""
        hidden = _hidden(w, self._x)
        return self._mean_loss(_logits(w, hidden).softmax(1))

    def losses(self, w: Tensor, steps: int) -> Tensor:
        """Return the training loss before each of so many updates ``(n, steps)``, nats."""
        rows = []
        for part in torch.split(w, _CHUNK):
            now, found = part, []
            for _ in range(steps):
                now, shares = self._update(now)
                found.append(self._mean_loss(shares))
            rows.append(torch.stack(found, dim=1))
        return torch.cat(rows)

    def accuracy(self, w: Tensor) -> Tensor:
        """Return the share of the 30 test rows that are right ``(n,)``."""
        guess = _logits(w, _hidden(w, self._x_test)).argmax(1)
        return (guess == self._labels_test).double().mean(1)

    def _update(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights after one update and the softmax ``(n, 3, 120)`` before it."""
        n = len(w)
        hidden = _hidden(w, self._x)
        shares = _logits(w, hidden).softmax(1)
        error = (shares - self._wanted).div_(ROWS)
        back = torch.bmm(w[:, LAST].view(n, CLASSES, HIDDEN).mT, error)
        back.mul_(hidden).mul_(1.0 - hidden)
        grad = torch.cat(
            (
                torch.bmm(back, self._x.expand(n, -1, -1)).view(n, -1),
                back.sum(2),
                torch.bmm(error, hidden.mT).view(n, -1),
                error.sum(2),
            ),
            dim=1,
        )
        return w - self.eta * grad, shares

    def _mean_loss(self, shares: Tensor) -> Tensor:
        return -(shares * self._wanted).sum(1).log().mean(1)


def map_error(trajectory: Trajectory, eta: float) -> float:
    """Return how far `IrisMap` is from a run of `iris_task` on the engine; 0 = the same map.

    Each recorded step is predicted from the one before, so that chaos has no time to magnify
    differences of rounding.

    Args:
        trajectory: of a run in float64.
        eta: its learning rate.

    Returns:
        The largest |difference| of a weight over replicas and records.
    """
    step, worst = IrisMap(eta), 0.0
    now, then = None, 0
    for snapshot in trajectory:
        layout = Layout(
            tuple(snapshot.params), tuple(t.shape[1:] for t in snapshot.params.values())
        )
        there = layout.flatten(snapshot.params).double()
        if now is not None:
            expected = step.advance(now[: len(there)], snapshot.step - then)
            worst = max(worst, float((expected - there[: len(expected)]).abs().max()))
        now, then = there, snapshot.step
    return worst


def _hidden(w: Tensor, x: Tensor) -> Tensor:
    """Return the hidden activations ``(n, 10, rows)``."""
    # A product for each net: one of all nets' rows rounds the last ones in a kernel of their own.
    weighted = torch.bmm(w[:, FIRST].reshape(-1, HIDDEN, INPUTS), x.T.expand(len(w), -1, -1))
    return weighted.add_(w[:, 40:50, None]).sigmoid_()


def _logits(w: Tensor, hidden: Tensor) -> Tensor:
    return torch.baddbmm(w[:, 80:, None], w[:, LAST].view(-1, CLASSES, HIDDEN), hidden)


def _check(eta: float) -> None:
    if not (isfinite(eta) and eta > 0):
        raise RequestError(f"eta is {eta!r}: give a learning rate above 0, such as 1.0")
