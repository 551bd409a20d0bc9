"""Checkpoints made by anyone's script, as the snapshots of a run: read-only and lazy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch

from wingbeat.checkpoints.compare import coverage, require_numbers, told_of_all
from wingbeat.checkpoints.names import LeftOut, Shared, few, match
from wingbeat.checkpoints.open import open_checkpoint
from wingbeat.checkpoints.pattern import FoundFiles, find_files
from wingbeat.checkpoints.prefixes import aligned
from wingbeat.checkpoints.pruned import masked
from wingbeat.checkpoints.source import read_whole
from wingbeat.errors import RequestError, StoreError, nearest
from wingbeat.replicas.fork import NULL, REFERENCE
from wingbeat.replicas.snapshot import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

_LABEL = re.compile(r"[^#/]+#\d+")
"""The label of a perturbed copy, as a folder's name."""


@dataclass(frozen=True)
class Series:
    """A store over checkpoints: every step of every replica is a file of its own.

    Attributes:
        pattern: what was asked for.
        replicas: their names, the reference first.
        labels: "reference", "null" if one of them is the unperturbed twin, then ``group#name``.
        paths: (replica, step) → path.
        left_out: tensors that not all checkpoints share as floating-point numbers.
        notes: what was found and is not used, or read in some files alone, in sentences.
        reading: how all files were read, where that is not plain, in sentences.
        key: where the tensors are inside files that hold more.
    """

    pattern: str
    replicas: tuple[str, ...]
    labels: tuple[str, ...]
    paths: Mapping[tuple[str, int], Path]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    reading: tuple[str, ...]
    tensors: Mapping[str, Shared] = field(repr=False)
    places: Mapping[tuple[str, int], int] = field(repr=False)
    key: str | None = None

    def read(self, step: int) -> Snapshot:
        """Return the snapshot of a step; its tensors are read one by one when asked for.

        Raises:
            StoreError: there is no such step.
        """
        if step not in self.steps():
            known = ", ".join(map(str, self.steps()))
            raise StoreError(f"no checkpoints of step {step} for {self.pattern!r}; found: {known}")
        lazy = cast("dict[str, Tensor]", _LazyTensors(self, step))
        return Snapshot(step, self.labels, lazy, {}, torch.zeros(0, len(self.labels)))

    def read_tensor(self, step: int, name: str) -> Tensor:
        """Return one tensor of a step, ``(replicas, *shape)``, read anew.

        Raises:
            StoreError: a file is cut short or cannot be read.
        """
        entries = self.tensors[name].entries
        found = [read_whole(entries[self.places[r, step]]) for r in self.replicas]
        if len({t.dtype for t in found}) > 1:
            found = [t.to(torch.float64) for t in found]
        return torch.stack(found)

    def steps(self) -> list[int]:
        """Return the steps that every replica has, ascending."""
        return sorted({step for _, step in self.places})

    def append(self, snapshot: Snapshot) -> None:
        """Refuse: checkpoints of others are only read.

        Raises:
            StoreError: always.
        """
        msg = f"the checkpoints of {self.pattern!r} are only read: append to a run of your own"
        raise StoreError(msg)

    def seal(self) -> None:
        """Do nothing: nothing is written."""


class _LazyTensors(Mapping[str, "Tensor"]):
    """The tensors of one step, each read when it is asked for and not kept."""

    def __init__(self, series: Series, step: int) -> None:
        self.series, self.step = series, step

    def __getitem__(self, name: str) -> Tensor:
        return self.series.read_tensor(self.step, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.series.tensors)

    def __len__(self) -> int:
        return len(self.series.tensors)


def open_series(
    pattern: str,
    *,
    reference: str | None = None,
    null: str | None = None,
    group: str = "runs",
    key: str | None = None,
    check: bool = True,
) -> Series:
    """Open the checkpoints that a pattern matches; reads names and shapes.

    Args:
        pattern: see `wingbeat.checkpoints.pattern.find`.
        reference: name of the replica to measure from; by default the first.
        null: name of the replica that is an unperturbed twin, if there is one. Names of the
            form ``perturbation#number`` are then labels as they are.
        group: what the other replicas are called together, in the ``perturbation`` column.
        key: where the tensors are inside ``.pt`` files that hold more than a state dict.
        check: read files that carry a checksum once, and refuse those that were altered.

    Raises:
        RequestError: nothing matches, or the checkpoints share no tensor.
        StoreError: a file is damaged, asks to run code or is not what its name says.
    """
    found = find_files(pattern)
    replicas = _ordered(found, reference, null)
    keys = [(r, s) for r in replicas for s in found.steps]
    sources = aligned([masked(open_checkpoint(found.paths[k], key=key)) for k in keys])
    labels = [f"{r or 'run'}@{s}" for r, s in keys]
    shared, left_out = match(sources, labels)
    if not shared:
        why = "; ".join(f"{x.name}: {x.why}, {x.detail}" for x in left_out[:5])
        raise RequestError(f"the checkpoints share no floating-point tensor ({why})")
    require_numbers(shared, left_out)
    if check:
        for source in sources:
            source.check(lambda _: None)
    every, some = told_of_all(sources, labels)
    return Series(
        pattern=pattern,
        replicas=replicas,
        labels=(REFERENCE, *(_label(r, null, group) for r in replicas[1:])),
        paths=found.paths,
        left_out=left_out,
        notes=(
            *found.dropped,
            *some,
            *coverage(shared, left_out, sources, labels),
            *_told(left_out),
        ),
        reading=(*([found.read] if found.read else []), *every),
        tensors={t.name: t for t in shared},
        places={k: i for i, k in enumerate(keys)},
        key=key,
    )


def _ordered(found: FoundFiles, reference: str | None, null: str | None) -> tuple[str, ...]:
    first = found.replicas[0] if reference is None else reference
    named = [first] if null is None else [first, null]
    for name in named:
        if name not in found.replicas:
            raise RequestError(f"there is no replica {name!r}: {nearest(name, found.replicas)}")
    if len(set(named)) < len(named):
        raise RequestError(f"{first!r} is the reference and cannot be its own twin: name another")
    return (*named, *(r for r in found.replicas if r not in named))


def _label(replica: str, null: str | None, group: str) -> str:
    if replica == null:
        return NULL
    if null is not None and _LABEL.fullmatch(replica):
        return replica
    return f"{group}#{replica.replace('#', '_') or 'run'}"


def _told(left_out: Sequence[LeftOut]) -> list[str]:
    names: dict[str, list[str]] = {}
    for one in left_out:
        if one.why in ("missing", "shape", "quantised", "complex", "average"):
            names.setdefault(one.why, []).append(one.name)
    return [f"Not measured ({why}): {few(found)}." for why, found in names.items()]


def describe(series: Series) -> dict[str, Any]:
    """Return what a series is as plain JSON, for the condition of a result."""
    return {
        "checkpoints": series.pattern,
        "reference": series.replicas[0],
        **({"null": series.replicas[1]} if NULL in series.labels else {}),
        "replicas": dict(zip(series.labels, series.replicas, strict=True)),
        "steps": series.steps(),
        "tensors": len(series.tensors),
        "left_out": {x.name: f"{x.why}: {x.detail}" for x in series.left_out},
        **({"reading": list(series.reading)} if series.reading else {}),
    }
