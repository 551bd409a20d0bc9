"""The master table of the study as words, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wingbeat.report.study_page import ClaimRow, Table
from wingbeat.report.words import REASON_TEXT, number
from wingbeat.stats import Estimate
from wingbeat.zoo.architectures import FAMILY_NAMES
from wingbeat.zoo.dynamics_claims import Claim, Measured
from wingbeat.zoo.dynamics_summary import DEFINITION_NAMES, DEFINITIONS, FamilyFound, Found, Net


def value_text(estimate: Estimate) -> str:
    """Return a value with its interval, or why it is undefined.

    >>> value_text(Estimate(2.0, 1.0, 3.0))
    '2 [1 to 3]'
    >>> value_text(Estimate.undefined("diverged"))
    'undefined: a replica has weights or a loss that are not finite'
    """
    if estimate.reason:
        return f"undefined: {REASON_TEXT.get(estimate.reason, estimate.reason)}"
    if estimate.low != estimate.low:
        return f"{number(estimate.value)} (no interval)"
    return f"{number(estimate.value)} [{number(estimate.low)} to {number(estimate.high)}]"


def master(found: Found) -> Table:
    """Return families by name, number of nets, convergent ones, mean ratio and λ.

    Counts, ratios and rates are given in the whole weight space; ratio and count under the
    other two definitions stand beside them.
    """
    heads = (
        "family",
        "architectures",
        "convergent / open / divergent",
        "mean ratio",
        "λ per epoch",
        "accuracy",
        "mean ratio, projected",
        "convergent, projected",
        "mean ratio, deep-lyapunov",
        "convergent, deep-lyapunov",
    )
    return Table(heads, tuple(_family_row(f) for f in found.families))


def _family_row(family: FamilyFound) -> tuple[str, ...]:
    def convergent(definition: str) -> str:
        sure, open_, _ = family.counts[definition]  # type: ignore[index]
        return f"{sure} of {len(family.nets)}" + (f" ({open_} open)" if open_ else "")

    left = len(family.nets) - len(family.used)
    size = f"{len(family.nets)}" + (f" ({left} not in means: few seeds)" if left else "")
    return (
        FAMILY_NAMES[family.family],
        size,
        " / ".join(str(n) for n in family.counts["full"]),
        value_text(family.ratio["full"]),
        value_text(family.fitted),
        value_text(family.accuracy),
        value_text(family.ratio["projected"]),
        convergent("projected"),
        value_text(family.ratio["legacy"]),
        convergent("legacy"),
    )


def nets(found: Found) -> Table:
    """Return every architecture with its ratio under each definition, λ and accuracy."""
    heads = (
        "architecture",
        "weights",
        "seeds",
        "verdict",
        *(f"ratio, {DEFINITION_NAMES[d]}" for d in DEFINITIONS),
        "λ per epoch",
        "early ÷ late",
        "accuracy",
    )
    return Table(heads, tuple(_net_row(n) for n in found.nets))


def _net_row(net: Net) -> tuple[str, ...]:
    return (
        net.architecture.name,
        f"{net.architecture.parameters:,}",
        str(len(net.seeds)),
        net.behavior["full"],
        *(value_text(net.ratio[d]) for d in DEFINITIONS),
        value_text(net.fitted),
        value_text(net.early_late),
        value_text(net.accuracy),
    )


def claim_rows(claims: Sequence[Claim]) -> tuple[ClaimRow, ...]:
    """Return the claims as words."""
    return tuple(
        ClaimRow(
            c.text,
            c.quantity,
            c.note.rstrip("."),
            tuple((_claim_value(m), m.ruling) for m in c.measured.values()),
        )
        for c in claims
    )


def _claim_value(found: Measured) -> str:
    estimate = found.estimate
    if not found.whole or estimate.reason:
        return value_text(estimate)
    low, high = int(estimate.low), int(estimate.high)
    return f"{int(estimate.value)}" if low == high else f"{low} to {high}"


def markdown(table: Table) -> str:
    """Return a table as Markdown.

    >>> print(markdown(Table(("a", "b"), (("1", "x|y"),))))
    | a | b |
    | --- | --- |
    | 1 | x\\|y |
    """
    rows = (table.heads, ("---",) * len(table.heads), *table.rows)
    return "\n".join(
        f"| {' | '.join(c.replace('|', chr(92) + '|') for c in row)} |" for row in rows
    )


def latex(table: Table, caption: str) -> str:
    """Return a table as LaTeX with booktabs rules.

    >>> print(latex(Table(("a",), (("1 %",),)), "c").splitlines()[3])
    a \\\\
    """
    lines = [
        r"\begin{table}",
        rf"\caption{{{_tex(caption)}}}",
        rf"\begin{{tabular}}{{{'l' * len(table.heads)}}} \toprule",
        f"{' & '.join(_tex(h) for h in table.heads)} \\\\",
        r"\midrule",
        *(f"{' & '.join(_tex(c) for c in row)} \\\\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


_POWERS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_TEX = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "λ": r"$\lambda$",
    "÷": r"$\div$",
    "×": r"$\times$",
    "−": r"$-$",
    "∞": r"$\infty$",
}


def _tex(text: str) -> str:
    return "".join(_pieces(text))


def _pieces(text: str) -> Iterator[str]:
    """Yield letters as LaTeX takes them; a run of superscripts becomes one exponent."""
    power = ""
    for letter in text:
        if letter in "⁻⁰¹²³⁴⁵⁶⁷⁸⁹":
            power += letter
            continue
        if power:
            yield f"$^{{{power.translate(_POWERS)}}}$"
            power = ""
        yield _TEX.get(letter, letter)
    if power:
        yield f"$^{{{power.translate(_POWERS)}}}$"
