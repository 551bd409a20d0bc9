"""What a training calls after each update: it nudges one copy at its step, and records it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from safetensors.torch import load_file, save_file

from wingbeat.errors import RequestError, RunError
from wingbeat.params import check_names, trainable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

    from wingbeat.replicas.perturb import Nudge

Chosen = Literal["trainable", "all"]
_WRAPPERS: Final = ("module", "_orig_mod")
"""Where DistributedDataParallel and torch.compile keep the model."""


class OnStep:
    """Call it with the step and the model: once at the start, then after each update.

    At the step of the fork the weights are nudged in place; then, and at every ``record_every``
    steps, they are written to ``folder/step-….safetensors``.

    Attributes:
        label: which copy this is, for messages and folders of one's own.
        folder: where its weights are written.
        l2: norm of the nudge after rounding to the weights' type; 0 for the reference.
        changed: share of the weights that became another number.
        still: names of the tensors that were asked to move and did not.
        thawed: names of the weights that train at the last recording and did not at the fork.
        replaced: whether training left other weights to its caller than those recorded last.
        reference: names of the reference's weights once it is trained; its copies must have them.
        told: called with the step of each recording once it is written.
    """

    def __init__(
        self,
        folder: Path,
        label: str = "reference",
        nudge: Nudge | None = None,
        number: int = 0,
        *,
        at: int = 0,
        record_every: int = 50,
        weights: Chosen = "trainable",
    ) -> None:
        self.folder, self.label, self.nudge, self.number = folder, label, nudge, number
        self.at, self.record_every, self.weights = at, record_every, weights
        self.l2 = self.changed = 0.0
        self.still: tuple[str, ...] = ()
        self.thawed: tuple[str, ...] = ()
        self.replaced = self.forked = False
        self.reference: frozenset[str] | None = None
        self._names: frozenset[str] | None = None
        self.told: Callable[[int], None] = lambda _: None
        self._last: int | None = None
        self._recorded: int | None = None

    def __call__(self, step: int, model: nn.Module, *, last: bool = False) -> None:
        """Say that ``step`` updates are made.

        Args:
            step: updates since the start of training.
            model: with the weights as they are now; wrappers are looked through.
            last: record whatever the step, again if the weights changed since: no further one
                follows.

        Raises:
            RunError: the step of the fork was passed without a call.
            RequestError: the weights are not all here, or cannot be nudged.
        """
        if not self.forked:
            if step < self.at:
                self._last = step
                return
            if step > self.at:
                raise RunError(self._missed(step))
            self._fork(model)
            self._record(step, model)
        elif last:
            self._record(step, model, again=True)
        elif step // self.record_every > (self._last or 0) // self.record_every:
            self._record(step, model)
        self._last = step

    @property
    def last(self) -> int | None:
        """The step that was recorded last."""
        return self._recorded

    def expect(self, last: int) -> None:
        """Say at which step training will end, as soon as it is known.

        Raises:
            RequestError: nothing would be left to train after the fork.
        """
        if not self.forked and last <= self.at:
            msg = f"the copies fork at step {self.at}, and training ends at step {last}"
            raise RequestError(f"{msg}: name an earlier step or checkpoint (at=), or train longer")

    def left(self, model: nn.Module) -> None:
        """Say that training is over, with the weights that it leaves to its caller."""
        if self._recorded is not None:
            self.replaced = self._differs(self._recorded, self.chosen(model))

    def chosen(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the weights that are nudged and recorded, by name: those of the fork."""
        inner = unwrapped(model)
        found = trainable(inner)
        if self.weights == "all":
            found = {n: p for n, p in inner.named_parameters() if p.is_floating_point()}
        if self._names is not None:
            self.thawed = tuple(sorted(set(found) - self._names))
            found = {n: p for n, p in inner.named_parameters() if n in self._names}
        if not found:
            raise RequestError("the model has no weight that is trained: nothing could part")
        empty = [name for name, weight in found.items() if not weight.numel()]
        if empty:
            msg = f"{empty[0]} is empty here: sharded weights cannot be nudged in a process"
            raise RequestError(f"{msg}; use `wingbeat fork` on its checkpoints")
        return {name: weight.detach() for name, weight in found.items()}

    def _fork(self, model: nn.Module) -> None:
        self.forked = True
        params = self.chosen(model)
        self._names = frozenset(params)
        if self.reference is not None:
            check_names(params, self.reference, self.label)
        if self.nudge is None:
            return
        self.nudge.check(params, self.at + 1)
        before = {name: weight.clone() for name, weight in params.items()}
        delta = self.nudge.delta(before, _no_gradient, self.number)
        with torch.no_grad():
            for name, weight in params.items():
                if name in delta:
                    moved = weight.double() + delta[name].reshape(weight.shape).to(weight.device)
                    weight.copy_(moved.to(weight.dtype))
        moves = {n: (w.double() - before[n].double()).flatten().cpu() for n, w in params.items()}
        whole = torch.cat(list(moves.values()))
        self.l2, self.changed = float(whole.norm()), float((whole != 0).double().mean())
        self.still = tuple(n for n in delta if n in moves and not bool(moves[n].any()))

    def _record(self, step: int, model: nn.Module, *, again: bool = False) -> None:
        weights = self.chosen(model)
        if self._recorded == step and not (again and self._differs(step, weights)):
            return
        first = self._recorded != step
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {n: w.cpu().clone().contiguous() for n, w in weights.items()}
        save_file(tensors, self._path(step))
        self._recorded = step
        if first:
            self.told(step)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step}.safetensors"

    def _differs(self, step: int, weights: dict[str, Tensor]) -> bool:
        """Tell whether weights are others than those recorded at a step."""
        there = load_file(self._path(step))
        return any(not torch.equal(there[name], w.cpu()) for name, w in weights.items())

    def _missed(self, step: int) -> str:
        if self._last is None:
            return (
                f"on_step was first called with step {step}, and the copies fork at {self.at}: "
                "call it before the first update too, or name a later step (at=)"
            )
        return (
            f"on_step was called with the steps {self._last} and {step}, and the copies fork at "
            f"{self.at}: name a step that it is called with (at=)"
        )


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model within its wrappers."""
    for _ in range(4):  # a wrapper of each kind, twice over
        inner: Any = next((getattr(model, n) for n in _WRAPPERS if _wraps(model, n)), None)
        if inner is None:
            return model
        model = inner
    return model


def _wraps(model: nn.Module, name: str) -> bool:
    children = dict(model.named_children())
    return list(children) == [name] and not list(model.parameters(recurse=False))


def _no_gradient(seed: int) -> dict[str, Tensor]:
    raise AssertionError(f"refused before: no gradient for seed {seed}")
