"""A stack of models of one task, and the models that lie between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from wingbeat.errors import RequestError
from wingbeat.params import fixed, trainable
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.task.step import TrainingStep


@dataclass(frozen=True)
class Models:
    """N models of one architecture.

    Attributes:
        labels: N names.
        params: flat weights (N, P), as ``TrainingStep.layout`` lays them out.
        buffers: buffers and frozen parameters by name, each (N, …).
    """

    labels: tuple[str, ...]
    params: Tensor
    buffers: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of_snapshot(cls, step: TrainingStep, snapshot: Snapshot) -> Models:
        """Return all replicas of a recorded moment."""
        params = step.layout.flatten(snapshot.params)
        return cls(tuple(snapshot.labels), params, dict(snapshot.buffers))

    @classmethod
    def of_modules(cls, step: TrainingStep, modules: Mapping[str, nn.Module]) -> Models:
        """Return PyTorch modules of the task's architecture, by label.

        Raises:
            RequestError: a module has other tensors than the task's model; they are listed.
        """
        if not modules:
            raise RequestError("no models were given: pass {label: module}")
        expected = {**trainable(step.skeleton), **fixed(step.skeleton)}
        for label, module in modules.items():
            _check_architecture(label, {**trainable(module), **fixed(module)}, expected)
        owns = [{k: p.detach() for k, p in trainable(m).items()} for m in modules.values()]
        others = [{k: t.detach() for k, t in fixed(m).items()} for m in modules.values()]
        flat = [step.layout.flatten(own).to(step.device, step.dtype) for own in owns]
        buffers = {k: _placed([o[k] for o in others], step) for k in others[0]}
        return cls(tuple(modules), torch.stack(flat), buffers)

    def take(self, places: Sequence[int]) -> Models:
        """Return some of the models, in the given order."""
        chosen = list(places)
        labels = tuple(self.labels[i] for i in chosen)
        return Models(labels, self.params[chosen], {k: b[chosen] for k, b in self.buffers.items()})

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Tell which models have only finite weights and buffers, (N,)."""
        ok = torch.isfinite(self.params).all(dim=-1)
        for buffer in self.buffers.values():
            if buffer.is_floating_point():
                ok = ok & torch.isfinite(buffer).flatten(1).all(dim=1)
        return np.asarray(ok.cpu().numpy())

    def require_finite(self) -> None:
        """Refuse models that broke down.

        Raises:
            RequestError: a weight is not finite; names the models.
        """
        bad = [label for label, ok in zip(self.labels, self.finite, strict=True) if not ok]
        if bad:
            raise RequestError(
                f"weights of {', '.join(map(repr, bad))} are not finite: a model that diverged "
                "has no loss between it and another; leave it out"
            )

    def originals(self) -> NDArray[np.int64]:
        """Return for each model the place of the first one that has the same bits, (N,)."""
        found: list[int] = []
        for i in range(len(self)):
            same = [j for j in sorted(set(found)) if self._equal(i, j)]
            found.append(same[0] if same else i)
        return np.array(found, dtype=np.int64)

    def mixed(self, row: Array) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weights (P,) and buffers of an affine combination of the models.

        Args:
            row: coefficients (N,), summing to 1.

        Counted from the model with the largest coefficient, so that a combination of equal
        models is that model to the bit, and the middle of two does not depend on their order.
        Buffers of whole numbers are those of that model.
        """
        return _mixed(self.params, row), {k: _mixed(b, row) for k, b in self.buffers.items()}

    def _equal(self, i: int, j: int) -> bool:
        pairs = [self.params, *self.buffers.values()]
        return all(torch.equal(t[i], t[j]) for t in pairs)


def _mixed(stack: Tensor, row: Array) -> Tensor:
    used = np.flatnonzero(row)
    anchor = int(used[np.argmax(row[used])])
    if not stack.is_floating_point() or used.size == 1:
        return stack[anchor]
    if used.size == 2 and (row[used] == 0.5).all():
        return 0.5 * stack[int(used[0])] + 0.5 * stack[int(used[1])]
    if used.size == 2:  # one pass over memory instead of three
        other = int(used[used != anchor][0])
        return torch.lerp(stack[anchor], stack[other], float(row[other]))
    out = stack[anchor].clone()
    for place in map(int, used):
        if place != anchor:
            out += float(row[place]) * (stack[place] - stack[anchor])
    return out


def _placed(tensors: list[Tensor], step: TrainingStep) -> Tensor:
    joined = torch.stack(tensors).to(step.device)
    return joined.to(step.dtype) if joined.is_floating_point() else joined


def _check_architecture(
    label: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    reshaped = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected
        if name in found and found[name].shape != expected[name].shape
    ]
    listed = (("missing", missing), ("extra", extra), ("of another shape", reshaped))
    faults = [f"{word}: {_few(names)}" for word, names in listed if names]
    if faults:
        raise RequestError(
            f"model {label!r} is of another architecture than the task's ({'; '.join(faults)}): "
            "there is no line between them"
        )


def _few(names: Sequence[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
