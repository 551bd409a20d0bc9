"""Pictures of the studies of open questions, drawn from the tables that are published with them.

``python examples/open_questions.py [FOLDER OF THE STUDIES] [FOLDER OF THE PICTURES]``
"""

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8a5a9e", "#b8860b")


def bars(axes, rows, x, name, label=None, colour=COLOURS[0], *, log=False):
    """Draw means over base seeds with their intervals."""
    rows = rows[np.isfinite(rows[name]) & np.isfinite(rows[f"{name}_low"])].sort_values(x)
    middle, low, high = (rows[f"{name}{end}"].to_numpy() for end in ("", "_low", "_high"))
    if log:
        middle, low, high = np.exp(middle), np.exp(low), np.exp(high)
    reach = np.clip([middle - low, high - middle], 0, None)
    axes.errorbar(rows[x], middle, reach, fmt="o-", ms=4, lw=1, color=colour, label=label)


def ticks(axes, places):
    """Label a logarithmic axis at a few places, in plain numbers."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xticks([p for p in places if low <= p <= high])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())


def chaos_at_edge(folder):
    """Growth, time and accuracy over the learning rate, of the dense net."""
    rates = pd.read_csv(folder / "rates.csv")
    rates = rates[rates["net"] == "dense"]
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4))
    names = ("growth", "steps_to_target", "test_accuracy")
    titles = ("growth of a nudge, e-folds", "updates to the loss", "accuracy on unseen digits")
    edge = rates[rates["sharpness_ratio"] >= 0.95]["lr"].min()
    chaos = rates[rates["chaotic"] > 0]["lr"].min()
    for one, name, title in zip(axes, names, titles, strict=True):
        bars(one, rates, "lr", name)
        one.axvline(edge, color=COLOURS[2], ls="--", lw=1, label="at the edge from here")
        one.axvline(chaos, color=COLOURS[1], ls=":", lw=1, label="first chaotic run")
        one.set(xlabel="learning rate η", title=title)
        ticks(one, (0.05, 0.1, 0.2, 0.4, 0.8))
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def width_depth_size(folder):
    """Growth against the nudge's size and against width, for both activations."""
    cells = pd.read_csv(folder / "cells.csv")
    cells = cells[(cells["at"] == 0) & (cells["density"] == 1.0)]
    figure, axes = plt.subplots(1, 4, figsize=(12.5, 3.4), sharey=True)
    for column, activation in enumerate(("relu", "tanh")):
        own = cells[cells["activation"] == activation]
        for colour, (width, rows) in zip(
            COLOURS, own[own["depth"] == 2].groupby("width"), strict=False
        ):
            bars(axes[column], rows, "size", "log_ratio", f"width {width}", colour, log=True)
        for colour, (size, rows) in zip(
            COLOURS, own[own["depth"] == 2].groupby("size"), strict=False
        ):
            bars(axes[column + 2], rows, "width", "log_ratio", f"nudge {size:g}", colour, log=True)
        axes[column].set(xlabel="size of the nudge", title=f"{activation}, two layers")
        axes[column + 2].set(xlabel="width", title=f"{activation}, two layers")
        ticks(axes[column], (1e-4, 1e-3, 1e-2, 1e-1))
        ticks(axes[column + 2], (8, 16, 32, 64, 128))
    for one in axes:
        one.set(yscale="log")
    axes[0].set_ylabel("growth of a nudge")
    axes[1].legend(frameon=False, fontsize=8)
    axes[3].legend(frameon=False, fontsize=8)
    return figure


def three_families(folder):
    """Growth in three families, after equally many updates and at equal accuracy."""
    cells = pd.read_csv(folder / "families.csv")
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.6), sharey=True)
    titles = {
        "log_growth": "after equally many updates",
        "log_growth_matched": "at equal accuracy",
    }
    for one, (name, title) in zip(axes, titles.items(), strict=True):
        for colour, (family, rows) in zip(COLOURS, cells.groupby("family"), strict=False):
            for size, own in rows.groupby("size"):
                shifted = own.assign(place=own["lr"] * (0.97 if size == "small" else 1.03))
                bars(one, shifted, "place", name, f"{family}, {size}", colour, log=True)
                one.lines[-1].set_linestyle("--" if size == "small" else "-")
        one.set(yscale="log", xlabel="learning rate", title=title)
        ticks(one, (0.002, 0.005, 0.0125))
    axes[0].set_ylabel("growth of a nudge")
    axes[1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def irrelevant_dimensions(folder):
    """Shares of irrelevant directions, and how many carry the growth, by net."""
    nets = pd.read_csv(folder / "nets.csv")
    order = list(dict.fromkeys(nets["net"]))
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.6), sharey=True)
    titles = {
        "share_irrelevant": "share of irrelevant directions",
        "share_irrelevant_strict": "… with a tenth of the loss",
        "growth_dimension": "directions that carry the growth",
    }
    for one, (name, title) in zip(axes, titles.items(), strict=True):
        for colour, (at, rows) in zip(COLOURS, nets.groupby("at"), strict=False):
            place = [order.index(net) for net in rows["net"]]
            middle, low, high = (rows[f"{name}{end}"] for end in ("", "_low", "_high"))
            one.errorbar(
                middle,
                place,
                xerr=np.clip([middle - low, high - middle], 0, None),
                fmt="o",
                ms=4,
                lw=1,
                color=colour,
                label=f"from update {at}",
            )
        one.set(title=title, yticks=range(len(order)), yticklabels=order)
    axes[0].set_xlim(0, 1.02)
    axes[1].set_xlim(0, 1.02)
    axes[2].legend(frameon=False, fontsize=8)
    return figure


def dynamics(folder):
    """Ratio of spreads under two definitions, and accuracy: trained nets, and short trainings."""
    sizes = {"trained": folder, "short trainings": folder / "short"}
    tables = {name: pd.read_csv(place / "architectures.csv") for name, place in sizes.items()}
    order = list(dict.fromkeys(net for t in tables.values() for net in t["architecture"]))[::-1]
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 5.4), sharey=True)
    titles = {
        "ratio_full": "final ÷ initial spread",
        "ratio_legacy": "… as deep-lyapunov 0.1.2 counts it",
        "accuracy": "accuracy on unseen samples",
    }
    for one, (name, title) in zip(axes, titles.items(), strict=True):
        for colour, shift, (label, rows) in zip(
            COLOURS, (0.16, -0.16), tables.items(), strict=False
        ):
            place = [order.index(net) + shift for net in rows["architecture"]]
            middle, low, high = (rows[f"{name}{end}"] for end in ("", "_low", "_high"))
            reach = np.clip([middle - low, high - middle], 0, None)
            one.errorbar(middle, place, xerr=reach, fmt="o", ms=4, lw=1, color=colour, label=label)
        one.set(title=title, yticks=range(len(order)), yticklabels=order)
        if name != "accuracy":
            one.set_xscale("log")
            one.set_xlim(0.1, 1000)
            one.axvline(1, color="0.6", lw=1)
    axes[2].set_xlim(0.4, 1.02)
    axes[2].legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def stable_at_start(folder):
    """Barrier against accuracy: what the search saw, and settings again on unseen base seeds."""
    runs, settings = pd.read_csv(folder / "runs.csv"), pd.read_csv(folder / "settings.csv")
    figure, axes = plt.subplots(1, 2, figsize=(11.5, 4.2), sharey=True)
    tried = runs[runs["phase"] == "search"]
    for colour, (norm, rows) in zip(COLOURS, tried.groupby("norm"), strict=False):
        axes[0].plot(rows["test_accuracy"], rows["barrier"], "o", ms=4, color=colour, label=norm)
    axes[0].legend(title="normalisation", frameon=False, fontsize=8)
    axes[0].set_title("what the search saw, one base seed each")
    names = {"chosen": "of its frontier, unseen base seeds", "landmark": "landmarks"}
    for colour, (phase, label) in zip(COLOURS, names.items(), strict=False):
        rows = settings[settings["phase"] == phase]
        reach = [
            np.clip([rows[n] - rows[f"{n}_low"], rows[f"{n}_high"] - rows[n]], 0, None)
            for n in ("test_accuracy", "barrier")
        ]
        places = rows["test_accuracy"], rows["barrier"]
        style = {"fmt": "o", "ms": 4, "lw": 1, "color": colour, "label": label}
        axes[1].errorbar(*places, xerr=reach[0], yerr=reach[1], **style)
        # Neighbours in height have their names above and below in turn: none covers another.
        above = rows["barrier"].rank(method="first", ascending=False).to_numpy() % 2 == 0
        for name, x, y, high in zip(rows["setting"], *places, above, strict=True):
            axes[1].annotate(
                name,
                (x, y),
                (-5, 4 if high else -9),
                textcoords="offset points",
                ha="right" if x > 0.5 else "left",
                fontsize=7,
                color=colour,
            )
    axes[1].legend(frameon=False, fontsize=8, loc="upper left")
    axes[1].set_title("judged: means with intervals of 95 %")
    for one in axes:
        one.set_yscale("symlog", linthresh=1e-3)
        one.axhline(0.01, color=COLOURS[2], ls="--", lw=1)
        one.set(xlabel="accuracy on unseen images")
    axes[0].set_ylabel("barrier at the end of copies from the start, nats")
    return figure


def which_checkpoint(folder):
    """Sensitivity, gain of averaging and fine-tuned accuracy over the checkpoints."""
    table = pd.read_csv(folder / "checkpoints.csv")
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.4))
    titles = {
        "log_growth": "growth of a nudge, e-folds",
        "gain_loss": "loss gained by averaging",
        "average_accuracy": "accuracy of the average",
        "tuned_accuracy": "accuracy after fine-tuning",
    }
    for one, (name, title) in zip(axes, titles.items(), strict=True):
        for colour, (net, rows) in zip(COLOURS, table.groupby("net"), strict=False):
            shifted = rows.assign(place=rows["at"].rank() + (0.06 if net == "cnn" else -0.06))
            bars(one, shifted, "place", name, net, colour)
        steps = sorted(table["at"].unique())
        one.set(title=title, xlabel="update of the checkpoint")
        one.set_xticks(range(1, len(steps) + 1), [str(step) for step in steps])
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def useful_perturbations(folder):
    """Gain over the members, and loss at equal cost, over the time of the fork."""
    table = pd.read_csv(folder / "ensembles.csv")
    nets = list(dict.fromkeys(table["net"]))
    figure, axes = plt.subplots(len(nets), 2, figsize=(10.5, 3.2 * len(nets)), squeeze=False)
    colours = plt.get_cmap("tab10").colors
    for (left, right), net in zip(axes, nets, strict=True):
        rows = table[table["net"] == net].set_index("perturbation")
        forked = [n for n in dict.fromkeys(rows.index) if isinstance(rows.loc[n], pd.DataFrame)]
        times = sorted(rows["time"].unique())
        for colour, name in zip(colours, forked, strict=False):
            own = rows.loc[name].assign(place=[times.index(t) for t in rows.loc[name]["time"]])
            bars(left, own, "place", "gain_loss", name, colour)
            bars(right, own, "place", "loss", name, colour)
        left.axhline(rows.loc["another start", "gain_loss"], color="k", ls="--", lw=1)
        for name, style in (("all else", "--"), ("long", ":"), ("single", "-.")):
            right.axhline(rows.loc[name, "loss"], color="k", ls=style, lw=1, label=name)
        left.set(title=f"{net}: loss gained over members", xlabel="fork, share of training")
        right.set(title=f"{net}: loss of the ensemble", xlabel="fork, share of training")
        for one in (left, right):
            one.set_xticks(range(len(times)), [f"{t:g}" for t in times])
        right.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


PICTURES = {
    "dynamics": dynamics,
    "chaos_at_edge": chaos_at_edge,
    "width_depth_size": width_depth_size,
    "three_families": three_families,
    "irrelevant_dimensions": irrelevant_dimensions,
    "stable_at_start": stable_at_start,
    "which_checkpoint": which_checkpoint,
    "useful_perturbations": useful_perturbations,
}


def main(studies="docs/studies", images="docs/images"):
    for name, draw in PICTURES.items():
        figure = draw(Path(studies) / name)
        figure.tight_layout()
        figure.savefig(Path(images) / f"{name}.png", dpi=110)
        plt.close(figure)
        print(Path(images) / f"{name}.png")


if __name__ == "__main__":
    main(*sys.argv[1:3])
