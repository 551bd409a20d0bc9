"""The 21 architectures of the study of training dynamics, and the tasks they are trained on.

Ten dense nets on two circles, five convolutional nets on images of digits, six transformers on
film reviews. Sizes that the article "Random Seeds and Training Trajectories" (rajeshrs.in,
2025) states are met exactly; it leaves the others open, and they are a free choice here, as
are optimizer, learning rate and number of samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal

import torch

from wingbeat.errors import RequestError
from wingbeat.task.task import Task
from wingbeat.tasks.cnn import image_cnn
from wingbeat.tasks.data.sklearn import Labelled, circles
from wingbeat.tasks.data.sources import DataSource, images, reviews
from wingbeat.tasks.data.text import encoded, vocabulary
from wingbeat.tasks.dense import (
    binary_cross_entropy,
    binary_scores,
    cross_entropy,
    for_epochs,
    mlp,
)
from wingbeat.tasks.models.transformer import Kind, Transformer
from wingbeat.tasks.recipe import Triangle

Family = Literal["dense", "cnn", "transformer"]
FAMILIES: Final[tuple[Family, ...]] = ("dense", "cnn", "transformer")
FAMILY_NAMES: Final = {"dense": "Dense", "cnn": "CNN", "transformer": "Transformer"}
CIRCLES: Final = DataSource(
    "circles", "scikit-learn's two circles (1,000 / 1,000 points)", stand_in=False, digest="circles"
)


@dataclass(frozen=True)
class Architecture:
    """One net of the study.

    Attributes:
        family: "dense", "cnn" or "transformer".
        group: within the family: "3-layer", "5-layer", "CNN", "GPT", "BERT".
        name: unique, as shown: "3-layer XLarge".
        size: rank within its group, 0 the smallest.
        depth: number of weight layers (blocks of a transformer).
        parameters: exact number of trainable weights.
        shape: what the task's factory needs to build it.
    """

    family: Family
    group: str
    name: str
    size: int
    depth: int
    parameters: int
    shape: dict[str, Any]

    @property
    def factory(self) -> str:
        """``module:function`` of the task."""
        return f"{__name__}:{self.family}_task"


def _dense(group: str, rows: Sequence[tuple[Sequence[int], int]]) -> list[Architecture]:
    names = ("Tiny", "Small", "Medium", "Large", "XLarge")
    return [
        Architecture(
            "dense", group, f"{group} {name}", i, len(hidden) + 1, n, {"hidden": list(hidden)}
        )
        for i, (name, (hidden, n)) in enumerate(zip(names, rows, strict=True))
    ]


def _transformers(kind: Kind, counts: Sequence[int]) -> list[Architecture]:
    shapes = zip(("tiny", "small", "medium"), (128, 256, 384), (2, 4, 6), counts, strict=True)
    return [
        Architecture(
            "transformer",
            kind.upper(),
            f"{kind.upper()} {name}",
            i,
            layers,
            n,
            {"kind": kind, "width": width, "layers": layers},
        )
        for i, (name, width, layers, n) in enumerate(shapes)
    ]


_THREE = (((4, 2), 25), ((8, 4), 65), ((16, 8), 193), ((32, 16), 641), ((64, 32), 2305))
_FIVE = (
    ((4, 4, 2, 2), 51),
    ((8, 8, 4, 4), 157),
    ((16, 16, 8, 8), 537),
    ((32, 32, 16, 16), 1969),
    ((64, 64, 32, 32), 7521),
)
_CNNS = (
    ("Tiny", (4, 8), 4266),
    ("Small", (8, 16), 9098),
    ("Medium", (16, 32), 20490),
    ("Large", (32, 64), 50186),
    ("Deep", (16, 32, 64), 29066),
)

ARCHITECTURES: Final[tuple[Architecture, ...]] = (
    *_dense("3-layer", _THREE),
    *_dense("5-layer", _FIVE),
    *(
        Architecture("cnn", "CNN", f"CNN {n}", i, len(c) + 1, p, {"channels": list(c)})
        for i, (n, c, p) in enumerate(_CNNS)
    ),
    *_transformers("gpt", (780_034, 3_926_018, 11_797_250)),
    *_transformers("bert", (796_802, 3_992_322, 11_945_858)),
)
"""All 21, in the order of tables."""


def dense_task(
    hidden: Sequence[int],
    epochs: int = 20,
    samples: int = 1000,
    data: str = "circles",
    digest: str = "circles",
    activation: str = "relu",
    seed: int = 0,
) -> Task:
    """Classify two circles with a dense net that has one logit; Adam at 0.01, batches of 32.

    Args:
        hidden: widths between the two inputs and the logit.
        epochs: passes over the data.
        samples: training points; 1,000 fresh points are for evaluation.
        data: name of the data the condition was made for.
        digest: of that data.
        activation: between the layers, as in ``mlp``.
        seed: of initial weights and batch order.

    Example:
        >>> dense_task((64, 32)).steps
        640
    """
    _require_data(CIRCLES, data, digest)
    # Said only where it is another one: without it the task is described as ever.
    other = () if activation == "relu" else (activation,)
    task = Task(
        model=partial(mlp, (2, *hidden, 1), *other),
        loss=binary_cross_entropy,
        data=circles(samples),
        optimizer=partial(torch.optim.Adam, lr=1e-2),
        batch_size=32,
        steps=1,
        seed=seed,
        eval_data=circles(1000, seed=1),
        predict=binary_scores,
        name="two circles, dense net",
    )
    return for_epochs(task, epochs)


def cnn_task(
    channels: Sequence[int],
    data: str,
    digest: str,
    epochs: int = 8,
    samples: int = 320,
    tested: int = 200,
    lr: float = 1e-3,
    seed: int = 0,
) -> Task:
    """Classify 28x28 digits with a convolutional net and Adam, in batches of 32.

    Args:
        channels: feature maps of each stage.
        data: name of the data the condition was made for.
        digest: of that data.
        epochs: passes over the data.
        samples: training images, drawn once.
        tested: test images for evaluation, drawn once.
        lr: Adam's learning rate.
        seed: of initial weights and batch order.

    Raises:
        RequestError: the data found here are others.
    """
    found = images()
    _require_data(found.source, data, digest)
    task = Task(
        model=partial(image_cnn, channels),
        loss=cross_entropy,
        data=_some(found.train, samples),
        optimizer=partial(torch.optim.Adam, lr=lr),
        batch_size=32,
        steps=1,
        seed=seed,
        eval_data=_some(found.test, tested, "tested"),
        eval_batch_size=50,
        name="digits, convolutional net",
    )
    return for_epochs(task, epochs)


def transformer_task(
    kind: Kind,
    width: int,
    layers: int,
    data: str,
    digest: str,
    epochs: int = 8,
    samples: int = 192,
    tested: int = 64,
    batch_size: int = 16,
    lr: float = 5e-4,
    warmup: float = 0.0,
    seed: int = 0,
) -> Task:
    """Classify sentences with a transformer and AdamW.

    The vocabulary is that of the whole training split, whatever part of it is trained on.

    Args:
        kind: "gpt" or "bert".
        width: of the tokens.
        layers: number of blocks.
        data: name of the data the condition was made for.
        digest: of that data.
        epochs: passes over the data.
        samples: training sentences, drawn once.
        tested: test sentences for evaluation, drawn once.
        batch_size: sentences a step.
        lr: learning rate; with a warm-up, at its top.
        warmup: share of training in which the rate rises, after which it falls to 0; 0 leaves it
            constant.
        seed: of initial weights and batch order.

    Raises:
        RequestError: the data found here are others, or a value is out of range.
    """
    if not 0 <= warmup < 1:
        raise RequestError(f"warmup is {warmup!r}: use a share of at least 0 and below 1")
    found = reviews()
    _require_data(found.source, data, digest)
    words = vocabulary(found.train.texts)
    task = Task(
        model=partial(Transformer, kind, width, layers),
        loss=cross_entropy,
        data=encoded(found.train.subset(samples), words),
        optimizer=partial(torch.optim.AdamW, lr=lr),
        batch_size=batch_size,
        steps=1,
        seed=seed,
        eval_data=encoded(found.test.subset(tested), words),
        eval_batch_size=batch_size,
        name=f"sentences, {kind}",
    )
    task = for_epochs(task, epochs)
    return replace(task, schedule=Triangle(task.steps, warmup)) if warmup else task


def source_of(family: Family) -> DataSource:
    """Return the data that a family is trained on, as found on this machine."""
    return {"dense": lambda: CIRCLES, "cnn": _images_source, "transformer": _reviews_source}[
        family
    ]()


def _images_source() -> DataSource:
    return images().source


def _reviews_source() -> DataSource:
    return reviews().source


def _some(data: Labelled, n: int, name: str = "samples") -> Labelled:
    """Return ``n`` samples, drawn once and for all."""
    if not 1 <= n <= len(data[0]):
        raise RequestError(f"{name} is {n!r}: use 1 to {len(data[0])}")
    order = torch.randperm(len(data[0]), generator=torch.Generator().manual_seed(0))[:n]
    return data[0][order], data[1][order]


def _require_data(found: DataSource, name: str, digest: str) -> None:
    if (found.name, found.digest) != (name, digest):
        msg = (
            f"the condition was made for the data {name!r} ({digest}), and {found.name!r} "
            f"({found.digest}) is what is found here: set WINGBEAT_DATA to the same folder again"
        )
        raise RequestError(msg)
