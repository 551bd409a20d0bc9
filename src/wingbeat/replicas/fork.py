"""Fork: make the state and the noise streams of one perturbed replica."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from wingbeat.determinism import derive, seeded
from wingbeat.heap import give_back
from wingbeat.params import trainable
from wingbeat.replicas.perturb import Init, Nudge, Perturbation, StreamChange
from wingbeat.replicas.snapshot import LARGE
from wingbeat.task.batches import Batches, Streams

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.task.step import State, TrainingStep

REFERENCE, NULL = "reference", "null"
_PIECE: Final = 1 << 20
"""Numbers that are taken apart at once: eight megabytes, and no faster with more."""


@dataclass(frozen=True)
class Member:
    """One replica of a run.

    ``l2`` and ``changed`` are what the fork really did: the norm of the difference after
    rounding to the model's precision, and the share of weights that are not the same number.
    """

    label: str
    streams: Streams
    perturbation: str = ""
    at: int = 0
    l2: float = 0.0
    changed: float = 0.0


def fork(
    step: TrainingStep,
    reference: State,
    streams: Streams,
    perturbation: Perturbation,
    replica: int,
    batches: Batches,
) -> tuple[State, Member]:
    """Fork one replica off a single-replica reference state; ``replica`` counts from 1.

    The optimizer's state, the buffers and the schedule go on as the reference has them.
    """
    perturbation = perturbation.of_base(step.task.seed)
    state = reference
    if isinstance(perturbation, Init):
        state = step.start(perturbation.init_seed(replica))
    elif isinstance(perturbation, Nudge):
        state = _nudged(step, reference, perturbation, replica, batches)
    if isinstance(perturbation, StreamChange):
        streams = perturbation.streams(streams, replica)
    moved = _moved(state.params, reference.params)
    member = Member(
        label=f"{perturbation.label}#{replica}",
        streams=streams,
        perturbation=perturbation.label,
        at=perturbation.at,
        l2=float(moved.norm()),
        changed=int(moved.count_nonzero()) / moved.numel(),
    )
    return state, member


def _moved(after: Tensor, before: Tensor) -> Tensor:
    """Return by how much weights differ, in float64: twice their size, so once and in pieces."""
    if 4 * after.nbytes > LARGE:  # what a nudge was drawn in may have left holes
        give_back()
    moved = torch.empty(after.shape, dtype=torch.float64)
    pieces = (torch.split(t, _PIECE) for t in (moved, after, before))
    for place, new, old in zip(*pieces, strict=True):
        place.copy_(new).sub_(old.cpu())
    return moved


def _nudged(
    step: TrainingStep, reference: State, nudge: Nudge, replica: int, batches: Batches
) -> State:
    named = step.layout.unflatten(reference.params)
    # In model order, not in that of the optimizer's groups: "the next weight" is the model's.
    params = {name: named[name] for name in trainable(step.shell)}

    def gradient(seed: int) -> dict[str, Tensor]:
        batch = batches.batch(Streams.of(seed), 0)
        with seeded(derive(seed, "gradient")):
            number = step.number(nudge.at) if step.task.counts else None
            flat, _, _ = step.gradient(reference.params, reference.buffers, batch, number)
        return step.layout.unflatten(flat)

    delta = {**nudge.delta(params, gradient, replica)}  # taken out below: twice the weights
    moved = {
        name: (weight.double() + delta.pop(name).to(weight.device)).to(weight.dtype)
        if name in delta
        else weight
        for name, weight in params.items()
    }
    return type(reference)(step.layout.flatten(moved), reference.buffers, reference.slots)


def twin(label: str, streams: Streams) -> Member:
    """Return the reference or the null twin as a member."""
    return Member(label=label, streams=streams)


def stack(states: list[State]) -> State:
    """Stack single-replica states along a new leading replica axis."""
    first = states[0]
    return type(first)(
        torch.stack([s.params for s in states]),
        {name: torch.stack([s.buffers[name] for s in states]) for name in first.buffers},
        {name: torch.stack([s.slots[name] for s in states]) for name in first.slots},
    )


def initial_members(seed: int) -> list[Member]:
    """Return the members that every run has from the start."""
    streams = Streams.of(seed)
    return [twin("reference", streams), twin("null", streams)]
