"""The definitions behind the numbers, in plain text, and how to cite a run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final, NamedTuple

from wingbeat.report.reading import ResultLike


class Definition(NamedTuple):
    """A term, its formula in plain text and what it means."""

    term: str
    formula: str
    meaning: str


DEFINITIONS: Final = (
    Definition(
        "reference, replica, null twin",
        "",
        "The reference is the run without any nudge. A replica is a copy of it that was nudged "
        "once and then saw the same batches, augmentation and dropout masks, unless the nudge "
        "was to change one of these. The null twin is a copy that was not nudged at all.",
    ),
    Definition(
        "noise floor",
        "max over steps of ‖w_null(t) − w_ref(t)‖₂",
        "What the execution alone adds. Exactly 0 means that equal inputs gave equal bits; a "
        "distance at or below a floor above 0 is undefined.",
    ),
    Definition(
        "distance (L2)",
        "‖w_i(t) − w_ref(t)‖₂ over all trainable weights",
        "0 = identical. The relative distance divides it by ‖w_ref(t)‖₂.",
    ),
    Definition(
        "spread",
        "spread(t) = √( Σ_p Var_i w_ip(t) )",
        "Variance over the perturbed replicas i of one perturbation (divided by their number), "
        "summed over all trainable weights p, in float64. 0 = identical.",
    ),
    Definition(
        "convergence ratio",
        "spread(T) ÷ spread(t₀)",
        "t₀ is the step of the nudge, T the last. Below 1 the copies drew together, above 1 "
        "they drifted apart.",
    ),
    Definition(
        "verdict",
        "convergent: whole interval below 1; divergent: whole interval above 1",
        "Undetermined in every other case, also when the ratio or its interval is undefined.",
    ),
    Definition(
        "projected ratio",
        "as the convergence ratio, after projection to the leading principal components",
        "Shown beside the ratio of the full space with the share of variance it keeps; the two "
        "can disagree about the direction.",
    ),
    Definition(
        "exponent λ (finite time)",
        "slope of ln distance against step, least squares over the window",
        "Unit 1/step. The window ends before the distance saturates. Above 0 a small distance "
        "grows, below 0 it shrinks. The two-point value is (ln d(T) − ln d(t₀)) ÷ (T − t₀).",
    ),
    Definition(
        "local exponent",
        "(ln spread(t₂) − ln spread(t₁)) ÷ (t₂ − t₁) between two records",
        "Unit 1/step; drawn over the interval it belongs to.",
    ),
    Definition(
        "early/late ratio",
        "mean |Δ ln spread| per step, first half ÷ second half",
        "Above 1 the spread changes mostly early in training.",
    ),
    Definition(
        "participation ratio",
        "(Σ μ)² ÷ Σ μ²",
        "μ are the eigenvalues of the covariance of the snapshots: the number of directions "
        "that carry the variance, 1 when all lies on a line.",
    ),
    Definition(
        "disagreement",
        "share of held-out cases with argmax f_i(x) ≠ argmax f_ref(x)",
        "0 = the same class everywhere, 1 = another class everywhere.",
    ),
    Definition(
        "barrier",
        "max over α of ℓ((1−α)w_ref + αw_i) − [(1−α)ℓ(w_ref) + αℓ(w_i)]",
        "In units of the loss, or a share of errors; 0 = the loss nowhere rises above the line "
        "between its ends. Running statistics of batch norm are estimated anew at every α.",
    ),
    Definition(
        "aligned",
        "‖w_ref − P w_i‖₂, and the barrier between w_ref and P w_i",
        "P permutes the units of a replica onto the reference's by weight matching and leaves "
        "what it computes as it is. 0 = the same up to permutation.",
    ),
    Definition(
        "angular CKA",
        "arccos CKA, CKA = HSIC(X, Y) ÷ √(HSIC(X, X) HSIC(Y, Y)), debiased",
        "X and Y are a layer's activations in two replicas on the same samples. 0 = the same up "
        "to rotation and scale, π/2 = unrelated.",
    ),
    Definition(
        "ensemble gain",
        "mean loss of the replicas − loss of the mean of their probabilities",
        "In nats, above 0 = the ensemble is better. Diversity is disagreement with the reference "
        "÷ the replica's own error rate.",
    ),
)


def version(result: ResultLike) -> str:
    """Return the wingbeat version that made a result, as far as it is known."""
    found = result.environment.get("wingbeat")
    return found if isinstance(found, str) else metadata.version("wingbeat")


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
