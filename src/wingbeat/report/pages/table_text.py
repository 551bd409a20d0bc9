r"""Tables of a page as Markdown and as LaTeX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wingbeat.report.figures.table import Table


def markdown(table: Table) -> str:
    r"""Return a table as Markdown.

    >>> from wingbeat.report.figures.table import Table
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

    >>> from wingbeat.report.figures.table import Table
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
