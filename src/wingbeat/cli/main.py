"""The commands. Exit codes: 0 done, 1 the run failed, 2 the request was wrong."""

from __future__ import annotations

import contextlib
import errno
import sys
import textwrap
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version as installed
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from wingbeat.cli.compact import CompactCommand, CompactGroup
from wingbeat.cli.study_names import study_names
from wingbeat.errors import DriverError, RequestError, WingbeatError, nearest
from wingbeat.terminal import Console, echo, encodable
from wingbeat.worker_server import start_server

COMMANDS: Final = {
    "run": ("task", "Fork a training run and measure how the copies part."),
    "verify": ("task", "Run a task twice, as twins and in another process: same bits?"),
    "report": ("reports", "Write the report of a run again, or of several at once."),
    "watch": ("watch", "Show how far a run is, from its folder alone."),
    "fork": ("scripts", "Run your unchanged script from nudged checkpoints."),
    "nudge": ("scripts", "Copy a checkpoint and nudge the weights of the copies."),
    "measure": ("scripts", "Measure checkpoints that any script wrote."),
    "compare": ("compare", "Compare checkpoints of any size in weight space."),
    "onset": ("onset", "Find the step from which a perturbation stops mattering."),
    "noise": ("noise", "Compare how much each source of noise makes runs differ."),
    "seeds": ("seeds", "Read logged runs: is B better than A, or is it the seed?"),
    "study": ("study", "Run a study file (.toml, .yaml) or a named study."),
    "metrics": ("listing", "List every metric, or tell all about one."),
    "perturbations": ("listing", "List every perturbation, or tell all about one."),
    "calibrate": ("calibrate", "Compare closed forms with what this machine finds."),
    "demo": ("task", "Analyse two small nets and run a quick study."),
}
"""Commands in the order in which they are listed: their file in this room, and one line of help."""


class LateCommands(CompactGroup):
    """Commands that are imported when they are run: to list them takes no torch."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return what a list of commands shows of one: its name and its line."""
        known = COMMANDS.get(cmd_name)
        return None if known is None else TyperCommand(cmd_name, help=known[1])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that is to be run; suggest one for a name that is none."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}: {nearest(args[0], COMMANDS)}")
        name, found, rest = super().resolve_command(ctx, args)
        if name == "study" and is_for_processes(rest):
            start_server()  # it and this process import torch at the same time
        if name == "study" and rest[:1] in (["-h"], ["--help"], []) and (known := study_names()):
            return name, known, rest
        return name, found if name is None or found is None else command(name), rest


def is_for_processes(words: Sequence[str]) -> bool:
    """Tell whether a study that is asked for in these words is done in several processes.

    >>> is_for_processes(["grid.toml", "--workers", "2"]), is_for_processes(["grid.toml", "-h"])
    (True, False)
    """
    given = dict(zip(words, (*words[1:], ""), strict=False))
    given |= {word.partition("=")[0]: word.partition("=")[2] for word in words if "=" in word}
    told = {"-h", "--help", "--dry-run"} & given.keys()
    here = given.get("--device", "cpu") == "cpu"
    return bool(words) and not told and here and given.get("--runner", "processes") == "processes"


def command(name: str) -> Any:
    """Import a command."""
    found: Any = getattr(import_module(f"wingbeat.cli.{COMMANDS[name][0]}"), name)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    alone.command(name, cls=CompactCommand)(found)
    return typer.main.get_command(alone)


app = typer.Typer(
    cls=LateCommands,
    help="How sensitive is a neural network's training to its starting point?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        echo(f"wingbeat {installed('wingbeat')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version."),
    ] = False,
) -> None:
    """How sensitive is a neural network's training to its starting point?"""


_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""Errors of a disk or a device that takes no more."""


def print_error(text: str) -> None:
    """Write what went wrong to standard error; a path in it is never broken over two lines."""
    console = Console(stderr=True)
    for line in f"wingbeat: {text}".splitlines():
        words = textwrap.wrap(line, console.width, break_long_words=False, break_on_hyphens=False)
        console.print("\n".join(words), style="bold", markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line; errors that were made on purpose end in one plain message."""
    encodable(sys.stdout)
    encodable(sys.stderr)
    completion = any(word.startswith(("--show-comp", "--install-comp")) for word in sys.argv)
    try:
        # A completion is of the script: `python -m wingbeat` is no name that a shell completes.
        app(**({"prog_name": "wingbeat"} if completion else {}))
    except OSError as error:
        if error.filename is not None or error.errno not in _FULL:
            raise
        print_error(f"the output cannot be written ({error.strerror}): send it elsewhere")
        with contextlib.suppress(OSError):  # what is left in the buffer fails as well
            sys.stdout.close()
        raise SystemExit(1) from None
    except WingbeatError as error:
        print_error(str(error))
        raise SystemExit(2 if isinstance(error, (RequestError, DriverError)) else 1) from None
