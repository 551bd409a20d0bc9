"""A Lightning script: a module, a data loader, a checkpoint callback."""

import argparse

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--ckpt", default=None)
parser.add_argument("--out", required=True)
parser.add_argument("--steps", type=int, default=30)
args = parser.parse_args()


class Classifier(lightning.LightningModule):
    """A small net with dropout."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2))

    def training_step(self, batch, _):
        """Return the loss of a batch."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        """Return optimizer and schedule."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2)]


lightning.seed_everything(0, verbose=False)
generator = torch.Generator().manual_seed(3)
x = torch.randn(128, 10, generator=generator)
loader = DataLoader(TensorDataset(x, (x[:, 0] * x[:, 1] > 0).long()), batch_size=16, shuffle=True)
saving = ModelCheckpoint(args.out, filename="{step}", every_n_train_steps=10, save_top_k=-1)
trainer = lightning.Trainer(
    max_steps=args.steps,
    callbacks=[saving],
    accelerator="cpu",
    devices=1,
    logger=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Classifier(), loader, ckpt_path=args.ckpt)
