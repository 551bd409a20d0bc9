"""A picture of spawn and perturb: the barrier to the reference against the time of the nudge.

Reads the ``cells.csv`` that ``wingbeat study butterfly`` wrote:
``python examples/butterfly_barriers.py FOLDER [FILE]``
"""

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7d5ba6")
PANELS = (
    ("barrier_train", "barrier of the training loss"),
    ("disagreement", "share of predictions that differ"),
)


def main(folder, file="butterfly_barriers.png"):
    cells = pd.read_csv(Path(folder) / "cells.csv")
    cells = cells[cells["intervention"] == "standard"]
    times = sorted(cells["time"].unique())
    figure, panels = plt.subplots(1, 2, figsize=(9.0, 3.8))
    for axes, (quantity, words) in zip(panels, PANELS, strict=True):
        rows = cells[cells["quantity"] == quantity].sort_values("time")
        groups = list(rows.groupby(["kind", "size"]))
        for place, ((kind, size), own) in enumerate(groups):
            x = np.array([times.index(t) for t in own["time"]]) + 0.08 * (place - len(groups) / 2)
            low = np.maximum(own["low"], 0)  # neither quantity can be negative
            bars = np.stack([own["value"] - low, own["high"] - own["value"]])
            name = "a single weight" if kind == "single" else f"{kind}, {size:g}"
            axes.errorbar(x, own["value"], bars, fmt="o-" if len(x) > 1 else "D",
                          color=COLOURS[place % 4], linewidth=1, markersize=4, capsize=2,
                          label=name)  # fmt: skip
        axes.set_xticks(range(len(times)), [f"{100 * t:g} %" for t in times])
        axes.set_xlabel("share of training done when the copy is nudged")
        axes.set_ylabel(words)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=9)
    figure.tight_layout()
    figure.savefig(file, dpi=130)
    print(file)


if __name__ == "__main__":
    main(*sys.argv[1:3])
