"""A picture of the edge of stability: gradient descent's sharpness rises to 2/lr and stays there.

Runs the gradient descent part of ``wingbeat study edge`` (or reads it, if the folder has it), and
draws sharpness and loss of the first base seed:
``python examples/edge_of_stability.py [FILE] [FOLDER] [digits|cifar10]``
"""

import sys

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from wingbeat.studies.edge import STUDY, EdgePlan
from wingbeat.study.finished import series

PLANS = {
    "digits": {"rates": (0.2, 0.3, 0.4)},
    "cifar10": {"rates": (0.02, 0.04), "data": "cifar10", "n": 1000, "steps": 4000},
}
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44")


def main(file="edge_of_stability.png", folder="runs/edge-picture", data="digits"):
    plan = EdgePlan(**PLANS[data], polyak_rates=(), nesterov_rates=())
    study, _, tables, *_ = STUDY.run(plan, folder)
    print(tables["verdicts"][["lr", "verdict", "reached", "hover"]].to_string(index=False))
    figure, (above, below) = plt.subplots(2, 1, figsize=(7.5, 6.0), sharex=True)
    rows = study.conditions[study.conditions["seed"] == 0].sort_values("lr")
    for (_, row), colour in zip(rows.iterrows(), COLOURS, strict=False):
        lr = row["lr"]
        above.plot(*series(study, row["key"], "sharpness"), ".-", color=colour, linewidth=1)
        above.axhline(2 / lr, color=colour, linestyle="--", linewidth=1)
        above.annotate(
            f"2/lr, lr = {lr:g}",
            (1, 2 / lr),
            xycoords=("axes fraction", "data"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right",
            color=colour,
        )
        below.semilogy(*series(study, row["key"], "loss"), ".-", color=colour, linewidth=1)
    above.set_ylabel("sharpness (dashed: 2/lr)")
    above.set_ylim(bottom=0)
    below.set_ylabel("training loss")
    below.set_xlabel("step of full-batch gradient descent")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, dpi=130)
    print(file)


if __name__ == "__main__":
    main(*sys.argv[1:4])
