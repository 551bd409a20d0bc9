"""The same random numbers for every trajectory: find generators, keep their state, set it back."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from wingbeat.generators import GeneratorStates
from wingbeat.task.closures import filled_cells

_DEPTH: Final = 8
_MOST_ITEMS: Final = 64
"""Longer lists hold data, not generators."""
_MOST_OBJECTS: Final = 20_000

Generator = torch.Generator | np.random.Generator | np.random.RandomState | random.Random
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_LEAVES = (Tensor, np.ndarray, nn.Module, str, bytes, int, float, complex, type, ModuleType)


def generators(*roots: object) -> list[Generator]:
    """Return the random generators that belong to loaders, samplers, data sets and transforms.

    Follows attributes, short lists and dictionaries, a few levels deep; models and arrays are
    not entered.

    >>> loader = DataLoader([1, 2], shuffle=True, generator=torch.Generator())
    >>> len(generators(loader))
    1
    """
    found: dict[int, Generator] = {}
    seen: set[int] = set()
    level: list[object] = list(roots)
    for _ in range(_DEPTH):
        below: list[object] = []
        for thing in level:
            known = thing is None or id(thing) in seen or len(seen) >= _MOST_OBJECTS
            if known or isinstance(thing, _LEAVES):
                continue
            seen.add(id(thing))
            if isinstance(thing, _GENERATORS):
                found[id(thing)] = thing
            else:
                below.extend(_inside(thing))
        level = below
    return list(found.values())


class Replay:
    """The state of the global generators and of those that belong to some objects.

    ``rewind`` sets all of them back to the state at construction, so that what follows draws
    the same numbers again.

    >>> own = torch.Generator().manual_seed(0)
    >>> replay = Replay(own)
    >>> first = (torch.rand(1), torch.rand(1, generator=own), random.random())
    >>> replay.rewind()
    >>> first == (torch.rand(1), torch.rand(1, generator=own), random.random())
    True
    """

    def __init__(self, *roots: object) -> None:
        self._loaders = [r for r in roots if isinstance(r, DataLoader)]
        self._own = [(g, _state(g)) for g in generators(*roots)]
        self._python = random.getstate()
        self._numpy = np.random.get_state()  # noqa: NPY002 (training code draws from it)
        self._torch = GeneratorStates.now()
        self._mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None

    def rewind(self) -> None:
        """Set every generator back."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002
        self._torch.put_back()
        if self._mps is not None:
            torch.mps.set_rng_state(self._mps)
        for generator, state in self._own:
            _restore(generator, state)
        for loader in self._loaders:
            # Workers that outlive an epoch go on with their own streams: start new ones.
            if loader.persistent_workers:
                loader._iterator = None

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """Leave no trace of what a block draws."""
        try:
            yield
        finally:
            self.rewind()


def _inside(thing: object) -> list[object]:
    if isinstance(thing, Mapping):
        return list(thing.values()) if len(thing) <= _MOST_ITEMS else []
    if isinstance(thing, list | tuple | set):
        return list(thing) if len(thing) <= _MOST_ITEMS else []
    held = [c.cell_contents for c in filled_cells(thing)]
    bound = getattr(thing, "__self__", None)
    slots = getattr(thing, "__dict__", {})
    own = list(slots.values()) if isinstance(slots, dict) else []
    return [*own, *held, *([] if bound is None else [bound])]


def _state(generator: Generator) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return copy.deepcopy(generator.bit_generator.state)
    if isinstance(generator, np.random.RandomState):
        return generator.get_state()
    return generator.getstate()


def _restore(generator: Generator, state: Any) -> None:
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        generator.setstate(state)
