"""Set-ups by loss: most of them read from tensors in Python, as published losses do."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from plain_setup import (
    CLASSES,
    CURVE,
    LENGTHS,
    MASK,
    POINTS,
    SERIES,
    classify,
    dense,
    entropy,
    of,
    recipe,
    squared,
)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

STACKS = {"stacks": True}
MASKED = {"data": (POINTS, CURVE, MASK)}
LABELLED = {"data": (POINTS, CLASSES, MASK)}


def positives(model: nn.Module, batch: Any) -> Tensor:
    """Return the example of issue 12: as many rows as there are positive targets."""
    rows = len((batch[1] > 0).nonzero())
    return F.mse_loss(model(batch[0])[:rows], batch[1][:rows])


def selected(model: nn.Module, batch: Any) -> Tensor:
    """Index predictions and targets by a mask."""
    mask = batch[2]
    return F.mse_loss(model(batch[0])[mask], batch[1][mask])


def selected_count(model: nn.Module, batch: Any) -> Tensor:
    """Divide by the number of selected targets, read with ``numel``."""
    count = batch[1][batch[2]].numel()
    return (model(batch[0]) - batch[1]).square().sum() / (1 + count)


def weighed_by_item(model: nn.Module, batch: Any) -> Tensor:
    """Weigh by a number that ``.item()`` reads."""
    return squared(model, batch) * (1 + batch[1].abs().mean().item())


def weighed_by_numpy(model: nn.Module, batch: Any) -> Tensor:
    """Weigh by a number that NumPy computes from the targets."""
    return squared(model, batch) * (1 + float(np.abs(batch[1].numpy()).mean()))


def sign_of_batch(model: nn.Module, batch: Any) -> Tensor:
    """Branch on a sum of the batch that is negative only now and then."""
    scale = 3.0 if batch[0].sum() > 4.0 else 1.0
    return scale * squared(model, batch)


def branch_on_loss(model: nn.Module, batch: Any) -> Tensor:
    """Branch on the loss itself, which crosses the bound in the course of training."""
    loss = squared(model, batch)
    return loss.sqrt() if loss < 0.9 else loss


def one_element(model: nn.Module, batch: Any) -> Tensor:
    """Select by a mask that may hold one element: shapes then broadcast without an error."""
    picked = model(batch[0])[batch[0][:, 0] > 1.0]
    target = batch[1][batch[0][:, 0] > 1.0]
    near = (batch[1] - (target.mean() if len(target) else 0.0)).square().mean()
    return squared(model, batch) + (picked - target).abs().sum() * near


class Sequence(nn.Module):
    """Scores each position of a series."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


TARGETS = (SERIES.sum(-1) > 0).long() + (SERIES[..., 0] > 0.5).long()
PADDED = TARGETS.masked_fill(torch.arange(5)[None] >= LENGTHS[:, None], -100)


def valid_tokens(model: nn.Module, batch: Any) -> Tensor:
    """Keep the tokens that are not padding, as language-model scripts do."""
    scores, target = model(batch[0]), batch[1]
    valid = target != -100
    return F.cross_entropy(scores[valid], target[valid])


def ignored_tokens(model: nn.Module, batch: Any) -> Tensor:
    """Let ``ignore_index`` do the same."""
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


def by_lengths(model: nn.Module, batch: Any) -> Tensor:
    """Read lengths with ``tolist`` and cut each series."""
    scores, lengths = model(batch[0]), batch[2].tolist()
    parts = [
        F.cross_entropy(s[:n], y[:n]) for s, y, n in zip(scores, batch[1], lengths, strict=True)
    ]
    return torch.stack(parts).mean()


def by_split(model: nn.Module, batch: Any) -> Tensor:
    """Join the valid positions, then split them by sizes that are read from a tensor."""
    valid = torch.arange(5) < batch[2][:, None]
    pieces = torch.split(model(batch[0])[valid], batch[2].tolist())
    pooled = torch.stack([piece.mean(0) for piece in pieces])
    return F.cross_entropy(pooled, batch[1][:, 0])


def by_kinds(model: nn.Module, batch: Any) -> Tensor:
    """Divide by the number of classes in the batch."""
    kinds = len((batch[0][:, 0] * 2).round().unique())
    return entropy(model, batch) / kinds


def triplets(model: nn.Module, batch: Any) -> Tensor:
    """Mine triplets over labels read with ``tolist``."""
    embedded, labels = F.normalize(model(batch[0]), dim=1), batch[1].tolist()
    total, count = embedded.new_zeros(()), 0
    for i, a in enumerate(labels):
        same = [j for j, b in enumerate(labels) if b == a and j != i]
        other = [j for j, b in enumerate(labels) if b != a]
        for j, k in zip(same, other, strict=False):
            near, far = embedded[i] - embedded[j], embedded[i] - embedded[k]
            total = total + F.softplus(near.square().sum() - far.square().sum())
            count += 1
    return total / max(1, count)


def class_means(model: nn.Module, batch: Any) -> Tensor:
    """Pull embeddings to the mean of their class, for the classes that are there."""
    embedded, labels = model(batch[0]), batch[1]
    centres = [embedded[labels == c] for c in range(3) if (labels == c).any()]
    return entropy(model, batch) + 0.1 * sum((e - e.mean(0)).square().mean() for e in centres)


def hard_negatives(model: nn.Module, batch: Any) -> Tensor:
    """Average over the hardest half; the order of the losses depends on the weights."""
    losses = F.cross_entropy(model(batch[0]), batch[1], reduction="none")
    return losses.topk(len(losses) // 2).values.mean()


def above_median(model: nn.Module, batch: Any) -> Tensor:
    """Average over the losses above their mean: how many they are depends on the weights."""
    losses = F.cross_entropy(model(batch[0]), batch[1], reduction="none")
    return losses[losses > losses.mean()].mean()


def mixup(model: nn.Module, batch: Any) -> Tensor:
    """Mix pairs with weight and partner drawn by torch."""
    weight, partner = torch.rand(()), torch.randperm(len(batch[0]))
    x = weight * batch[0] + (1 - weight) * batch[0][partner]
    scores = model(x)
    own, other = F.cross_entropy(scores, batch[1]), F.cross_entropy(scores, batch[1][partner])
    return weight * own + (1 - weight) * other


def mixup_numpy(model: nn.Module, batch: Any) -> Tensor:
    """Mix pairs with a weight drawn by NumPy, as the paper's code does."""
    weight = float(np.random.beta(1.0, 1.0))  # noqa: NPY002
    x = weight * batch[0] + (1 - weight) * batch[0].flip(0)
    scores = model(x)
    own, other = F.cross_entropy(scores, batch[1]), F.cross_entropy(scores, batch[1].flip(0))
    return weight * own + (1 - weight) * other


def gradient_penalty(model: nn.Module, batch: Any) -> Tensor:
    """Penalise the gradient with respect to the inputs: differentiated twice."""
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    return squared(model, batch) + 0.1 * (slope.norm(dim=1) - 1).square().mean()


def contrastive(model: nn.Module, batch: Any) -> Tensor:
    """Contrast two noisy views of each sample with those of the others."""
    views = [F.normalize(model(batch[0] + 0.1 * torch.randn_like(batch[0])), dim=1) for _ in "ab"]
    scores = views[0] @ views[1].T / 0.5
    return F.cross_entropy(scores, torch.arange(len(scores)))


def adversarial(model: nn.Module, batch: Any) -> Tensor:
    """Train on inputs moved along the sign of their gradient (FGSM)."""
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(entropy(model, (x, batch[1])), x)
    return entropy(model, (batch[0] + 0.05 * slope.sign(), batch[1]))


class Checkpointed(nn.Module):
    """Its middle is not kept but computed again in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.enter, self.middle, self.leave = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 1)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.enter(x))
        h = checkpoint(lambda y: torch.tanh(self.middle(y)), h, use_reentrant=self.reentrant)
        out: Tensor = self.leave(h)
        return out


def decayed(model: nn.Module, batch: Any) -> Tensor:
    """Add a penalty on the weights that the loss reads from the model itself."""
    return squared(model, batch) + 0.01 * sum(p.abs().sum() for p in model.parameters())


def sequences(loss: Any, **options: Any) -> dict[str, Any]:
    return recipe(model=Sequence, loss=loss, data=(SERIES, PADDED, LENGTHS), **options)


def cut(loss: Any) -> dict[str, Any]:
    return recipe(model=Sequence, loss=loss, data=(SERIES, TARGETS, LENGTHS))


SETUPS = {
    "nonzero length": of("the issue's own example: a length read from nonzero", loss=positives),
    "masked rows": of("logits[mask]: other sizes in each batch", loss=selected, **MASKED),
    "masked count": of("y[mask].numel() is frozen", loss=selected_count, **MASKED),
    "item": of(".item() on the batch", loss=weighed_by_item),
    "numpy": of(".numpy() on the batch", loss=weighed_by_numpy),
    "branch on batch": of("a sum of the batch that seldom passes a bound", loss=sign_of_batch),
    "branch on loss": of("a bound that training passes later", loss=branch_on_loss),
    "mask of one": of("a mask of one element broadcasts later", loss=one_element),
    "valid tokens": of("scores[valid], target[valid]", sequences, loss=valid_tokens),
    "ignored tokens": of("ignore_index", sequences, loss=ignored_tokens, **STACKS),
    "lengths": of("lengths.tolist()", cut, loss=by_lengths),
    "split": of("torch.split(x, sizes.tolist())", cut, loss=by_split),
    "unique": of("len(y.unique())", classify, loss=by_kinds),
    "triplets": of("triplets mined over labels.tolist()", classify, loss=triplets),
    "class means": of("per-class means, absent classes left out", classify, loss=class_means),
    "hard negatives": of("the largest losses", classify, loss=hard_negatives, **STACKS),
    "above mean": of("a mask that depends on the weights", classify, loss=above_median),
    "mixup": of("mixup drawn by torch", classify, loss=mixup),
    "mixup numpy": of("mixup drawn by NumPy", classify, loss=mixup_numpy),
    "label smoothing": of(
        "label smoothing and class weights",
        classify,
        loss=lambda model, batch: F.cross_entropy(
            model(batch[0]),
            batch[1],
            torch.tensor([1.0, 2.0, 0.5]).to(batch[0]),
            label_smoothing=0.1,
        ),
        **STACKS,
    ),
    "gradient penalty": of("autograd.grad with create_graph in the loss", loss=gradient_penalty),
    "adversarial": of("autograd.grad in the loss", classify, loss=adversarial),
    "contrastive": of(
        "two noisy views",
        loss=contrastive,
        model=lambda: dense(3),
        # Normalised to length 1, small outputs magnify rounding: a smaller rate than elsewhere.
        optimizer=lambda params: torch.optim.SGD(params, lr=0.01),
    ),
    "checkpointing": of("checkpoint, use_reentrant=False", model=lambda: Checkpointed(False)),
    "reentrant checkpointing": of(
        "checkpoint, use_reentrant=True: only backward() works",
        model=lambda: Checkpointed(True),
    ),
    "penalty on weights": of("a loss that reads model.parameters()", loss=decayed, **STACKS),
    "clipped": of("the gradient's norm is clipped", clip_norm=0.3, **STACKS),
    "huber": of(
        "a loss with two pieces",
        loss=lambda model, batch: F.huber_loss(model(batch[0]), batch[1], delta=0.5),
        **STACKS,
    ),
}
