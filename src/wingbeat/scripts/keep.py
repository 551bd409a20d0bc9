"""Keep the weights of checkpoints that a script deletes again while it goes on.

Trainer's ``save_total_limit`` and Lightning's ``save_top_k`` leave the last or the best ones, of
every copy others. Files are linked as they appear: a link costs no space as long as the script
keeps its file, and is the same file, so that what was still being written is whole in the end.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT: Final = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".json", ".distcp", ".metadata")
NO_WEIGHTS: Final = (
    "optimizer", "optim", "scheduler", "scaler", "rng_state", "random_states", "training_args",
    "sampler", "custom_checkpoint",
)  # fmt: skip
"""How files are called that Trainer, Accelerate and others write beside the weights."""
_DEEPEST: Final = 6
"""Folders below the copy's: Lightning's logger makes three of them, a distributed save one more."""


_PATIENCE: Final = 20.0
"""Between two looks, in times of what one takes."""


class Keeper:
    """Look at a folder again and again, and keep what was seen.

    Args:
        folder: that a script writes to.
        kept: where links to its files are made, in the same order of folders.
    """

    def __init__(self, folder: Path, kept: Path) -> None:
        self.folder, self.kept = folder, kept
        self.refused = ""
        self._next = 0.0

    def look(self) -> None:
        """Link what has appeared, or was replaced, since the last look; rarely where that is long.

        At most a twentieth of the time is spent looking, whatever lies in the folder.
        """
        begun = time.monotonic()
        if begun >= self._next:
            self._look()
            self._next = time.monotonic() + _PATIENCE * (time.monotonic() - begun)

    def _look(self) -> None:
        for path in self._files(self.folder, _DEEPEST):
            link = self.kept / path.relative_to(self.folder)
            try:
                self._link(path, link)
            except FileNotFoundError:  # gone since it was listed
                continue
            except OSError as error:
                self.refused = error.strerror or str(error)

    def end(self) -> None:
        """Look a last time, then let go of what the script kept itself."""
        self._look()
        for link in list(self._files(self.kept, _DEEPEST)):
            if (self.folder / link.relative_to(self.kept)).exists():
                link.unlink()
        folders = sorted((p for p in self.kept.rglob("*") if p.is_dir()), reverse=True)
        for folder in [*folders, self.kept]:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()

    def _link(self, path: Path, link: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            if link.samefile(path):
                return
            link.unlink()
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, link)

    def _files(self, folder: Path, deep: int) -> Iterator[Path]:
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):  # deleted since it was listed
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if deep:
                    yield from self._files(Path(entry.path), deep - 1)
            elif entry.name.endswith(_KEPT) and not entry.name.startswith(NO_WEIGHTS):
                yield Path(entry.path)
