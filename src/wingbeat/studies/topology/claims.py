"""The article's open question and the published findings, each judged by its interval."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.report.figures.estimates import estimate_text
from wingbeat.stats import Estimate
from wingbeat.studies.dynamics.estimates import exponential, logarithms
from wingbeat.studies.needed import Needed, of_groups, of_seeds, unknown
from wingbeat.studies.topology.found import TopologyFindings, of_shared_seeds, within_seeds
from wingbeat.studies.topology.measure import RULES
from wingbeat.study.correlation import correlation
from wingbeat.study.finished import estimate_in, over_seeds
from wingbeat.study.ranges import AT_LEAST_0, CORRELATION
from wingbeat.study.verdicts import UNDETERMINED, Claim, judge
from wingbeat.tasks.architectures import FAMILIES, FAMILY_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from wingbeat.study.analysis import Analysis
    from wingbeat.typing import Array

RULE_NAMES: Final = {"input": "÷ input or lookup table", "layer": "÷ first layer"}
POOLING_NAMES: Final = {"mean": "mean of the words", "read": "the word that is read"}
FLAT: Final = 0.05
"""Span of the scaled length over layers that counts as flat; the published one is .01."""
DIVIDE: Final = 27.5
"""The smallest published ratio of a decoder, 55, ÷ that of the encoder, 2."""
CLOSE: Final = 0.9
"""Rank correlation from which on one number can stand for another."""
JUDGED: Final = ("all nets", "dense nets")
"""Five CNNs say nothing of others: their intervals span all but everything."""
PARTING: Final = "divergent-expand"
"""The article's open question."""


def claims(found: Analysis) -> tuple[Claim, ...]:
    """Return every claim with its verdict, the article's question first."""
    own: TopologyFindings = found.own
    return (
        *_parting(own, found.tables["correlations"]),
        *_without_scale(found.tables["correlations"]),
        *_scale(own),
        *_learned(own),
        *_divide(own),
        *_conventions(own),
        *_flat(own),
    )


def _claim(
    ident: str,
    text: str,
    published: str,
    part: str,
    found: Estimate | None,
    bound: float,
    *,
    above: bool = True,
    note: str = "",
    needed: Needed = unknown,
) -> Claim:
    measured = "–" if found is None else estimate_text(found)
    verdict, seeds = judge(found, bound, above=above), 0
    if verdict == UNDETERMINED:
        more, seeds = needed()
        note = " ".join(filter(None, (note, more)))
    return Claim(ident, text, published, measured, verdict, note, part, seeds)


def among_these(table: pd.DataFrame, measured: str, outcome: str, scope: str) -> Estimate | None:
    """Return the mean over base seeds of the correlation within each; None if not run."""
    row = _row(table, measured, outcome, scope)
    return None if row is None else estimate_in(row, "among_these")


def _row(table: pd.DataFrame, measured: str, outcome: str, scope: str) -> pd.Series | None:
    rows = table[table["scope"] == scope] if len(table) else table
    if not len(rows):
        return None
    return rows[(rows["measured"] == measured) & (rows["outcome"] == outcome)].iloc[0]


def correlation_of(table: pd.DataFrame, measured: str, outcome: str, scope: str) -> Estimate | None:
    """Return one correlation of the table as an estimate; None where the nets were not run."""
    row = _row(table, measured, outcome, scope)
    if row is None:
        return None
    if not np.isfinite(row["value"]):
        return Estimate.undefined(str(row["reason"]))
    return Estimate(row["value"], row["low"], row["high"], interval_reason=str(row["reason"]))


def _parting(own: TopologyFindings, table: pd.DataFrame) -> Iterator[Claim]:
    """Judge the question by both rules: of nets like these, and of exactly these nets."""
    note = (
        "Rank correlation of the trained net's ratio with the final ÷ initial spread of nudged "
        "copies: for nets like these its interval counts nets, for these nets base seeds."
    )
    for scope in JUDGED:
        for rule in RULES:
            for nets, read in (("nets like these", correlation_of), ("these nets", among_these)):
                found = read(table, f"expansion_{rule}_end", "convergence_ratio", scope)
                yield _claim(
                    PARTING,
                    "Architectures with divergent weight trajectories expand more.",
                    "open (ToDACoMM's plan; nothing was run)",
                    f"{nets}, {scope}, {RULE_NAMES[rule]}",
                    found,
                    0.0,
                    note=note,
                    needed=of_groups(found, 0.0)
                    if read is correlation_of
                    else _of_these(own, scope, f"expansion_{rule}_end"),
                )
                note = ""


def _of_these(own: TopologyFindings, scope: str, measured: str) -> Needed:
    """Return how many base seeds would decide a correlation among exactly these nets."""

    def needed() -> tuple[str, int]:
        each = within_seeds(own.of_scope(scope), measured, "convergence_ratio")
        return of_seeds([one.value for one in each], 0.0, CORRELATION)()

    return needed


def _without_scale(table: pd.DataFrame) -> Iterator[Claim]:
    for name, words in (("h0_end", "scaled tree length"), ("h1_end", "loops")):
        for scope in JUDGED:
            found = correlation_of(table, name, "convergence_ratio", scope)
            yield _claim(
                "divergent-shape",
                "What follows no scale is larger too where copies part more.",
                "open",
                f"{words}, {scope}",
                found,
                0.0,
                needed=of_groups(found, 0.0),
            )


def _scale(own: TopologyFindings) -> Iterator[Claim]:
    """Judge whether a ratio of mean distances, without any topology, ranks the nets alike."""
    note = "Rank correlation over nets of the ratio of tree lengths with that of mean distances."
    for rule in RULES:
        names = [f"{what}_{rule}_end" for what in ("expansion", "size")]
        rows = of_shared_seeds(own.done).dropna(subset=names)
        codes = rows["architecture"].astype("category").cat.codes.tolist()
        x, y = (rows[name].to_numpy(float) for name in names)
        found = correlation(x, y, groups=codes)
        yield _claim(
            "scale",
            "The expansion ratio is a ratio of scales: mean distances rank the nets alike.",
            "it multiplies with the activations",
            RULE_NAMES[rule],
            found,
            CLOSE,
            note=note,
            needed=of_groups(found, CLOSE),
        )
        note = ""


def _learned(own: TopologyFindings) -> Iterator[Claim]:
    for family in FAMILIES:
        for rule in RULES:
            yield _claim(
                "learned",
                "Expansion is learned: a trained net's ratio exceeds its own at initialisation.",
                "random weights give as much (MiniLM: 33 for 18)",
                f"{FAMILY_NAMES[family]}, {RULE_NAMES[rule]}",
                own.mean(family, f"growth_{rule}") if own.family(family) else None,
                1.0,
                needed=of_seeds(own.means(family, f"growth_{rule}"), 0.0),
            )


def _divide(own: TopologyFindings) -> Iterator[Claim]:
    """Judge decoders against encoders: each by its own rule, then both by one."""
    published = {"input": "GPT", "layer": "BERT"}
    for pooling, words in POOLING_NAMES.items():
        for name, rules in (
            ("each by its own rule", ("input", "layer")),
            ("both by the lookup table", ("input", "input")),
            ("both by the embedding block", ("layer", "layer")),
        ):
            moments = (("end", "trained"), ("start", "untrained"))
            for when, moment in moments[: 2 if rules[0] != rules[1] else 1]:
                columns = [f"expansion_{rule}_{pooling}_{when}" for rule in rules]
                logs = log_quotients(own, tuple(published.values()), columns)
                yield _claim(
                    "divide",
                    "Decoders expand more than encoders.",
                    "55 to 694 against 2",
                    f"{name}, {words}, {moment}",
                    None if logs is None else exponential(over_seeds(logs)),
                    1.0,
                    needed=unknown if logs is None else of_seeds(logs, 0.0),
                )


def log_quotients(
    own: TopologyFindings, kinds: tuple[str, ...], columns: list[str]
) -> Array | None:
    """Return ln of one kind's value in one column ÷ another's in another, in each base seed.

    Args:
        own: the study's numbers.
        kinds: groups of nets; geometric means are taken over the sizes that both have, and over
            the base seeds that all of these nets have.
        columns: one for each kind.

    Returns:
        One for each base seed; None where the kinds have no size in common.
    """
    nets = [{n.architecture.size: n for n in own.family(kind)} for kind in kinds]
    sizes = sorted(set(nets[0]) & set(nets[1]))
    if not sizes:
        return None
    pairs = [
        [n[size].rows.set_index("seed")[c] for n, c in zip(nets, columns, strict=True)]
        for size in sizes
    ]
    shared = sorted(set.intersection(*(set(x.index) for pair in pairs for x in pair)))
    logs = [logarithms(a.loc[shared]) - logarithms(b.loc[shared]) for a, b in pairs]
    return np.asarray(np.mean(logs, axis=0))


def _conventions(own: TopologyFindings) -> Iterator[Claim]:
    for kind in ("GPT", "BERT"):
        for pooling, words in POOLING_NAMES.items():
            columns = [f"expansion_{rule}_{pooling}_end" for rule in RULES]
            logs = log_quotients(own, (kind, kind), columns)
            yield _claim(
                "conventions",
                "The two denominators alone make a divide of the published size, in one net.",
                "27.5 = 55 ÷ 2",
                f"{kind}, {words}",
                None if logs is None else exponential(over_seeds(logs)),
                DIVIDE,
                needed=unknown if logs is None else of_seeds(logs, log(DIVIDE)),
            )


def _flat(own: TopologyFindings) -> Iterator[Claim]:
    note = "Largest − smallest scaled tree length over the hidden layers, mean over nets."
    for family in FAMILIES:
        for when, moment in (("end", "trained"), ("start", "untrained")):
            column = f"h0_span_{when}"
            there = bool(own.family(family))
            left = own.left_out(family, column) if there else 0
            more = f" {left} nets with a layer that lost all difference are left out." * bool(left)
            yield _claim(
                "flat",
                f"Divided by scale, degree 0 is flat over the layers: it spans less than {FLAT}.",
                ".65 to .66 (MiniLM, trained)",
                f"{FAMILY_NAMES[family]}, {moment}",
                own.mean(family, column, log=False) if there else None,
                FLAT,
                above=False,
                note=(note + more).strip(),
                needed=of_seeds(own.means(family, column, log=False), FLAT, AT_LEAST_0)
                if there
                else unknown,
            )
            note = ""
