"""A picture of the edge of stability: gradient descent's sharpness rises to 2/lr and stays there.

Trains a tanh net on 1,000 digits (or images of CIFAR-10) at once, at several learning rates, and
draws sharpness and loss: ``python examples/edge_of_stability.py [FILE] [digits|cifar10]``
"""

import sys

import matplotlib as mpl
import torch

mpl.use("Agg")
import matplotlib.pyplot as plt

from wingbeat.curvature import Hessian, against_threshold, edge_of_stability
from wingbeat.zoo.curvature_tasks import tanh_task

RATES = {"digits": (0.2, 0.3, 0.4), "cifar10": (0.02, 0.04)}
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44")


def course(lr, data, n, steps, looks=80):
    """Return the comparisons along one run."""
    task = tanh_task(lr, data=data, n=n, hidden=(64, 64), steps=steps)
    hessian = Hessian(task, samples=min(n, 1000), dtype=torch.float32)
    every = max(1, steps // looks)
    return list(
        against_threshold(
            task, range(0, steps + 1, every), hessian=hessian, dtype=torch.float32, tolerance=1e-2
        )
    )


def main(file="edge_of_stability.png", data="digits", n=1000, steps=2000):
    figure, (above, below) = plt.subplots(2, 1, figsize=(7.5, 6.5), sharex=True)
    for lr, colour in zip(RATES[data], COLOURS, strict=False):
        rows = course(lr, data, n, steps)
        at = [row.step for row in rows]
        sharpness = [row.curvature for row in rows]
        losses = [loss for row in rows for loss in row.losses]
        found = edge_of_stability(at, sharpness, rows[0].threshold, losses)
        print(f"lr {lr:g}: {found.verdict}; {found.why}")
        above.plot(at, sharpness, ".-", color=colour, label=f"lr {lr:g}", linewidth=1)
        above.axhline(rows[0].threshold, color=colour, linestyle="--", linewidth=1)
        below.semilogy(losses, color=colour, linewidth=0.8)
    above.set_ylabel("sharpness (dashed: 2/lr)")
    above.set_ylim(bottom=0)
    above.legend(frameon=False)
    below.set_ylabel("training loss")
    below.set_xlabel("step of full-batch gradient descent")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, dpi=150)
    print(file)


if __name__ == "__main__":
    main(*sys.argv[1:3])
