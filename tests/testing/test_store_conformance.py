"""Our stores pass the suite that we publish, and the suite fails a store that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from wingbeat.replicas.snapshot import Snapshot
from wingbeat.testing import StoreConformance
from wingbeat.trajectory.store import FolderStore, MemoryStore, Store


class TestMemoryStore(StoreConformance):
    def make_store(self) -> Store:
        return MemoryStore()


class TestFolderStore(StoreConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folders = (tmp_path / str(i) for i in range(9))

    def make_store(self) -> Store:
        return FolderStore(next(self.folders), create=True)

    def reopen(self, store: Store) -> Store:
        return FolderStore(store.folder)


class Rounding(MemoryStore):
    """Loses bits."""

    def append(self, snapshot: Snapshot) -> None:
        params = {k: v.bfloat16().to(v.dtype) for k, v in snapshot.params.items()}
        super().append(
            Snapshot(snapshot.step, snapshot.labels, params, snapshot.buffers, snapshot.losses)
        )


class Forgetful(MemoryStore):
    """Gives what it has in place of what was asked."""

    def read(self, step: int) -> Snapshot:
        return self._snapshots[max(self._snapshots)]


class FirstWins(MemoryStore):
    def append(self, snapshot: Snapshot) -> None:
        self._snapshots.setdefault(snapshot.step, snapshot)


@pytest.mark.parametrize(
    ("store", "test"),
    [
        (Rounding, "test_snapshots_come_back_bit_for_bit"),
        (Forgetful, "test_an_absent_step_is_an_error"),
        (FirstWins, "test_the_last_of_a_step_counts"),
    ],
)
def test_the_suite_finds_what_is_wrong(store: type[Store], test: str) -> None:
    class Suite(StoreConformance):
        def make_store(self) -> Store:
            return store()

    with pytest.raises(AssertionError):
        getattr(Suite(), test)()


def test_equal_sees_bits() -> None:
    from wingbeat.testing.stores import equal

    assert equal(torch.tensor([float("nan")]), torch.tensor([float("nan")]))
    assert not equal(torch.ones(2), torch.ones(2, dtype=torch.float64))
