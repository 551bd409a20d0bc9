"""Tasks whose rule is known: addition modulo a prime, and the parity of a few bits."""

from __future__ import annotations

from functools import partial
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wingbeat.errors import RequestError, require
from wingbeat.task.task import Task
from wingbeat.tasks.data.sklearn import Labelled
from wingbeat.tasks.dense import cross_entropy, for_epochs, mlp
from wingbeat.tasks.models.transformer import Attention

TOKENS: Final = 3
"""Of a sum: a, b and "="."""


class SumTransformer(nn.Module):
    """One transformer layer that reads ``a b =`` and scores the sum at the last place.

    Args:
        modulus: p; a and b are tokens 0 … p − 1, "=" is token p.
        width: of the tokens, a multiple of ``heads``.
        heads: of the attention.
        layer_norm: normalise before attention, before the dense part, and at the end.

    Source:
        Nanda et al., "Progress measures for grokking via mechanistic interpretability" (2023),
        section 3: one layer, ReLU, learned positions, no normalisation.

    Example:
        >>> SumTransformer(5, 8, 2)(torch.tensor([[1, 2, 5]])).shape
        torch.Size([1, 5])
    """

    def __init__(self, modulus: int, width: int, heads: int, *, layer_norm: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(modulus + 1, width)
        self.places = nn.Parameter(torch.randn(TOKENS, width) / width**0.5)
        self.attention = Attention(width, heads)
        self.dense = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )
        self.norms = nn.ModuleList(
            nn.LayerNorm(width) if layer_norm else nn.Identity() for _ in range(3)
        )
        self.head = nn.Linear(width, modulus, bias=False)
        nn.init.normal_(self.words.weight, std=width**-0.5)

    def forward(self, words: Tensor) -> Tensor:
        """Return scores ``(batch, p)`` of tokens ``(batch, 3)`` int64."""
        x = self.words(words) + self.places
        visible = torch.ones(len(words), TOKENS, TOKENS, dtype=torch.bool, device=words.device)
        x = x + self.attention(self.norms[0](x), visible)
        x = x + self.dense(self.norms[1](x))
        scores: Tensor = self.head(self.norms[2](x[:, -1]))
        return scores


def modular_addition_task(
    modulus: int = 23,
    lr: float = 1e-2,
    epochs: int = 500,
    seed: int = 0,
    *,
    share: float = 0.7,
    batch_size: int | None = None,
    width: int = 32,
    heads: int = 2,
    layer_norm: bool = False,
    weight_decay: float = 1.0,
    data_seed: int = 0,
) -> Task:
    """Learn a + b modulo p from a share of all pairs; evaluated on the others.

    Args:
        modulus: p.
        lr: AdamW's learning rate.
        epochs: passes over the pairs that are trained on.
        seed: of initial weights and batch order.
        share: of all p² pairs that is trained on, in (0, 1).
        batch_size: pairs a step; None takes all.
        width: of the tokens.
        heads: of the attention.
        layer_norm: see `SumTransformer`.
        weight_decay: AdamW's.
        data_seed: of which pairs are trained on.

    Raises:
        RequestError: a value is out of range.

    Source:
        Power et al., "Grokking" (2022); Nanda et al. (2023) with p = 113, 30 % of the pairs,
        width 128, 4 heads, learning rate 1e-3.

    Example:
        >>> task = modular_addition_task(5, epochs=2)
        >>> len(task.data[0]), task.steps
        (17, 2)
    """
    require(modulus >= 2, "modulus", modulus, "use at least 2")
    require(0 < share < 1, "share", share, "use more than 0 and less than 1")
    a, b = torch.meshgrid(torch.arange(modulus), torch.arange(modulus), indexing="ij")
    pairs = torch.stack([a.ravel(), b.ravel(), torch.full((modulus**2,), modulus)], dim=1)
    sums = (pairs[:, 0] + pairs[:, 1]) % modulus
    train, test = divided((pairs, sums), share, data_seed)
    task = Task(
        model=partial(SumTransformer, modulus, width, heads, layer_norm=layer_norm),
        loss=cross_entropy,
        data=train,
        # 0.98 as in the papers: with 0.999 the loss spikes late in training.
        optimizer=partial(torch.optim.AdamW, lr=lr, weight_decay=weight_decay, betas=(0.9, 0.98)),
        batch_size=batch_size or len(train[0]),
        steps=1,
        seed=seed,
        eval_data=test,
        name=f"addition modulo {modulus}, one transformer layer",
    )
    return for_epochs(task, epochs)


def parity_task(
    bits: int = 20,
    relevant: int = 3,
    lr: float = 0.1,
    epochs: int = 60,
    seed: int = 0,
    *,
    n: int = 1000,
    batch_size: int = 32,
    width: int = 64,
    layer_norm: bool = False,
    weight_decay: float = 0.01,
    data_seed: int = 0,
) -> Task:
    """Learn the parity of the first few of many random bits, with SGD and the hinge loss.

    Args:
        bits: how many, each −1 or 1.
        relevant: the first so many decide.
        lr: learning rate.
        epochs: passes over the training points.
        seed: of initial weights and batch order.
        n: training points, and as many evaluation points.
        batch_size: points a step.
        width: of the hidden layer.
        layer_norm: normalise before its activation.
        weight_decay: of SGD.
        data_seed: of the points.

    Raises:
        RequestError: a value is out of range.

    Source:
        Barak et al., "Hidden progress in deep learning: SGD learns parities near the
        computational limit" (2022).

    Example:
        >>> task = parity_task(8, 2, epochs=1, n=64)
        >>> task.steps, task.data[1].unique().tolist()
        (2, [0, 1])
    """
    require(1 <= relevant <= bits, "relevant", relevant, f"use 1 to {bits}")
    require(n >= 1, "n", n, "use at least 1")
    generator = torch.Generator().manual_seed(data_seed)
    x = torch.randint(0, 2, (2 * n, bits), generator=generator).float() * 2 - 1
    labels = (x[:, :relevant].prod(dim=1) > 0).long()
    task = Task(
        model=partial(mlp, (bits, width, 2), layer_norm=layer_norm),
        loss=hinge,
        data=(x[:n], labels[:n]),
        optimizer=partial(torch.optim.SGD, lr=lr, weight_decay=weight_decay),
        batch_size=batch_size,
        steps=1,
        seed=seed,
        eval_data=(x[n:], labels[n:]),
        name=f"parity of {relevant} of {bits} bits, dense net",
    )
    return for_epochs(task, epochs)


def hinge(model: nn.Module, batch: Labelled) -> Tensor:
    """Return the mean of max(0, 1 − margin), the margin being half the gap of the two scores.

    Example:
        >>> batch = torch.tensor([[0.0, 1.0]]), torch.tensor([1])
        >>> float(hinge(nn.Identity(), batch))
        0.5
    """
    scores = model(batch[0])
    sign = 2 * batch[1].to(scores.dtype) - 1
    return F.relu(1 - sign * (scores[:, 1] - scores[:, 0]) / 2).mean()


def divided(data: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Return a random share of some samples, and the others.

    Raises:
        RequestError: one of the two parts would be empty.

    Example:
        >>> one, other = divided((torch.arange(10), torch.arange(10)), 0.3, 0)
        >>> len(one[0]), len(other[0])
        (3, 7)
    """
    count = len(data[0])
    cut = int(share * count)
    if not 0 < cut < count:
        raise RequestError(f"share is {share} of {count} samples: one part would be empty")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    first, rest = order[:cut], order[cut:]
    return (data[0][first], data[1][first]), (data[0][rest], data[1][rest])
