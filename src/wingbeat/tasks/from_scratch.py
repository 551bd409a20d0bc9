"""The built-in tasks of the spawn-and-perturb study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wingbeat.errors import RequestError
from wingbeat.task.barrier_sampling import BarrierSampling
from wingbeat.task.task import Task
from wingbeat.tasks.data.cifar10 import photos
from wingbeat.tasks.data.shakespeare import characters
from wingbeat.tasks.data.sklearn import Labelled, digits, evenly_spaced
from wingbeat.tasks.data.sources import images
from wingbeat.tasks.dense import cross_entropy, mlp, shift_by_a_pixel
from wingbeat.tasks.models.character_gpt import CharacterGPT
from wingbeat.tasks.models.resnet import Norm, ResNet
from wingbeat.tasks.models.vit import ViT
from wingbeat.tasks.recipe import Recipe, flip_and_rotate, intervened
from wingbeat.tasks.sst2 import FINETUNE_FACTORIES

FACTORIES: Final = {
    **FINETUNE_FACTORIES,
    "cifar-resnet": "wingbeat.tasks.from_scratch:cifar_resnet",
    "cifar-vit": "wingbeat.tasks.from_scratch:cifar_vit",
    "digits-resnet": "wingbeat.tasks.from_scratch:digits_resnet",
    "mnist-mlp": "wingbeat.tasks.from_scratch:mnist_mlp",
    "shakespeare-gpt": "wingbeat.tasks.from_scratch:shakespeare_gpt",
}
"""Short names of the built-in tasks."""
QUICK: Final[dict[str, dict[str, Any]]] = {
    "cifar-resnet": {"depth": 8, "width": 4, "samples": 512, "batch_size": 32, "budget": 0.003},
    "cifar-vit": {"width": 16, "layers": 1, "patch": 8, "samples": 512, "budget": 0.004},
    "digits-resnet": {"width": 4, "budget": 0.003},
    "mnist-mlp": {"hidden": [16], "samples": 1024, "batch_size": 64, "epochs": 5},
    "shakespeare-gpt": {"width": 16, "layers": 1, "length": 16, "samples": 512, "budget": 0.004},
    "sst2-minilm": {"length": 12, "longer": "leave out", "steps": 8, "barrier_samples": 20},
    "gsm8k-lm": {"width": 16, "length": 400, "steps": 20, "test_samples": 32},
}
"""Arguments of the built-in tasks with ``quick``."""
LOOPED: Final = ("cifar-resnet", "cifar-vit", "sst2-minilm", "gsm8k-lm")
"""Built-in tasks that stacking does not make faster: a replica fills the processor."""


def cifar_resnet(
    depth: int = 20,
    width: int = 16,
    norm: Norm = "layer",
    intervention: str = "standard",
    samples: int | None = None,
    seed: int = 0,
    barrier_samples: int = 1024,
    between: bool = True,
    along: bool = True,
    **recipe: Any,
) -> Task:
    """Classify CIFAR-10 with a residual net, as in the paper's main setting.

    Args:
        depth: of the net: 8, 14, 20, 32 or 34.
        width: channels of its first stage (the paper: 32 for depth 20).
        norm: "layer" as in the paper, "batch" or "group".
        intervention: a name of ``recipe.INTERVENTIONS``.
        samples: how many training images, evenly spaced; None takes all.
        seed: of initial weights, batch order and augmentation.
        barrier_samples: most images of each split that barriers are measured on.
        between: measure barriers between replicas too, not only to the reference.
        along: measure barriers, aligned distances and CKA at earlier recorded steps too.
        recipe: fields of ``Recipe``, such as ``budget``.

    Raises:
        RequestError: a value out of range.

    Example:
        >>> cifar_resnet(8, 8, samples=256, budget=0.001).steps
        20
    """
    train, net = intervened(Recipe(**recipe), intervention)
    built = partial(ResNet, net.get("depth", depth), width * net.get("widen", 1), norm)
    found = photos()
    name = f"{found.source.label}, ResNet-{net.get('depth', depth)}, {intervention}"
    barriers = BarrierSampling(barrier_samples, between=between, along=along)
    task = _image_task(built, evenly_spaced(found.train, samples), found.test, train, seed, name)
    return replace(task, barriers=barriers)


def digits_resnet(
    depth: int = 8,
    width: int = 8,
    norm: Norm = "group",
    intervention: str = "standard",
    seed: int = 0,
    barrier_samples: int = 1024,
    between: bool = True,
    along: bool = True,
    **recipe: Any,
) -> Task:
    """Classify 8x8 digits with a residual net and the paper's recipe, in minutes on one processor.

    Images are moved by up to a pixel instead of mirrored and rotated.

    Args:
        depth: of the net: 8, 14, 20, 32 or 34.
        width: channels of its first stage.
        norm: "group", "layer" or "batch".
        intervention: a name of ``recipe.INTERVENTIONS``.
        seed: of initial weights, batch order and augmentation.
        barrier_samples: most images of each split that barriers are measured on.
        between: measure barriers between replicas too, not only to the reference.
        along: measure barriers, aligned distances and CKA at earlier recorded steps too.
        recipe: fields of ``Recipe``; batches of 32 and 600 updates where nothing is said.

    Raises:
        RequestError: a value out of range.

    Example:
        >>> digits_resnet(width=4).steps
        600
    """
    train, net = intervened(Recipe(**{"batch_size": 32, "budget": 0.03, **recipe}), intervention)
    wide = width * net.get("widen", 1)
    built = partial(ResNet, net.get("depth", depth), wide, norm, channels=1)
    images, test = digits()
    name = f"digits, ResNet-{net.get('depth', depth)}, {intervention}"
    task = _image_task(built, images, test, train, seed, name)
    barriers = BarrierSampling(barrier_samples, between=between, along=along)
    moved = _moved_by_a_pixel if train.augment else None
    return replace(task, augment=moved, barriers=barriers)


def _moved_by_a_pixel(batch: Labelled, draws: Callable[[int], Tensor]) -> Labelled:
    """Return shifted images row by row in memory: group norm cannot be stacked otherwise."""
    images, labels = shift_by_a_pixel(batch, draws)
    return images.flatten(1).view(images.shape), labels


def cifar_vit(
    width: int = 64,
    layers: int = 4,
    patch: int = 4,
    intervention: str = "standard",
    samples: int | None = None,
    seed: int = 0,
    **recipe: Any,
) -> Task:
    """Classify CIFAR-10 with a small vision transformer and AdamW.

    Args:
        width: of the tokens.
        layers: how many blocks.
        patch: side of a patch.
        intervention: a name of ``recipe.INTERVENTIONS``.
        samples: how many training images, evenly spaced; None takes all.
        seed: of initial weights, batch order and augmentation.
        recipe: fields of ``Recipe``; AdamW with 0.001 where nothing is said.

    Raises:
        RequestError: a value out of range, or an intervention that is about residual nets.

    Example:
        >>> cifar_vit(32, 1, samples=256, budget=0.001).steps
        20
    """
    given = {"optimizer": "adamw", "lr": 1e-3, **recipe}
    train, net = intervened(Recipe(**given), intervention)
    if net:
        raise RequestError(f"intervention is {intervention!r}: it is one of residual nets")
    found = photos()
    built = partial(ViT, width, layers, patch)
    name = f"{found.source.label}, ViT, {intervention}"
    return _image_task(built, evenly_spaced(found.train, samples), found.test, train, seed, name)


def mnist_mlp(
    hidden: tuple[int, ...] = (512, 512, 512),
    lr: float = 1e-3,
    epochs: float = 5,
    batch_size: int = 128,
    samples: int | None = None,
    seed: int = 0,
) -> Task:
    """Classify MNIST with a dense net and Adam.

    Args:
        hidden: widths of the hidden layers.
        lr: Adam's learning rate.
        epochs: passes over the training images.
        batch_size: images a step; an incomplete last batch is left out.
        samples: how many training images, evenly spaced; None takes all.
        seed: of initial weights and batch order.

    Example:
        >>> mnist_mlp((16,), samples=256, epochs=2, batch_size=64).steps
        8
    """
    found = images()
    train = evenly_spaced(found.train, samples)
    return Task(
        model=partial(mlp, (train[0][0].numel(), *hidden, 10)),
        loss=cross_entropy,
        data=train,
        optimizer=partial(torch.optim.Adam, lr=lr),
        batch_size=batch_size,
        steps=max(1, round(epochs * (len(train[0]) // batch_size))),
        seed=seed,
        eval_data=found.test,
        drop_last=True,
        name=f"{found.source.label}, dense net",
    )


def shakespeare_gpt(
    width: int = 64,
    layers: int = 2,
    length: int = 64,
    samples: int | None = None,
    seed: int = 0,
    **recipe: Any,
) -> Task:
    """Predict the next character of tinyshakespeare with a small causal transformer and AdamW.

    Accuracy and disagreement are about the character after each window.

    Args:
        width: of the tokens.
        layers: how many blocks.
        length: characters of a window.
        samples: how many training windows, evenly spaced; None takes all.
        seed: of initial weights and batch order.
        recipe: fields of ``Recipe``; AdamW with 0.003 and batches of 32 where nothing is said.

    Example:
        >>> shakespeare_gpt(32, 1, 16, samples=64, budget=0.001).steps
        20
    """
    given = {"optimizer": "adamw", "lr": 3e-3, "batch_size": 32, "augment": False, **recipe}
    train = Recipe(**given)
    found = characters(length)
    return Task(
        model=partial(CharacterGPT, len(found.alphabet), width, layers, length),
        loss=next_character,
        data=evenly_spaced(found.train, samples),
        optimizer=train.built,
        batch_size=train.batch_size,
        steps=train.steps,
        seed=seed,
        schedule=train.schedule,
        eval_data=evenly_spaced(found.test, 512),
        drop_last=True,
        predict=last_scores,
        targets=last_character,
        eval_batch_size=256,
        name=f"{found.source.label}, causal transformer",
    )


def next_character(model: nn.Module, batch: Any) -> Tensor:
    """Return the mean cross entropy over all places of all windows."""
    scores = model(batch[0])
    return F.cross_entropy(scores.flatten(0, 1), batch[1].flatten())


def last_scores(model: nn.Module, batch: Any) -> Tensor:
    """Return the scores ``(batch, alphabet)`` of the character after each window."""
    scores: Tensor = model(batch[0])[:, -1]
    return scores


def last_character(batch: Any) -> Tensor:
    """Return the character after each window ``(batch,)``."""
    last: Tensor = batch[1][:, -1]
    return last


def _image_task(
    model: Callable[[], nn.Module],
    train: Labelled,
    test: Labelled,
    recipe: Recipe,
    seed: int,
    name: str,
) -> Task:
    return Task(
        model=model,
        loss=cross_entropy,
        data=train,
        optimizer=recipe.built,
        batch_size=recipe.batch_size,
        steps=recipe.steps,
        seed=seed,
        schedule=recipe.schedule,
        eval_data=test,
        drop_last=True,
        augment=flip_and_rotate if recipe.augment else None,
        eval_batch_size=500,
        name=name,
    )
