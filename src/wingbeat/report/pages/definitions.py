"""The definitions behind the numbers, in plain text, and how to cite a run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from wingbeat.measure.metric import UNORDERED, Definition, Metric, known_here
from wingbeat.measure.scalars import SCALARS
from wingbeat.report.result_access import ResultLike
from wingbeat.version import __version__

GENERAL: Final = (
    Definition(
        "reference, replica, null twin",
        "",
        "The reference is the run without any nudge. A replica is a copy of it that was nudged "
        "once and then saw the same batches, augmentation and dropout masks, unless the nudge "
        "was to change one of these. The null twin is a copy that was not nudged at all.",
    ),
    Definition(
        "size of a perturbation",
        "‖w_i(t₀) − w_ref(t₀)‖₂",
        "How far the nudge really moved the weights, after rounding to their precision: mean and "
        "range over the replicas. 0 for a perturbation that changes a source of noise instead.",
    ),
    Definition(
        "copies that grew",
        "‖w_i(T) − w_ref(T)‖₂ > ‖w_i(t₀) − w_ref(t₀)‖₂",
        "How many replicas end further from the reference than they began, and above the noise "
        "floor.",
    ),
    Definition(
        "noise floor",
        "max over steps of ‖w_null(t) − w_ref(t)‖₂",
        "What the execution alone adds. Exactly 0 means that equal inputs gave equal bits; a "
        "distance at or below a floor above 0 is undefined.",
    ),
    Definition(
        "verdict",
        "convergent: whole interval below 1; divergent: whole interval above 1",
        "Undetermined in every other case, also when the ratio or its interval is undefined.",
    ),
)
"""Terms of every report that no metric and no scalar declares."""


def definitions(result: ResultLike) -> tuple[Definition, ...]:
    """Return the terms of a report.

    General ones, those of the summary, those of the metrics, and last the metrics of others that
    the result holds and that declare no term.
    """
    measured = set(result.table["metric"].unique())
    every = known_here()
    declared = [term for found in every for term in found.definitions]
    others = [found for found in every if found.order == UNORDERED and measured & set(found.rows)]
    own = [_own(found) for found in others if not found.definitions]
    scalars = [found.definition for found in SCALARS if found.definition is not None]
    return (*GENERAL, *scalars, *declared, *own)


def _own(found: Metric) -> Definition:
    direction = f"{found.direction[:1].upper()}{found.direction[1:]}"
    return Definition(found.label, "", f"{found.caption}. Unit: {found.unit}. {direction}.")


def version(result: ResultLike) -> str:
    """Return the wingbeat version that made a result, as far as it is known."""
    found = result.environment.get("wingbeat")
    return found if isinstance(found, str) else __version__


def run_key(condition: Mapping[str, Any]) -> str:
    """Return twelve hexadecimal digits that name what was asked.

    >>> run_key({"b": 1, "a": 2}) == run_key({"a": 2, "b": 1})
    True
    """
    text = json.dumps(condition, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def bibtex(result: ResultLike) -> str:
    """Return a BibTeX entry for a run: the software, its version and the definitions used."""
    key = run_key(result.condition)
    return "\n".join(
        [
            f"@software{{wingbeat-{key},",
            "  author  = {{The wingbeat developers}},",
            (
                "  title   = {wingbeat: how sensitive is a neural network's training to its "
                "starting point?},"
            ),
            f"  version = {{{_bibtex_text(version(result))}}},",
            f"  note    = {{Run {key}. Spread: root of the variance of all trainable weights over",
            "             the perturbed replicas, summed, in float64; convergence ratio: final",
            "             divided by initial spread; exponent: least-squares slope of the",
            "             logarithm of the distance against the step.}",
            "}",
        ]
    )


def _bibtex_text(text: str) -> str:
    """Keep what cannot end or alter a BibTeX field."""
    return re.sub(r"[^\w.+ -]", "", text)
