"""A folder of copies belongs to one request: agree on it, or take over one that kept nothing."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wingbeat.errors import StoreError
from wingbeat.task.describe import difference
from wingbeat.trajectory.store import FolderStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_ASKED: Final = "fork.json"
_OWN: Final = ("starts", "runs", "view", "jobs")
_CODE: Final = (".py", ".ipynb", ".sh", ".json", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".gin")
"""How files are called that say what is trained; a table or a log may grow with every copy."""


def agree(
    folder: Path, asked: dict[str, Any], done: str, files: Mapping[str, str] | None = None
) -> None:
    """Write a request into its folder, which must hold this one, or none of which a copy is done.

    A command with a slip in it fails before a copy is done: put right, it is asked again.

    Args:
        folder: of the copies; the caller holds it.
        asked: what is asked for, as JSON has it.
        done: matches the marks of copies that are done, below the folder.
        files: digests of what the copies are made of, by name.

    Raises:
        StoreError: copies of another request are done there, or of files that have changed since;
            nothing was changed.
    """
    store, now = FolderStore(folder), dict(files or {})
    there = store.read_json(_ASKED) or {}
    then = there.pop("files", {})
    found = difference(there, asked) if there else None
    changed = [name for name in now if then.get(name, now[name]) != now[name]]
    if found or changed:
        if next(folder.glob(done), None) is not None:
            raise StoreError(
                f"{folder} holds another fork ({found}): choose another folder"
                if found
                else f"{changed[0]} has changed since copies in {folder} were made of it: put it "
                "back as it was, or choose another folder"
            )
        for name in _OWN:
            shutil.rmtree(folder / name, ignore_errors=True)
    store.write_json(_ASKED, {**asked, "files": now} if now else asked)


def digests(checkpoint: Path, words: Iterable[str]) -> dict[str, str]:
    """Return digests of a checkpoint and of the code and settings that a command names.

    What the code imports is not looked at.
    """
    named = (Path(word.rpartition("=")[2]) for word in words)
    code = [path for path in named if path.suffix in _CODE and path.is_file()]
    return {str(path): _digest(path) for path in (checkpoint, *code) if path.exists()}


def _digest(path: Path) -> str:
    total = hashlib.sha256()
    for one in _files(path):
        total.update(str(one.relative_to(path)).encode())
        with one.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    return iter(sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path])
