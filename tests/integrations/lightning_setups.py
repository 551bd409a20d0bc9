"""Trainings of Lightning's as people write them; none knows of wingbeat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import callbacks as given
from lightning.pytorch.utilities import CombinedLoader
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from wingbeat.determinism import seed_all

AT = 4


def rows(count: int = 40) -> TensorDataset:
    x = torch.randn(count, 4, generator=torch.Generator().manual_seed(3))
    return TensorDataset(x, x.sum(1, keepdim=True))


def loader(count: int = 40) -> DataLoader[Any]:
    return DataLoader(rows(count), batch_size=8, shuffle=True)


class Plain(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        layers = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1)
        self.net = nn.Sequential(*layers)

    def loss(self, batch: Any) -> torch.Tensor:
        return (self.net(batch[0]) - batch[1]).square().mean()

    def training_step(self, batch: Any, number: int) -> Any:
        return self.loss(batch)

    def validation_step(self, batch: Any, number: int) -> None:
        self.log("val", self.loss(batch))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.02)

    def clamp(self) -> None:
        with torch.no_grad():
            for weight in self.parameters():
                weight.clamp_(-0.3, 0.3)


class Plateau(Plain):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.2)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.3)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": plateau, "monitor": "val"},
        }


class OneCycle(Plain):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.02)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=40)
        return [optimizer], [{"scheduler": cycle, "interval": "step"}]


class Lbfgs(Plain):
    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=0.5, max_iter=4)


class Gan(Plain):
    """Two models, two optimizers, toggled by hand."""

    def __init__(self) -> None:
        lightning.LightningModule.__init__(self)
        self.automatic_optimization = False
        self.g = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))
        self.d = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))

    def training_step(self, batch: Any, number: int) -> None:
        softplus, noise = nn.functional.softplus, torch.randn(len(batch[0]), 3)
        for optimizer, part in zip(self.optimizers(), "gd", strict=True):
            self.toggle_optimizer(optimizer)
            fake = self.g(noise)
            loss = softplus(-self.d(fake))
            if part == "d":
                loss = softplus(-self.d(batch[0])) + softplus(self.d(fake.detach()))
            optimizer.zero_grad()
            self.manual_backward(loss.mean())
            optimizer.step()
            self.untoggle_optimizer(optimizer)

    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(part.parameters(), lr=0.01) for part in (self.g, self.d)]


class ByHand(Plain):
    """Manual optimization that accumulates over two batches, clips and schedules."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, number: int) -> None:
        optimizer = self.optimizers()
        self.manual_backward(self.loss(batch) / 2)
        if number % 2 == 1:
            self.clip_gradients(optimizer, 0.5, "norm")
            optimizer.step()
            optimizer.zero_grad()
            self.lr_schedulers().step()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.02)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)]


class OwnClipping(Plain):
    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        if self.current_epoch >= 1:
            self.clip_gradients(optimizer, 0.1, "norm")


class Stateful(Plain):
    """A hook before each batch that changes the net and the batch."""

    def on_train_batch_start(self, batch: Any, number: int) -> None:
        self.net[3].p = 0.1 + 0.05 * (number % 3)
        batch[0].add_(0.01 * torch.randn_like(batch[0]))


class ClampedAfterBatch(Plain):
    """As the critic of a Wasserstein GAN: the module's own hook is part of the update."""

    def on_train_batch_end(self, *_: Any) -> None:
        self.clamp()


class ClampedAtStart(Plain):
    def on_train_start(self) -> None:
        self.clamp()


class ShrunkEachEpoch(Plain):
    def on_train_epoch_end(self) -> None:
        with torch.no_grad():
            self.net[4].weight.mul_(0.9)


class Clamp(given.Callback):
    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        module.clamp()


class BringsCallbacks(Plain):
    """A module that asks for callbacks: one that changes weights, one that saves them."""

    def configure_callbacks(self) -> Any:
        saving = given.ModelCheckpoint(
            self.trainer.default_root_dir,
            filename="own-{step}",
            every_n_train_steps=4,
            save_top_k=-1,
        )
        return [Clamp(), saving]


class Pairs(Plain):
    def training_step(self, batch: Any, number: int) -> Any:
        batch = batch[0] if isinstance(batch, tuple) else batch
        return sum(self.loss(one) for one in batch.values() if one is not None)


class OwnIterator(Plain):
    def training_step(self, dataloader_iter: Any) -> Any:
        batch, _, _ = next(dataloader_iter)
        return self.loss(batch)


class Data(lightning.LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(7)

    def train_dataloader(self) -> Any:
        return DataLoader(rows(), batch_size=8, shuffle=True, generator=self.generator)


def validated() -> dict[str, Any]:
    return {"train_dataloaders": loader(), "val_dataloaders": DataLoader(rows(12), batch_size=6)}


def pairs(mode: str) -> dict[str, Any]:
    return {"train_dataloaders": CombinedLoader({"a": loader(), "b": loader(24)}, mode)}


@dataclass(frozen=True)
class Setup:
    """A module, what it is fitted with, and what its Trainer is asked for."""

    module: type[Plain] = Plain
    fit: Callable[[], dict[str, Any]] = lambda: {"train_dataloaders": loader()}
    callbacks: Callable[[], list[Any]] = list
    options: dict[str, Any] = field(default_factory=dict)

    def trainer(self, folder: Any, *more: Any, callbacks_first: tuple[Any, ...] = ()) -> Any:
        options = {"max_epochs": 3, "logger": False, "enable_progress_bar": False, **self.options}
        own = [*callbacks_first, *self.callbacks(), *more]
        if options.get("barebones"):
            options = {"max_epochs": 3, "barebones": True}
        else:
            saving = given.ModelCheckpoint(
                folder, filename="{step}", every_n_train_steps=4, save_top_k=-1
            )
            own.append(saving)
            options["enable_model_summary"] = False
        return lightning.Trainer(
            **options, callbacks=own, accelerator="cpu", devices=1, default_root_dir=folder
        )


SETUPS = {
    "plateau": Setup(Plateau, validated),
    "one cycle by step": Setup(OneCycle),
    "gan, two optimizers": Setup(Gan),
    "L-BFGS": Setup(Lbfgs),
    "bf16-mixed": Setup(options={"precision": "bf16-mixed"}),
    "bf16-true": Setup(options={"precision": "bf16-true"}),
    "gradients clipped by value": Setup(
        options={"gradient_clip_val": 0.05, "gradient_clip_algorithm": "value"}
    ),
    "accumulation": Setup(options={"accumulate_grad_batches": 2}),
    "accumulation by schedule": Setup(
        callbacks=lambda: [given.GradientAccumulationScheduler({0: 1, 1: 2})]
    ),
    "manual, accumulating": Setup(ByHand),
    "own clipping": Setup(OwnClipping),
    "moving average": Setup(fit=validated, callbacks=lambda: [given.EMAWeightAveraging(decay=0.9)]),
    "stochastic weight averaging": Setup(
        callbacks=lambda: [
            given.StochasticWeightAveraging(0.05, swa_epoch_start=1, annealing_epochs=1)
        ]
    ),
    "hook before a batch": Setup(Stateful),
    "hook after a batch": Setup(ClampedAfterBatch),
    "hook at the start": Setup(ClampedAtStart),
    "hook after an epoch": Setup(ShrunkEachEpoch),
    "callbacks of the module": Setup(BringsCallbacks),
    "data module with a generator": Setup(fit=lambda: {"datamodule": Data()}),
    "overfit_batches": Setup(options={"overfit_batches": 2}),
    "limits and validation within": Setup(
        fit=validated, options={"limit_train_batches": 0.8, "val_check_interval": 2}
    ),
    "two loaders, the shorter again": Setup(Pairs, lambda: pairs("max_size_cycle")),
    "two loaders, to the longer's end": Setup(Pairs, lambda: pairs("max_size")),
    "iterator of the loader": Setup(OwnIterator),
    "early stopping": Setup(
        fit=validated,
        callbacks=lambda: [given.EarlyStopping("val", patience=0, min_delta=0.5)],
    ),
    "barebones": Setup(options={"barebones": True}),
}
REPLACED = ("moving average",)
"""Whose weights are no longer those of the last update when ``fit`` is over."""


class Ends(lightning.Callback):
    """Keeps the weights when the last epoch is over, before an average takes their place."""

    weights: dict[str, torch.Tensor]
    step = 0

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.weights = {n: p.detach().clone() for n, p in pl_module.named_parameters()}
        self.step = trainer.global_step


def by_hand(setup: Setup, folder: Path, put: dict[str, torch.Tensor], resume: Path | None) -> Ends:
    """Fit with Lightning alone; ``put`` are weights that are put in when AT updates are over."""

    class Watched(setup.module):  # type: ignore[misc,name-defined]
        seen = -1

        def on_train_start(self) -> None:
            super().on_train_start()
            self.look()

        def on_train_batch_end(self, *given: Any) -> None:
            super().on_train_batch_end(*given)
            self.look()

        def look(self) -> None:
            if self.trainer.global_step == AT != self.seen:
                for name, weight in self.named_parameters():
                    if name in put:
                        weight.data.copy_(put[name])
            self.seen = self.trainer.global_step

    seed_all(0)
    ends = Ends()
    trainer = setup.trainer(folder, callbacks_first=(ends,))
    trainer.fit(Watched(), **setup.fit(), ckpt_path=resume)
    return ends
