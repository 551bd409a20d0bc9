"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wingbeat.errors import RequestError

Place = Annotated[
    str, typer.Argument(metavar="MODULE:FACTORY", help="mine:task or mine.py:task gives a wb.Task.")
]
Arguments = Annotated[
    list[str] | None,
    typer.Option("--arg", metavar="NAME=VALUE", help="Argument of the factory; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Throw an earlier run in the folder away.")
]
Driver = Annotated[
    str, typer.Option(metavar="NAME", help="auto, lockstep, recorded, loop, or a package's.")
]
Dtype = Annotated[str, typer.Option(metavar="TYPE", help="float32, float64, bfloat16 or float16.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda, cuda:1, mps, …")]
Resources = Annotated[
    list[str] | None,
    typer.Option(
        help="name=value that a condition or copy needs, for Ray num_gpus=0.5, for Slurm "
        "timeout_min=240; repeatable."
    ),
]
RayAddress = Annotated[
    str | None, typer.Option(help="Of a running Ray cluster: auto, host:6379, ray://host:10001.")
]


def existing(folder: Path) -> Path:
    """Return a folder that is to be read.

    Raises:
        RequestError: it is not there, or is a file.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        raise RequestError(f"{folder} {what}: give the folder of a run or a study")
    return folder


def typed(path: Path, began: Path) -> Path:
    """Return a path as it was meant where the command was given.

    Args:
        path: as it was typed.
        began: the folder before the user's file was imported, which may have gone elsewhere.
    """
    return path if Path.cwd() == began else began / path


def folder_for(factory: str, kind: str = "") -> Path:
    """Return the folder of a command that names none.

    >>> folder_for("nets/mine.py:task", "onset").as_posix()
    'runs/onset-nets.mine.py.task'
    """
    name = factory.replace(":", ".").replace("/", ".")
    return Path("runs") / (f"{kind}-{name}" if kind else name)
