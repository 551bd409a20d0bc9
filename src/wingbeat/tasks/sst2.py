"""A pretrained encoder that learns to tell good from bad film reviews (SST-2), as a task."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from wingbeat.errors import RequestError, nearest
from wingbeat.task.barrier_sampling import BarrierSampling
from wingbeat.task.task import Task
from wingbeat.tasks.data.sklearn import Labelled
from wingbeat.tasks.data.sources import reviews
from wingbeat.tasks.data.text import Corpus
from wingbeat.tasks.data.tokens import Tokenizer, padded, tokenizer_of
from wingbeat.tasks.dense import cross_entropy
from wingbeat.tasks.models.language import Pooling, SentenceClassifier
from wingbeat.tasks.models.pretrained import (
    MINILM,
    Checkpoint,
    build,
    find_checkpoint,
    keep_rows,
    transformers,
)
from wingbeat.tasks.recipe import Triangle

Rows = Literal["used", "all"]
Longer = Literal["cut", "leave out"]
FINETUNE_FACTORIES: Final = {
    "sst2-minilm": "wingbeat.tasks.sst2:sst2",
    "gsm8k-lm": "wingbeat.tasks.gsm8k:gsm8k",
}
"""Short names of the built-in fine-tuning tasks."""
BARRIER_SAMPLES: Final = 128
"""Samples of each set of data that a barrier is measured on unless the task is told otherwise."""
BARRIER_POINTS: Final = 11
"""Points of a line, those of the paper's code."""


def sst2(
    checkpoint: str = MINILM,
    architecture: str = MINILM,
    pooling: Pooling = "mean",
    dropout: bool = False,
    length: int = 32,
    longer: Longer = "cut",
    vocabulary: Rows = "used",
    samples: int | None = None,
    batch_size: int = 16,
    steps: int = 500,
    lr: float = 2e-5,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    barrier_samples: int = BARRIER_SAMPLES,
    barrier_points: int = BARRIER_POINTS,
    between: bool = True,
    seed: int = 0,
) -> Task:
    """Fine-tune a pretrained encoder to tell good from bad film reviews (SST-2).

    AdamW on all weights, learning rate rising linearly over the warm-up and falling linearly to 0,
    a fresh linear head. The base seed decides head, order of batches and dropout.

    Args:
        checkpoint: "minilm", "random" (the same architecture from scratch), a folder of Hugging
            Face's format or a file of weights beside its ``config.json``.
        architecture: what "random" builds: "minilm" or a folder.
        pooling: "mean", "first" or "last"; see `SentenceClassifier`.
        dropout: keep the model's dropout rates. Off by default, so that the head's and the order's
            noise is all there is; twins share their masks either way.
        length: tokens of a sentence, marks included.
        longer: "cut" longer sentences, or "leave out" such sentences of both splits.
        vocabulary: "used" keeps the embeddings of tokens that occur in the data; nothing that is
            computed changes by it (`keep_rows`). "all" keeps every one.
        samples: so many training sentences, drawn once for all seeds; None takes all.
        batch_size: sentences a step.
        steps: updates in all.
        lr: learning rate at its top.
        warmup: share of training in which it rises.
        weight_decay: AdamW's.
        barrier_samples: most sentences of each split that barriers are measured on.
        barrier_points: points of a line, an odd number.
        between: measure barriers between replicas too, not only to the reference.
        seed: base seed.

    Raises:
        RequestError: a value out of range, no such checkpoint, tensors that do not fit.
    """
    _one_of("longer", longer, ("cut", "leave out"))
    _one_of("vocabulary", vocabulary, ("used", "all"))
    in_range(warmup, length, steps)
    place = find_checkpoint(checkpoint, architecture)
    config = config_of(place)
    tokenizer = tokenizer_of(place.folder, int(config.vocab_size))
    found = reviews()
    train = found.train if samples is None else found.train.subset(samples)
    sets = [_sentences(c, tokenizer, length, longer) for c in (train, found.test)]
    kept = torch.arange(int(config.vocab_size))
    if vocabulary == "used":
        kept = torch.unique(torch.cat([inputs[:, 0].flatten() for inputs, _ in sets]))
        for inputs, _ in sets:
            inputs[:, 0] = torch.searchsorted(kept, inputs[:, 0].contiguous())
    return Task(
        model=partial(_classifier, place, int(config.hidden_size), pooling, dropout, kept),
        loss=cross_entropy,
        data=sets[0],
        optimizer=partial(torch.optim.AdamW, lr=lr, weight_decay=weight_decay),
        batch_size=batch_size,
        steps=steps,
        seed=seed,
        schedule=Triangle(steps, warmup),
        eval_data=sets[1],
        drop_last=True,
        eval_batch_size=64,
        barriers=BarrierSampling(barrier_samples, barrier_points, between),
        name=f"{found.source.label}, {len(sets[0][0]):,} of at most {length} tokens, {place.name}",
    )


def _classifier(
    place: Checkpoint, width: int, pooling: Pooling, dropout: bool, kept: Tensor
) -> nn.Module:
    body = build(place, dropout=dropout)
    if len(kept) < body.get_input_embeddings().num_embeddings:  # type: ignore[operator]
        keep_rows(body, kept)
    return SentenceClassifier(body, width, 2, pooling)


def _sentences(corpus: Corpus, tokenizer: Tokenizer, length: int, longer: Longer) -> Labelled:
    rows = tokenizer.whole(corpus.texts)
    kept = [i for i, row in enumerate(rows) if longer == "cut" or len(row) <= length]
    if not kept:
        raise RequestError(f"no sentence has at most {length} tokens: raise length")
    inputs = torch.stack(padded([rows[i] for i in kept], length, tokenizer.pad), dim=1)
    return inputs, torch.tensor([corpus.labels[i] for i in kept])


def config_of(place: Checkpoint) -> Any:
    """Return the configuration in a checkpoint's folder.

    Raises:
        RequestError: it cannot be read.
    """
    try:
        return transformers().AutoConfig.from_pretrained(
            place.folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(f"{place.folder / 'config.json'} cannot be read: {error}") from error


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise RequestError(f"{name} is {value!r}: {nearest(value, known)}")


def in_range(warmup: float, length: int, steps: int) -> None:
    """Refuse what is no recipe.

    Raises:
        RequestError: names the first value out of range.
    """
    if not 0 < warmup < 1:
        raise RequestError(f"warmup is {warmup!r}: use a share above 0 and below 1")
    if length < 2:
        raise RequestError(f"length is {length!r}: use at least 2 tokens")
    if steps < 1:
        raise RequestError(f"steps is {steps!r}: use at least 1 update")
