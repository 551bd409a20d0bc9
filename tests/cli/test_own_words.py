"""Errors of a command speak of the options that were typed, not of a function's arguments."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import typer

from wingbeat.cli.compact import CompactCommand
from wingbeat.cli.own_words import in_options, options_of
from wingbeat.errors import StoreError


def run(
    out: str = "",
    record_every: int = 1,
    metric: Annotated[list[str] | None, typer.Option()] = None,
    driver: str = "auto",
    compiled: Annotated[bool, typer.Option("--compiled/--not-compiled")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet")] = False,
) -> None:
    raise StoreError("full: choose another with out=")


def command() -> Any:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command("run", cls=CompactCommand)(run)
    return typer.main.get_command(app)


CASES = [
    ("make it writable, or choose another with out=", "or choose another with --out"),
    ("choose another with out=, or ask", "with --out, or ask"),
    ("use driver='loop', or one thread", "use --driver loop, or one thread"),
    ("driver is 'lopp': did you mean 'loop'?", "--driver is 'lopp'"),
    ("record_every is 0: use at least 1", "--record-every is 0"),
    ("ask for metrics=l2 or record_every=5.", "--metric l2 or --record-every 5."),
    ("compiled=True, compiled=False, quiet=False", "--compiled, --not-compiled, quiet=False"),
    # Not of the command line: other arguments, code, what somebody wrote in quotes, paths.
    ("give precision='bf16'", "give precision='bf16'"),
    ("call wb.run(out=None)", "call wb.run(out=None)"),
    ("'driver=loop' is no KIND", "'driver=loop' is no KIND"),
    ("a/out=3/b holds no run", "a/out=3/b holds no run"),
    ("the driver is slow", "the driver is slow"),
]


@pytest.mark.parametrize(("said", "expected"), CASES)
def test_arguments_are_said_as_options(said: str, expected: str) -> None:
    assert expected in in_options(said, options_of(command()))


def test_every_command_does_so_and_the_kind_of_the_error_stays() -> None:
    with pytest.raises(StoreError, match=r"^full: choose another with --out$"):
        command().main([], standalone_mode=False)
