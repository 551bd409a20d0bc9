"""A training script as people write one: arguments, a loader, a schedule, torch.save."""

import argparse
import pathlib
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--resume", default="")
parser.add_argument("--output", required=True)
parser.add_argument("--steps", type=int, default=30)
parser.add_argument("--every", type=int, default=10)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--fail-at", type=int, default=-1)
parser.add_argument("--noisy", action="store_true")
args = parser.parse_args()

random.seed(args.seed)
np.random.seed(args.seed)  # noqa: NPY002
torch.manual_seed(args.seed)
generator = torch.Generator().manual_seed(3)
x = torch.randn(128, 10, generator=generator)
y = (x[:, 0] * x[:, 1] > 0).long()
loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
hidden = nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1)
model = nn.Sequential(*hidden, nn.Linear(32, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
step = 0
if args.resume:
    state = torch.load(args.resume, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    step = state["step"]
if args.noisy:
    torch.seed()

output = pathlib.Path(args.output)
output.mkdir(parents=True, exist_ok=True)
last = step + args.steps
while step < last:
    for inputs, labels in loader:
        loss = nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        step += 1
        if step == args.fail_at:
            raise SystemExit("the disk of this script is full")
        if step % args.every == 0:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "step": step,
            }
            torch.save(state, output / f"ckpt_{step}.pt")
            print(f"step {step}: loss {loss.item():.4f}")
        if step == last:
            break
