"""`wingbeat metrics` and `wingbeat perturbations`: what can be asked for, a line each."""

from __future__ import annotations

import shutil
import textwrap
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wingbeat.cli.options import Json
from wingbeat.errors import RequestError, nearest
from wingbeat.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Facts = Mapping[str, Any]

Markdown = Annotated[bool, typer.Option("--markdown", help="Print the table of the documentation.")]


Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Tell all about this one.")]


def metrics(name: Name = None, as_json_text: Json = False, markdown: Markdown = False) -> None:
    """List every metric, or tell all about one: built in, or of an installed package."""
    facts = _chosen(metric_facts(), "name", name)
    _tell(facts, as_json_text=as_json_text, markdown=markdown, shown=_OF_METRICS, whole=bool(name))


def perturbations(
    kind: Name = None, as_json_text: Json = False, markdown: Markdown = False
) -> None:
    """List every perturbation, or tell all about one: built in, or of an installed package."""
    facts = _chosen(perturbation_facts(), "kind", kind)
    shown = _OF_PERTURBATIONS
    _tell(facts, as_json_text=as_json_text, markdown=markdown, shown=shown, whole=bool(kind))


def _chosen(facts: list[dict[str, Any]], key: str, name: str | None) -> list[dict[str, Any]]:
    if name is None:
        return facts
    found = [one for one in facts if one[key] == name]
    if not found:
        known = [str(one[key]) for one in facts]
        raise RequestError(f"there is no {key} {name!r}: {nearest(name, known)}")
    return found


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
    from wingbeat.measure.metric import in_order

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
    from wingbeat.replicas.perturb import PERTURBATIONS, size_field

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
    facts: Sequence[Facts],
    *,
    as_json_text: bool,
    markdown: bool,
    shown: Mapping[str, str],
    whole: bool,
) -> None:
    from wingbeat.files import strict_json

    if as_json_text:
        echo(strict_json(facts))
    elif markdown:
        echo(as_markdown(facts, shown), nl=False)
    elif whole:
        echo("\n".join(_all_of(facts[0])))
    else:
        echo("\n".join(lines(facts, next(iter(shown)), shutil.get_terminal_size().columns)))


def lines(facts: Sequence[Facts], key: str, width: int) -> list[str]:
    """Return a line for each: its name, a star where it is measured by default, what it is.

    >>> lines([{"name": "l2", "about": "Distance to the reference", "default": True}], "name", 24)
    ['l2 * Distance to the r…', '* measured by default']
    """
    left = max(len(str(found[key])) for found in facts)
    marked = any(found.get("default") for found in facts)
    out = []
    for found in facts:
        star = " *" if found.get("default") else "  "
        text = f"{found[key]:{left}}{star if marked else ' '} {found['about']}"
        out.append(text if len(text) < width else f"{text[: width - 2]}…")
    return [*out, "* measured by default"] if marked else out


def _all_of(found: Facts) -> Iterator[str]:
    for name, value in found.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if text:
            yield from textwrap.wrap(
                f"{name.replace('_', ' ')}: {text}", 78, subsequent_indent="  "
            )


def _end(number: float) -> float | str:
    """Return an end of a range; JSON has no infinity."""
    return number if abs(number) != float("inf") else str(number)
