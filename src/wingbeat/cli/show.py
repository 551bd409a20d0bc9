"""What the commands print for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from wingbeat.errors import REASON_TEXT
from wingbeat.terminal import Console, echo

if TYPE_CHECKING:
    from pathlib import Path

    from wingbeat.execution.result import Result
    from wingbeat.execution.verify import Verification


_RATES = ("lyapunov", "lyapunov_per_epoch")


def answer(found: Result, page: Path, *, as_json_text: bool, quiet: bool) -> None:
    """Print a result and where its page is: one JSON document, lines for people, or nothing."""
    if as_json_text:
        from wingbeat.execution.result import as_json
        from wingbeat.files import strict_json

        echo(strict_json({**json.loads(as_json(found)), "report": str(page)}, sort_keys=True))
    elif not quiet:
        result(Console(), found, page)


def result(console: Console, found: Result, page: Path) -> None:
    """Print warnings first, then the reference, then one table for each perturbation."""
    from wingbeat.report import verdict_text

    for warning in found.warnings:
        console.print(f"[bold yellow]warning[/] {escape(warning)}")
    for note in found.condition.get("reading", ()):
        console.print(f"[bold]note[/] {escape(note)}", highlight=False)
    facts = found.environment
    why = facts.get("driver_reason", "")
    console.print(
        f"driver {facts['driver']} ({facts['mode']}; {escape(why)}), {facts['threads']} thread(s)"
    )
    console.print(f"measured {', '.join(found.metrics)}", highlight=False)
    verdict = verdict_text.read(found)
    console.print(f"reference {': '.join(verdict_text.reference(verdict))}", highlight=False)
    if unproven := verdict_text.not_shown(verdict):
        console.print(f"[bold yellow]note[/] {escape(unproven)}", highlight=False)
    for perturbation in found.perturbations:
        _perturbation(console, found, perturbation["name"])
    floor = found.noise_floor
    console.print(f"noise floor {'exactly 0' if floor == 0 else f'{floor:.3g}'}")
    console.print(f"report: {escape(str(page))}", soft_wrap=True, highlight=False)


def _perturbation(console: Console, found: Result, own: str) -> None:
    """Print the word of one verdict, what it must not be read without, and its numbers.

    Rates of a line that explains too little stand below the others, with their R².
    """
    from wingbeat.measure.scalars import SCALARS
    from wingbeat.report import verdict_text

    verdict = verdict_text.read(found, own)
    table, details = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
    for scalar in SCALARS:
        if not scalar.printed or f"{own}/{scalar.name}" not in found.summary:
            continue
        aside = scalar.name in _RATES and verdict.poor_fit
        (details if aside else table).add_row(
            f"  {scalar.label}", number(found.summary[f"{own}/{scalar.name}"])
        )
        if scalar.name == "convergence_ratio" and verdict.copies:
            table.add_row("  copies that grew", ", ".join(verdict_text.copies(verdict)))
    console.print(f"[bold]{escape(own)}[/]: {verdict.behavior}", highlight=False)
    nothing = verdict_text.unmoved(found, own)
    for sentence in (nothing, verdict_text.wider(verdict), *verdict_text.remarks(verdict)):
        if sentence:
            console.print(f"  {escape(sentence)}", highlight=False)
    console.print(table)
    if details.row_count:
        console.print(f"  of the fit, R² {verdict.r2:.2g}:", style="dim", highlight=False)
        console.print(details, style="dim")


def number(entry: dict[str, Any] | None) -> str:
    """Return a value with its interval, or the reason why there is none.

    >>> number({"value": 2.0, "low": 1.0, "high": 3.0, "reason": ""})
    '2 (1 to 3)'
    >>> number({"value": None, "low": None, "high": None, "reason": "no_linear_region"})
    'undefined: the growth follows no line anywhere'
    """
    if entry is None:
        return "–"
    if entry["value"] is None:
        return f"undefined: {reason_words(entry['reason'])}" if entry["reason"] else "undefined"
    text = f"{entry['value']:.3g}"
    if entry["low"] is None:
        why = entry.get("interval_reason")
        return f"{text} (no interval: {reason_words(why)})" if why else text
    return f"{text} ({entry['low']:.3g} to {entry['high']:.3g})"


def reason_words(reason: str) -> str:
    """Return a reason in words, as half a sentence."""
    return REASON_TEXT.get(reason, reason.replace("_", " "))


def verification(console: Console, found: Verification, written: Path | None) -> None:
    """Print what a verification found."""
    steps = len(found.trail)
    lines = {"two runs": found.repeated, "reference and twin": found.twins}
    if found.repeated is None:
        lines["another process"] = found.process
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
    if found.cause:
        console.print(f"  {escape(found.cause)}", highlight=False)
    for field, (then, now) in found.changed.items():
        console.print(
            f"  {field}: trail {escape(str(then))}, here {escape(str(now))}", highlight=False
        )
    if written is not None:
        console.print(f"trail: {escape(str(written))}", soft_wrap=True, highlight=False)
