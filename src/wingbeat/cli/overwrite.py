"""A folder that already holds another run: said in the words of the command line, or replaced."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Final

from wingbeat.errors import RequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN: Final = (
    "condition.json",
    "environment.json",
    "members.json",
    "sealed.json",
    "summary.json",
    "table.parquet",
    "report.html",
    "snapshots",
    "state",
)
"""What a run leaves in its folder; nothing else in it is touched."""


def throw_away(folder: Path) -> None:
    """Remove an earlier run from a folder, and nothing that is not of a run.

    Raises:
        RequestError: there are files in the folder, and they are of no run.
        StoreError: another process works in it.
    """
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / "condition.json").exists():
        raise RequestError(
            f"{folder} holds no run: --overwrite removes nothing else. Give another --out"
        )
    from wingbeat.trajectory.store import FolderStore

    store = FolderStore(folder, create=True)
    store.lock()
    try:
        for place in (folder, *(p for p in folder.glob("seed-*") if p.is_dir())):
            _clear(place)
    finally:
        store.unlock()


def _clear(place: Path) -> None:
    for name in OWN:
        found = place / name
        if found.is_dir() and not found.is_symlink():
            shutil.rmtree(found)
        else:
            found.unlink(missing_ok=True)


@contextlib.contextmanager
def collisions(*, overwrite: bool = True) -> Iterator[None]:
    """Say of a folder that holds another run which options help.

    Args:
        overwrite: whether the command has ``--overwrite``.
    """
    try:
        yield
    except StoreError as error:
        if "holds another" not in str(error):
            raise
        what, _, _ = str(error).rpartition("): ")
        more = ", or throw the earlier one away with --overwrite" if overwrite else ""
        raise StoreError(
            f"{what}).\nGive this one a folder of its own with --out DIR{more}"
        ) from error
