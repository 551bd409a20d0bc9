"""A folder whose snapshots are written when a kill would cost more than training them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wingbeat.replicas.snapshot import Stacks
from wingbeat.trajectory.store import FolderStore, MemoryStore

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.replicas.snapshot import Snapshot

MOST: Final = 1 << 23
"""Bytes that are held back; a pack of conditions holds back as much for each base seed."""


class LateStore(FolderStore):
    """Hold snapshots in memory until a state to go on from is saved, or they are large.

    A run that is killed goes on from its last state and records again what came after it, so that
    nothing is lost that a kill would have left. One that ends before its first state was due is
    never written: for a run whose snapshots are deleted once it is measured, as in a study, and
    of which writing and flushing many small files takes as long as training.

    Args:
        folder: the run's folder; made if it is not there.

    Raises:
        StoreError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, create=True)
        self._late = MemoryStore()
        self._bytes = 0
        self._ended = False

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        self.write_out()
        return FolderStore, (self.folder,)

    def append(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; one of the same step is replaced."""
        if isinstance(snapshot.params, Stacks):  # large: not to be stacked for nothing
            self.write_out()
            super().append(snapshot)
            return
        self._late.append(snapshot)
        tensors = (*snapshot.params.values(), *snapshot.buffers.values(), snapshot.losses)
        self._bytes += sum(t.numel() * t.element_size() for t in tensors)
        if self._bytes > MOST:
            self.write_out()

    def write_out(self) -> None:
        """Write what was held back."""
        for step in self._late.steps():
            super().append(self._late.read(step))
        self._late, self._bytes = MemoryStore(), 0

    def read(self, step: int) -> Snapshot:
        """Return the snapshot of a step."""
        return self._late.read(step) if step in self._late.steps() else super().read(step)

    def read_tensor(self, step: int, name: str) -> Tensor:
        """Return one parameter or buffer of a step."""
        if step in self._late.steps():
            return self._late.read_tensor(step, name)
        return super().read_tensor(step, name)

    def steps(self) -> list[int]:
        """Return the recorded steps, ascending."""
        return sorted({*super().steps(), *self._late.steps()})

    def save_state(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Write what was held back, and all that is needed to go on, bit for bit."""
        self.write_out()
        super().save_state(tensors, meta)

    def seal(self) -> None:
        """Mark the run as complete: in memory only where nothing of it was written."""
        if self.holds_moments():
            self.write_out()
            super().seal()
        self._ended = True

    @property
    def sealed(self) -> bool:
        """Whether the run is complete."""
        return self._ended or super().sealed

    def _seal(self) -> dict[str, Any] | None:
        return super()._seal() if super().sealed else None
