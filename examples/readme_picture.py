"""Draw the picture of the README from a finished ``make demo``.

python examples/readme_picture.py runs/demo/circles-dense docs/images/circles.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

import wingbeat as wb

TITLES = ("Distance to the reference", "Spread of the copies", "Paths of all copies")


def main(folder: str, target: str) -> None:
    result = wb.load(folder)
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    result.plot_distance(left)
    result.plot_spread(middle)
    result.plot_trajectories(right)
    for axes, title in zip((left, middle, right), TITLES, strict=True):
        axes.set_title(title, loc="left", fontsize=11)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
