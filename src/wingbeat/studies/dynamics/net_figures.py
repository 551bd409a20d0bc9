"""Figures with one value for each net: by name, and against size, depth and kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wingbeat.report.figures.estimates import dot
from wingbeat.report.figures.marks import DotFigure
from wingbeat.report.figures.records import Guide
from wingbeat.stats import Estimate
from wingbeat.studies.dynamics.estimates import within
from wingbeat.studies.dynamics.found import DynamicsFindings, Net
from wingbeat.studies.dynamics.marks import (
    FAMILY_STYLE,
    GROUP_STYLE,
    RATIO_LABEL,
    SAME,
    family_name,
    footing,
    present,
)
from wingbeat.study.finished import over_seeds


def by_net(
    found: DynamicsFindings,
    key: str,
    title: str,
    value: Callable[[Net], Estimate],
    *,
    log: bool = False,
) -> DotFigure:
    """One value for each net, by name."""
    labels = {
        "ratio": RATIO_LABEL,
        "rate": "λ per epoch",
        "accuracy": "final accuracy",
    }
    guides = {"ratio": (SAME,), "rate": (Guide("neither parting nor closing", 0.0),)}
    return _rows_figure(
        found,
        key,
        title,
        labels[key],
        [(_dots_of_families, value, "")],
        guides=guides.get(key, ()),
        log=log,
    )


def against(found: DynamicsFindings, what: str) -> DotFigure:
    """Ratio of each net against its number of weights or its depth."""
    dots = tuple(
        dot(
            _number_of(n, what),
            n.ratio["full"],
            n.architecture.group,
            GROUP_STYLE[n.architecture.group],
            n.architecture.name,
        )
        for n in found.nets
    )
    beside = "Nets of equal depth stand side by side. " if what == "depth" else ""
    words = {"parameters": "trainable weights", "depth": "layers with weights (blocks)"}
    return DotFigure(
        key=what,
        title=f"Ratio against {'size' if what == 'parameters' else 'depth'}",
        caption=f"Whole weight space. {beside}{footing(found, present(found))}",
        place_label=words[what],
        value_label=RATIO_LABEL,
        dots=dots,
        guides=(SAME,),
        log_value=True,
        log_place=what == "parameters",
        whole_place=what == "depth",
    )


def _number_of(net: Net, what: str) -> float:
    """Return weights or depth; nets of equal depth stand side by side, by group and size."""
    architecture = net.architecture
    if what == "parameters":
        return float(architecture.parameters)
    column = list(GROUP_STYLE).index(architecture.group) - 2
    return architecture.depth + 0.06 * column + 0.012 * (architecture.size - 2)


def kinds(found: DynamicsFindings) -> DotFigure:
    """The two kinds of transformer side by side."""
    nets = [n for n in found.nets if n.architecture.family == "transformer"]
    sizes = list(dict.fromkeys(n.architecture.name.split()[1] for n in nets))
    dots = [
        dot(
            sizes.index(n.architecture.name.split()[1])
            + (0.15 if n.architecture.group == "BERT" else -0.15),
            n.ratio["full"],
            n.architecture.group,
            GROUP_STYLE[n.architecture.group],
            n.architecture.name,
        )
        for n in nets
    ]
    foot = footing(found, ["transformer"]) if nets else "The study has no transformers."
    return DotFigure(
        key="kinds",
        title="BERT-like and GPT-like at each size",
        caption=f"Whole weight space. {foot}",
        place_label="",
        value_label=RATIO_LABEL,
        dots=tuple(dots),
        rows=tuple(sizes),
        guides=(SAME,),
    )


def early_late(found: DynamicsFindings) -> DotFigure:
    """Growth in the first half of training over that in the second."""
    return _rows_figure(
        found,
        "early-late",
        "Most of it happens early" if _mostly_early(found) else "Does it happen early or late?",
        "early ÷ late change of ln spread",
        [(_dots_of_families, lambda n: n.early_late, "")],
        guides=(Guide("as much early as late", 1.0),),
        log=True,
    )


def kept(found: DynamicsFindings) -> DotFigure:
    """Share of the summed variance of the copies that three components hold."""
    return _rows_figure(
        found,
        "kept",
        "What a projection to three components keeps of the spread",
        "share of the summed variance",
        [
            (_dots_of(4, "at the start"), lambda n: n.kept_first, "start"),
            (_dots_of(3, "at the end"), lambda n: n.kept_last, "end"),
        ],
    )


def explained(found: DynamicsFindings) -> DotFigure:
    """Share of the variance of all recorded points in the leading components."""
    table = found.study.table
    rows = table[table["metric"] == "pca_explained"]

    def share(components: int) -> Callable[[Net], Estimate]:
        used = rows[rows["step"] <= components].groupby("key")["value"].sum(min_count=1)

        def of_net(net: Net) -> Estimate:
            own = found.done[found.done["architecture"] == net.architecture.name]
            return within(over_seeds(own["key"].map(used).to_numpy(dtype=np.float64)))

        return of_net

    return _rows_figure(
        found,
        "explained",
        "How few components hold the whole path",
        "share of variance explained",
        [
            (_dots_of(3, "first component"), share(1), "first"),
            (_dots_of(4, "first three"), share(3), "first three"),
        ],
    )


Grouper = Callable[[Net], tuple[str, int]]


def _dots_of_families(net: Net) -> tuple[str, int]:
    family = net.architecture.family
    return family_name(family), FAMILY_STYLE[family]


def _dots_of(style: int, group: str) -> Grouper:
    return lambda _: (group, style)


def _rows_figure(
    found: DynamicsFindings,
    key: str,
    title: str,
    value_label: str,
    parts: Sequence[tuple[Grouper, Callable[[Net], Estimate], str]],
    *,
    guides: tuple[Guide, ...] = (),
    log: bool = False,
) -> DotFigure:
    dots = []
    for shift, (grouper, value, word) in enumerate(parts):
        for row, net in enumerate(found.nets):
            group, style = grouper(net)
            place = row + (0.3 * shift - 0.15 if len(parts) > 1 else 0.0)
            hover = f"{net.architecture.name} {word}".strip()
            dots.append(dot(place, value(net), group, style, hover))
    return DotFigure(
        key=key,
        title=title,
        caption=footing(found, present(found)),
        place_label="",
        value_label=value_label,
        dots=tuple(dots),
        rows=tuple(n.architecture.name for n in found.nets),
        guides=guides,
        log_value=log,
    )


def _mostly_early(found: DynamicsFindings) -> bool:
    values = [n.early_late.value for n in found.nets if np.isfinite(n.early_late.value)]
    return bool(values) and min(values) > 1
