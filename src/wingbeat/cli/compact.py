"""Help that fits one screen, a stop that says what is kept, and less output on request."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from wingbeat.cli.former_options import renamed
from wingbeat.cli.own_words import in_options, options_of
from wingbeat.cli.stopped import exit_code, said_of, terminable
from wingbeat.errors import WingbeatError
from wingbeat.terminal import echo, only_echo

if TYPE_CHECKING:
    Rows = list[tuple[str, str]]

WIDTH: Final = 80
_LINES: Final = 23
"""A terminal of 24 lines keeps one for the next prompt."""
_NARROW: Final = 60
"""A terminal with fewer columns, as that of a phone, has no room for two."""
_LEFT: Final = 26
"""Widest first column; what is longer has a line of its own."""


class CompactCommand(TyperCommand):
    """A command whose help is a line for each of its options."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, what it does, arguments and options."""
        text = (self.help or "").strip().partition("\n\n")[0]
        formatter.write(written(ctx, text, rows_of(self, ctx)))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give an option whose metavar ends in dots all words up to the next option.

        A shell turns ``--against B/**`` into several words, and those after the first would else
        be taken for arguments.
        """
        several = {
            name for p in self.params if str(p.metavar).endswith("...") for name in p.opts
        }  # of arguments these are their names, which no word is
        found: list[str] = []
        taking = ""
        words = renamed(str(ctx.info_name), args, lambda line: echo(line, err=True))
        for word in words:
            if word.startswith("-"):
                taking = word if word in several else ""
                found += [] if taking else [word]
            else:
                found += [taking, word] if taking else [word]
        try:
            return super().parse_args(ctx, [*found])
        except typer.BadParameter as error:
            self._name_the_value(error, found)
            raise

    @staticmethod
    def _name_the_value(error: typer.BadParameter, words: list[str]) -> None:
        """Put the word that was no good into a message that lacks it."""
        names = {*error.param.opts, *error.param.secondary_opts} if error.param else set()
        given = [b for a, b in pairwise(words) if a in names]
        given += [
            value
            for name, equals, value in (w.partition("=") for w in words)
            if equals and name in names
        ]
        if len(given) == 1 and given[0] and given[0] not in error.message:
            error.message = f"{given[0]!r}: {error.message}"

    def invoke(self, ctx: Any) -> Any:
        """Run it; a stop says what is kept and how to go on, an error which option.

        Where one JSON document is asked for, what the user's own code prints is no part of it.
        """
        alone = only_echo() if ctx.params.get("as_json_text") else contextlib.nullcontext()
        try:
            with terminable(), alone:
                return super().invoke(ctx)
        except WingbeatError as error:
            error.args = (in_options(str(error), options_of(self)),)
            raise
        except KeyboardInterrupt as stop:
            echo(f"\n{said_of(stop, ctx.info_name, ctx.params)}", err=True)
            raise typer.Exit(exit_code(stop)) from None


class CompactGroup(TyperGroup):
    """A group whose help is a line for each of its commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, what it does, options and commands."""
        named = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        commands = [(name, _first_sentence((found and found.help) or "")) for name, found in named]
        rows = [*rows_of(self, ctx), ("", ""), *commands]
        if len(rows) > _LINES - 3:  # below usage, a sentence and a blank line
            rows = commands  # who reads this knows how to ask for help
        whole = shutil.get_terminal_size().columns < _NARROW or _scrolls()
        short = rows if whole else [(name, _cut(meaning, rows)) for name, meaning in rows]
        formatter.write(written(ctx, (self.help or "").strip(), short))


def rows_of(command: Any, ctx: Any) -> Rows:
    """Return arguments and options of a command with what each means."""
    shown = [p for p in command.get_params(ctx) if not getattr(p, "hidden", False)]
    arguments = [p for p in shown if p.param_type_name == "argument"]
    options = [p for p in shown if p.param_type_name == "option" and p.name not in _UNSHOWN]
    said = [(_argument(p), str(p.help or "").rstrip(".")) for p in arguments]
    return [*said, *((_option(p, ctx), _meaning(p)) for p in options)]


_UNSHOWN: Final = ("show_completion",)
"""Options that are there and have no line: what they do, the line of another says."""
_VALUES: Final = {"bool": "", "int": "N", "float": "X", "path": "PATH"}
"""The word for an option's value by its type, as a part of its metavar; else WORD."""


def _argument(one: Any) -> str:
    return str(one.metavar or one.name.upper()).strip("{}")


def _option(one: Any, ctx: Any) -> str:
    names = ", ".join((*sorted(one.opts, key=len), *one.secondary_opts))
    value = one.metavar or _value(one, ctx)
    return f"{names} {value}" if value and not one.is_flag else names


def _value(one: Any, ctx: Any) -> str:
    """Return the word for an option's value, out of what its own help says of its type."""
    record = one.get_help_record(ctx) or ("",)
    kind = str(record[0]).lower().rpartition(" ")[2]
    if kind.startswith("-"):
        return ""
    return next((word for part, word in _VALUES.items() if part in kind), "WORD")


def _meaning(one: Any) -> str:
    text = str(one.help or "").rstrip(".")
    told = isinstance(one.default, int | float | str | Path) and not isinstance(one.default, bool)
    return f"{text} [{one.default}]" if told else text


def written(ctx: Any, text: str, rows: Rows) -> str:
    """Return help as lines of at most 80 letters, no more of them than the terminal has.

    Where it is read through a pager or from a file it is whole.

    A narrow terminal scrolls: there each meaning stands below its name, whole.

    Where whole sentences do not fit, each is cut to one line; where that is not enough either, the
    options with most to say are named in one line at the end.
    """
    usage = " ".join([ctx.command_path, *map(_plain, ctx.command.collect_usage_pieces(ctx))])
    width = shutil.get_terminal_size().columns
    if width < _NARROW:
        body = [line for name, meaning in rows for line in _below(name, meaning, width)]
        return "\n".join([*textwrap.wrap(f"Usage: {usage}", width),
                          *textwrap.wrap(text, width), "", *body]) + "\n"  # fmt: skip
    head = [f"Usage: {usage}", *textwrap.wrap(text, WIDTH), ""]
    seen = sys.maxsize if _scrolls() else max(_LINES, shutil.get_terminal_size().lines - 1)
    room = seen - len(head)
    body = _lines(rows)
    if len(body) > room:
        body = _lines([(name, _cut(meaning, rows)) for name, meaning in rows])
    if len(body) > room:
        body = _fewer(rows, room)
    return "\n".join([*head, *body]) + "\n"


def _scrolls() -> bool:
    """Tell whether help goes to a pager or a file, where nothing need be cut."""
    return not sys.stdout.isatty() and "LINES" not in os.environ


def _plain(piece: str) -> str:
    """Return a piece of the usage without marks around marks.

    >>> [_plain(p) for p in ("{checkpoint}", "{-- COMMAND...}...", "{DIR...}...", "[[NAME]]")]
    ['CHECKPOINT', '-- COMMAND...', 'DIR...', '[NAME]']
    """
    if piece.startswith("[["):
        return piece[1:-1]
    inner = piece.removesuffix("...") if piece.startswith("{") else piece
    if not (inner.startswith("{") and inner.endswith("}")):
        return piece
    name = inner[1:-1]
    return name.upper() if name.isidentifier() else name


def _below(name: str, meaning: str, width: int) -> list[str]:
    """Return a row for a narrow terminal: the meaning in lines below the name."""
    own = textwrap.wrap(meaning, max(width - 6, 10))
    return [f"  {name}", *(f"    {line}" for line in own)] if name or own else [""]


def _left(rows: Rows) -> int:
    return min(_LEFT, max((len(name) for name, _ in rows), default=0))


def _lines(rows: Rows) -> list[str]:
    left, out = _left(rows), []
    for name, meaning in rows:
        lines = textwrap.wrap(meaning, WIDTH - left - 4) or [""]
        if len(name) > left:
            out.append(f"  {name}")
            name = ""  # noqa: PLW2901
        out.append(f"  {name:{left}}  {lines[0]}".rstrip())
        out += [" " * (left + 4) + line for line in lines[1:]]
    return out


def _cut(meaning: str, rows: Rows) -> str:
    room = WIDTH - _left(rows) - 4
    return meaning if len(meaning) <= room else f"{meaning[: room - 1].rstrip()}…"


def _fewer(rows: Rows, room: int) -> list[str]:
    """Leave out the options with most to say, and name them at the end."""
    found = sorted((r for r in rows if r[0].startswith("--")), key=lambda r: -len(r[1]))
    for count in range(1, len(found)):
        gone = found[:count]
        kept = [(name, _cut(text, rows)) for name, text in rows if (name, text) not in gone]
        names = ", ".join(name.partition(" ")[0] for name, text in rows if (name, text) in gone)
        last = textwrap.wrap(f"also {names}: a taller terminal tells (LINES=99)", WIDTH - 2)
        body = [*_lines(kept), *(f"  {line}" for line in last)]
        if len(body) <= room:
            return body
    return _lines(rows)


def _first_sentence(text: str) -> str:
    return " ".join(text.split("\n\n", 1)[0].split()).partition(". ")[0].rstrip(".")
