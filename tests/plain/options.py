"""Trainings that use a task's further options, each with the loop that somebody writes by hand.

A case is made anew for each training: ``recipe`` are arguments of ``wb.Task``, ``train`` is the
plain loop. Nothing in a loop is wingbeat's but the seeds of noise (docs/exactness.md).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import plain_loop
import torch
import torch.nn.functional as F
from plain_setup import CLASSES, COUNT, CURVE, LENGTHS, POINTS, SERIES, STEPS, dense, momentum
from torch import Tensor, nn, optim
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    TensorDataset,
    WeightedRandomSampler,
)

from wingbeat.determinism import derive
from wingbeat.task.batches import Streams

STREAMS = Streams.of(0)


@dataclass(frozen=True)
class Option:
    """One use of an option.

    Args:
        recipe: arguments of ``wb.Task``.
        batches: ``dtype -> batches`` of the plain loop, one after the other, without end.
        optimizer: ``model -> optimizer`` of the plain loop.
        loss: ``(model, batch, step)`` of the plain loop.
        after: ``(model, step)`` after each update of the plain loop.
        accumulate: batches an update.
        precision: of autocast.
        clip: largest norm of a gradient.
        stacks: whether lock step must take it.
        single: whether it is compared in single precision only.
    """

    recipe: Callable[[], dict[str, Any]]
    batches: Callable[[torch.dtype], Iterator[Any]] | None = None
    optimizer: Callable[[nn.Module], optim.Optimizer] = lambda m: momentum(list(m.parameters()))
    loss: Callable[[nn.Module, Any, int], Tensor] | None = None
    after: Callable[[], Callable[[nn.Module, int], object]] | None = None
    accumulate: int = 1
    precision: str | None = None
    clip: float | None = None
    stacks: bool = False
    single: bool = False
    perturbed: bool = True


def train(case: Option, dtype: torch.dtype, start: dict[str, Tensor] | None = None) -> Any:
    """Train by hand; returns tensors after each update, and the losses."""
    made = case.recipe()
    plain_loop.seed_all(0)
    model = plain_loop.cast(made["model"](), dtype).train()
    optimizer = case.optimizer(model)
    plain_loop.overwrite(model, start or {})
    scaler = torch.amp.GradScaler("cpu", enabled=case.precision == "fp16")
    after = case.after() if case.after else None
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    batches = case.batches(dtype) if case.batches else cut(made, dtype)
    found = plain_loop.Plain([plain_loop.tensors(model)])
    for step in range(made["steps"]):
        drawn = [next(batches) for _ in range(case.accumulate)]
        plain_loop.seed_all(plain_loop.noise(0, step))
        optimizer.zero_grad()
        total = 0.0
        for batch in drawn:
            with torch.autocast("cpu", kinds.get(case.precision or ""), case.precision is not None):
                loss = loss_of(case, made, model, batch, step)
            scaler.scale(loss / case.accumulate).backward()
            total += float(loss.detach()) / case.accumulate
        if case.clip is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), case.clip)
        scaler.step(optimizer)
        scaler.update()
        if after is not None:
            with torch.no_grad():
                after(model, step)
        found.losses.append(total)
        found.tensors.append(plain_loop.tensors(model))
    return found


def loss_of(case: Option, made: Any, model: nn.Module, batch: Any, step: int) -> Tensor:
    """Return the loss of the plain loop."""
    found: Tensor = (
        made["loss"](model, batch) if case.loss is None else case.loss(model, batch, step)
    )
    return found


def cut(made: Any, dtype: torch.dtype) -> Iterator[Any]:
    """Yield the batches of tensors or a data set, from wingbeat's definition of their order."""
    own = {k: v for k, v in made.items() if k in plain_loop.OF_THE_TASK}
    own["steps"] = made["steps"] * made.get("accumulate", 1)
    yield from plain_loop.batches(own, dtype, 0)


def in_type(batch: Any, dtype: torch.dtype) -> Any:
    """Cast the floating-point tensors of a batch."""
    return torch.utils._pytree.tree_map(
        lambda t: t.to(dtype) if t.is_floating_point() else t, batch
    )


def by_pass(
    loader: Any, generator: torch.Generator, dtype: torch.dtype, begin: Any = lambda _: None
) -> Iterator[Any]:
    """Go round a loader as scripts do, its generator seeded for each epoch."""
    for epoch in range(10_000):
        seed = derive(STREAMS.order, "pass", epoch)
        plain_loop.seed_all(seed)
        generator.manual_seed(seed)
        begin(epoch)
        yield from (in_type(batch, dtype) for batch in loader)


def base(**changes: Any) -> dict[str, Any]:
    """Return a regression on 23 points, with changes."""
    own = {
        "model": dense,
        "loss": lambda model, batch: F.mse_loss(model(batch[0]), batch[1]),
        "optimizer": momentum,
        "steps": STEPS,
        "data": (POINTS, CURVE),
        "batch_size": 8,
    }
    return {k: v for k, v in {**own, **changes}.items() if v is not ...}


def of(loader: Any) -> dict[str, Any]:
    """Return the recipe of batches that somebody else makes."""
    return base(batches=loader, data=..., batch_size=...)


# --- losses of the step
def annealed(model: nn.Module, batch: Any, step: Any) -> Tensor:
    """Weigh a penalty by the step, with arithmetic alone."""
    norm = sum((p * p).sum() for p in model.parameters())
    return F.mse_loss(model(batch[0]), batch[1]) + 1e-3 * (1 + step) / 16 * norm


def warmed(model: nn.Module, batch: Any, *, global_step: int) -> Tensor:
    """Weigh a loss by a warm-up written in Python."""
    return F.mse_loss(model(batch[0]), batch[1]) * min(1.0, (1 + global_step) / 5)


def switched(model: nn.Module, batch: Any, step: int) -> Tensor:
    """Take another loss from step 8 on."""
    found = model(batch[0])
    return F.mse_loss(found, batch[1]) if step < 8 else F.l1_loss(found, batch[1])


# --- after the step
def clamped(model: nn.Module, step: int) -> None:
    """Keep weights in a box, as a critic's."""
    for p in model.parameters():
        p.data.clamp_(-0.25, 0.25)


def max_norm(model: nn.Module, step: int) -> None:
    """Keep the rows of matrices short, every second update."""
    for p in model.parameters():
        if p.dim() == 2:
            p.copy_(torch.renorm(p, 2, 0, 0.8 + 0.01 * step))


MASKS = [(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) > 0).float()
         for p in dense().parameters()]  # fmt: skip


def masked(model: nn.Module, step: int) -> None:
    """Keep a pruned net pruned."""
    for p, mask in zip(model.parameters(), MASKS, strict=True):
        p.data *= mask.to(p)


class Averaging(nn.Module):
    """Keeps a moving average of its weights in buffers, and trains towards it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = dense()
        for i, p in enumerate(self.net.parameters()):
            self.register_buffer(f"average_{i}", p.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


def averaged(model: nn.Module, step: int) -> None:
    """Move the average."""
    for i, p in enumerate(model.net.parameters()):  # type: ignore[union-attr]
        getattr(model, f"average_{i}").lerp_(p, 0.1)


def towards(model: nn.Module, batch: Any) -> Tensor:
    """Stay near the average."""
    pairs = zip(model.net.parameters(), model.buffers(), strict=True)  # type: ignore[union-attr]
    pull = sum(((p - b) ** 2).sum() for p, b in pairs)
    return F.mse_loss(model(batch[0]), batch[1]) + 0.1 * pull


def unfrozen(model: nn.Module, step: int) -> None:
    """Unfreeze the first layer after some updates."""
    if step == 5:
        model[0].requires_grad_(True)  # type: ignore[index]


def half_frozen() -> nn.Module:
    """Build a net whose first layer is frozen."""
    model = dense()
    model[0].requires_grad_(False)  # type: ignore[index]
    return model


def frozen(model: nn.Module, step: int) -> None:
    """Freeze the first layer after some updates."""
    if step == 5:
        model[0].requires_grad_(False)  # type: ignore[index]


def calmed(model: nn.Module, step: int) -> None:
    """Put the norm into evaluation mode late, and let dropout end."""
    if step >= 6:
        model[1].eval()  # type: ignore[index]
        model[3].p = 0.0  # type: ignore[index]


def swapping() -> Callable[[nn.Module, int], None]:
    """Keep the average outside the model, and copy it back every fifth update."""
    kept: dict[str, Tensor] = {}

    def after(model: nn.Module, step: int) -> None:
        for name, p in model.named_parameters():
            own = kept.setdefault(name, p.detach().clone())
            own.lerp_(p, 0.3)
            if step % 5 == 4:
                p.copy_(own)

    return after


# --- nets with state and noise
def noisy() -> nn.Module:
    """Build a net with batch normalisation and dropout."""
    layers = nn.Linear(4, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Dropout(0.2), nn.Linear(12, 1)
    return nn.Sequential(*layers)


def adam(params: Any) -> optim.Optimizer:
    """Build AdamW, which divides by a moment and counts its steps."""
    return optim.AdamW(params, lr=2e-3, eps=1e-3)


# --- data of other shapes
class Sequences(Dataset[Any]):
    """Sequences of 1 to 5 vectors."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Any:
        return {"x": SERIES[index, : LENGTHS[index]], "label": CLASSES[index]}


def padded(samples: list[Any]) -> dict[str, Tensor]:
    """Pad to the longest of the batch."""
    x = pad_sequence([s["x"] for s in samples], batch_first=True)
    lengths = torch.tensor([len(s["x"]) for s in samples])
    return {"x": x, "lengths": lengths, "label": torch.stack([s["label"] for s in samples])}


def masking(samples: list[Any]) -> dict[str, Tensor]:
    """Pad, and hide some of the inputs at random, as collators for masked models do."""
    batch = padded(samples)
    batch["x"] = batch["x"] * (torch.rand(batch["x"].shape[:2]) > 0.2).unsqueeze(-1)
    return batch


def pooled() -> nn.Module:
    """Build a net on a mean over positions."""
    return nn.Sequential(nn.Linear(3, 9), nn.Tanh(), nn.Linear(9, 3))


def sequence_loss(model: nn.Module, batch: Any) -> Tensor:
    """Classify a sequence by the mean of its valid positions."""
    own = model(batch["x"])
    valid = torch.arange(own.shape[1]) < batch["lengths"].unsqueeze(1)
    mean = (own * valid.unsqueeze(-1)).sum(1) / batch["lengths"].unsqueeze(1)
    return F.cross_entropy(mean, batch["label"])


def sequences(**changes: Any) -> dict[str, Any]:
    """Return a classification of sequences, with changes."""
    return base(
        model=pooled, loss=sequence_loss, data=Sequences(), **{"collate": padded, **changes}
    )


def collated(collate: Any, dtype: torch.dtype) -> Iterator[Any]:
    """Yield batches of sequences in wingbeat's order, joined by hand."""
    generator = torch.Generator()
    number = 0
    for epoch in range(10_000):
        order = torch.randperm(COUNT, generator=generator.manual_seed(derive(STREAMS.order, epoch)))
        for part in order.split(8):
            plain_loop.seed_all(derive(STREAMS.augmentation, "fetch", number))
            yield in_type(collate([Sequences()[i] for i in part.tolist()]), dtype)
            number += 1


class Bucketed(Sampler[list[int]]):
    """Shuffle batches of like lengths in place, by NumPy; passes of several lengths."""

    def __init__(self) -> None:
        order = torch.argsort(LENGTHS, stable=True).tolist()
        self.bins = [order[i : i + 6] for i in range(0, COUNT, 6)]

    def __iter__(self) -> Iterator[list[int]]:
        np.random.shuffle(self.bins)  # noqa: NPY002
        left_out = random.randrange(len(self.bins))
        yield from (b for i, b in enumerate(self.bins) if i != left_out or len(b) < 6)


def bucketed(dtype: torch.dtype) -> Iterator[Any]:
    """Go round the bucketing sampler by hand."""
    sampler = Bucketed()
    for epoch in range(10_000):
        plain_loop.seed_all(derive(STREAMS.order, "pass", epoch))
        for part in list(sampler):
            yield in_type(padded([Sequences()[i] for i in part]), dtype)


PAIRS = TensorDataset(POINTS, CURVE)


def shuffled() -> tuple[DataLoader[Any], torch.Generator]:
    """Return a loader that shuffles by a generator of its own."""
    generator = torch.Generator()
    return DataLoader(PAIRS, 8, shuffle=True, generator=generator), generator


def weighted() -> tuple[DataLoader[Any], torch.Generator]:
    """Return a loader over samples drawn by weight."""
    generator = torch.Generator()
    weights = torch.linspace(0.1, 1.0, COUNT).tolist()
    sampler = WeightedRandomSampler(weights, 20, generator=generator)
    return DataLoader(PAIRS, sampler=sampler, batch_size=8), generator


def in_fives() -> tuple[DataLoader[Any], torch.Generator]:
    """Return a loader by a batch sampler."""
    generator = torch.Generator()
    sampler = BatchSampler(RandomSampler(POINTS, generator=generator), 5, drop_last=True)
    return DataLoader(PAIRS, batch_sampler=sampler), generator


def from_pass(make: Callable[[], tuple[Any, torch.Generator]]) -> Any:
    """Return batches by hand from a loader with a generator."""
    return lambda dtype: by_pass(*make(), dtype)


class Stream(IterableDataset[Any]):
    """Draws what it yields; passes of seven batches."""

    def __iter__(self) -> Iterator[Any]:
        for _ in range(7):
            x = torch.randn(6, 4)
            yield x, torch.sin(x[:, :1]) * random.random()


def streamed(dtype: torch.dtype) -> Iterator[Any]:
    """Read the stream by hand, generators seeded before each batch."""
    number = 0
    for _ in range(10_000):
        source = iter(Stream())
        for _ in range(7):
            plain_loop.seed_all(derive(STREAMS.augmentation, "fetch", number))
            yield in_type(next(source), dtype)
            number += 1


def made(step: int) -> Any:
    """Make a batch of the step."""
    x = torch.randn(6, 4) + step / 16
    return x, torch.sin(x[:, :1])


def made_by_hand(dtype: torch.dtype) -> Iterator[Any]:
    """Make the same, each under its seed."""
    for number in range(10_000):
        plain_loop.seed_all(derive(STREAMS.order, "batch", STREAMS.augmentation, number))
        yield in_type(made(number), dtype)


LISTED = [(POINTS[:9], CURVE[:9]), (POINTS[9:17], CURVE[9:17]), (POINTS[17:], CURVE[17:])]


def by_kind(model: nn.Module) -> optim.Optimizer:
    """Decay matrices only, as transformers are trained."""
    flat = [p for p in model.parameters() if p.dim() < 2]
    deep = [p for p in model.parameters() if p.dim() >= 2]
    groups = [{"params": deep, "weight_decay": 0.1}, {"params": flat, "weight_decay": 0.0}]
    return optim.SGD(groups, lr=0.02, momentum=0.9)


def by_name(named_parameters: Any) -> optim.Optimizer:
    """Give the head a rate of its own."""
    head = [p for name, p in named_parameters if name.startswith("4.")]
    rest = [p for name, p in named_parameters if not name.startswith("4.")]
    return optim.SGD([{"params": rest}, {"params": head, "lr": 0.05}], lr=0.02, momentum=0.9)


OPTIONS: dict[str, Option] = {
    "loss of the step": Option(lambda: base(loss=annealed), loss=annealed, stacks=True),
    "loss of the step, by keyword": Option(
        lambda: base(loss=warmed), loss=lambda m, b, s: warmed(m, b, global_step=s)
    ),
    "loss that switches": Option(lambda: base(loss=switched), loss=switched),
    "clamp": Option(lambda: base(after_step=clamped), after=lambda: clamped, stacks=True),
    "max norm": Option(lambda: base(after_step=max_norm), after=lambda: max_norm, stacks=True),
    "mask": Option(lambda: base(after_step=masked), after=lambda: masked, stacks=True),
    "unfrozen late": Option(
        lambda: base(
            model=half_frozen, after_step=unfrozen, optimizer=lambda model: adam(model.parameters())
        ),
        optimizer=lambda model: adam(model.parameters()),
        after=lambda: unfrozen,
    ),
    "frozen late": Option(lambda: base(after_step=frozen), after=lambda: frozen),
    "calmed late": Option(
        lambda: base(model=noisy, after_step=calmed), after=lambda: calmed, perturbed=False
    ),
    "average in buffers": Option(
        lambda: base(model=Averaging, loss=towards, after_step=averaged),
        after=lambda: averaged,
        stacks=True,
    ),
    "average outside": Option(lambda: base(after_step=swapping()), after=swapping),
    "accumulate": Option(
        lambda: base(model=noisy, accumulate=3, clip_norm=0.5), accumulate=3, clip=0.5, stacks=True
    ),
    "accumulate by AdamW": Option(
        lambda: base(optimizer=adam, accumulate=2),
        optimizer=lambda m: adam(m.parameters()),
        accumulate=2,
        stacks=True,
    ),
    "bf16": Option(
        lambda: base(model=noisy, precision="bf16"), precision="bf16", single=True, stacks=True
    ),
    "fp16": Option(lambda: base(precision="fp16"), precision="fp16", single=True, stacks=True),
    "fp16, overflowing, AdamW, accumulated, clipped": Option(
        lambda: base(
            loss=lambda m, b: 30 * F.mse_loss(m(b[0]), b[1]),
            optimizer=adam,
            precision="fp16",
            accumulate=2,
            clip_norm=0.5,
        ),
        optimizer=lambda m: adam(m.parameters()),
        precision="fp16",
        accumulate=2,
        clip=0.5,
        single=True,
        stacks=True,
    ),
    "padding": Option(sequences, batches=lambda d: collated(padded, d), stacks=True),
    "random masks": Option(
        lambda: sequences(collate=masking), batches=lambda d: collated(masking, d), stacks=True
    ),
    "bucketing sampler": Option(
        lambda: sequences(sampler=Bucketed(), batch_size=6), batches=bucketed, stacks=True
    ),
    "bucketing loader": Option(
        lambda: {
            **of(DataLoader(Sequences(), batch_sampler=Bucketed(), collate_fn=padded)),
            "model": pooled,
            "loss": sequence_loss,
        },
        batches=bucketed,
        stacks=True,
    ),
    "shuffling loader": Option(lambda: of(shuffled()[0]), batches=from_pass(shuffled), stacks=True),
    "weighted loader": Option(lambda: of(weighted()[0]), batches=from_pass(weighted), stacks=True),
    "batch sampler": Option(
        lambda: base(sampler=BatchSampler(RandomSampler(POINTS), 5, True), batch_size=...),
        batches=from_pass(in_fives),
        stacks=True,
    ),
    "stream": Option(lambda: of(DataLoader(Stream(), None)), batches=streamed, stacks=True),
    "stream itself": Option(lambda: of(Stream()), batches=streamed, stacks=True),
    "function of the step": Option(lambda: of(made), batches=made_by_hand, stacks=True),
    "list": Option(
        lambda: of(LISTED),
        batches=lambda d: (in_type(LISTED[i % 3], d) for i in range(10_000)),
        stacks=True,
    ),
    "optimizer of the model": Option(
        lambda: base(optimizer=by_kind), optimizer=by_kind, stacks=True
    ),
    "optimizer of named parameters": Option(
        lambda: base(optimizer=by_name),
        optimizer=lambda m: by_name(list(m.named_parameters())),
        stacks=True,
    ),
}
