"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Place = Annotated[
    str, typer.Argument(metavar="MODULE:FACTORY", help="Function that returns a wb.Task.")
]
Arguments = Annotated[
    list[str] | None,
    typer.Option("--arg", help="Argument of the factory, name=value; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Driver = Annotated[str, typer.Option(help="auto, lockstep, loop, or one of a package.")]
Dtype = Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, …")]


def folder_for(factory: str, kind: str = "") -> Path:
    """Return the folder of a command that names none.

    >>> folder_for("nets/mine.py:task", "onset").as_posix()
    'runs/onset-nets.mine.py.task'
    """
    name = factory.replace(":", ".").replace("/", ".")
    return Path("runs") / (f"{kind}-{name}" if kind else name)
