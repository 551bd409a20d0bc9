"""What a folder is that holds no finished run, and which one to load instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingbeat.files import is_there

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SUMMARY = "summary.json"
_DEEPEST = 2
"""Folders between the one that was named and a run: of a project, and of an experiment."""
_SHOWN = 4


def said_of(folder: Path) -> str:
    """Return why nothing can be loaded from a folder, with what to do.

    >>> from pathlib import Path
    >>> said_of(Path("nowhere"))
    'nowhere holds no run: there is no such folder'
    """
    if not folder.is_dir():
        what = "there is no such folder"
        if folder.is_file():
            what = f"it is a file. Give the folder {str(folder.parent)!r}"
        return f"{folder} holds no run: {what}"
    return f"{folder} holds {_other(folder) or _below(folder)}"


def _other(folder: Path) -> str:
    """Return what a folder holds instead of a whole run; "" where it is nothing of wingbeat's."""
    if (folder.parent / _SUMMARY).exists() and folder.name.startswith("seed-"):
        return (
            f"one base seed of a run of several: load {str(folder.parent)!r}, and take its "
            "trajectories by seed"
        )
    if is_there(folder / "condition.json") or (folder / "fork.json").exists():
        return f"an unfinished run: run the same command again (there is no {_SUMMARY})"
    if (folder / "records").is_dir():
        return f"a study, not one run: read it with wb.load_study({str(folder)!r})"
    return ""


def _below(folder: Path) -> str:
    """Return which runs lie below a folder."""
    without, below = f"(there is no {_SUMMARY})", sorted(_runs(folder, _DEEPEST))
    if not below:
        return f"no run {without}"
    named = ", ".join(repr(str(one)) for one in below[:_SHOWN])
    if len(below) == 1:
        return f"no run itself {without}: one lies below it, load {named}"
    more = f" and {len(below) - _SHOWN} more" if len(below) > _SHOWN else ""
    return f"no run itself {without}: runs lie below it, load one of {named}{more}"


def _runs(folder: Path, deep: int) -> Iterator[Path]:
    """Yield folders of finished runs below one, those of a run's own parts left out."""
    try:
        inside = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:  # not readable: what cannot be seen is not offered
        return
    for path in inside:
        if (path / _SUMMARY).exists():
            yield path
        elif deep > 1:
            yield from _runs(path, deep - 1)
