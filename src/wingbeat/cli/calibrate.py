"""`wingbeat calibrate`: closed forms on this machine, expected and found."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from wingbeat.cli.options import Device, Json, Quiet
from wingbeat.errors import RequestError
from wingbeat.terminal import Console, echo

if TYPE_CHECKING:
    from wingbeat.calibration import Calibration

Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="CHECK", help="One check; repeatable.")
]
Type = Annotated[str, typer.Option("--dtype", metavar="TYPE", help="float64 or float32.")]


def calibrate(
    only: Only = None,
    device: Device = "cpu",
    dtype: Type = "float64",
    quiet: Quiet = False,
    as_json_text: Json = False,
) -> None:
    """Compare closed forms with what this machine finds; exit code 1 where one differs."""
    from wingbeat.calibration import calibrate as compare
    from wingbeat.calibration.calibrate import TYPES
    from wingbeat.files import strict_json

    if dtype not in TYPES:
        raise RequestError(f"dtype is {dtype!r}; closed forms need one of {', '.join(TYPES)}")
    found = compare(only or (), device=device, dtype=TYPES[dtype])
    if as_json_text:
        echo(strict_json(found.to_json()))
    elif not quiet:
        _show(found)
    if not found.agrees:
        raise typer.Exit(1)


def _show(found: Calibration) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)  # a pipe has no width
    shown = Table(box=None, pad_edge=False)
    for column in ("check", "quantity", "expected", "found", "tolerance", "verdict"):
        shown.add_column(column, no_wrap=column not in ("quantity", "verdict"))
    last = ""
    row: Any
    for row in found.table.itertuples():
        verdict = "agrees" if row.verdict == "agrees" else f"DIFFERS ({row.why})"
        name, last = ("" if row.check == last else row.check), row.check
        numbers = [f"{x:.7g}" for x in (row.expected, row.found)]
        shown.add_row(name, row.quantity, *numbers, f"{row.tolerance:.1g}", verdict)
    console.print(shown, highlight=False)
    total, right = len(found.table), int((found.table.verdict == "agrees").sum())
    seconds = sum(found.seconds.values())
    place = f"{found.environment['device']}, {found.environment['dtype']}"
    console.print(f"{right} of {total} agree ({place}, {seconds:.0f} s)", highlight=False)
