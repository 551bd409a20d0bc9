"""Second-order facts about the weights of a trajectory, read once, in float64.

For every recorded step and every parameter tensor the differences from the reference are
taken before any product, so a distance of 1e-9 keeps its relative precision beside weights of
size 1. Nothing of size parameters × parameters is ever formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from wingbeat.metrics import gram
from wingbeat.replicas.fork import NULL
from wingbeat.trajectory.trajectory import perturbed
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.trajectory.trajectory import Trajectory


BLOCK = 1 << 18
"""Numbers of one block in float64: small enough for the cache of a core."""
PCA_POINTS = 600
"""Points of a principal component analysis; above, recorded steps are thinned evenly."""


@dataclass(frozen=True)
class Weights:
    """Moments of T recorded steps, L tensors and E replicas (NaN where not yet forked).

    Attributes:
        steps: (T,).
        labels: replica labels, E of them.
        layers: tensor names, L of them.
        present: whether a replica had forked, (T, E).
        apart2: |w_i − w_0|² of shape (T, L, E), w_0 being the reference.
        cross: ⟨w_0, w_i − w_0⟩ of shape (T, L, E).
        norm2: |w_0|² of shape (T, L).
        moved: |w_i(t) − w_i(t − 1)| over all tensors, (T − 1, E).
        groups: for each perturbation the Gram matrices of its N replicas about the first of
            them, (T, L, N, N).
    """

    steps: NDArray[np.int64]
    labels: tuple[str, ...]
    layers: tuple[str, ...]
    present: NDArray[np.bool_]
    apart2: Array
    cross: Array
    norm2: Array
    moved: Array
    groups: dict[str, Array]

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Tell which replicas have weights that are not finite, (T, E)."""
        return np.asarray(self.present & ~np.isfinite(self.apart2.sum(axis=1)))

    def since(self, perturbation: str) -> NDArray[np.intp]:
        """Return the places of the recorded steps from a perturbation's fork on."""
        own = [label.rsplit("#", 1)[0] == perturbation for label in self.labels]
        return np.flatnonzero(self.present[:, own].all(axis=1))

    def distances(self, perturbation: str) -> Array:
        """Return the distances of its N replicas to the reference since the fork, (T', N)."""
        own = [label.rsplit("#", 1)[0] == perturbation for label in self.labels]
        return np.asarray(np.sqrt(self.apart2.sum(axis=1)[self.since(perturbation)][:, own]))

    @property
    def noise_floor(self) -> float:
        """The null twin's largest distance from the reference; 0 where there is no twin."""
        if NULL not in self.labels:  # checkpoints of others: only an exact zero is no distance
            return 0.0
        twin = np.sqrt(self.apart2[:, :, 1].sum(axis=1))
        # Twins that break down together are no noise; one that breaks down alone is all of it.
        alone = np.isfinite(self.norm2.sum(axis=1)) & ~np.isfinite(twin)
        return float("inf") if alone.any() else float(np.max(twin[np.isfinite(twin)], initial=0.0))


def with_whole(moment: Array) -> Array:
    """Put the whole model in front of its layers: (T, L, …) to (T, 1 + L, …)."""
    return np.concatenate([moment.sum(axis=1, keepdims=True), moment], axis=1)


def read_weights(trajectory: Trajectory) -> Weights:
    """Read every snapshot once and return its moments."""
    steps, labels = trajectory.steps, trajectory.labels
    layers = tuple(trajectory.at(steps[0]).params)
    shape = (len(steps), len(layers), len(labels))
    places = perturbed(labels)
    out = Weights(
        steps=np.array(steps),
        labels=labels,
        layers=layers,
        present=np.zeros((len(steps), len(labels)), dtype=bool),
        apart2=np.full(shape, np.nan),
        cross=np.full(shape, np.nan),
        norm2=np.full(shape[:2], np.nan),
        moved=np.full((len(steps) - 1, len(labels)), np.nan),
        groups={k: np.full((*shape[:2], len(p), len(p)), np.nan) for k, p in places.items()},
    )
    before: Snapshot | None = None
    for t, snapshot in enumerate(trajectory):
        n = len(snapshot.labels)
        out.present[t, :n] = True
        here = {k: p for k, p in places.items() if p[-1] < n}
        for layer, name in enumerate(layers):
            tensor = snapshot.params[name]
            own = _moments(tensor)
            out.apart2[t, layer, :n], out.cross[t, layer, :n], out.norm2[t, layer] = own
            for group, members in here.items():
                out.groups[group][t, layer] = _about_first(tensor, members)
        if before is not None:
            out.moved[t - 1, : len(before.labels)] = _moved(before, snapshot)
        before = snapshot
    return out


def read_gram(
    trajectory: Trajectory, weights: Weights, forks: list[int]
) -> tuple[Array, list[tuple[int, str]]]:
    """Return the mean-centred Gram matrix of all points, and each point's (step, label).

    The first, the last and the fork steps are always among the points. A replica whose weights
    are not finite at some step is left out: it would take every other point with it.
    """
    steps = _thinned(trajectory.steps, forks, len(trajectory.labels))
    whole = np.flatnonzero(~weights.lost.any(axis=0))
    present = dict(zip(trajectory.steps, weights.present, strict=True))
    kept = {step: [int(i) for i in whole if there[i]] for step, there in present.items()}
    points = [(step, weights.labels[i]) for step in steps for i in kept[step]]
    if not points:
        return np.zeros((0, 0)), points

    def blocks() -> Iterator[Any]:
        for name in weights.layers:
            stack = [trajectory.tensor(step, name)[kept[step]] for step in steps]
            yield torch.cat([t.reshape(len(t), -1) for t in stack])

    return gram(blocks(), centre="mean"), points


def _blocks(tensor: torch.Tensor, rows: Sequence[int] | None = None) -> Iterator[Array]:
    flat = tensor.reshape(len(tensor), -1)
    width = max(1, BLOCK // (len(tensor) if rows is None else len(rows)))
    for start in range(0, flat.shape[1], width):
        block = flat[:, start : start + width]
        yield (block if rows is None else block[rows]).to(torch.float64).numpy()


def _moments(tensor: torch.Tensor) -> tuple[Array, Array, float]:
    apart2, cross, norm2 = np.zeros(len(tensor)), np.zeros(len(tensor)), 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        for block in _blocks(tensor):
            away = block - block[0]
            apart2 += np.einsum("ep,ep->e", away, away)
            cross += away @ block[0]
            norm2 += float(block[0] @ block[0])
    return apart2, cross, norm2


def _about_first(tensor: torch.Tensor, rows: Sequence[int]) -> Array:
    """Return the Gram matrix about the first replica: exactly zero where all are identical."""
    total = np.zeros((len(rows), len(rows)))
    with np.errstate(invalid="ignore", over="ignore"):
        for block in _blocks(tensor, rows):
            away = block - block[0]
            total += away @ away.T
    return total


def _moved(before: Snapshot, after: Snapshot) -> Array:
    total, count = np.zeros(len(before.labels)), len(before.labels)
    with np.errstate(invalid="ignore", over="ignore"):
        for name, tensor in before.params.items():
            pairs = zip(_blocks(tensor), _blocks(after.params[name][:count]), strict=True)
            for a, b in pairs:
                total += ((b - a) ** 2).sum(axis=1)
    return np.asarray(np.sqrt(total))


def _thinned(steps: tuple[int, ...], forks: list[int], replicas: int) -> list[int]:
    most = max(2, PCA_POINTS // replicas)
    if len(steps) <= most:
        return list(steps)
    places = np.linspace(0, len(steps) - 1, most).round().astype(int)
    kept = {steps[i] for i in places} | {s for s in forks if s in steps}
    return sorted(kept)


def paths(w: Weights) -> tuple[Array, Array]:
    """Return the length of each replica's path since its fork, and its steps, (E,) each."""
    length = np.nansum(w.moved, axis=0)
    begun = np.isfinite(w.moved)
    duration = np.array([np.diff(w.steps)[own].sum() for own in begun.T], dtype=float)
    return length, duration
