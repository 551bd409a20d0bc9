"""The figures of the study: nets against the growth of nudges, before and after, and the bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.report.figures.estimates import dot, estimate_line
from wingbeat.report.figures.marks import DotFigure
from wingbeat.report.figures.records import Guide, Line, LineFigure
from wingbeat.studies.topology.claims import RULE_NAMES
from wingbeat.studies.topology.clouds import POOLINGS
from wingbeat.studies.topology.measure import RULES
from wingbeat.study.finished import series
from wingbeat.tasks.architectures import FAMILY_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.studies.topology.found import MeasuredNet, TopologyFindings

    Section = tuple[str, str, tuple[DotFigure | LineFigure, ...]]

STYLE: Final = {"dense": 0, "cnn": 1, "transformer": 2}
MOMENTS: Final = (("start", "untrained", 3), ("end", "trained", 4))
SAME: Final = Guide("as wide as what it is divided by", 1.0)
CLOUDS: Final = {
    "input": "What goes in",
    "start": "Last hidden layer, untrained",
    "end": "Last hidden layer, trained",
}
SHORT: Final = {"input": "lookup", "layer": "block", "mean": "mean", "read": "one word"}
"""Words for rows, where there is little room."""
KINDS: Final = (("h0_dies", "pieces that join", 0), ("h1_dies", "loops", 1))


def sections(own: TopologyFindings) -> tuple[Section, ...]:
    """Return every figure of the study under its heading."""
    parts: list[Section] = [
        ("question", "Do nets that part expand more?", tuple(against(own, r) for r in RULES)),
        ("bars", "How to see it: the bars of one net", bars(own)),
        ("expansion", "Expansion before and after", tuple(expansion(own, r) for r in RULES)),
        ("shape", "Without scale", (shape(own, "h0"), shape(own, "h1"))),
    ]
    if own.family("transformer"):
        parts.append(("conventions", "Decoder and encoder", (conventions(own),)))
    return tuple(parts)


def against(own: TopologyFindings, rule: str) -> DotFigure:
    """The ratio of trained nets against the growth of nudges, by family."""
    dots = []
    for net in own.nets:
        family, growth = net.architecture.family, net.values["convergence_ratio"]
        name, value = net.architecture.name, net.values[f"expansion_{rule}_end"]
        dots.append(dot(growth.value, value, FAMILY_NAMES[family], STYLE[family], name))
    return DotFigure(
        f"against-{rule}",
        f"Expansion {RULE_NAMES[rule]}",
        f"Each mark is a trained net: to the right its nudged copies part more, to the top its "
        f"samples lie farther apart in some layer than before. {_footing(own)}",
        "final ÷ initial spread of nudged copies",
        "expansion ratio",
        tuple(d for d in dots if np.isfinite(d.place)),
        log_value=True,
        log_place=True,
    )


def expansion(own: TopologyFindings, rule: str) -> DotFigure:
    """The ratio of each net untrained and trained."""
    return _before_and_after(
        own,
        f"expansion-{rule}",
        f"Expansion ratio {RULE_NAMES[rule]}",
        f"expansion_{rule}",
        "longest spanning tree ÷ that one",
        guides=(SAME,),
        log=True,
    )


def shape(own: TopologyFindings, name: str) -> DotFigure:
    """Scaled tree length or loops of each net untrained and trained."""
    title, label = {
        "h0": ("Scaled tree length", "tree length ÷ mean distance"),
        "h1": ("Loops", "summed length ÷ mean distance"),
    }[name]
    return _before_and_after(own, name, title, name, label, before="Mean over the hidden layers. ")


def _before_and_after(
    own: TopologyFindings,
    key: str,
    title: str,
    column: str,
    label: str,
    *,
    before: str = "",
    guides: tuple[Guide, ...] = (),
    log: bool = False,
) -> DotFigure:
    dots = [
        dot(row + 0.3 * k - 0.15, net.values[f"{column}_{when}"], word, style,
            f"{net.architecture.name}, {word}")
        for k, (when, word, style) in enumerate(MOMENTS)
        for row, net in enumerate(own.nets)
    ]  # fmt: skip
    names = tuple(n.architecture.name for n in own.nets)
    return DotFigure(
        key, title, before + _footing(own), "", label, tuple(dots), names, guides, log_value=log
    )


def conventions(own: TopologyFindings) -> DotFigure:
    """GPT and BERT under each denominator and pooling, trained."""
    names: list[str] = []
    dots = []
    for rule in RULES:
        for pooling in POOLINGS:
            for k, kind in enumerate(("GPT", "BERT")):
                value = own.mean(kind, f"expansion_{rule}_{pooling}_end")
                dots.append(dot(len(names) + 0.3 * k - 0.15, value, kind, 2 + k, kind))
            names.append(f"{SHORT[rule]}, {SHORT[pooling]}")
    return DotFigure(
        "conventions",
        "The same two nets under each published convention",
        "Divided by the lookup table or by the embedding block; of a sentence the mean of its "
        "words or the one that is read. Published: decoders by the lookup table, 55 to 694; an "
        "encoder by the block, 2. "
        f"{_footing(own)}",
        "",
        "expansion ratio",
        tuple(dots),
        tuple(names),
        (SAME,),
        log_value=True,
    )


def bars(own: TopologyFindings) -> tuple[LineFigure, ...]:
    """Barcode and persistence diagram of the samples of one net, before, and after training."""
    net, key = shown(own)
    found = {c: _bars_of(own, key, c) for c in CLOUDS}
    longest = max((v for rows in found.values() for r in rows.values() for v in r[1]), default=1.0)
    of = f"{net.architecture.name}, first base seed, 128 samples, in units of their mean distance."
    return tuple(
        draw(
            f"{kind}-{cloud}",
            f"{words}: {kind.replace('-', ' ')}",
            f"{how} {of}",
            own_bars,
            longest,
        )
        for (cloud, words), own_bars in zip(CLOUDS.items(), found.values(), strict=True)
        for kind, (draw, how) in DRAWN.items()
    )


def shown(own: TopologyFindings) -> tuple[MeasuredNet, str]:
    """Return the net whose bars are drawn, the largest of the first family, and its first key."""
    net = own.family(own.nets[0].architecture.family)[-1]
    return net, str(net.rows["key"].iloc[0])


Bars = dict[str, tuple[list[float], list[float]]]


def _bars_of(own: TopologyFindings, key: str, cloud: str) -> Bars:
    """Return births and deaths by kind; pieces are born at 0."""
    deaths = {what: series(own.study, key, f"{what}_{cloud}")[1] for what, _, _ in KINDS}
    born = {"h0_dies": [0.0] * len(deaths["h0_dies"])}
    born["h1_dies"] = series(own.study, key, f"h1_born_{cloud}")[1]
    return {what: (born[what], deaths[what]) for what, _, _ in KINDS}


def barcode(key: str, title: str, caption: str, bars: Bars, longest: float) -> LineFigure:
    """Return the bars from birth to death, one above the other."""
    lines, row = [], 0
    for what, words, style in KINDS:
        x: list[float] = []
        y: list[float] = []
        for birth, death in sorted(zip(*bars[what], strict=True), key=lambda b: b[1] - b[0]):
            x += [birth, death, death]
            y += [row, row, np.nan]  # the gap ends the bar
            row += 1
        lines.append(estimate_line(words, style, x, y, dash="solid"))
    return _bar_figure(key, title, caption, "distance", "bar", lines, longest, row)


def diagram(key: str, title: str, caption: str, bars: Bars, longest: float) -> LineFigure:
    """Return the bars as points above the line on which birth and death are the same."""
    lines = [
        estimate_line("no length", -3, (0.0, longest), (0.0, longest)),
        *(
            estimate_line(
                words,
                style,
                [x for birth in bars[what][0] for x in (birth, birth)],
                [y for death in bars[what][1] for y in (death, np.nan)],
                marked=True,
            )
            for what, words, style in KINDS
        ),
    ]
    return _bar_figure(key, title, caption, "born at", "dies at", lines, longest, longest)


def _bar_figure(
    key: str,
    title: str,
    caption: str,
    x_label: str,
    y_label: str,
    lines: Sequence[Line],
    longest: float,
    top: float,
) -> LineFigure:
    return LineFigure(
        key,
        title,
        caption,
        x_label,
        y_label,
        tuple(lines),
        x_limits=(0.0, longest),
        y_limits=(0.0, float(top) or 1.0),
    )


def _footing(own: TopologyFindings) -> str:
    counts = own.done.groupby("architecture")["seed"].nunique()
    low, high = int(counts.min()), int(counts.max())
    seeds = f"{low}" if low == high else f"{low} to {high}"
    return (
        f"200 samples that no net was trained on. {seeds} base seeds a net; intervals of 95 % over "
        "them."
    )


_BARS: Final = (
    "Join all samples that are nearer than the distance below: a bar of the first kind ends where "
    "a piece joins another, one of the second spans the distances at which a loop is open. Long "
    "bars are shape, short ones noise."
)
DRAWN: Final = {
    "barcode": (barcode, _BARS),
    "persistence-diagram": (
        diagram,
        "Every bar as a point: the farther above the line, the longer.",
    ),
}
"""What a reader has to know of each drawing of bars."""
