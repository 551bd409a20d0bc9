"""Trainings of Hugging Face's Trainer as people write them; none knows of wingbeat."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from wingbeat.determinism import seed_all


def rows(count: int = 30, lengths: bool = False) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    found = []
    for number in range(count):
        ids = torch.randint(5, 100, (4 + (number * 7) % 9 if lengths else 8,), generator=generator)
        label = (ids[0] > ids[1]).long()
        found.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": label})
    return found


def bert(kind: Any = BertForSequenceClassification) -> Any:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32}
    return kind(BertConfig(vocab_size=100, num_attention_heads=2, **sizes))


def padded(batch: list[Any]) -> dict[str, torch.Tensor]:
    def stacked(name: str) -> torch.Tensor:
        return nn.utils.rnn.pad_sequence([row[name] for row in batch], batch_first=True)

    labels = torch.stack([row["labels"] for row in batch])
    return {n: stacked(n) for n in ("input_ids", "attention_mask")} | {"labels": labels}


def masked(batch: list[Any]) -> dict[str, torch.Tensor]:
    """Mask tokens at random, from torch's, NumPy's and Python's generators."""
    ids = torch.stack([row["input_ids"] for row in batch])
    drawn = torch.tensor(np.random.rand(*ids.shape) < 0.1)  # noqa: NPY002
    chosen = drawn | (torch.rand(ids.shape) < 0.2)
    chosen[:, random.randrange(8)] = True
    return {"input_ids": ids.masked_fill(chosen, 4), "labels": ids.masked_fill(~chosen, -100)}


def named(batch: list[Any]) -> dict[str, torch.Tensor]:
    ids = torch.stack([row["input_ids"] for row in batch])
    return {"input_ids": ids, "targets": torch.stack([row["labels"] for row in batch])}


class Plain(nn.Module):
    """No model of transformers', with batch normalization, whose labels have a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(100, 16), nn.BatchNorm1d(16)
        self.head, self.drop = nn.Linear(16, 2), nn.Dropout(0.2)

    def forward(self, input_ids: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.head(self.norm(self.drop(self.embedding(input_ids).mean(1))))
        return {"loss": nn.functional.cross_entropy(logits, targets), "logits": logits}


class Augmented(Dataset[Any]):
    def __init__(self) -> None:
        self.rows = rows()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        ids = self.rows[number]["input_ids"].clone()
        ids[np.random.randint(8)] = 4  # noqa: NPY002
        return {**self.rows[number], "input_ids": ids}


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield from (row for row in rows() if torch.rand(()) < 0.9)


def summed(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> torch.Tensor:
    loss = nn.functional.cross_entropy(outputs.logits, labels, reduction="sum")
    return loss / (len(labels) if num_items_in_batch is None else num_items_in_batch)


class Weighted(Trainer):  # type: ignore[misc]
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        out = model(**inputs)
        loss = 2.0 * out.loss + 0.01 * out.logits.square().mean()
        return (loss, out) if return_outputs else loss


class Distilled(Trainer):  # type: ignore[misc]
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.teacher = bert().eval()

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        out = model(**inputs)
        with torch.no_grad():
            taught = self.teacher(**inputs).logits.softmax(-1)
        own = out.logits.log_softmax(-1)
        loss = out.loss + nn.functional.kl_div(own, taught, reduction="batchmean")
        return (loss, out) if return_outputs else loss


class OwnOptimizer(Trainer):  # type: ignore[misc]
    def create_optimizer(self, model: Any = None) -> Any:
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        return self.optimizer


class Clamp(TrainerCallback):  # type: ignore[misc]
    def on_step_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        for weight in known["model"].parameters():
            weight.data.clamp_(-0.05, 0.05)


class MovingAverage(TrainerCallback):  # type: ignore[misc]
    """Trains on, and puts the average in the place of the weights when training is over."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        self.average = {n: p.detach().clone() for n, p in known["model"].named_parameters()}

    def on_step_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        for name, weight in known["model"].named_parameters():
            self.average[name].lerp_(weight.detach(), 0.1)

    def on_train_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        for name, weight in known["model"].named_parameters():
            weight.data.copy_(self.average[name])


class Shrink(TrainerCallback):  # type: ignore[misc]
    def on_epoch_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        for weight in known["model"].parameters():
            weight.data.mul_(0.9)


class StopsEpoch(TrainerCallback):  # type: ignore[misc]
    """Ends each epoch early: training is over before the step that the Trainer counted on."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_epoch_stop = state.global_step % 7 == 0


@dataclass(frozen=True)
class Setup:
    """What a Trainer is made with."""

    options: dict[str, Any] = field(default_factory=dict)
    trainer: Any = Trainer
    model: Callable[[], Any] = bert
    data: Callable[[], Any] = rows
    callbacks: Callable[[], list[Any]] = list
    evaluated: bool = False
    given: dict[str, Any] = field(default_factory=dict)

    def make(self, folder: Any, *more: Any) -> Any:
        options = {
            "num_train_epochs": 3, "save_steps": 4, "per_device_train_batch_size": 4,
            "learning_rate": 1e-2, "report_to": [], "use_cpu": True, "disable_tqdm": True,
            "logging_steps": 4, **self.options,
        }  # fmt: skip
        if self.evaluated:
            options = {"eval_strategy": "steps", "eval_steps": 3, **options}
        return self.trainer(
            model=self.model(),
            args=TrainingArguments(output_dir=str(folder), **options),
            train_dataset=self.data(),
            eval_dataset=rows(7) if self.evaluated else None,
            callbacks=[*self.callbacks(), *more],
            **self.given,
        )


def by_epoch(patience: int) -> Setup:
    """Stop early where the loss rises from one epoch to the next, and load the best weights."""
    epochs = {"eval_strategy": "epoch", "save_strategy": "epoch", "learning_rate": 0.1}
    best = {"metric_for_best_model": "loss", "load_best_model_at_end": True, "num_train_epochs": 6}
    stop = lambda: [EarlyStoppingCallback(patience)]  # noqa: E731
    return Setup({**epochs, **best}, evaluated=True, callbacks=stop)


SETUPS = {
    "label smoothing": Setup({"label_smoothing_factor": 0.1}),
    "groups of equal length": Setup(
        {"train_sampling_strategy": "group_by_length"},
        data=lambda: rows(lengths=True),
        given={"data_collator": padded},
    ),
    "activation checkpointing": Setup({"gradient_checkpointing": True}),
    "NEFTune": Setup({"neftune_noise_alpha": 5.0}),
    "Adafactor": Setup({"optim": "adafactor"}),
    "accumulation with a rest": Setup({"gradient_accumulation_steps": 3, "save_steps": 2}),
    "warm-up and cosine": Setup({"warmup_steps": 0.2, "lr_scheduler_type": "cosine"}),
    "compute_loss_func": Setup(
        {"gradient_accumulation_steps": 2, "save_steps": 2}, given={"compute_loss_func": summed}
    ),
    "compute_loss": Setup(trainer=Weighted),
    "masked at random": Setup(model=lambda: bert(BertForMaskedLM), given={"data_collator": masked}),
    "callback that clamps": Setup(callbacks=lambda: [Clamp()]),
    "callback after an epoch": Setup(callbacks=lambda: [Shrink()]),
    "average by callback": Setup(callbacks=lambda: [MovingAverage()]),
    "stopping by steps": Setup(
        {
            "save_steps": 3,
            "metric_for_best_model": "loss",
            "load_best_model_at_end": True,
        },
        evaluated=True,
        callbacks=lambda: [EarlyStoppingCallback(1)],
    ),
    "stopping by epochs": by_epoch(1),
    "epochs that end early": Setup(callbacks=lambda: [StopsEpoch()]),
    "distillation": Setup(trainer=Distilled),
    "label_names": Setup(
        {"label_names": ["targets"], "remove_unused_columns": False},
        model=Plain,
        evaluated=True,
        given={"data_collator": named},
    ),
    "bf16": Setup({"bf16": True}),
    "fp16": Setup({"fp16": True}),
    "gradients not clipped": Setup({"max_grad_norm": 0}),
    "gradients clipped": Setup({"max_grad_norm": 0.01}),
    "evaluation between": Setup(evaluated=True),
    "optimizer of its own": Setup(trainer=OwnOptimizer),
    "plateau": Setup(
        {
            "lr_scheduler_type": "reduce_lr_on_plateau",
            "lr_scheduler_kwargs": {"patience": 0},
        },
        evaluated=True,
    ),
    "a stream": Setup({"max_steps": 12}, data=Stream),
    "augmented": Setup(data=Augmented),
    "augmented by workers": Setup({"dataloader_num_workers": 2}, data=Augmented),
}
REPLACED = ("average by callback", "stopping by steps", "stopping by epochs")
"""Whose weights are no longer those of the last update when ``train`` is over."""
DRAWS = ("masked at random", "a stream", "augmented")
"""Which the Trainer itself does not resume to the same bits: fetching a batch draws."""


class Watch(TrainerCallback):  # type: ignore[misc]
    """Keeps the weights after each update; puts ``put`` in when ``at`` updates are over."""

    def __init__(self, put: dict[str, torch.Tensor], at: int) -> None:
        self.put, self.at, self.step = put, at, 0
        self.weights: dict[str, torch.Tensor] = {}

    def look(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        weights = dict(known["model"].named_parameters())
        if state.global_step == self.at:
            for name, weight in self.put.items():
                weights[name].data.copy_(weight)
        self.step = state.global_step
        self.weights = {n: p.detach().clone() for n, p in weights.items()}

    on_train_begin = on_step_end = look

    def on_epoch_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        self.weights = {n: p.detach().clone() for n, p in known["model"].named_parameters()}


def by_hand(
    setup: Setup, folder: Path, put: dict[str, torch.Tensor], at: int, resume: Path | None
) -> Watch:
    """Train with the Trainer alone."""
    seed_all(0)
    watch = Watch(put, at)
    setup.make(folder, watch).train(resume_from_checkpoint=str(resume) if resume else None)
    return watch
