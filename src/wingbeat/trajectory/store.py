"""Where snapshots go: a store appends, reads, lists and seals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from wingbeat.errors import StoreError
from wingbeat.files import is_there, unreadable, write_json
from wingbeat.locks import FolderLock
from wingbeat.replicas.snapshot import LARGE, Snapshot, rows_of
from wingbeat.trajectory.digested import carries_digest, read_digested, with_digest
from wingbeat.trajectory.tensorfile import (
    OnDisk,
    read_described,
    read_one,
    read_tensors,
    write_tensors,
    written_digest,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


LOSSES = "wingbeat.losses"
"""Name of the losses among a snapshot file's tensors."""
_ELSEWHERE = "make it writable, or choose another with out="


class Store(Protocol):
    """Keeps the snapshots of one run; each step is there whole or not at all."""

    def append(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; one of the same step is replaced."""
        ...

    def read(self, step: int) -> Snapshot:
        """Return the snapshot of a step."""
        ...

    def read_tensor(self, step: int, name: str) -> Tensor:
        """Return one parameter or buffer of a step, ``(replicas, *shape)``."""
        ...

    def steps(self) -> list[int]:
        """Return the recorded steps, ascending."""
        ...

    def seal(self) -> None:
        """Mark the run as complete."""
        ...


class MemoryStore:
    """Keep snapshots in memory."""

    def __init__(self) -> None:
        self._snapshots: dict[int, Snapshot] = {}

    def append(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; one of the same step is replaced."""
        params, buffers = dict(snapshot.params), dict(snapshot.buffers)
        self._snapshots[snapshot.step] = replace(snapshot, params=params, buffers=buffers)

    def read(self, step: int) -> Snapshot:
        """Return the snapshot of a step."""
        if step not in self._snapshots:
            raise StoreError(_absent(step, self.steps()))
        return self._snapshots[step]

    def read_tensor(self, step: int, name: str) -> Tensor:
        """Return one parameter or buffer of a step."""
        snapshot = self.read(step)
        return snapshot.params[name] if name in snapshot.params else snapshot.buffers[name]

    def steps(self) -> list[int]:
        """Return the recorded steps, ascending."""
        return sorted(self._snapshots)

    def seal(self) -> None:
        """Do nothing: memory does not outlive its process."""


class FolderStore:
    """Keep a run in a folder that outlives its process and can be read without wingbeat.

    Args:
        folder: the run's folder.
        create: make it if it is not there.

    Raises:
        StoreError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = Path(folder)
        self._lock = FolderLock(self.folder)
        self._checked: set[int] = set()
        self._sealed: dict[str, Any] | None = None
        if create:
            self._make()

    def __reduce__(self) -> tuple[type[FolderStore], tuple[Path]]:
        return type(self), (self.folder,)  # a lock belongs to one process

    def _make(self) -> None:
        for name in ("snapshots", "state"):
            make_folder(self.folder / name)

    def lock(self) -> None:
        """Take the folder for this process; the operating system frees it when we end.

        Raises:
            StoreError: another process has it, or it cannot be locked; see `FolderLock`.
        """
        self._lock.acquire()

    def unlock(self) -> None:
        """Give the folder back."""
        self._lock.release()

    def append(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; one of the same step is replaced."""
        meta = {
            "step": snapshot.step,
            "labels": list(snapshot.labels),
            "parameters": list(snapshot.params),
            # Sorted: a run that was read back from its state holds them in another order.
            "buffers": sorted(snapshot.buffers),
        }
        own = {**rows_of(snapshot.params), **rows_of(snapshot.buffers)}
        tensors = {**own, LOSSES: snapshot.losses}
        write_tensors(self._snapshot(snapshot.step), tensors, meta)

    def read(self, step: int) -> Snapshot:
        """Return the snapshot of a step; its digest is checked the first time.

        Of a large one the tensors are read when they are asked for.
        """
        path = self._snapshot(step)
        if not is_there(path):
            raise StoreError(_absent(step, self._found(), self.folder))
        if step not in self._checked:
            self._refuse_another(path, step)
        check = step not in self._checked
        tensors: Mapping[str, Tensor]
        if path.stat().st_size > LARGE:
            tensors, meta = read_described(path, check=check)
        else:
            tensors, meta = read_tensors(path, check=check)
        if meta["step"] != step:
            msg = f"{path} holds step {meta['step']}: it was renamed. Give it its own name back"
            raise StoreError(msg)
        self._checked.add(step)
        return Snapshot(
            step=meta["step"],
            labels=tuple(meta["labels"]),
            params=_those(tensors, meta["parameters"]),
            buffers=_those(tensors, meta["buffers"]),
            losses=tensors[LOSSES],
        )

    def _refuse_another(self, path: Path, step: int) -> None:
        """Refuse a whole snapshot that is not the one that was sealed."""
        sealed = (self._seal() or {}).get("snapshots", {}).get(str(step))
        if sealed is not None and sealed != written_digest(path):
            msg = f"{path} is not the snapshot that this run sealed: restore it from a copy"
            raise StoreError(msg)

    def read_tensor(self, step: int, name: str) -> Tensor:
        """Return one parameter or buffer of a step; the file's digest is checked once."""
        if step not in self._checked:
            self.read(step)
        return read_one(self._snapshot(step), name)

    def steps(self) -> list[int]:
        """Return the recorded steps, ascending; of a sealed run all that it sealed."""
        sealed = self._seal()
        return self._found() if sealed is None else list(sealed["steps"])

    def _seal(self) -> dict[str, Any] | None:
        if self._sealed is None and self.sealed:
            found = self.read_json("sealed.json")
            if not isinstance(found, dict) or not isinstance(found.get("steps"), list):
                path = self.folder / "sealed.json"
                raise StoreError(f"{path} names no steps: it is not of a run of wingbeat")
            self._sealed = found
        return self._sealed

    def _found(self) -> list[int]:
        folder = self.folder / "snapshots"
        try:  # `glob` would take a folder that may not be read for an empty one
            found = list(folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unreadable(folder, error) from error
        return sorted(
            int(p.stem) for p in found if p.suffix == ".safetensors" and p.stem.isdecimal()
        )

    def holds_moments(self) -> bool:
        """Tell whether anything of a run was recorded here: snapshots, or the state to go on."""
        return bool(self._found()) or (self.folder / "state" / "latest.safetensors").exists()

    def seal(self) -> None:
        """Mark the run as complete and drop the state that was needed to go on."""
        steps = self._found()
        written = {str(step): written_digest(self._snapshot(step)) for step in steps}
        self.write_json("sealed.json", {"steps": steps, "snapshots": written})
        self.drop_state()

    @property
    def sealed(self) -> bool:
        """Whether the run is complete."""
        return is_there(self.folder / "sealed.json")

    def of_a_finished_run(self) -> FolderStore:
        """Return the store itself: its seal says which snapshots are the run's, if it has any.

        Raises:
            StoreError: there are snapshots, and no seal.
        """
        if not self.sealed and self._found():
            raise StoreError(
                f"{self.folder / 'sealed.json'} is missing, which says which snapshots are of this "
                "run: run the same command again, or restore it from a copy"
            )
        return self

    def save_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Keep everything that is needed to go on, bit for bit."""
        write_tensors(self.folder / "state" / "latest.safetensors", tensors, meta)

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return what ``save_state`` kept last, or None."""
        path = self.folder / "state" / "latest.safetensors"
        return read_tensors(path) if is_there(path) else None

    def drop_state(self) -> None:
        """Forget what ``save_state`` kept."""
        (self.folder / "state" / "latest.safetensors").unlink(missing_ok=True)

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file of the run with a digest of its content, all or nothing."""
        write_json(self.folder / name, with_digest(content), sort_keys=True)

    def read_json(self, name: str) -> Any:
        """Return the content of a JSON file of the run, or None if there is none.

        Raises:
            StoreError: it is damaged or was altered; the message names the file.
        """
        path = self.folder / name
        if not is_there(path):
            return None
        return read_digested(path, needed=self.digested)

    @property
    def digested(self) -> bool:
        """Whether the files of the folder carry digests; those of before version 0.1 do not."""
        return any(carries_digest(path) for path in self.folder.glob("*.json"))

    def _snapshot(self, step: int) -> Path:
        return self.folder / "snapshots" / f"{step:06d}.safetensors"


def _those(tensors: Mapping[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    if isinstance(tensors, OnDisk):
        return cast("dict[str, Tensor]", tensors.of(names))
    return {name: tensors[name] for name in names}


def make_folder(folder: Path) -> None:
    """Make a folder, if it is not there.

    Raises:
        StoreError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"the folder {folder} cannot be made ({error.strerror}): {_ELSEWHERE}"
        raise StoreError(msg) from error


def _absent(step: int, steps: list[int], folder: Path | None = None) -> str:
    where = f" in {folder}" if folder else ""
    return f"no snapshot of step {step}{where}; recorded: {', '.join(map(str, steps)) or 'none'}"
