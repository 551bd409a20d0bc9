"""The samples of a net as clouds of points: what goes in, and what each hidden layer makes of it.

The same 200 samples that no net was trained on, at every moment and for every net of a family. The
first cloud is what the published ratio of decoders divides by: the raw lookup table of a
transformer, the input of a net that has none. The second is that of encoders: the embedding block
with its normalisation, the first layer of a net that has none. The read-out is no hidden layer.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

import torch
from torch import Tensor, nn

from wingbeat.representation.capture import Recorder
from wingbeat.tasks.architectures import ARCHITECTURES, Family
from wingbeat.tasks.data.sklearn import circles, evenly_spaced
from wingbeat.tasks.data.sources import images, reviews
from wingbeat.tasks.data.text import PAD, encoded, vocabulary
from wingbeat.tasks.models.transformer import Transformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.typing import Array

Pooling = Literal["mean", "read"]
"""Of a sentence's words: their mean, or the one that the answer is read from."""
POOLINGS: Final[tuple[Pooling, ...]] = ("mean", "read")
ENDS: Final = (nn.ReLU, nn.GELU)
"""What a layer of the study's dense nets ends with."""
SAMPLES: Final = 200
"""Of each data set: tree lengths of different numbers of points do not compare."""


def family_of(factory: str) -> Family:
    """Return the family whose nets a factory trains.

    >>> family_of("wingbeat.tasks.architectures:cnn_task")
    'cnn'
    """
    return next(a.family for a in ARCHITECTURES if a.factory == factory)


@lru_cache(maxsize=3)
def samples(family: Family) -> Tensor:
    """Return 200 inputs of a family's data that no net is trained on."""
    if family == "dense":
        return circles(SAMPLES, seed=2)[0]
    if family == "cnn":
        return evenly_spaced(images().test, SAMPLES)[0]
    found = reviews()
    return encoded(found.test.subset(SAMPLES, seed=1), vocabulary(found.train.texts))[0]


def clouds_of(
    model: nn.Module, inputs: Tensor, poolings: Sequence[Pooling]
) -> dict[Pooling, list[Array]]:
    """Return the samples as they go in and in each hidden layer, (samples, features) each.

    Of one forward pass, under each pooling; without words all are the same.

    Args:
        model: a dense or convolutional net as a sequence, or a `Transformer`.
        inputs: of the model.
        poolings: of a transformer's words; padding does not count.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 1))
        >>> list(clouds_of(net, torch.zeros(4, 2), POOLINGS))
        ['mean', 'read']
    """
    with torch.no_grad():
        found = Recorder(lambda m, x: m(x), hidden_layers(model))(model.eval(), inputs)
    layers = [x.double() for x in found.values()]
    if not isinstance(model, Transformer):
        whole = [x.numpy() for x in (inputs.flatten(1).double(), *layers)]
        return dict.fromkeys(poolings, whole)
    words = [x.reshape(len(inputs), inputs.shape[1], -1) for x in layers]
    weights = {p: _weights(inputs, p, causal=model.pooler is None) for p in poolings}
    return {p: [(x * w).sum(dim=1).numpy() for x in words] for p, w in weights.items()}


def hidden_layers(model: nn.Module) -> tuple[str, ...]:
    """Return the names of a net's hidden layers; of a transformer the lookup table comes first.

    A layer ends with its activation, or with the pooling after it.

    >>> hidden_layers(Transformer("gpt", 64, 2))
    ('words', 'blocks.0.norm1', 'blocks.0', 'blocks.1', 'norm')
    """
    if isinstance(model, Transformer):
        blocks = (f"blocks.{i}" for i in range(len(model.blocks)))
        return ("words", "blocks.0.norm1", *blocks, "norm")
    kinds = {type(m) for m in model.modules()}
    last = (nn.MaxPool2d,) if nn.MaxPool2d in kinds else ENDS
    return tuple(name for name, m in model.named_modules() if isinstance(m, last))


def _weights(words: Tensor, pooling: Pooling, *, causal: bool) -> Tensor:
    """Return what each position counts for, (samples, length, 1), summing to 1."""
    real = (words != PAD).double()
    if pooling == "mean":
        chosen = real / real.sum(dim=1, keepdim=True)
    else:
        place = torch.arange(words.shape[1])
        last = torch.where(words != PAD, place, 0).amax(dim=1, keepdim=True)
        chosen = (place == (last if causal else 0)).double().expand(words.shape)
    return chosen[..., None]
