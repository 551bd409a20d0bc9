"""The page of the study of topology."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wingbeat.report.figures.estimates import estimate_text, table_of
from wingbeat.studies.topology.claims import (
    POOLING_NAMES,
    RULE_NAMES,
    correlation_of,
)
from wingbeat.studies.topology.figures import sections
from wingbeat.studies.topology.found import ACCURACY, MEASURED, SCOPES, TopologyFindings
from wingbeat.studies.topology.measure import RULES
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.finished import estimate_in
from wingbeat.study.verdicts import FAILS, HOLDS

if TYPE_CHECKING:
    from wingbeat.report.figures.table import Table

_TRAINED: Final = (
    "Every net is trained with copies whose weights start 1 % away from its own, as in the study "
    "of training dynamics: do they part? Beside that, 200 samples that it never saw go through the "
    "net before and after training: how do they lie in each hidden layer?"
)
_RATIO: Final = (
    "The expansion ratio of ToDACoMM is the longest spanning tree of the samples over all layers ÷ "
    "that of what goes in (a raw lookup table; the input, where there is none) for decoders, ÷ "
    "that of the first layer (the embedding block with its norm; the first, where there is none) "
    "for encoders. It follows the scale of the activations. The scaled tree length and the loops, "
    "in units of the mean distance, do not."
)
_DEFINITIONS: Final = {
    "expansion ratio": "Longest minimum spanning tree of the samples over the hidden layers ÷ that "
    "of what goes in, or of the first layer. The finite bars in degree 0 sum to that length; the "
    "bar that never ends is left out. All features of a layer, without principal components.",
    "scaled tree length": "Tree length ÷ ((n − 1) · mean distance), mean over the hidden layers; a "
    "dimension in disguise: .10 in two dimensions, .31 in five, .77 in fifty.",
    "loops": "Summed length of the bars in degree 1 of 128 landmarks (each the farthest from those "
    "before) in units of the mean distance, mean over the hidden layers; coefficients in Z/2.",
    "final ÷ initial spread": "Of the nudged copies around their mean in the whole weight space: "
    "above 1 they part.",
    "rank correlation": "Spearman's across nets. For nets like these all base seeds are in, and "
    "the interval (Bonett and Wright) and p by permutation count nets. For these nets it is taken "
    "within each base seed, and the interval is Student's over base seeds.",
    "intervals": "95 %: of a net, Student's over base seeds, of ratios on logarithms.",
}


_OUTCOMES: Final = {
    "convergence_ratio": "the final ÷ initial spread",
    "lyapunov_per_epoch": "λ per epoch",
}


def content(found: Analysis) -> PageContent:
    """Return what the page says and shows."""
    own: TopologyFindings = found.own
    data = dict.fromkeys(zip(own.done["family"], own.done["data"], strict=True))
    return PageContent(
        headline=headline(found),
        intro=(_TRAINED, _RATIO),
        facts=(
            ("nets", str(len(own.nets)), "architectures"),
            ("base seeds", str(own.done["seed"].nunique()), "at most, for each net"),
            *_facts(found),
        ),
        definitions=_DEFINITIONS,
        sections=sections(own),
        tables=(
            ("nets", "Nets: growth of nudges, expansion", _nets(own, _SCALE)),
            ("shapes", "Nets: without scale", _nets(own, _SHAPE)),
            *(
                (f"with-{i}", f"Rank correlation with {words}", _correlations(found, outcome))
                for i, (outcome, words) in enumerate(_OUTCOMES.items())
            ),
            ("conventions", "Decoder and encoder under each convention", _conventions(found)),
        ),
        alarms=tuple(_alarms(own)),
        asked=[(str(family), str(label)) for family, label in data],
    )


def headline(found: Analysis) -> str:
    """Return the answer to the question: of exactly these nets, and of nets like these."""
    own: TopologyFindings = found.own
    said = {HOLDS: "yes", FAILS: "they expand less"}
    words = []
    for nets in ("these nets", "nets like these"):
        given = [c.verdict for c in found.claims if c.part.startswith(f"{nets}, all")]
        both = [said.get(verdict, "open") for verdict in given]
        rules = zip(both, ("what goes in", "the first layer"), strict=True)
        apart = ", ".join(f"divided by {rule} {word}" for word, rule in rules)
        words.append(both[0] if len(set(both)) == 1 else apart)
    return (
        f"Do nets whose copies part expand more? Among these {len(own.nets)}: {words[0]}. "
        f"For nets like these: {words[1]}."
    )


def _facts(found: Analysis) -> list[tuple[str, str, str]]:
    table = found.tables["correlations"]
    return [
        (f"expansion {RULE_NAMES[rule]}", estimate_text(value), "rank correlation, all nets")
        for rule in RULES
        if (
            value := correlation_of(table, f"expansion_{rule}_end", "convergence_ratio", "all nets")
        )
    ]


def _alarms(own: TopologyFindings) -> list[str]:
    stand_ins = own.done[own.done["stand_in"].astype(bool)]["data"]
    said = [
        f"Not the data of the study of dynamics: {label}." for label in dict.fromkeys(stand_ins)
    ]
    if own.plan.quick:
        said.append("Quick study: few samples and epochs; its verdicts are about short trainings.")
    return said


_SCALE: Final = {
    "convergence_ratio": "spread, final ÷ initial",
    "lyapunov_per_epoch": "λ per epoch",
    "expansion_input_start": "÷ input, untrained",
    "expansion_input_end": "÷ input, trained",
    "expansion_layer_start": "÷ first layer, untrained",
    "expansion_layer_end": "÷ first layer, trained",
    ACCURACY: "accuracy",
}
_SHAPE: Final = {
    "h0_start": "scaled tree length, untrained",
    "h0_end": "scaled tree length, trained",
    "h1_start": "loops, untrained",
    "h1_end": "loops, trained",
}
_GROWTH: Final = {
    "growth_input": "÷ input, trained ÷ untrained",
    "growth_layer": "÷ first layer, trained ÷ untrained",
}


def _nets(own: TopologyFindings, names: dict[str, str]) -> Table:
    rows = [(n.architecture.name, *(n.values[name] for name in names)) for n in own.nets]
    return table_of(("net", *names.values()), rows)


def _correlations(found: Analysis, outcome: str) -> Table:
    """Return each number's correlation with the growth of nudges; the CSV has p too."""
    rows = found.tables["correlations"]
    words = {**_SCALE, **_GROWTH, **_SHAPE}
    told = [
        (words[name], *(correlation_of(rows, name, outcome, scope) or "–" for scope in SCOPES))
        for name in MEASURED
    ]
    return table_of(("what", *SCOPES), told)


def _conventions(found: Analysis) -> Table:
    told = [
        (
            row["kind"],
            RULE_NAMES[row["rule"]],
            POOLING_NAMES[row["pooling"]],
            {"start": "untrained", "end": "trained"}[row["when"]],
            estimate_in(row, "ratio"),
        )
        for _, row in found.tables["conventions"].iterrows()
    ]
    return table_of(("net", "denominator", "words", "when", "expansion ratio"), told)
