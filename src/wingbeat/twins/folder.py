"""Where the copies of one base seed lie until they are put together."""

from __future__ import annotations

import math
import shutil
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.execution.folder import agree, same_execution
from wingbeat.files import sweep
from wingbeat.replicas.fork import REFERENCE
from wingbeat.replicas.snapshot import Snapshot
from wingbeat.trajectory.store import FolderStore, MemoryStore
from wingbeat.twins.copies import Place
from wingbeat.twins.parts import in_words, read_states, write_states

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from wingbeat.trajectory.store import Store


class SeedFolder:
    """The copies of one base seed: each in a folder of its own, sealed when it is trained.

    Args:
        folder: of the base seed.
        seed: the base seed.
        held: snapshots of copies by label, where they are few enough to stay in memory.
    """

    def __init__(self, folder: Path, seed: int, held: dict[str, MemoryStore] | None = None) -> None:
        self.folder, self.seed, self.held = folder, seed, held
        self.store = FolderStore(folder, create=True)

    def agree(self, condition: dict[str, Any]) -> None:
        """Refuse a folder that holds another request.

        Raises:
            StoreError: it does.
        """
        # Any evaluation may be asked for of one training.
        agree(self.store, condition, ignored=("evaluation",))

    def begin(self, condition: dict[str, Any], environment: dict[str, Any]) -> None:
        """Take the folder for this request and execution.

        Raises:
            StoreError: it was begun in another execution: two kinds of noise would be mixed.
        """
        before = self.store.read_json("environment.json")
        if before is None:
            self.store.write_json("condition.json", condition)
            self.store.write_json("environment.json", environment)
            return
        same_execution(self.store, before, environment)

    def copy(self, label: str) -> Store:
        """Return the store of one copy."""
        if self.held is not None:
            return self.held.setdefault(label, MemoryStore())
        store = FolderStore(self._own(label), create=True)
        sweep(store.folder)  # its lock is that of the base seed
        return store

    def moment(self, labels: Sequence[str], step: int) -> Snapshot:
        """Return the moment of several copies together, of those that have recorded the step."""
        stores = [self.copy(label) for label in labels]
        return _stacked([s.read(step) for s in stores if step in s.steps()], step)

    def trained(self, label: str) -> bool:
        """Tell whether a copy is finished."""
        last = "member.json" if self.held is not None else "sealed.json"
        return (self._own(label) / last).exists()

    def first_weights(self) -> dict[str, Tensor]:
        """Return the weights that the reference began with."""
        first = self.copy(REFERENCE).read(0)
        return {name: tensor[0] for name, tensor in first.params.items()}

    def cannot_save(self, reasons: Mapping[str, str]) -> None:
        """Note and say which parts cannot be saved, and what that costs."""
        environment = self.store.read_json("environment.json") or {}
        self.store.write_json("environment.json", {**environment, "unsaved": dict(reasons)})
        warnings.warn(
            f"parts that cannot be saved ({in_words(reasons)}): copies that fork later train the "
            "reference's way again, and what is killed begins its copy anew. The bits are the "
            "same; keep such state as numbers, text, tensors or lists and dicts of them",
            stacklevel=3,
        )

    def write_fork(self, step: int, state: dict[str, Any]) -> bool:
        """Keep the reference's state at a fork; returns whether that is possible."""
        return write_states(self._fork(step), state)

    def read_fork(self, step: int) -> dict[str, Any] | None:
        """Return the reference's state at a fork, or None: then the way there is trained again."""
        return read_states(self._fork(step)) if self._fork(step).exists() else None

    def write_state(self, label: str, state: dict[str, Any]) -> bool:
        """Keep what a copy needs to go on; returns whether that is possible."""
        return write_states(self._state(label), state)

    def read_state(self, label: str) -> dict[str, Any] | None:
        """Return what a copy needs to go on, or None."""
        return read_states(self._state(label)) if self._state(label).exists() else None

    def drop_state(self, label: str) -> None:
        """Forget what a copy needed to go on."""
        self._state(label).unlink(missing_ok=True)

    def note(
        self,
        label: str,
        place: Place,
        member: dict[str, float],
        differing: int | None,
        **more: Any,
    ) -> None:
        """Keep what is known of a finished copy."""
        own = asdict(place)
        if label != REFERENCE:
            del own["digests"]
        content = {"place": own, "member": member, "differing": differing, **more}
        FolderStore(self._own(label), create=True).write_json("member.json", content)

    def member(self, label: str) -> dict[str, Any]:
        """Return what `note` kept."""
        found: dict[str, Any] = FolderStore(self._own(label)).read_json("member.json")
        return found

    def place(self, label: str) -> Place:
        """Return where a finished copy ended, the digests of its batches included."""
        found = self.member(label)["place"]
        digests = {int(k): v for k, v in found.get("digests", {}).items()}
        return Place(**{**found, "digests": digests})

    def put_together(self, labels: Sequence[str], twins: Mapping[str, int], target: Store) -> None:
        """Write all copies as the snapshots of one run, and what is known of them beside it.

        Args:
            labels: of the copies, in the order in which they join the reference.
            twins: unperturbed twins that only tell how far they came from the reference.
            target: where the snapshots go.
        """
        copies = {label: self.copy(label) for label in labels}
        steps = {label: store.steps() for label, store in copies.items()}
        for step in steps[REFERENCE]:
            there = [label for label in labels if step in steps[label]]
            target.append(_stacked([copies[label].read(step) for label in there], step))
        known = {label: self.member(label) for label in (*labels, *twins)}
        begun = self.place(REFERENCE).pass_steps
        facts = {
            "members": {label: one["member"] for label, one in known.items()},
            "differing": {label: one["differing"] for label, one in known.items()},
            "thawed": known[REFERENCE].get("thawed", []),
            "resumed": {k: v["resumed"] for k, v in known.items() if v.get("resumed")},
            "floor": max((self._apart(label) for label in twins), default=0.0),
            "steps_per_epoch": begun[1] - begun[0] if len(begun) > 1 else None,
        }
        self.store.write_json("twins.json", facts)
        target.seal()

    def facts(self) -> dict[str, Any]:
        """Return what `put_together` wrote beside the snapshots."""
        found: dict[str, Any] = self.store.read_json("twins.json")
        return found

    def _apart(self, label: str) -> float:
        """Return how far an unperturbed twin came from the reference, at most."""
        twin, reference = self.copy(label), self.copy(REFERENCE)
        return max(
            _distance(twin.read(step).params, reference.read(step).params) for step in twin.steps()
        )

    def forget(self, label: str) -> None:
        """Remove what was trained of a copy; of the reference also what others fork from."""
        for folder in (self._own(label), *([self.folder / "forks"] if label == REFERENCE else [])):
            shutil.rmtree(folder, ignore_errors=True)
        if self.held is not None:
            self.held.pop(label, None)

    def drop_copies(self) -> None:
        """Remove the single copies once the run holds them."""
        for name in ("copies", "forks"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _own(self, label: str) -> Path:
        return self.folder / "copies" / label.replace("/", "_")

    def _fork(self, step: int) -> Path:
        return self.folder / "forks" / f"{step:06d}.safetensors"

    def _state(self, label: str) -> Path:
        return self._own(label) / "state" / "latest.safetensors"


def _stacked(snapshots: list[Snapshot], step: int) -> Snapshot:
    first = snapshots[0]
    count = len(first.losses)
    losses = [
        s.losses if len(s.losses) == count else torch.full_like(first.losses, torch.nan)
        for s in snapshots
    ]
    return Snapshot(
        step,
        tuple(s.labels[0] for s in snapshots),
        {n: torch.cat([s.params[n] for s in snapshots]) for n in first.params},
        {n: torch.cat([s.buffers[n] for s in snapshots]) for n in first.buffers},
        torch.cat(losses, dim=1),
    )


def _distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    total = sum(float((a[n].double() - b[n].double()).square().sum()) for n in a)
    # Not strict JSON otherwise; a twin that broke down alone is as far away as can be said.
    return math.sqrt(total) if math.isfinite(total) else sys.float_info.max
