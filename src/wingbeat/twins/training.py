"""Train one copy: where it starts, when it is nudged, and what is kept of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.errors import RunError
from wingbeat.replicas.fork import REFERENCE
from wingbeat.replicas.perturb import Nudge
from wingbeat.replicas.snapshot import Snapshot
from wingbeat.twins import parts as of_parts
from wingbeat.twins.copies import Copy, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from wingbeat.twins.asked import Asked, CopyPlan
    from wingbeat.twins.folder import SeedFolder

_SAVING = 20.0
"""Checkpoints lie at least so many times their own writing apart: a twentieth of the time."""


class Training:
    """One copy of one base seed, from its start or its checkpoint to its seal.

    Args:
        asked: the request.
        plan: which copy.
        folder: of the base seed.
        parts: freshly built under the copy's seed.
        checkpoint_seconds: least time between checkpoints.
        saving: whether all parts can be saved, as far as was seen before training.
        told: called with the copy and the step of each moment that was recorded.
    """

    def __init__(
        self,
        asked: Asked,
        plan: CopyPlan,
        folder: SeedFolder,
        parts: dict[str, Any],
        checkpoint_seconds: float,
        *,
        saving: bool,
        told: Callable[[CopyPlan, int], None],
    ) -> None:
        self.told = told
        self.asked, self.plan, self.folder, self.parts = asked, plan, folder, parts
        self.store = folder.copy(plan.label)
        self.member = {"l2": 0.0, "changed": 0.0}
        self.losses: list[Tensor] = []
        self.resumed: list[int] = []
        self.saved, self.every = time.monotonic(), checkpoint_seconds
        self.saving = saving
        before, after = plan.streams(folder.seed)
        reference = None if plan.label == REFERENCE else folder.place(REFERENCE)
        self.copy = Copy(
            plan.label,
            folder.seed,
            parts,
            asked.steps,
            self._begin(),
            lambda step: after if step >= plan.at else before,
            reference,
            self._noted,
        )
        self.copy.forgotten = lambda: folder.forget(plan.label)

    def _begin(self) -> Place:
        """Load the checkpoint or the fork's state, or start at step 0; returns the place."""
        saved = self.folder.read_state(self.plan.label)
        if saved is not None:
            of_parts.restore(self.parts, saved["parts"])
            self.losses, self.member = list(saved["losses"]), saved["member"]
            self.resumed = [*saved.get("resumed", []), saved["place"]["step"]]
            return Place(**saved["place"])
        place = Place()
        if self.plan.at and (forked := self.folder.read_fork(self.plan.at)) is not None:
            of_parts.restore(self.parts, forked["parts"])
            place = Place(**forked["place"])
        if place.step == self.plan.at:
            self._fork(place.step)
        return place

    def _fork(self, step: int) -> None:
        """Nudge the weights, note by how much, and record where the copy begins."""
        before = {n: w.clone() for n, w in of_parts.weights(self.parts).items()}
        origin = before
        if isinstance(self.plan.perturbation, Nudge):
            self._nudge(self.plan.perturbation, before)
        elif self.plan.perturbation is not None and step == 0:
            # Another initialization: measured from the reference's, which lies recorded.
            origin = self.folder.first_weights()
        after = of_parts.weights(self.parts)
        moved = torch.cat(
            [(after[n].double() - w.double()).flatten().cpu() for n, w in origin.items()]
        )
        self.member = {
            "l2": float(moved.norm()),
            "changed": float((moved != 0).double().mean()),
        }
        self._record(step)

    def _nudge(self, nudge: Nudge, params: dict[str, Tensor]) -> None:
        own = nudge.of_base(self.folder.seed)
        delta = own.delta(params, _no_gradient, self.plan.number)
        with torch.no_grad():
            for name, weight in of_parts.weights(self.parts).items():
                if name in delta:
                    moved = weight.double() + delta[name].to(weight.device)
                    weight.copy_(moved.to(weight.dtype))

    def _noted(self, copy: Copy, loss: Tensor | None) -> None:
        """Do what is due after an update."""
        step = copy.done
        if step > self.plan.at:
            self.losses.append(torch.tensor(torch.nan) if loss is None else loss)
        if step == self.plan.at:  # the way there was trained again
            self._fork(step)
        elif step > self.plan.at and self.asked.records(step):
            self._record(step)
        if self.plan.label == REFERENCE and self.saving:
            self._watch(step)
            if step in self.asked.forks:
                self._keep(self.folder.write_fork(step, self._state()))
        if step == self.asked.steps:
            self._finish()
        elif self.saving and time.monotonic() - self.saved >= self.every:
            self._checkpoint()

    def _watch(self, step: int) -> None:
        """Look whether the loop changes parts after it said that an update is over.

        What is saved then lacks the change: at forks it matters, and the first update tells early.
        """
        goes_on = self.folder.held is None or any(self.asked.forks)
        if not goes_on or (step != 1 and step not in self.asked.forks):
            return
        before = of_parts.states(self.parts)

        def look() -> None:
            """Compare once, when the loop comes back."""
            self.copy.turned = lambda: None
            if late := of_parts.changed(before, self.parts):
                raise RunError(
                    f"{' and '.join(map(repr, late))} changed after copy.step() of update {step}: "
                    "call it last in an update, after scaler.update() and scheduler.step(). What "
                    "is saved then would lack the change, and copies that fork or go on from it"
                )

        self.copy.turned = look

    def _record(self, step: int) -> None:
        losses = [loss.detach().double().reshape(()).cpu() for loss in self.losses]
        stacked = torch.stack(losses) if losses else torch.empty(0, dtype=torch.float64)
        self.losses = []
        self.store.append(
            Snapshot(
                step,
                (self.plan.label,),
                {n: w.cpu().clone().unsqueeze(0) for n, w in of_parts.weights(self.parts).items()},
                {n: w.cpu().clone().unsqueeze(0) for n, w in of_parts.others(self.parts).items()},
                stacked.unsqueeze(1),
            )
        )
        self.told(self.plan, step)

    def _state(self) -> dict[str, Any]:
        return {
            "parts": of_parts.states(self.parts),
            "place": vars(self.copy.place),
            "losses": [loss.detach().clone() for loss in self.losses],
            "member": self.member,
            "resumed": self.resumed,
        }

    def _checkpoint(self) -> None:
        begun = time.monotonic()
        self._keep(self.folder.write_state(self.plan.label, self._state()))
        self.saved = time.monotonic()
        self.every = max(self.every, _SAVING * (self.saved - begun)) if self.every else self.every

    def _keep(self, saved: bool) -> None:
        """Say which part came to hold something in training that cannot be saved."""
        if not saved:
            self.saving = False
            self.folder.cannot_save(of_parts.unsaved(self.parts))

    def _finish(self) -> None:
        more = {"thawed": of_parts.thawed(self.parts), "resumed": self.resumed}
        self.folder.note(self.plan.label, self.copy.place, self.member, self.copy.differing, **more)
        self.store.seal()
        self.folder.drop_state(self.plan.label)


def _no_gradient(seed: int) -> dict[str, Tensor]:
    raise AssertionError(f"refused before training: no gradient for seed {seed}")
