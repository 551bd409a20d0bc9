"""A causal language model that learns to work out word problems (GSM8K), as a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wingbeat.errors import RequestError
from wingbeat.landscape.data import select_samples
from wingbeat.task.barrier_sampling import BarrierSampling
from wingbeat.task.task import Task
from wingbeat.tasks.data.gsm8k import MARK, Problem, problems, without_calculations
from wingbeat.tasks.data.tokens import ByteTokenizer, Tokenizer, padded, tokenizer_of
from wingbeat.tasks.models.language import LanguageModel, answer_loss, final_scores, final_token
from wingbeat.tasks.models.pretrained import (
    RANDOM,
    Checkpoint,
    build,
    find_checkpoint,
    transformers,
)
from wingbeat.tasks.recipe import Triangle
from wingbeat.tasks.sst2 import BARRIER_POINTS, BARRIER_SAMPLES, config_of, in_range


def gsm8k(
    checkpoint: str = RANDOM,
    width: int = 64,
    layers: int = 2,
    heads: int = 2,
    dropout: bool = False,
    length: int = 768,
    calculations: bool = True,
    samples: int | None = None,
    test_samples: int | None = 256,
    batch_size: int = 8,
    steps: int = 500,
    lr: float | None = None,
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    barrier_samples: int = BARRIER_SAMPLES,
    barrier_points: int = BARRIER_POINTS,
    between: bool = True,
    seed: int = 0,
) -> Task:
    """Fine-tune a causal language model to work out word problems (GSM8K).

    The loss is the cross entropy of the answer's tokens; the question is read, not learned.
    Accuracy and disagreement are about the first token of the final answer with everything before
    it given: nothing is generated. Problems that do not fit into ``length`` are left out.

    Args:
        checkpoint: "random" (a small GPT-2 from scratch that reads bytes), or a local folder of
            any causal model that transformers knows.
        width: of the random model's tokens.
        layers: of the random model.
        heads: of the random model.
        dropout: keep the model's dropout rates; off by default.
        length: tokens of question and answer together.
        calculations: keep the calculator's marks ``<<2*3=6>>``.
        samples: the first so many training problems that fit; None takes all.
        test_samples: most test problems, evenly spaced; None takes all.
        batch_size: problems a step.
        steps: updates in all.
        lr: learning rate at its top; None takes 2e-5, and 1e-3 for "random".
        warmup: share of training in which it rises.
        weight_decay: AdamW's.
        barrier_samples: most problems of each split that barriers are measured on.
        barrier_points: points of a line, an odd number.
        between: measure barriers between replicas too, not only to the reference.
        seed: base seed.

    Raises:
        RequestError: a value out of range, no such checkpoint, no problem that fits.

    Source:
        Cobbe et al., "Training Verifiers to Solve Math Word Problems" (2021).
    """
    in_range(warmup, length, steps)
    place = None if checkpoint == RANDOM else find_checkpoint(checkpoint)
    tokenizer: Tokenizer = ByteTokenizer()
    if place is not None:
        config = config_of(place)
        _room(config, length)
        tokenizer = tokenizer_of(place.folder, int(config.vocab_size))
    found = problems()
    train = _answers(found.train, tokenizer, length, calculations, samples)
    test = _answers(found.test, tokenizer, length, calculations, None)
    built: Callable[[], nn.Module] = partial(_small_gpt, width, layers, heads, length, dropout)
    if place is not None:
        built = partial(_language_model, place, dropout)
    rate = lr if lr is not None else (1e-3 if place is None else 2e-5)
    name = "GPT-2 from scratch" if place is None else place.name
    return Task(
        model=built,
        loss=answer_loss,
        data=train,
        optimizer=partial(torch.optim.AdamW, lr=rate, weight_decay=weight_decay),
        batch_size=batch_size,
        steps=steps,
        seed=seed,
        schedule=Triangle(steps, warmup),
        eval_data=select_samples(test, test_samples),
        drop_last=True,
        predict=final_scores,
        targets=final_token,
        eval_batch_size=16,
        barriers=BarrierSampling(barrier_samples, barrier_points, between),
        name=f"{found.source.label}, {len(train[0]):,} of at most {length} tokens, {name}",
    )


def _language_model(place: Checkpoint, dropout: bool) -> nn.Module:
    return LanguageModel(build(place, "causal", dropout=dropout))


def _small_gpt(width: int, layers: int, heads: int, length: int, dropout: bool) -> nn.Module:
    hub, rate = transformers(), 0.1 if dropout else 0.0
    config = hub.GPT2Config(
        vocab_size=ByteTokenizer().size,
        n_positions=length,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        resid_pdrop=rate,
        embd_pdrop=rate,
        attn_pdrop=rate,
        bos_token_id=ByteTokenizer().end,
        eos_token_id=ByteTokenizer().end,
    )
    try:
        body = hub.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    except ValueError as error:
        raise RequestError(f"width {width} and heads {heads} do not fit: {error}") from error
    return LanguageModel(body)


def _answers(
    found: Sequence[Problem],
    tokenizer: Tokenizer,
    length: int,
    calculations: bool,
    samples: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids with mask (n, 2, length), answered (n, length), place of the final answer (n,)."""
    rows, starts, finals = [], [], []
    for prompt, way, final in _pieces(found, tokenizer, calculations):
        row = [*prompt, *way, *final, tokenizer.end]
        if len(row) <= length:
            rows.append(row)
            starts.append(len(prompt))
            finals.append(len(prompt) + len(way))
    if not rows or (samples is not None and not 1 <= samples <= len(rows)):
        raise RequestError(
            f"samples is {samples!r}: {len(rows):,} problems have at most {length} tokens; ask "
            "for 1 to as many, or raise length"
        )
    ids, mask = padded(rows[:samples], length, tokenizer.pad)
    place = torch.arange(length)
    answered = mask * (place >= torch.tensor(starts[:samples])[:, None])
    return torch.stack([ids, mask], dim=1), answered, torch.tensor(finals[:samples])


def _pieces(
    found: Sequence[Problem], tokenizer: Tokenizer, calculations: bool
) -> Iterator[tuple[list[int], list[int], list[int]]]:
    """Return the tokens of prompt, way to the answer and final answer, for each problem.

    They are cut apart before they become tokens, so that their places are exact.
    """
    ways = [p.reasoning if calculations else without_calculations(p.reasoning) for p in found]
    prompts = tokenizer.part([f"Question: {p.question}\nAnswer:" for p in found])
    before = tokenizer.part([f" {way}\n{MARK} " for way in ways])
    finals = tokenizer.part([p.final for p in found])
    return zip(prompts, before, finals, strict=True)


def _room(config: Any, length: int) -> None:
    most = getattr(config, "max_position_embeddings", None)
    if most is not None and length > most:
        raise RequestError(f"length is {length}: the model has {most} positions; use at most these")
