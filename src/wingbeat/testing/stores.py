"""What every store of snapshots must do: the conformance suite for ``wingbeat`` stores."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from wingbeat.errors import StoreError
from wingbeat.replicas.snapshot import Snapshot
from wingbeat.trajectory.store import Store

LABELS = ("reference", "null", "gaussian-0.01@0#1")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class StoreConformance(ABC):
    """Tests of a store; subclass it and say how yours is made.

    Example:
        >>> from wingbeat.trajectory.store import MemoryStore
        >>> class TestMemory(StoreConformance):
        ...     def make_store(self):
        ...         return MemoryStore()
        >>> TestMemory().test_snapshots_come_back_bit_for_bit()
    """

    @abstractmethod
    def make_store(self) -> Store:
        """Return a fresh, empty store."""

    def reopen(self, store: Store) -> Store:
        """Return the same content as another process would see it; by default the store itself."""
        return store

    def test_snapshots_come_back_bit_for_bit(self) -> None:
        """Every type, also NaN, infinity, negative zero and subnormal numbers."""
        for dtype in DTYPES:
            store, kept = self.make_store(), snapshot(3, dtype)
            store.append(kept)
            same(self.reopen(store).read(3), kept)

    def test_odd_shapes_and_names(self) -> None:
        """Empty tensors, scalars and names with dots and other alphabets."""
        tensors = {
            "scale": torch.ones(3),
            "net.0.größe": torch.zeros(3, 2, 0),
            "deep.a.b.c": torch.arange(24.0).reshape(3, 2, 2, 2).transpose(1, 3),
        }
        store, kept = self.make_store(), snapshot(0)
        kept = Snapshot(0, kept.labels, tensors, {"count": torch.tensor([1, 2, 3])}, kept.losses)
        store.append(kept)
        same(self.reopen(store).read(0), kept)

    def test_steps_are_ascending(self) -> None:
        """Whatever the order of appending, each step is there once."""
        store = self.make_store()
        assert store.steps() == []
        for step in (12, 0, 1000000, 5, 12):
            store.append(snapshot(step))
        assert self.reopen(store).steps() == [0, 5, 12, 1000000]

    def test_the_last_of_a_step_counts(self) -> None:
        """A run that goes on after a kill writes its last snapshot again."""
        store = self.make_store()
        store.append(snapshot(4))
        changed = snapshot(4, seed=1)
        store.append(changed)
        same(self.reopen(store).read(4), changed)

    def test_one_tensor_is_read_alone(self) -> None:
        """Parameters and buffers are found by name."""
        store, kept = self.make_store(), snapshot(2)
        store.append(kept)
        again = self.reopen(store)
        assert equal(again.read_tensor(2, "0.weight"), kept.params["0.weight"])
        assert equal(again.read_tensor(2, "1.running_mean"), kept.buffers["1.running_mean"])

    def test_an_absent_step_is_an_error(self) -> None:
        """The message names the step and what there is."""
        store = self.make_store()
        store.append(snapshot(4))
        for read in (store.read, lambda step: store.read_tensor(step, "0.weight")):
            try:
                read(7)
            except StoreError as error:
                words = str(error)
            else:
                words = ""
            assert "7" in words, "reading a step that is not there must raise StoreError"
            assert "4" in words, "the error says which steps are there"

    def test_a_sealed_store_is_read_as_before(self) -> None:
        """Sealing changes nothing that was recorded, and may be repeated."""
        store = self.make_store()
        for step in (0, 4):
            store.append(snapshot(step))
        store.seal()
        store.seal()
        again = self.reopen(store)
        assert again.steps() == [0, 4]
        same(again.read(4), snapshot(4))


def snapshot(step: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Snapshot:
    """Return a snapshot of three replicas with awkward numbers in it."""
    generator = torch.Generator().manual_seed(step + 1000 * seed)
    weight = torch.randn(3, 4, 2, generator=generator).to(dtype)
    tiny = torch.finfo(dtype).smallest_normal / 2
    weight[0, 0] = torch.tensor([float("nan"), float("inf")])
    weight[1, 0] = torch.tensor([-0.0, tiny])
    params = {"0.weight": weight, "0.bias": torch.randn(3, 4, generator=generator).to(dtype)}
    buffers = {
        "1.num_batches_tracked": torch.tensor([step, step, step]),
        "1.running_mean": torch.randn(3, 4, generator=generator).to(dtype),
    }
    losses = torch.randn(3, 5, generator=generator)
    return Snapshot(step=step, labels=LABELS, params=params, buffers=buffers, losses=losses)


def same(found: Snapshot, expected: Snapshot) -> None:
    """Assert that two snapshots are equal to the last bit.

    Raises:
        AssertionError: they differ; the message says where.
    """
    assert found.step == expected.step
    assert tuple(found.labels) == tuple(expected.labels)
    for kind in ("params", "buffers"):
        there, wanted = getattr(found, kind), getattr(expected, kind)
        assert set(there) == set(wanted), kind
        for name, tensor in wanted.items():
            assert equal(there[name], tensor), f"{kind} {name} of step {found.step}"
    assert list(found.params) == list(expected.params), "the order of parameters is part of it"
    assert equal(found.losses, expected.losses)


def equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Tell whether two tensors have the same type, shape and bits.

    Example:
        >>> equal(torch.tensor([0.0]), torch.tensor([-0.0]))
        False
    """
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.numel() == 0:
        return True
    bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in (a, b)]
    return torch.equal(*bits)
