"""`wingbeat metrics` and `wingbeat perturbations`: what can be asked for, a line each."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wingbeat.cli.options import Json
from wingbeat.files import strict_json
from wingbeat.measure.metric import in_order
from wingbeat.replicas.perturb import PERTURBATIONS, size_field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Facts = Mapping[str, Any]

Markdown = Annotated[bool, typer.Option("--markdown", help="Print the table of the documentation.")]


def metrics(as_json_text: Json = False, markdown: Markdown = False) -> None:
    """List every metric: built in, or announced by an installed package."""
    _tell(metric_facts(), as_json_text=as_json_text, markdown=markdown, shown=_OF_METRICS)


def perturbations(as_json_text: Json = False, markdown: Markdown = False) -> None:
    """List every perturbation: built in, or announced by an installed package."""
    _tell(
        perturbation_facts(), as_json_text=as_json_text, markdown=markdown, shown=_OF_PERTURBATIONS
    )


_OF_METRICS = {
    "name": "name",
    "needs": "needs",
    "by_default": "by default",
    "unit": "unit",
    "direction": "reads",
}
_OF_PERTURBATIONS = {"kind": "kind", "size": "size", "fields": "fields"}


def metric_facts() -> list[dict[str, Any]]:
    """Return what every metric declares, as JSON."""
    of_the_whole = ("name", "needs", "per", "unit", "direction", "caption", "source", "cost")
    names = (*of_the_whole, "default", "by_default")
    return [
        {
            **{name: getattr(found, name) for name in names},
            "range": [_end(x) for x in found.range],
            "rows": list(found.rows),
            "summary": list(found.summary),
            "about": found.caption,
        }
        for found in in_order()
    ]


def perturbation_facts() -> list[dict[str, Any]]:
    """Return what every perturbation says of itself, as JSON."""
    every = {"at", "seed", "name", "include", "exclude"}
    return [
        {
            "kind": kind,
            "size": size_field(kind),
            "fields": ", ".join(f.name for f in fields(cls) if f.name not in every),
            "about": (cls.__doc__ or "").strip().partition("\n")[0],
        }
        for kind, cls in sorted(PERTURBATIONS.all().items())
    ]


def as_markdown(facts: Sequence[Facts], shown: Mapping[str, str]) -> str:
    """Return a table of facts for the documentation."""
    heads = [*shown.values(), "what it is"]
    lines = [heads, ["---"] * len(heads)]
    for found in facts:
        first, *rest = [f"`{found[key]}`" if key in _CODE else str(found[key]) for key in shown]
        lines.append([first, *rest, str(found["about"])])
    cells = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "".join(f"| {line} |\n" for line in cells)


_CODE = ("name", "kind", "size")


def _tell(
    facts: Sequence[Facts], *, as_json_text: bool, markdown: bool, shown: Mapping[str, str]
) -> None:
    if as_json_text:
        typer.echo(strict_json(facts))
    elif markdown:
        typer.echo(as_markdown(facts, shown), nl=False)
    else:
        table = Table(*shown.values(), "what it is", box=None, padding=(0, 2, 0, 0))
        for found in facts:
            table.add_row(*(escape(str(found[key])) for key in (*shown, "about")))
        Console().print(table)


def _end(number: float) -> float | str:
    """Return an end of a range; JSON has no infinity."""
    return number if abs(number) != float("inf") else str(number)
