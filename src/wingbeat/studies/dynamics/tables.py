"""The master table of the study as words, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isnan

from wingbeat.errors import REASON_TEXT, TOO_FEW_SEEDS
from wingbeat.report.figures.table import Table
from wingbeat.report.pages.study import ClaimRow
from wingbeat.report.prose import number
from wingbeat.stats import Estimate
from wingbeat.studies.dynamics.claims import Claim, Measured
from wingbeat.studies.dynamics.estimates import DEFINITION_NAMES, DEFINITIONS, Definition
from wingbeat.studies.dynamics.summary import FamilyFound, Found, Net
from wingbeat.tasks.architectures import FAMILY_NAMES


def value_text(estimate: Estimate) -> str:
    """Return a value with its interval, or why it is undefined.

    >>> value_text(Estimate(2.0, 1.0, 3.0))
    '2 [1 to 3]'
    >>> value_text(Estimate.undefined("diverged"))
    'undefined: a replica has weights or a loss that are not finite'
    """
    if estimate.reason == TOO_FEW_SEEDS:
        return "undefined: too few base seeds or nets"
    if estimate.reason:
        return f"undefined: {REASON_TEXT.get(estimate.reason, estimate.reason)}"
    if isnan(estimate.low):
        return f"{number(estimate.value)} (no interval)"
    return f"{number(estimate.value)} [{number(estimate.low)} to {number(estimate.high)}]"


def master(found: Found) -> Table:
    """Return families: number of nets, convergent ones, mean ratio, λ and accuracy.

    All in the whole weight space; ``by_definition`` has the other definitions.
    """
    heads = (
        "family",
        "architectures",
        "convergent / open / divergent",
        "mean ratio",
        "λ per epoch",
        "accuracy",
    )
    return Table(heads, tuple(_family_row(f) for f in found.families))


def _family_row(family: FamilyFound) -> tuple[str, ...]:
    left = len(family.nets) - len(family.used)
    size = f"{len(family.nets)}" + (f" ({left} not in means: few seeds)" if left else "")
    return (
        FAMILY_NAMES[family.family],
        size,
        " / ".join(str(n) for n in family.counts["full"]),
        value_text(family.ratio["full"]),
        value_text(family.fitted),
        value_text(family.accuracy),
    )


def nets(found: Found) -> Table:
    """Return every architecture with its ratio in full space, λ and accuracy."""
    heads = (
        "architecture",
        "weights",
        "seeds",
        "ratio",
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
        f"{value_text(net.ratio['full'])}, {net.behavior['full']}",
        value_text(net.fitted),
        value_text(net.early_late),
        value_text(net.accuracy),
    )


def by_definition(found: Found) -> Table:
    """Return the ratio of families and architectures under each definition of spread."""
    rows = [
        (
            f"{FAMILY_NAMES[f.family]}, mean",
            *(f"{value_text(f.ratio[d])}; {_convergent(f, d)}" for d in DEFINITIONS),
        )
        for f in found.families
    ]
    rows += [
        (n.architecture.name, *(f"{value_text(n.ratio[d])}, {n.behavior[d]}" for d in DEFINITIONS))
        for n in found.nets
    ]
    return Table(("ratio", *DEFINITION_NAMES.values()), tuple(rows))


def _convergent(family: FamilyFound, definition: Definition) -> str:
    sure, open_, _ = family.counts[definition]
    return f"{sure} of {len(family.nets)} convergent" + (f", {open_} open" if open_ else "")


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
    r"""Return a table as Markdown.

    >>> print(markdown(Table(("a", "b"), (("1", "x|y"),))))
    | a | b |
    | --- | --- |
    | 1 | x\|y |
    """
    rows = (table.heads, ("---",) * len(table.heads), *table.rows)
    escaped = ([cell.replace("|", r"\|") for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def latex(table: Table, caption: str) -> str:
    r"""Return a table as LaTeX with booktabs rules.

    >>> print(latex(Table(("a",), (("1 %",),)), "c").splitlines()[3])
    a \\
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
