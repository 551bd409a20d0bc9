"""Freeze Python objects to trees of JSON and tensors, and thaw them into the same objects.

No pickle: what is frozen can be written beside tensors and read without running code. What has
no plain form (an open file, an object of a library) is kept by identity where it was there at
the start, and named where it was not.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wingbeat.errors import RunError

Tree = list[Any]
"""A kind, its content, and the number of the object that it came from (-1: a new one)."""

_HOOKS = frozenset({"_backward_hooks", "_forward_hooks", "_forward_pre_hooks"})
# Above this many bytes a tensor or array in a closure is data that a function reads, not its
# state; the parameters of a second network are state at any size.
_LARGEST_ARRAY = 1 << 24
# Likewise a container of more items: the samples of a data set, say.
_LONGEST = 10_000


class Freezer:
    """Freeze objects to trees and thaw trees into the objects that they came from.

    Args:
        apart: tensors that are carried otherwise (a replica's own weights), left alone.
        follow: tells whether an object's attributes are state (an object of the user's).

    Attributes:
        foreign: kinds of objects met that can neither be frozen nor kept by identity.
    """

    def __init__(self, apart: list[Tensor], follow: Callable[[Any], bool]) -> None:
        self._apart = {id(t) for t in apart}
        self._follow = follow
        # The objects are held: an id means nothing once its object is gone.
        self._objects: list[Any] = list(apart)
        self._known = {id(t): i for i, t in enumerate(apart)}
        self._patterns: dict[str, Any] = {}
        self.foreign: set[str] = set()

    def learn(self, value: Any) -> Tree:
        """Freeze a value at the start: every object in it will be known by its number."""
        return self._freeze(value, [], set(), learning=True)

    def freeze(self, value: Any, tensors: list[Tensor]) -> Tree:
        """Return the tree of a value; copies of its tensors are added to ``tensors``."""
        return self._freeze(value, tensors, set(), learning=False)

    def _freeze(self, value: Any, tensors: list[Tensor], seen: set[int], *, learning: bool) -> Tree:
        if _plain(value):
            return ["=", value]
        if isinstance(value, float):
            return ["f", value.hex()]
        number = self._number(value, learning)
        if id(value) in seen or id(value) in self._apart:
            return ["@", number]
        seen.add(id(value))

        def inner(item: Any) -> Tree:
            return self._freeze(item, tensors, seen, learning=learning)

        found = self._container(value, inner, learning) or _source(value, tensors)
        if found is not None and found[0] == "o" and number < 0:  # made during training
            kind = _pattern_name(value)
            self._patterns.setdefault(kind, value)
            return ["O", found[1], kind]
        if found is None:
            if number < 0:
                self.foreign.add(type(value).__qualname__)
            return ["@", number]
        return [*found, number]

    def _container(  # noqa: PLR0911  (one line a kind)
        self, value: Any, inner: Callable[[Any], Tree], learning: bool
    ) -> Tree | None:
        if isinstance(value, (list, tuple, deque, set, frozenset, dict)) and len(value) > _LONGEST:
            return None
        if isinstance(value, (list, tuple, deque)):
            return ["t" if isinstance(value, tuple) else "l", [inner(v) for v in value]]
        if isinstance(value, (set, frozenset)):
            fine = all(_plain(v) for v in value)
            return ["s", sorted((inner(v) for v in value), key=json.dumps)] if fine else None
        if isinstance(value, dict):
            return ["d", [[self._key(k, learning), inner(v)] for k, v in value.items()]]
        if isinstance(value, nn.Module):
            tensors = {**value._parameters, **value._buffers, **value._modules}
            own = {k: v for k, v in vars(value).items() if k[0] != "_"}
            return ["o", [[["=", k], inner(v)] for k, v in {**own, **tensors}.items()]]
        if self._follow(value):
            own = {k: v for k, v in vars(value).items() if k not in _HOOKS}
            return ["o", [[["=", k], inner(v)] for k, v in own.items()]]
        return None

    def _key(self, key: Any, learning: bool) -> Tree:
        return ["=", key] if _plain(key) else ["@", self._number(key, learning)]

    def _number(self, value: Any, learning: bool) -> int:
        found = self._known.get(id(value), -1)
        if found < 0 and learning:
            found = self._known[id(value)] = len(self._objects)
            self._objects.append(value)
        return found

    def thaw(self, tree: Tree, tensors: list[Tensor]) -> Any:  # noqa: PLR0911  (one line a kind)
        """Return the value of a tree: the object that it came from with its content put back."""
        kind, content = tree[0], tree[1]
        if kind == "=":
            return content
        if kind == "f":
            return float.fromhex(content)
        if kind == "@":
            return self._objects[content] if content >= 0 else None
        if kind == "O":
            return self._like_pattern(tree[2], content, tensors)
        there = self._objects[tree[2]] if tree[2] >= 0 else None
        if kind in "lts":
            return _sequence(kind, there, [self.thaw(t, tensors) for t in content])
        if kind in "do":
            pairs = ((self.thaw(k, tensors), self.thaw(v, tensors)) for k, v in content)
            return _mapping(there, dict(pairs))
        if kind in "TG":
            content = tensors[content]
        if kind == "A":
            content = (tensors[content[0]], *content[1:])
        return _thawed(kind, there, content)

    def _like_pattern(self, kind: str, content: Any, tensors: list[Tensor]) -> Any:
        """Return an object that was made during training: a copy of one of its kind, filled."""
        if kind not in self._patterns:
            msg = f"a {kind} that was made during training cannot be made again"
            raise RunError(msg)
        pairs = ((self.thaw(k, tensors), self.thaw(v, tensors)) for k, v in content)
        return _mapping(copy.deepcopy(self._patterns[kind]), dict(pairs))


def _pattern_name(value: Any) -> str:
    """Name what objects that can be copied for each other have in common."""
    own = value.__dict__
    tensors = {**own, **own.get("_parameters", {}), **own.get("_buffers", {})}
    shapes = {k: tuple(t.shape) for k, t in tensors.items() if isinstance(t, Tensor)}
    return f"{type(value).__module__}.{type(value).__qualname__} {shapes}"


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, str))


def _sequence(kind: str, there: Any, items: list[Any]) -> Any:
    if kind == "t":
        same = there is not None and all(a is b for a, b in zip(there, items, strict=True))
        return there if same else tuple(items)
    if kind == "s":
        if not isinstance(there, set):
            return set(items)
        there.clear()
        there.update(items)
        return there
    if there is None:
        return items
    there.clear()
    there.extend(items)
    return there


def _mapping(there: Any, content: dict[Any, Any]) -> Any:
    if there is None or isinstance(there, dict):
        target = {} if there is None else there
        target.clear()
        target.update(content)
        return target
    for name in [n for n in vars(there) if n[0] != "_" and n not in content]:
        delattr(there, name)
    for name, value in content.items():
        now = getattr(there, name, there)  # the owner itself: no attribute of that name
        if isinstance(now, nn.Parameter) and isinstance(value, Tensor):
            _refilled(now, value)
            continue
        equal = _plain(value) or isinstance(value, float)
        if now is not value and not (equal and type(now) is type(value) and now == value):
            setattr(there, name, value)
    return there


def _refilled(there: Any, saved: Tensor) -> Tensor:
    if isinstance(there, Tensor) and (there.shape, there.dtype) == (saved.shape, saved.dtype):
        with torch.no_grad():
            there.detach().copy_(saved)  # the value only: the object and its gradient flag stay
        return there
    return saved.clone()


def _array_tree(value: Any, tensors: list[Tensor]) -> list[Any]:
    tensors.append(torch.from_numpy(np.frombuffer(value.tobytes(), np.uint8).copy()))
    return ["A", [len(tensors) - 1, str(value.dtype), list(value.shape)]]


def _array_back(there: Any, content: Any) -> Any:
    saved, kind, shape = content
    array = np.frombuffer(saved.numpy().tobytes(), np.dtype(kind)).reshape(shape)
    fits = there is not None and there.shape == array.shape and there.flags.writeable
    if not fits:
        return array.copy()
    there[...] = array
    return there


def _set_state(there: Any, saved: Tensor) -> Any:
    there.set_state(saved)
    return there


def _listed(state: Any) -> Any:
    """Return a generator's state with its arrays as lists."""
    if isinstance(state, dict):
        return {k: _listed(v) for k, v in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


def _python_back(there: random.Random, content: Any) -> Any:
    there.setstate((content[0], tuple(content[1]), content[2]))
    return there


def _bits_back(there: np.random.Generator, content: Any) -> Any:
    there.bit_generator.state = content
    return there


def _source(value: Any, tensors: list[Tensor]) -> list[Any] | None:  # noqa: PLR0911
    """Return the tree of a tensor, an array, a count or a source of random numbers."""
    if isinstance(value, Tensor):
        large = value.nbytes > _LARGEST_ARRAY and not isinstance(value, nn.Parameter)
        if value.layout != torch.strided or large:
            return None
        tensors.append(value.detach().clone())
        return ["T", len(tensors) - 1]
    if isinstance(value, np.ndarray):
        large = value.dtype.hasobject or value.nbytes > _LARGEST_ARRAY
        return None if large else _array_tree(value, tensors)
    if isinstance(value, np.generic):
        return ["n", [str(value.dtype), value.item()]]
    if isinstance(value, torch.Generator):
        tensors.append(value.get_state().clone())
        return ["G", len(tensors) - 1]
    if isinstance(value, random.Random):
        return ["R", json.loads(json.dumps(value.getstate()))]
    if isinstance(value, np.random.Generator):
        return ["B", _listed(value.bit_generator.state)]
    if isinstance(value, np.random.RandomState):
        return ["S", _listed(value.get_state(legacy=False))]
    # The next number of a count stands in its text: there is no other way to ask for it.
    return ["k", repr(value)] if isinstance(value, itertools.count) else None


def _thawed(kind: str, there: Any, content: Any) -> Any:
    """Return a tensor, an array, a count or a source of random numbers from its tree."""
    if kind == "n":
        return np.dtype(content[0]).type(content[1])
    if kind == "k":
        first, *step = (int(x) for x in content[6:-1].split(","))
        return itertools.count(first, *step)
    if kind == "S":
        there.set_state(content)
        return there
    backs: dict[str, Callable[[Any, Any], Any]] = {
        "T": _refilled,
        "A": _array_back,
        "G": _set_state,
        "R": _python_back,
        "B": _bits_back,
    }
    return backs[kind](there, content)
