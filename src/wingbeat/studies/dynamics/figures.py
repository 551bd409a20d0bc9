"""The figures of the study: each with intervals, seeds, noise floor and the data used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from wingbeat.report.figures.estimates import dot, estimate_line
from wingbeat.report.figures.marks import Box, BoxFigure, Dot, DotFigure, Section
from wingbeat.report.figures.records import Guide, Line, LineFigure
from wingbeat.report.prose import floor_text, number
from wingbeat.stats import Estimate
from wingbeat.studies.dynamics.estimates import DEFINITION_NAMES, DEFINITIONS, Definition
from wingbeat.studies.dynamics.found import DynamicsFindings, Net
from wingbeat.study.finished import over_seeds
from wingbeat.study.ranges import SHARE
from wingbeat.tasks.architectures import FAMILY_NAMES

Value = Callable[[Net], Estimate]
FAMILY_STYLE: Final = {"dense": 0, "cnn": 1, "transformer": 2}
GROUP_STYLE: Final = {"3-layer": 0, "5-layer": 5, "CNN": 1, "GPT": 2, "BERT": 3}
SAME: Final = Guide("as far apart as at the start", 1.0)
STILL: Final = Guide("neither parting nor closing", 0.0)
EVEN: Final = Guide("as much early as late", 1.0)
RATIO_LABEL: Final = "final ÷ initial spread"


def sections(found: DynamicsFindings) -> tuple[Section, ...]:
    """Return every figure of the study under its heading."""
    overview = (
        by_net(found, "ratio", "How far apart do copies end?", lambda n: n.ratio["full"],
               RATIO_LABEL, SAME, log=True),
        by_net(found, "rate", "How fast do they part?", lambda n: n.fitted, "λ per epoch", STILL),
        by_net(found, "accuracy", "How well do they learn?", lambda n: n.accuracy,
               "final accuracy"),
    )  # fmt: skip
    early = "Most of it happens early" if _mostly_early(found) else "Does it happen early or late?"
    when = by_net(found, "early-late", early, lambda n: n.early_late,
                  "early ÷ late change of ln spread", EVEN, log=True)  # fmt: skip
    return (
        ("summary", "Summary", (families(found),)),
        ("boxes", "Family by family", tuple(boxes(found, d) for d in ("full", "projected"))),
        ("spread", "Spread over training", tuple(evolution(found, f) for f in _present(found))),
        ("overview", "Overview", overview),
        (
            "size",
            "Size and depth",
            (convergence_against(found, "parameters"), convergence_against(found, "depth")),
        ),
        ("kinds", "BERT and GPT", (kinds(found),)),
        ("when", "Early or late", (when,)),
        ("variance", "Variance explained", (kept(found), explained(found))),
    )


def families(found: DynamicsFindings) -> DotFigure:
    """Mean ratio of each family under the three definitions of spread."""
    names = [FAMILY_NAMES[f.family] for f in found.families]
    dots = [
        dot(row + 0.22 * (place - 1), f.ratio[d], DEFINITION_NAMES[d], 3 + place, names[row])
        for row, f in enumerate(found.families)
        for place, d in enumerate(DEFINITIONS)
    ]
    return _ratios(
        found,
        "families",
        "The answer depends on what is called spread",
        dots,
        before="Geometric mean over nets.",
        rows=tuple(names),
        log_value=True,
    )


def boxes(found: DynamicsFindings, definition: Definition) -> BoxFigure:
    """Every net and base seed of each family, with median and quartiles."""
    column, groups = DEFINITIONS[definition], []
    for family in _present(found):
        rows = found.done[(found.done["family"] == family) & found.done[column].notna()]
        hovers = tuple(
            f"{a}, seed {s}: {number(v)}"
            for a, s, v in zip(rows["architecture"], rows["seed"], rows[column], strict=True)
        )
        values = tuple(float(v) for v in rows[column])
        groups.append(Box(FAMILY_NAMES[family], FAMILY_STYLE[family], values, hovers))
    what = {"full": "in the whole weight space", "projected": "in three principal components"}
    return BoxFigure(
        key=f"boxes-{definition}",
        title=f"Ratio of spreads {what.get(definition, DEFINITION_NAMES[definition])}",
        caption=f"Each mark is one net and base seed. {footing(found)}",
        value_label=RATIO_LABEL,
        boxes=tuple(groups),
        guides=(SAME,),
        log_value=True,
    )


def evolution(found: DynamicsFindings, family: str) -> LineFigure:
    """Spread of each net of a family over its initial spread, over the epochs."""
    table = found.study.table
    spread = table[(table["metric"] == "spread") & (table["layer"] == "")]
    nets = [n for n in found.nets if n.architecture.family == family]
    return LineFigure(
        key=f"spread-{family}",
        title=f"{FAMILY_NAMES[family]}: spread over training",
        caption="Spread in the whole weight space ÷ the initial one, geometric mean over base "
        f"seeds with its interval as a band. {footing(found, [family])}",
        x_label="epoch",
        y_label="spread ÷ initial spread",
        lines=tuple(_line(found, spread, n, style) for style, n in enumerate(nets)),
        guides=(SAME,),
        log_y=True,
    )


def _line(found: DynamicsFindings, spread: pd.DataFrame, net: Net, style: int) -> Line:
    own = found.rows(net.architecture.name)
    rows = spread[spread["key"].isin(own["key"])]
    grid = rows.pivot_table(index="step", columns="key", values="value").sort_index()
    relative = np.log((grid / grid.iloc[0]).to_numpy(dtype=np.float64))
    means = [over_seeds(row) for row in relative]
    epochs = grid.index.to_numpy(dtype=np.float64) / float(own["steps_per_epoch"].iloc[0])
    y, low, high = (
        tuple(float(np.exp(getattr(m, part))) for m in means) for part in ("value", "low", "high")
    )
    return estimate_line(
        net.architecture.name, style, epochs.tolist(), y, low=low, high=high, marked=True
    )


def convergence_against(found: DynamicsFindings, what: str) -> DotFigure:
    """Ratio of each net against its number of weights or its depth."""
    words = {"parameters": "trainable weights", "depth": "layers with weights (blocks)"}
    beside = " Nets of equal depth stand side by side." * (what == "depth")
    return _ratios(
        found,
        what,
        f"Ratio against {'size' if what == 'parameters' else 'depth'}",
        [_by_group(net, _number_of(net, what)) for net in found.nets],
        before=f"Whole weight space.{beside}",
        place_label=words[what],
        log_value=True,
        log_place=what == "parameters",
        whole_place=what == "depth",
    )


def _by_group(net: Net, place: float) -> Dot:
    group = net.architecture.group
    return dot(place, net.ratio["full"], group, GROUP_STYLE[group], net.architecture.name)


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
    aside = {"GPT": -0.15, "BERT": 0.15}
    places = [sizes.index(n.architecture.name.split()[1]) + aside[n.architecture.group]
              for n in nets]  # fmt: skip
    return _ratios(
        found,
        "kinds",
        "BERT-like and GPT-like at each size",
        [_by_group(net, place) for net, place in zip(nets, places, strict=True)],
        before="Whole weight space.",
        families=["transformer"],
        rows=tuple(sizes),
    )


def kept(found: DynamicsFindings) -> DotFigure:
    """Share of the summed variance of the copies that three components hold."""
    return _side_by_side(
        found,
        "kept",
        "What a projection to three components keeps of the spread",
        "share of the summed variance",
        (("at the start", 4, lambda n: n.kept_first), ("at the end", 3, lambda n: n.kept_last)),
    )


def explained(found: DynamicsFindings) -> DotFigure:
    """Share of the variance of all recorded points in the leading components."""
    table = found.study.table
    rows = table[table["metric"] == "pca_explained"]

    def share(components: int) -> Value:
        """Return what estimates the share that so many components explain."""
        used = rows[rows["step"] <= components].groupby("key")["value"].sum(min_count=1)

        def of_net(net: Net) -> Estimate:
            keys = found.rows(net.architecture.name)["key"]
            return over_seeds(keys.map(used).to_numpy(dtype=np.float64), within=SHARE)

        return of_net

    return _side_by_side(
        found,
        "explained",
        "How few components hold the whole path",
        "share of variance explained",
        (("first component", 3, share(1)), ("first three", 4, share(3))),
    )


def by_net(
    found: DynamicsFindings,
    key: str,
    title: str,
    value: Value,
    label: str,
    *guides: Guide,
    log: bool = False,
) -> DotFigure:
    """One value for each net, by name, coloured by family."""
    dots = []
    for row, net in enumerate(found.nets):
        family, name = net.architecture.family, net.architecture.name
        dots.append(dot(row, value(net), FAMILY_NAMES[family], FAMILY_STYLE[family], name))
    return _rows(found, key, title, label, dots, guides, log=log)


def _side_by_side(
    found: DynamicsFindings,
    key: str,
    title: str,
    label: str,
    parts: Sequence[tuple[str, int, Value]],
) -> DotFigure:
    dots = [
        dot(row + 0.3 * k - 0.15, value(net), group, style, f"{net.architecture.name} {group}")
        for k, (group, style, value) in enumerate(parts)
        for row, net in enumerate(found.nets)
    ]
    return _rows(found, key, title, label, dots)


def _rows(
    found: DynamicsFindings,
    key: str,
    title: str,
    label: str,
    dots: Sequence[Dot],
    guides: tuple[Guide, ...] = (),
    *,
    log: bool = False,
) -> DotFigure:
    names = tuple(n.architecture.name for n in found.nets)
    caption = footing(found)
    return DotFigure(key, title, caption, "", label, tuple(dots), names, guides, log_value=log)


def _ratios(
    found: DynamicsFindings,
    key: str,
    title: str,
    dots: Sequence[Dot],
    *,
    before: str,
    families: Sequence[str] | None = None,
    place_label: str = "",
    **more: Any,
) -> DotFigure:
    """Return a figure of final ÷ initial spread."""
    return DotFigure(
        key=key,
        title=title,
        caption=f"{before} {footing(found, families)}",
        place_label=place_label,
        value_label=RATIO_LABEL,
        dots=tuple(dots),
        guides=(SAME,),
        **more,
    )


def footing(found: DynamicsFindings, families_: Iterable[str] | None = None) -> str:
    """Return what every caption ends with: data, seeds, copies and noise floor."""
    rows = found.done
    if families_ is not None:
        rows = rows[rows["family"].isin(list(families_))]
    if not len(rows):
        return "The study has none of these nets."
    data = "; ".join(dict.fromkeys(str(label) for label in rows["data"]))
    seeds = _range(rows.groupby("architecture")["seed"].nunique())
    return (
        f"Data: {data}. {seeds} base seeds a net, {_range(rows['replicas'])} copies each; "
        "intervals of 95 % over base seeds (over copies where there is one seed). "
        f"{floor_text(float(rows['noise_floor'].max())).capitalize()}."
    )


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def _present(found: DynamicsFindings) -> list[str]:
    return [f.family for f in found.families]


def _mostly_early(found: DynamicsFindings) -> bool:
    values = [n.early_late.value for n in found.nets if np.isfinite(n.early_late.value)]
    return bool(values) and min(values) > 1
