"""A read-only, lazy view of a run's snapshots."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from wingbeat.replicas.fork import NULL, REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.trajectory.store import Store


class Trajectory:
    """All recorded moments of a run; a snapshot is read when it is asked for.

    Args:
        store: where the snapshots are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.at = lru_cache(maxsize=2)(store.read)

    def __reduce__(self) -> tuple[type[Trajectory], tuple[Store]]:
        return type(self), (self._store,)  # what was read last need not travel

    @classmethod
    def from_checkpoints(
        cls,
        pattern: str,
        *,
        reference: str | None = None,
        null: str | None = None,
        group: str = "runs",
        key: str | None = None,
        check: bool = True,
    ) -> Trajectory:
        """View checkpoints that any script wrote as a trajectory; nothing is copied.

        Args:
            pattern: paths with ``*``, as ``"run-*/step-*.safetensors"``: the last ``*`` stands
                for the step, the others for the replica. ``{step}`` and ``{replica}`` say it
                by name. safetensors, sharded or not, and ``.pt`` state dicts are read.
            reference: the replica to measure from; by default the first.
            null: the replica that is an unperturbed twin, if there is one.
            group: what the other replicas are called together.
            key: where the tensors are inside ``.pt`` files that hold more than a state dict.
            check: read files that carry a checksum once, and refuse those that were altered.

        Returns:
            Labels are "reference", "null" for the twin, and ``group#name``; without a twin
            there is no noise floor. Steps that not every replica has are left out.

        Raises:
            RequestError: nothing matches, or the checkpoints share no tensor.
            StoreError: a file is damaged, asks to run code or is not what its name says.

        Example:
            >>> import tempfile
            >>> from safetensors.torch import save_file
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     for seed in (0, 1):
            ...         for step in (0, 10):
            ...             w = torch.full((2,), float(seed * step))
            ...             save_file({"w": w}, f"{folder}/seed-{seed}_step-{step}.safetensors")
            ...     found = Trajectory.from_checkpoints(f"{folder}/seed-*_step-*.safetensors")
            ...     found.steps, found.labels, found.tensor(10, "w").tolist()
            ((0, 10), ('reference', 'runs#1'), [[0.0, 0.0], [10.0, 10.0]])
        """
        from wingbeat.checkpoints.series import open_series

        series = open_series(
            pattern, reference=reference, null=null, group=group, key=key, check=check
        )
        return cls(series)

    @property
    def store(self) -> Store:
        """Where the snapshots are."""
        return self._store

    @property
    def steps(self) -> tuple[int, ...]:
        """Recorded steps, ascending."""
        return tuple(self._store.steps())

    @property
    def labels(self) -> tuple[str, ...]:
        """Replica labels at the end: "reference", "null", then the perturbed ones."""
        return self.at(self.steps[-1]).labels

    def __iter__(self) -> Iterator[Snapshot]:
        return (self.at(step) for step in self.steps)

    def pairs(self) -> list[tuple[str, str]]:
        """Return every pair of replicas, each once."""
        labels = self.labels
        return [(a, b) for i, a in enumerate(labels) for b in labels[i + 1 :]]

    def tensor(self, step: int, name: str) -> Tensor:
        """Return one parameter of one step, ``(replicas, *shape)``, without reading the rest."""
        return self._store.read_tensor(step, name)

    @property
    def losses(self) -> Tensor:
        """Training loss (updates made, replicas); NaN before a replica had forked."""
        return torch.cat([_padded(s.losses, len(self.labels)) for s in self])

    def diverged(self) -> dict[str, int]:
        """Return for each replica with a loss that is not finite the first such step."""
        losses, started = self.losses, self._first_steps()
        found = {}
        for place, label in enumerate(self.labels):
            own = losses[started[label] :, place]
            bad = (~torch.isfinite(own)).nonzero()
            if len(bad):
                found[label] = started[label] + int(bad[0, 0])
        return found

    def _first_steps(self) -> dict[str, int]:
        first: dict[str, int] = {}
        for snapshot in self:
            for label in snapshot.labels:
                first.setdefault(label, snapshot.step)
        return first


def perturbed(labels: tuple[str, ...]) -> dict[str, list[int]]:
    """Return the places of the perturbed replicas, by perturbation name.

    >>> perturbed(("reference", "null", "ulp-1@0#1", "ulp-1@0#2"))
    {'ulp-1@0': [2, 3]}
    """
    groups: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        if label not in (REFERENCE, NULL):
            groups.setdefault(label.rsplit("#", 1)[0], []).append(place)
    return groups


def _padded(losses: Tensor, count: int) -> Tensor:
    absent = torch.full((losses.shape[0], count - losses.shape[1]), torch.nan, dtype=losses.dtype)
    return torch.cat([losses, absent], dim=1)
