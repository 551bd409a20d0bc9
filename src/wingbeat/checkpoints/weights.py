"""Which of the tensors of a training checkpoint are the model's weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

KEYS = ("state_dict", "model_state_dict", "model", "module", "net", "weights", "params")
"""Where training scripts put the model among other things."""
# What optimizers of torch keep for every weight, and the count of their steps beside it.
_MOMENTS = {
    "exp_avg", "exp_avg_sq", "exp_inf", "max_exp_avg_sq", "momentum_buffer", "square_avg",
    "acc_delta", "grad_avg", "sum", "prev", "step_size",
}  # fmt: skip
_COUNTS = {"step", "mu_product", "eta", "mu", "ax"}
_TOLD = re.compile(r"loss|acc|best|metric|epoch|step|iter|seed|rng|random|history|lr$", re.I)
# Also kept for every epoch, as a vector.
_SERIES = re.compile(r"(^|_)(loss(es)?|acc(uracy)?|accs|metrics?|history)$", re.I)
_OTHERS = re.compile(r"optim|sched|scaler|rng|random|callback|loops$|amp$", re.I)


@dataclass(frozen=True)
class CheckpointWeights:
    """The weights found in a file's content.

    Attributes:
        tensors: by dotted name.
        group: dotted key under which they lie, "" for the whole file.
        beside: what was left, by the name that it has beside them.
    """

    tensors: dict[str, Tensor]
    group: str = ""
    beside: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken and what was left, in a sentence; nothing where all was taken."""
        if not self.beside:
            return ()
        shown = ", ".join(map(repr, self.beside[:5])) + (" …" if len(self.beside) > 5 else "")
        return (f"Weights are those of {self.group!r}; not read: {shown}.",)


def choose(path: Path, content: Any, key: str | None) -> CheckpointWeights:
    """Return the weights in a file's content, chosen by what they are.

    A mapping whose tensors lie beside an optimizer, or that holds nothing but what a training
    script notes (a best loss, the state of a random generator), is no state dict: the weights are
    the one group inside it that belongs to no optimizer, or the one that goes by a usual name.

    Raises:
        RequestError: there are none, or several groups could be meant and no ``key`` was given.
    """
    if isinstance(content, Tensor):
        content = {"tensor": content}
    if not isinstance(content, Mapping):
        msg = f"{path} holds {type(content).__name__}: save model.state_dict()"
        raise RequestError(msg)
    found = _within(path, content, "") if key is None else _keyed(path, content, key)
    if not found.tensors:
        msg = f"{path} holds no tensors there: save model.state_dict()"
        raise RequestError(msg)
    return found


def _keyed(path: Path, content: Any, key: str) -> CheckpointWeights:
    parts = key.split(".")
    for place, part in enumerate(parts):
        under = _under(content, ".".join(parts[place:]))
        if under:
            return CheckpointWeights(under, key)
        if not isinstance(content, Mapping) or part not in content:
            has = ", ".join(map(repr, list(content)[:20])) if isinstance(content, Mapping) else ""
            msg = f"{path} has no {key!r}: it has {has or 'nothing there'}"
            raise RequestError(msg)
        content = content[part]
    return CheckpointWeights(flattened(content), key)


def _under(content: Any, prefix: str) -> dict[str, Tensor]:
    """Return the tensors of a state dict whose names begin with a prefix, without it."""
    if not isinstance(content, Mapping) or prefix in content:
        return {}
    before = f"{prefix}."
    named = {n: t for n, t in content.items() if isinstance(n, str) and isinstance(t, Tensor)}
    return {n.removeprefix(before): t for n, t in named.items() if n.startswith(before)}


def _within(path: Path, content: Mapping[Any, Any], place: str) -> CheckpointWeights:
    """Return the weights of a mapping, of a group inside it where it is a training checkpoint."""
    if is_optimizer(content):
        msg = (
            f"{path} holds the state of an optimizer{f' under {place!r}' if place else ''} and no "
            "weights: give the file of the model, or say where they are with key="
        )
        raise RequestError(msg)
    groups = {k: v for k, v in content.items() if isinstance(v, Mapping) and flattened(v)}
    loose = [k for k, v in content.items() if isinstance(v, Tensor)]
    if not _is_training(content, groups, loose, top=not place):
        return CheckpointWeights(flattened(content), place)
    name = _one(path, groups, place)
    found = _within(path, groups[name], f"{place}.{name}" if place else str(name))
    held = [*loose, *(k for k in groups if k != name)]
    return CheckpointWeights(found.tensors, found.group, (*map(str, held), *found.beside))


def _is_training(
    content: Mapping[Any, Any], groups: Mapping[Any, Any], loose: list[Any], *, top: bool
) -> bool:
    """Tell whether a mapping is a training checkpoint rather than a state dict."""
    told = bool(loose) and all(_is_told(content[k], str(k)) for k in loose)
    if not groups:
        return told and len(loose) < len(content)
    if any(is_optimizer(group) or "optim" in str(k).lower() for k, group in groups.items()):
        return True
    if loose:
        return told or any(k in KEYS for k in groups)
    # Below the top a state dict may be nested, as flax writes it: only notes beside tell.
    return top or any(not isinstance(v, Mapping | Tensor) for v in content.values())


def _is_told(tensor: Tensor, name: str) -> bool:
    """Tell whether a tensor is what a training script notes: a best loss, a random state."""
    small = tensor.numel() <= 1 or not tensor.is_floating_point()
    told = _TOLD if small else _SERIES
    return "." not in name and told.search(name) is not None


def is_optimizer(content: Mapping[Any, Any]) -> bool:
    """Tell whether a mapping is the state of an optimizer, or of several and nothing else.

    >>> is_optimizer({"state": {}, "param_groups": []}), is_optimizer({"fc.weight": 0})
    (True, False)
    """
    if "param_groups" in content and "state" in content:
        return True
    last = {name.rpartition(".")[2] for name in flattened(content)}
    return bool(last & _MOMENTS) and last <= _MOMENTS | _COUNTS


def _one(path: Path, groups: Mapping[Any, Any], place: str) -> Any:
    """Return the name of the only group that can be the weights."""
    able = [k for k, v in groups.items() if not (is_optimizer(v) or _OTHERS.search(str(k)))]
    left = [k for k in able if k in KEYS] or able
    if len(left) == 1:
        return left[0]
    named = ", ".join(repr(f"{place}.{k}" if place else str(k)) for k in left or groups)
    why = "several could be meant" if left else "none is a model's"
    msg = f"{path} holds tensors under {named or 'no name'}: {why}; say which with key="
    raise RequestError(msg)


def flattened(content: object, prefix: str = "", depth: int = 0) -> dict[str, Tensor]:
    """Return the tensors of nested dicts by dotted name, as far as 32 levels.

    >>> import torch
    >>> list(flattened({"a": {"b": torch.zeros(1)}, "lr": 0.1}))
    ['a.b']
    """
    if isinstance(content, Tensor):
        return {prefix: content}
    found: dict[str, Tensor] = {}
    if isinstance(content, Mapping) and depth < 32:
        for name, inner in content.items():
            found |= flattened(inner, f"{prefix}.{name}" if prefix else str(name), depth + 1)
    return found
