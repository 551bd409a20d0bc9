"""The list of studies for ``wingbeat study --help``, read without importing them.

A study's folder declares its name and its line as plain text (`wingbeat.study.named.NamedStudy`).
To import what it computes with takes seconds, which a list of names need not.
"""

from __future__ import annotations

import ast
import sys
from importlib.metadata import entry_points
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperCommand

from wingbeat.cli.compact import CompactGroup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

HELP: Final = "Run a study file or a named study; the same command again goes on."
RUN: Final = "Run a study file; the same command again goes on where it stopped."
SHOW: Final = (
    "Show a study: the best conditions by a scalar, and each axis's effect, its correlations."
)


class StudyNames(CompactGroup):
    """The group of studies as far as its list goes: it runs none."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all studies, then the two commands of files and folders."""
        return [*declared(), "run", "show"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command's name and its line."""
        lines = {**declared(), "run": RUN, "show": SHOW}
        return TyperCommand(cmd_name, help=lines[cmd_name]) if cmd_name in lines else None


def study_names() -> StudyNames | None:
    """Return the list; None where others may add studies, whose lines only importing tells."""
    if "wingbeat.study.named" in sys.modules or entry_points(group="wingbeat.studies"):
        return None
    return StudyNames(
        name="study",
        help=HELP,
        context_settings={"help_option_names": ["-h", "--help"]},
        no_args_is_help=True,
    )


def declared() -> dict[str, str]:
    """Return the line of each built-in study by its name, in the order of the names."""
    found = dict(line for folder in files("wingbeat.studies").iterdir() for line in _lines(folder))
    return dict(sorted(found.items()))


def _lines(folder: Traversable) -> Iterator[tuple[str, str]]:
    """Yield name and line of every study that a folder's own file declares."""
    place = folder / "__init__.py"
    if not folder.is_dir() or not place.is_file():
        return
    for node in ast.walk(ast.parse(place.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "NamedStudy":
            texts = {
                k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)
            }
            yield str(texts["name"]), str(texts["help"])
