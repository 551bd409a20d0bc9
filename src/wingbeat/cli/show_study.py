"""What ``wingbeat study`` prints, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pandas as pd
import typer
from rich.markup import escape
from rich.table import Table

from wingbeat.errors import RequestError
from wingbeat.report.pages.narrow_table import cell
from wingbeat.report.prose import duration
from wingbeat.study.axes import varying
from wingbeat.terminal import echo

if TYPE_CHECKING:
    from wingbeat.study.condition import Condition
    from wingbeat.study.ledger import Record
    from wingbeat.study.named import Finding
    from wingbeat.study.outcome import StudyResult
    from wingbeat.study.plan import StudyPlan
    from wingbeat.terminal import Console


ROWS = 40
"""Rows of a table that are printed; ``--json`` gives all."""


def plan(console: Console, name: str, found: StudyPlan) -> None:
    """Print what a study would do and cost."""
    total = found.done + found.left
    console.print(table(found.conditions))
    console.print(f"{escape(name)}: {total} conditions, {found.done} done, {found.left} left")
    if found.basis.startswith("nothing measured"):
        console.print(f"expected time not known: {found.basis}")
        return
    time = duration(found.seconds)
    between = (
        f" ({duration(found.low)} to {duration(found.high)})" if found.high > found.low else ""
    )
    console.print(
        f"expected time with {found.workers} worker(s): {time}{between}, from {found.basis}"
    )
    if found.memory:
        less = any(probe.measured_copies < probe.copies for probe in found.probes)
        console.print(
            f"memory of the workers: {'at least ' * less}{amount(found.memory)}; "
            f"snapshots on the disk at a time: {amount(found.disk)}"
        )


def table(rows: pd.DataFrame) -> Table:
    """Return a table of the first rows, cells as text."""
    out = Table(box=None, pad_edge=False)
    for column in rows.columns:
        out.add_column(escape(str(column)))
    for row in rows.head(ROWS).itertuples(index=False):
        out.add_row(*(escape(cell(value)) for value in row))
    if len(rows) > ROWS:
        out.add_row(f"… {len(rows) - ROWS} more")
    return out


def called(conditions: Sequence[Condition]) -> dict[str, str]:
    """Return what tells each condition from the others, by key; the key where nothing does.

    >>> from wingbeat.study.condition import Condition
    >>> list(called([Condition("m:f", {"lr": lr}) for lr in (0.1, 0.2)]).values())
    ['lr 0.1', 'lr 0.2']
    """
    axes = varying(conditions)
    return {
        str(key): ", ".join(f"{str(n).rpartition('.')[2]} {cell(v)}" for n, v in row.items())
        or str(key)
        for key, row in axes.iterrows()
    }


def ended(
    console: Console,
    record: Record,
    count: int,
    total: int,
    names: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Print how an attempt ended, its condition called by what differs."""
    words = f"{record.seconds:.1f} s"
    if record.status != "done":
        words = f"[bold red]{record.status}[/] {escape(record.error)}"
    name = escape(names.get(record.key, record.key))
    console.print(f"[{count}/{total}] {name}: {words}".replace("[", "\\[", 1), highlight=False)


def outcome(console: Console, found: StudyResult) -> None:
    """Print how a study ended, and what was given up."""
    for record in found.failures:
        console.print(f"given up: {record.key} ({record.status}) {escape(record.error)}")
    counts = found.conditions["status"].value_counts()
    words = ", ".join(f"{count} {status}" for status, count in counts.items())
    console.print(f"{words}: {escape(str(found.folder))}", soft_wrap=True, highlight=False)


def amount(size: float) -> str:
    """Return a number of bytes in words.

    >>> amount(3_500_000), amount(12)
    ('3.5 MB', '12 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def finished(found: Finding, as_json_text: bool) -> None:
    """End a named study: its JSON where that was asked for, exit code 1 if something failed."""
    if as_json_text:
        findings = {name: rows_of(table) for name, table in found.tables.items()}
        claims = [vars(claim) for claim in found.claims]
        said = {"headline": found.headline, "findings": findings, "claims": claims}
        document({**outcome_json(found.study), "report": str(found.page), **said})
    if found.study.failures:
        raise typer.Exit(1)


def outcome_json(found: StudyResult) -> dict[str, Any]:
    """Return what a study has found as plain JSON: its conditions with their scalars."""
    counts = {str(k): int(v) for k, v in found.conditions["status"].value_counts().items()}
    return {
        "folder": str(found.folder),
        "counts": counts,
        "failures": [vars(record) for record in found.failures],
        "conditions": rows_of(found.conditions),
    }


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as plain JSON, with null for what is undefined.

    >>> rows_of(pd.DataFrame({"rate": [0.1], "error": [float("nan")]}))
    [{'rate': 0.1, 'error': None}]
    """
    plain = table.astype(object).where(table.notna(), None)
    return [{str(name): v for name, v in row.items()} for row in plain.to_dict("records")]


def document(content: dict[str, Any]) -> None:
    """Print one JSON document.

    Raises:
        RequestError: a number in it has no place in JSON.
    """
    try:
        echo(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))
    except ValueError as error:
        raise RequestError(f"this cannot be written as JSON: {error}") from error


def quiet_or(silent: bool) -> Callable[[str], object]:
    """Return what takes a named study's lines: nothing where only JSON or errors are printed."""
    return (lambda _: None) if silent else echo
