"""Trackers of a training that is a function: told of what its copies wrote, as they write it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from wingbeat.replicas.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wingbeat.execution.live import Live
    from wingbeat.scripts.on_step import OnStep


class Told:
    """Reads the recordings of copies, each in a folder of its own, for trackers.

    Args:
        live: the trackers.
        hooks: of all copies, in the order in which they train; they tell from now on.
    """

    def __init__(self, live: Live, hooks: Sequence[OnStep]) -> None:
        self.live, self.hooks = live, {hook.label: hook for hook in hooks}
        for hook in hooks:
            hook.told = partial(self.tell, hook)

    def replay(self, hook: OnStep) -> None:
        """Tell of all that a finished copy recorded."""
        if self.live.trackers:
            names = [path.stem.removeprefix("step-") for path in hook.folder.glob("step-*")]
            for step in sorted(map(int, names)):
                self.tell(hook, step)

    def tell(self, hook: OnStep, step: int) -> None:
        """Tell of one recording."""
        of = [h for h in self.hooks.values() if h.nudge is hook.nudge] if hook.nudge else [hook]
        self.live.copy(hook.label, [h.label for h in of], partial(self._moment, step=step))

    def _moment(self, labels: Sequence[str], step: int) -> Snapshot:
        paths = {label: _path(self.hooks[label], step) for label in labels}
        found = {label: load_file(path) for label, path in paths.items() if path.exists()}
        first = next(iter(found.values()))
        weights = {name: torch.stack([own[name] for own in found.values()]) for name in first}
        return Snapshot(step, tuple(found), weights, {}, torch.empty(0, len(found)))


def _path(hook: OnStep, step: int) -> Path:
    return hook.folder / f"step-{step}.safetensors"
