"""What `wb.Twins` adds to a loop: processor time beside the bare loop, in pairs.

``python -m benchmarks.twins``: rounds of the bare loop and of the same loop for three copies, in
turn, for a small dense net and a convolutional one; in memory, and with a folder, where
every snapshot is flushed to the disk. Prints microseconds a step, and the median ratio of pairs.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import wingbeat as wb

ROUNDS, STEPS = 9, 300
Build = Callable[[int], dict[str, Any]]


def dense() -> tuple[Build, Any]:
    x = torch.randn(2048, 64)
    loader = DataLoader(TensorDataset(x, x[:, :1].long() % 2), batch_size=64, shuffle=True)
    return _built(lambda: nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))), loader


def convolutional() -> tuple[Build, Any]:
    x = torch.randn(512, 3, 32, 32)
    loader = DataLoader(TensorDataset(x, torch.zeros(512, 1).long()), batch_size=32, shuffle=True)
    layers = lambda: nn.Sequential(  # noqa: E731
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    return _built(layers), loader


def _built(make: Callable[[], nn.Module]) -> Build:
    def build(_: int) -> dict[str, Any]:
        model = make()
        return {"model": model, "optimizer": torch.optim.AdamW(model.parameters())}

    return build


def train(parts: dict[str, Any], batches: Iterable[Any], step: Callable[[Any], bool]) -> None:
    for x, y in batches:
        loss = nn.functional.cross_entropy(parts["model"](x), y[:, 0].abs())
        parts["optimizer"].zero_grad()
        loss.backward()
        parts["optimizer"].step()
        if step(loss):
            return


def bare(build: Build, loader: Any) -> float:
    torch.manual_seed(0)
    parts, made, begun = build(0), 0, time.process_time()

    def step(_: Any) -> bool:
        nonlocal made
        made += 1
        return made == STEPS

    while made < STEPS:
        train(parts, loader, step)
    return time.process_time() - begun


def copied(build: Build, loader: Any, out: str | None) -> float:
    twins = wb.Twins(build, wb.Gaussian(0.01), steps=STEPS, replicas=1, progress=False, out=out)
    spent, copies = 0.0, 0
    for copy in twins:
        begun = time.process_time()
        train(copy.parts, copy.batches(loader), lambda loss, c=copy: bool(c.step(loss)))
        spent, copies = spent + time.process_time() - begun, copies + 1
    return spent / copies


def main() -> None:
    torch.set_num_threads(1)
    for name, case in (("dense", dense), ("convolutional", convolutional)):
        build, loader = case()
        for place in ("memory", "folder"):
            pairs = []
            for _ in range(ROUNDS):
                with tempfile.TemporaryDirectory() as folder:
                    own = folder if place == "folder" else None
                    pairs.append((bare(build, loader), copied(build, loader, own)))
            ratios = sorted(b / a for a, b in pairs)
            us = [1e6 * statistics.median(times) / STEPS for times in zip(*pairs, strict=True)]
            print(
                f"{name}, {place}: {us[0]:.0f} us a step bare, {us[1]:.0f} as a copy; ratio "
                f"{statistics.median(ratios):.3f} ({ratios[1]:.3f} to {ratios[-2]:.3f} without the "
                f"outermost of {ROUNDS} pairs, {STEPS} steps, {STEPS // 15} snapshots)"
            )


if __name__ == "__main__":
    main()
