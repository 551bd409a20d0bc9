"""The figures of the study: each with intervals, seeds, noise floor and the data used."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from wingbeat.report.figures.estimates import dot, line
from wingbeat.report.figures.marks import Box, BoxFigure, DotFigure, StudyFigure
from wingbeat.report.figures.records import Line, LineFigure
from wingbeat.report.prose import number
from wingbeat.stats import Estimate
from wingbeat.studies.dynamics.estimates import (
    DEFINITION_NAMES,
    DEFINITIONS,
    Definition,
)
from wingbeat.studies.dynamics.found import DynamicsFindings, Net
from wingbeat.studies.dynamics.marks import (
    FAMILY_STYLE,
    RATIO_LABEL,
    SAME,
    family_name,
    footing,
    present,
)
from wingbeat.studies.dynamics.net_figures import (
    against,
    by_net,
    early_late,
    explained,
    kept,
    kinds,
)
from wingbeat.study.finished import over_seeds

Section = tuple[str, str, tuple[StudyFigure, ...]]


def sections(found: DynamicsFindings) -> tuple[Section, ...]:
    """Return every figure of the study under its heading."""
    nets = found.nets
    return (
        (
            ("summary", "Summary", (families(found),)),
            ("boxes", "Family by family", tuple(boxes(found, d) for d in ("full", "projected"))),
            ("spread", "Spread over training", tuple(evolution(found, f) for f in present(found))),
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


def families(found: DynamicsFindings) -> DotFigure:
    """Mean ratio of each family under the three definitions of spread."""
    shown = found.families
    dots = [
        dot(
            row + 0.22 * (place - 1),
            f.ratio[d],
            DEFINITION_NAMES[d],
            3 + place,
            family_name(f.family),
        )
        for row, f in enumerate(shown)
        for place, d in enumerate(DEFINITIONS)
    ]
    return DotFigure(
        key="families",
        title="The answer depends on what is called spread",
        caption=f"Geometric mean over nets. {footing(found, [f.family for f in shown])}",
        place_label="",
        value_label=RATIO_LABEL,
        dots=tuple(dots),
        rows=tuple(family_name(f.family) for f in shown),
        guides=(SAME,),
        log_value=True,
    )


def boxes(found: DynamicsFindings, definition: Definition) -> BoxFigure:
    """Every net and base seed of each family, with median and quartiles."""
    column, groups = DEFINITIONS[definition], []
    for family in present(found):
        rows = found.done[(found.done["family"] == family) & found.done[column].notna()]
        hovers = tuple(
            f"{a}, seed {s}: {number(v)}"
            for a, s, v in zip(rows["architecture"], rows["seed"], rows[column], strict=True)
        )
        values = tuple(float(v) for v in rows[column])
        groups.append(Box(family_name(family), FAMILY_STYLE[family], values, hovers))
    what = {"full": "in the whole weight space", "projected": "in three principal components"}
    return BoxFigure(
        key=f"boxes-{definition}",
        title=f"Ratio of spreads {what.get(definition, DEFINITION_NAMES[definition])}",
        caption=f"Each mark is one net and base seed. {footing(found, present(found))}",
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
    lines = tuple(_line(found, spread, n, style) for style, n in enumerate(nets))
    return LineFigure(
        key=f"spread-{family}",
        title=f"{family_name(family)}: spread over training",
        caption=(
            "Spread in the whole weight space ÷ the initial one, geometric mean over base seeds "
            f"with its interval as a band. {footing(found, [family])}"
        ),
        x_label="epoch",
        y_label="spread ÷ initial spread",
        lines=lines,
        guides=(SAME,),
        log_y=True,
    )


def _line(found: DynamicsFindings, spread: pd.DataFrame, net: Net, style: int) -> Line:
    own = found.done[found.done["architecture"] == net.architecture.name]
    rows = spread[spread["key"].isin(own["key"])]
    grid = rows.pivot_table(index="step", columns="key", values="value").sort_index()
    relative = np.log((grid / grid.iloc[0]).to_numpy(dtype=np.float64))
    means = [over_seeds(row) for row in relative]
    epochs = grid.index.to_numpy(dtype=np.float64) / float(own["steps_per_epoch"].iloc[0])
    y, low, high = (
        tuple(float(np.exp(getattr(m, part))) for m in means) for part in ("value", "low", "high")
    )
    return line(net.architecture.name, style, epochs.tolist(), y, low=low, high=high, marked=True)


def _ratio_of(definition: Definition) -> Callable[[Net], Estimate]:
    return lambda net: net.ratio[definition]
