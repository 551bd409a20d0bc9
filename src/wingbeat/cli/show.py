"""What the commands print for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from wingbeat.measure.scalars import SCALARS

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from wingbeat.execution.result import Result
    from wingbeat.execution.verify import Verification


def result(console: Console, found: Result, page: Path) -> None:
    """Print warnings first, then one table over all perturbations."""
    for warning in found.warnings:
        console.print(f"[bold yellow]warning[/] {escape(warning)}")
    facts = found.environment
    why = facts.get("driver_reason", "")
    console.print(
        f"driver {facts['driver']} ({facts['mode']}; {escape(why)}), {facts['threads']} thread(s)"
    )
    for perturbation in found.perturbations:
        own = perturbation["name"]
        verdict = found.summary[f"{own}/behavior"]["value"]
        table = Table.grid(padding=(0, 2))
        for scalar in SCALARS:
            if scalar.printed and f"{own}/{scalar.name}" in found.summary:
                table.add_row(f"  {scalar.label}", number(found.summary[f"{own}/{scalar.name}"]))
        console.print(f"[bold]{escape(own)}[/]: {verdict}", highlight=False)
        console.print(table)
    floor = found.noise_floor
    console.print(f"noise floor {'exactly 0' if floor == 0 else f'{floor:.3g}'}")
    console.print(f"report: {escape(str(page))}", soft_wrap=True, highlight=False)


def number(entry: dict[str, Any] | None) -> str:
    """Return a value with its interval, or the reason why there is none.

    >>> number({"value": 2.0, "low": 1.0, "high": 3.0, "reason": ""})
    '2 (1 to 3)'
    """
    if entry is None:
        return "–"
    if entry["value"] is None:
        return str(entry["reason"])
    text = f"{entry['value']:.3g}"
    if entry["low"] is None:
        return text
    return f"{text} ({entry['low']:.3g} to {entry['high']:.3g})"


def verification(console: Console, found: Verification, written: Path | None) -> None:
    """Print what a verification found."""
    steps = len(found.trail)
    lines = {"two runs": found.repeated, "reference and twin": found.twins}
    if found.changed or found.against is not None:
        lines["this machine and the trail"] = found.against
    plain = "plain loop"
    for name, where in {**lines, plain: found.plain}.items():
        state = (
            ("the same but for rounding" if name == plain else "bit-identical")
            if where is None
            else f"[bold red]differ[/] from {escape(str(where))} on"
        )
        console.print(f"{name}: {state} ({steps} recorded steps)")
    for field, (then, now) in found.changed.items():
        console.print(
            f"  {field}: trail {escape(str(then))}, here {escape(str(now))}", highlight=False
        )
    if written is not None:
        console.print(f"trail: {escape(str(written))}", soft_wrap=True, highlight=False)
