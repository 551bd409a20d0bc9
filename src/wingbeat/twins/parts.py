"""The parts of a training that its builder returns by name, and their states."""

from __future__ import annotations

import copy
import types
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from wingbeat.errors import RequestError
from wingbeat.params import fixed, trainable
from wingbeat.trajectory.tensorfile import read_tensors, write_tensors
from wingbeat.twins.plain_state import flattened, rebuilt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    Parts = Mapping[str, Any]

MODEL = "model"
OWNERS = (
    "What trains by a fit() or train() of its own (Hugging Face, Lightning, Keras, fastai, skorch, "
    "Ignite) is forked by wingbeat.integrations and wingbeat.scripts.fork_training"
)
"""What somebody is told who brings a training that is no loop."""
FLAGS = "|flags"
"""Where the flags of all modules lie among the states of parts."""
_TRAINED: weakref.WeakKeyDictionary[nn.Module, frozenset[str]] = weakref.WeakKeyDictionary()
"""The weights of a model that were trainable when it was built: it may unfreeze others later."""
_STATELESS = (
    bool, int, float, complex, str, bytes, type, type(None), torch.device, torch.dtype,
    types.FunctionType, types.BuiltinFunctionType, types.ModuleType,
)  # fmt: skip


def checked(parts: Any) -> dict[str, Any]:
    """Return what a builder made as parts by name.

    Raises:
        RequestError: it is no dict of parts with a module called "model" that has weights.
    """
    if isinstance(parts, nn.Module):
        parts = {MODEL: parts}
    advice = f'return a dict such as {{"model": model, "optimizer": optimizer}}. {OWNERS}'
    if not isinstance(parts, dict) or not isinstance(parts.get(MODEL), nn.Module):
        found = list(parts) if isinstance(parts, dict) else type(parts).__name__
        msg = f"build returned {found!r}, without a torch module called 'model': {advice}"
        raise RequestError(msg)
    if not trainable(parts[MODEL]):
        msg = "the part 'model' has no parameter that requires a gradient: nothing could part"
        raise RequestError(msg)
    _TRAINED[parts[MODEL]] = frozenset(trainable(parts[MODEL]))
    return parts


def thawed(parts: Parts) -> list[str]:
    """Return the weights that train by now, and did not when the model was built."""
    return sorted(set(trainable(parts[MODEL])) - set(weights(parts)))


def unsaved(parts: Parts) -> dict[str, str]:
    """Return why the state of a part cannot be saved and loaded, by the part's name."""
    without = [name for name, part in parts.items() if not (_stateless(part) or _kind(part))]
    found = dict.fromkeys(without, "it has no state_dict")
    for name, state in states(parts).items():
        try:
            flattened(state)
        except RequestError as error:
            found[name] = str(error)
    return found


def in_words(reasons: Mapping[str, str]) -> str:
    """Return what was found of parts that cannot be saved, as a subject for a sentence."""
    return "; ".join(f"{name!r}: {why}" for name, why in reasons.items())


def _stateless(part: Any) -> bool:
    return isinstance(part, _STATELESS)


def _kind(part: Any) -> str:
    if callable(getattr(part, "state_dict", None)) and callable(
        getattr(part, "load_state_dict", None)
    ):
        return "state_dict"
    return "generator" if isinstance(part, torch.Generator) else ""


def states(parts: Parts) -> dict[str, Any]:
    """Return a copy of the state of every part that has one."""
    found = {}
    for name, part in parts.items():
        if _kind(part):
            state = part.state_dict() if _kind(part) == "state_dict" else part.get_state()
            found[name] = copy.deepcopy(state)
    return {**found, FLAGS: _flags(parts)}


def _flags(parts: Parts) -> dict[str, Any]:
    """Return what of modules is in no state_dict: which parts train, and in which mode."""
    return {
        name: [
            [p.requires_grad for p in module.parameters()],
            [one.training for one in module.modules()],
        ]
        for name, module in _modules(parts).items()
    }


def _set_flags(parts: Parts, flags: Mapping[str, Any]) -> None:
    modules = _modules(parts)
    for name, (gradients, modes) in flags.items():
        for parameter, wanted in zip(modules[name].parameters(), gradients, strict=True):
            if parameter.requires_grad != wanted:
                parameter.requires_grad_(wanted)
        for module, wanted in zip(modules[name].modules(), modes, strict=True):
            if module.training != wanted:
                module.training = wanted


def restore(parts: Parts, saved: Mapping[str, Any]) -> None:
    """Load states into the parts they came from."""
    _set_flags(parts, saved.get(FLAGS, {}))
    for name, state in saved.items():
        if name == FLAGS:
            continue
        if _kind(parts[name]) == "generator":
            parts[name].set_state(state)
        else:
            parts[name].load_state_dict(copy.deepcopy(state))


def changed(before: Mapping[str, Any], parts: Parts) -> list[str]:
    """Return which parts are no longer as `states` found them."""
    now = states(parts)
    return [name for name, state in before.items() if not _same(state, now[name])]


def _same(a: Any, b: Any) -> bool:
    try:
        tensors, others = zip(flattened({"": a}), flattened({"": b}), strict=True)
    except RequestError:  # what cannot be told apart is not called changed
        return True
    pairs = [(t, tensors[1].get(name)) for name, t in tensors[0].items()]
    return others[0] == others[1] and all(
        other is not None and t.shape == other.shape and _equal(t, other) for t, other in pairs
    )


def _equal(a: Tensor, b: Tensor) -> bool:
    if torch.equal(a, b):
        return True
    return a.is_floating_point() and torch.equal(a.nan_to_num(), b.nan_to_num())


def write_states(path: Path, content: Mapping[str, Any]) -> bool:
    """Write states as one file, all or nothing; returns whether they are plain data.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    try:
        tensors, rest = flattened(dict(content))
    except RequestError:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, tensors, {"state": rest})
    return True


def read_states(path: Path) -> dict[str, Any]:
    """Read what `write_states` wrote.

    Raises:
        StoreError: the file is damaged or was altered.
    """
    tensors, meta = read_tensors(path)
    found: dict[str, Any] = rebuilt(tensors, meta["state"])
    return found


def weights(parts: Parts) -> dict[str, Tensor]:
    """Return the trainable weights of the model, by name: what is perturbed and compared."""
    model = parts[MODEL]
    chosen = _TRAINED.get(model, frozenset(trainable(model)))
    return {name: p.detach() for name, p in model.named_parameters() if name in chosen}


def others(parts: Parts) -> dict[str, Tensor]:
    """Return all other tensors of parts that are modules: ``name``, or ``part/name``.

    They are recorded so that a copy can be evaluated, and are not compared.
    """
    own = weights(parts)
    all_ = {**trainable(parts[MODEL]), **fixed(parts[MODEL])}
    found = {n: t.detach() for n, t in all_.items() if t.numel() and n not in own}
    for part, module in _modules(parts).items():
        if part != MODEL:
            tensors = {**trainable(module), **fixed(module)}
            found |= {f"{part}/{n}": t.detach() for n, t in tensors.items() if t.numel()}
    return found


def _modules(parts: Parts) -> dict[str, nn.Module]:
    return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}


def put(parts: Parts, recorded: Mapping[str, Tensor]) -> None:
    """Give modules the tensors that `weights` and `others` recorded."""
    own = weights(parts) | others(parts)
    with torch.no_grad():
        for name, tensor in recorded.items():
            own[name].copy_(tensor)


def evaluation_mode(parts: Parts) -> None:
    """Put every module into evaluation mode."""
    for module in _modules(parts).values():
        module.eval()
