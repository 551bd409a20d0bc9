"""The figures of the study: each with intervals, seeds, noise floor and the data used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
import pandas as pd

from wingbeat.report.figures import Guide, Line, LineFigure
from wingbeat.report.study_figures import Box, BoxFigure, Dot, DotFigure, StudyFigure
from wingbeat.report.words import floor_text, number
from wingbeat.stats import Estimate
from wingbeat.zoo.architectures import FAMILY_NAMES
from wingbeat.zoo.dynamics_summary import (
    DEFINITION_NAMES,
    DEFINITIONS,
    Definition,
    Found,
    Net,
    over_seeds,
    within,
)

_FAMILY_STYLE: Final = {"dense": 0, "cnn": 1, "transformer": 2}
_GROUP_STYLE: Final = {"3-layer": 0, "5-layer": 5, "CNN": 1, "GPT": 2, "BERT": 3}
_SAME = Guide("as far apart as at the start", 1.0)
_RATIO = "final ÷ initial spread"

Section = tuple[str, str, tuple[StudyFigure, ...]]


def sections(found: Found) -> tuple[Section, ...]:
    """Return every figure of the study under its heading."""
    nets = found.nets
    return (
        (
            ("summary", "Summary", (families(found),)),
            ("boxes", "Family by family", tuple(boxes(found, d) for d in ("full", "projected"))),
            ("spread", "Spread over training", tuple(evolution(found, f) for f in _present(found))),
            (
                "overview",
                "Overview",
                (
                    by_net(
                        found, "ratio", "How far apart do copies end?", _ratio_of("full"), log=True
                    ),
                    by_net(found, "rate", "How fast do they part?", lambda n: n.fitted),
                    by_net(found, "accuracy", "How well do they learn?", lambda n: n.accuracy),
                ),
            ),
            ("size", "Size and depth", (against(found, "parameters"), against(found, "depth"))),
            ("kinds", "BERT and GPT", (kinds(found),)),
            ("when", "Early or late", (early_late(found),)),
            ("variance", "Variance explained", (kept(found), explained(found))),
        )
        if nets
        else ()
    )


def footing(found: Found, families_: Iterable[str]) -> str:
    """Return what every caption ends with: data, seeds, copies and noise floor."""
    rows = found.done[found.done["family"].isin(list(families_))]
    data = "; ".join(dict.fromkeys(str(label) for label in rows["data"]))
    seeds = rows.groupby("architecture")["seed"].nunique()
    copies = rows["replicas"]
    return (
        f"Data: {data}. {_range(seeds)} base seeds a net, {_range(copies)} copies each; intervals "
        f"of 95 % over base seeds (over copies where there is one seed). "
        f"{floor_text(float(rows['noise_floor'].max())).capitalize()}."
    )


def families(found: Found) -> DotFigure:
    """Mean ratio of each family under the three definitions of spread."""
    shown = found.families
    dots = [
        _dot(row + 0.22 * (place - 1), f.ratio[d], DEFINITION_NAMES[d], 3 + place, _name(f.family))
        for row, f in enumerate(shown)
        for place, d in enumerate(DEFINITIONS)
    ]
    return DotFigure(
        key="families",
        title="The answer depends on what is called spread",
        caption=f"Geometric mean over nets. {footing(found, [f.family for f in shown])}",
        place_label="",
        value_label=_RATIO,
        dots=tuple(dots),
        rows=tuple(_name(f.family) for f in shown),
        guides=(_SAME,),
        log_value=True,
    )


def boxes(found: Found, definition: Definition) -> BoxFigure:
    """Every net and base seed of each family, with median and quartiles."""
    column, groups = DEFINITIONS[definition], []
    for family in _present(found):
        rows = found.done[(found.done["family"] == family) & found.done[column].notna()]
        hovers = tuple(
            f"{a}, seed {s}: {number(v)}"
            for a, s, v in zip(rows["architecture"], rows["seed"], rows[column], strict=True)
        )
        values = tuple(float(v) for v in rows[column])
        groups.append(Box(_name(family), _FAMILY_STYLE[family], values, hovers))
    what = {"full": "in the whole weight space", "projected": "in three principal components"}
    return BoxFigure(
        key=f"boxes-{definition}",
        title=f"Ratio of spreads {what.get(definition, DEFINITION_NAMES[definition])}",
        caption=f"Each mark is one net and base seed. {footing(found, _present(found))}",
        value_label=_RATIO,
        boxes=tuple(groups),
        guides=(_SAME,),
        log_value=True,
    )


def evolution(found: Found, family: str) -> LineFigure:
    """Spread of each net of a family over its initial spread, over the epochs."""
    table = found.study.table
    spread = table[(table["metric"] == "spread") & (table["layer"] == "")]
    nets = [n for n in found.nets if n.architecture.family == family]
    lines = tuple(_line(found, spread, n, style) for style, n in enumerate(nets))
    return LineFigure(
        key=f"spread-{family}",
        title=f"{_name(family)}: spread over training",
        caption=(
            "Spread in the whole weight space ÷ the initial one, geometric mean over base seeds "
            f"with its interval as a band. {footing(found, [family])}"
        ),
        x_label="epoch",
        y_label="spread ÷ initial spread",
        lines=lines,
        guides=(_SAME,),
        log_y=True,
    )


def _line(found: Found, spread: pd.DataFrame, net: Net, style: int) -> Line:
    own = found.done[found.done["architecture"] == net.architecture.name]
    rows = spread[spread["key"].isin(own["key"])]
    grid = rows.pivot_table(index="step", columns="key", values="value").sort_index()
    relative = np.log((grid / grid.iloc[0]).to_numpy(dtype=np.float64))
    means = [over_seeds(row) for row in relative]
    epochs = grid.index.to_numpy(dtype=np.float64) / float(own["steps_per_epoch"].iloc[0])
    low, high = ([getattr(m, part) for m in means] for part in ("low", "high"))
    name = net.architecture.name
    return Line(
        name=name,
        group=name,
        style=style,
        x=tuple(float(e) for e in epochs),
        y=_exp([m.value for m in means]),
        low=_exp(low),
        high=_exp(high),
        marked=True,
    )


def by_net(
    found: Found, key: str, title: str, value: Callable[[Net], Estimate], *, log: bool = False
) -> DotFigure:
    """One value for each net, by name."""
    labels = {
        "ratio": _RATIO,
        "rate": "λ per epoch",
        "accuracy": "final accuracy",
    }
    guides = {"ratio": (_SAME,), "rate": (Guide("neither parting nor closing", 0.0),)}
    return _rows_figure(
        found,
        key,
        title,
        labels[key],
        [(_dots_of_families, value, "")],
        guides=guides.get(key, ()),
        log=log,
    )


def against(found: Found, what: str) -> DotFigure:
    """Ratio of each net against its number of weights or its depth."""
    dots = tuple(
        _dot(
            _number_of(n, what),
            n.ratio["full"],
            n.architecture.group,
            _GROUP_STYLE[n.architecture.group],
            n.architecture.name,
        )
        for n in found.nets
    )
    beside = "Nets of equal depth stand side by side. " if what == "depth" else ""
    words = {"parameters": "trainable weights", "depth": "layers with weights (blocks)"}
    return DotFigure(
        key=what,
        title=f"Ratio against {'size' if what == 'parameters' else 'depth'}",
        caption=f"Whole weight space. {beside}{footing(found, _present(found))}",
        place_label=words[what],
        value_label=_RATIO,
        dots=dots,
        guides=(_SAME,),
        log_value=True,
        log_place=what == "parameters",
        whole_place=what == "depth",
    )


def _number_of(net: Net, what: str) -> float:
    """Return weights or depth; nets of equal depth stand side by side, by group and size."""
    architecture = net.architecture
    if what == "parameters":
        return float(architecture.parameters)
    column = list(_GROUP_STYLE).index(architecture.group) - 2
    return architecture.depth + 0.06 * column + 0.012 * (architecture.size - 2)


def kinds(found: Found) -> DotFigure:
    """The two kinds of transformer side by side."""
    nets = [n for n in found.nets if n.architecture.family == "transformer"]
    sizes = list(dict.fromkeys(n.architecture.name.split()[1] for n in nets))
    dots = [
        _dot(
            sizes.index(n.architecture.name.split()[1])
            + (0.15 if n.architecture.group == "BERT" else -0.15),
            n.ratio["full"],
            n.architecture.group,
            _GROUP_STYLE[n.architecture.group],
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
        value_label=_RATIO,
        dots=tuple(dots),
        rows=tuple(sizes),
        guides=(_SAME,),
    )


def early_late(found: Found) -> DotFigure:
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


def kept(found: Found) -> DotFigure:
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


def explained(found: Found) -> DotFigure:
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
    return _name(family), _FAMILY_STYLE[family]


def _dots_of(style: int, group: str) -> Grouper:
    return lambda _: (group, style)


def _rows_figure(
    found: Found,
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
            dots.append(_dot(place, value(net), group, style, hover))
    return DotFigure(
        key=key,
        title=title,
        caption=footing(found, _present(found)),
        place_label="",
        value_label=value_label,
        dots=tuple(dots),
        rows=tuple(n.architecture.name for n in found.nets),
        guides=guides,
        log_value=log,
    )


def _dot(place: float, e: Estimate, group: str, style: int, name: str) -> Dot:
    words = f"{name}: {number(e.value)}"
    if np.isfinite([e.low, e.high]).all():
        words += f" [{number(e.low)} to {number(e.high)}]"
    return Dot(place, e.value, e.low, e.high, group, style, words)


def _ratio_of(definition: Definition) -> Callable[[Net], Estimate]:
    return lambda net: net.ratio[definition]


def _mostly_early(found: Found) -> bool:
    values = [n.early_late.value for n in found.nets if np.isfinite(n.early_late.value)]
    return bool(values) and min(values) > 1


def _present(found: Found) -> list[str]:
    return [f.family for f in found.families]


def _name(family: str) -> str:
    return FAMILY_NAMES[family]


def _exp(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(np.exp(v)) for v in values)


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"
