"""How a net simplifies its data: pieces and holes of nine discs through the layers, ReLU and tanh.

The experiment of Naitzat, Zhitnikov and Lim (arXiv 2004.06093) on their first data set: a net of
six layers of 20 units learns to tell nine discs from what is around them. The discs are nine
pieces, what is around them has nine holes; through the layers both counts fall. Draws them with
intervals over base seeds and says which activation takes fewer layers:
``python examples/betti_through_layers.py [FILE] [SEEDS]``
"""

import sys

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from wingbeat.metrics.neighbours import betti_numbers
from wingbeat.report.figures.estimates import estimate_text
from wingbeat.study.finished import over_seeds
from wingbeat.tasks.data.discs import nine_discs
from wingbeat.tasks.dense import mlp

ACTIVATIONS = {"relu": ("ReLU", "#1b6ca8", "o-"), "tanh": ("tanh", "#c8553d", "s--")}
WIDTH, DEPTH, EPOCHS, BATCH, RATE = 20, 6, 100, 256, 0.01
POINTS, SUBSETS = 600, 3  # single counts are noisy: the mean over random parts of a class
SMALL = 0.1  # inputs within −1 to 1


def trained(activation, seed):
    """Return a net that tells the classes apart without an error, and its accuracy."""
    (x, y), draws = nine_discs(), torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    net = mlp((2, *[WIDTH] * DEPTH, 2), activation)
    for weight in (p for p in net.parameters() if p.ndim == 2):
        # The usual start of each activation: with torch's own, six layers of tanh learn nothing.
        nn.init.xavier_normal_(weight, gain=nn.init.calculate_gain(activation))
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x), generator=draws)[: steps * BATCH].view(steps, BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(SMALL * x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            accuracy = float((net(SMALL * x).argmax(dim=1) == y).float().mean())
        if accuracy == 1.0:
            break
    return net, accuracy


@torch.no_grad()
def counts(net, label, seed):
    """Return pieces and loops of a class as it goes in and after each layer, (layers + 1, 2)."""
    x, y = nine_discs()
    own, draws = x[y == label], np.random.default_rng(seed)
    found = []
    for _ in range(SUBSETS):
        points = SMALL * own[draws.choice(len(own), POINTS, replace=False)]
        layers = [points]
        for module in net:
            points = module(points)
            if isinstance(module, (nn.ReLU, nn.Tanh)):
                layers.append(points)
        found.append([betti_numbers(layer.double().numpy()) for layer in layers])
    return np.mean(found, axis=0)


def measured(seeds):
    """Return for each activation the counts (seeds, layers + 1) of pieces and of holes."""
    found = {}
    for activation in ACTIVATIONS:
        pieces, holes = [], []
        for seed in range(seeds):
            net, accuracy = trained(activation, seed)
            print(f"{activation}, base seed {seed}: accuracy {accuracy:.4f}", flush=True)
            pieces.append(counts(net, 1, seed)[:, 0])
            holes.append(counts(net, 0, seed)[:, 1])
        found[activation] = {"pieces": np.array(pieces), "holes": np.array(holes)}
    return found


def draw(found, file):
    """Draw data and counts."""
    x, y = nine_discs()
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    for label, colour in ((0, "#c9ced2"), (1, "#3a7d44")):
        left.plot(*x[y == label].T, ".", color=colour, markersize=2)
    left.set(aspect="equal", title="Nine discs and what is around them")
    titles = (("pieces", "Pieces of the discs"), ("holes", "Holes of what is around them"))
    for axes, (name, title) in zip((middle, right), titles, strict=True):
        for activation, (words, colour, style) in ACTIVATIONS.items():
            layers = [over_seeds(column) for column in found[activation][name].T]
            values = np.array([(e.value, e.low, e.high) for e in layers])
            values[np.isnan(values[:, 1]), 1:] = values[np.isnan(values[:, 1]), :1]
            axes.plot(values[:, 0], style, color=colour, label=words)
            axes.fill_between(range(len(values)), *values[:, 1:].T, color=colour, alpha=0.2)
        axes.set(title=title, xlabel="layer (0 = what goes in)", ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend()
    figure.savefig(file, dpi=110)
    print(file)


def main(file="betti_through_layers.png", seeds=5):
    torch.set_num_threads(1)
    found = measured(int(seeds))
    for name in ("pieces", "holes"):
        for activation, (words, _, _) in ACTIVATIONS.items():
            layers = " | ".join(estimate_text(over_seeds(c)) for c in found[activation][name].T)
            print(f"{name}, {words}: {layers}")
        lead = found["tanh"][name].mean(axis=1) - found["relu"][name].mean(axis=1)
        print(f"{name}, mean over layers, tanh − ReLU: {estimate_text(over_seeds(lead))}")
    draw(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:3])
