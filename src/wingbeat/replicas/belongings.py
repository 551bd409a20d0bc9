"""What an optimizer object holds, all of it, as tensors: one replica's belongings.

An optimizer may keep its state anywhere: by parameter, in its groups, in attributes, in other
optimizers within it, in lists and dicts of them. ``gather`` walks over all that can be reached
and returns tensors; ``put_back`` makes the same object hold them again, so that one object can
serve many replicas in turn.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import nn

from wingbeat.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

STRUCTURE: Final = "|structure"
_PLAIN: Final = (bool, int, float, str, type(None))


class Belongings:
    """Reads and writes all that an optimizer holds.

    Args:
        owner: the optimizer.
        model: whose parameters and modules belong to the model, not to the optimizer.
        skipped: entries of parameter groups that are the schedule's.
    """

    def __init__(self, owner: Any, model: nn.Module, skipped: frozenset[str] = frozenset()) -> None:
        self.owner, self.skipped = owner, skipped
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.names = {id(t): name for name, t in tensors.items()}
        self.tensors = tensors
        self.modules = {id(m) for m in model.modules()}
        self.classes: dict[str, type] = {}
        self.kept: list[Any] = []
        self._places: dict[int, int] = {}
        self._parsed: tuple[bytes, Any] = (b"", None)

    def gather(self) -> dict[str, Tensor]:
        """Return all that the optimizer holds, as tensors by name."""
        found = _Reading(self)
        root = found.node(self.owner)
        text = json.dumps(root, separators=(",", ":"))
        structure = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
        return {STRUCTURE: structure, **{f"|{i}": t for i, t in enumerate(found.tensors)}}

    def put_back(self, held: Mapping[str, Tensor], *, given: bool = False) -> None:
        """Make the optimizer hold what ``gather`` returned, copied.

        Args:
            held: what it returned.
            given: the tensors are the optimizer's from now on, and need not be copied.

        Raises:
            RunError: a saved state of an earlier version, or of a class that is gone.
        """
        if STRUCTURE not in held:
            msg = "the saved optimizer state is of another version: start in another folder"
            raise RunError(msg)
        raw = held[STRUCTURE].cpu().numpy().tobytes()
        if raw != self._parsed[0]:
            self._parsed = raw, json.loads(raw)
        _Writing(self, held, given).node(self._parsed[1], self.owner)

    def keep(self, thing: Any) -> int:
        """Return the place of something that is not a replica's: functions, modules, devices."""
        place = self._places.get(id(thing))
        if place is None:
            place = self._places[id(thing)] = len(self.kept)
            self.kept.append(thing)
        return place


def _is_entered(thing: Any) -> bool:
    """Tell an object whose attributes may be state from one of Python's or torch's own kinds."""
    if isinstance(thing, type) or not hasattr(thing, "__dict__") or callable_only(thing):
        return False
    module = type(thing).__module__
    own = module.startswith("torch.optim") or isinstance(thing, nn.Module)
    return own or module.partition(".")[0] not in {*sys.stdlib_module_names, "torch", "numpy"}


def callable_only(thing: Any) -> bool:
    """Tell functions and bound methods, whose attributes are no state."""
    return hasattr(thing, "__code__") or hasattr(thing, "__func__")


class _Reading:
    """One walk over an optimizer: a tree of plain values, and the tensors it refers to."""

    def __init__(self, of: Belongings) -> None:
        self.of = of
        self.tensors: list[Tensor] = []
        self.seen: dict[int, int] = {}
        self.alive: list[Any] = []  # an object of a walk must not give its id to another one

    def node(self, thing: Any) -> Any:
        """Return the description of one value."""
        if isinstance(thing, _PLAIN) and type(thing) in _PLAIN:
            return self._plain(thing)
        if isinstance(thing, torch.Tensor) and id(thing) in self.of.names:
            return {"m": self.of.names[id(thing)]}
        if id(thing) in self.of.modules:
            return {"k": self.of.keep(thing)}
        if id(thing) in self.seen:
            return {"r": self.seen[id(thing)]}
        return self._new(thing)

    def _plain(self, thing: Any) -> Any:
        if type(thing) is int and thing in self.of.names:
            return {"i": self.of.names[thing]}  # state by id(parameter)
        return thing

    def _new(self, thing: Any) -> Any:
        place = self.seen[id(thing)] = len(self.seen)
        self.alive.append(thing)
        if isinstance(thing, torch.Tensor):
            return {"t": self._tensor(thing.detach()), "n": place, "g": thing.requires_grad}
        if isinstance(thing, torch.Generator):
            return {"G": self._tensor(thing.get_state()), "n": place, "k": self.of.keep(thing)}
        if isinstance(thing, (np.ndarray, np.generic)) and not thing.dtype.hasobject:
            array = torch.from_numpy(np.array(thing))
            return {"a": self._tensor(array), "n": place, "s": isinstance(thing, np.generic)}
        if isinstance(thing, complex):
            return {"c": [thing.real, thing.imag], "n": place}
        return self._container(thing, place)

    def _container(self, thing: Any, place: int) -> Any:
        kind = self._kind(thing)
        if isinstance(thing, dict):
            skipped = self._is_group(thing) and self.of.skipped
            pairs = [
                [self.node(k), self.node(v)]
                for k, v in thing.items()
                if not (skipped and isinstance(k, str) and k in skipped)
            ]
            extra = {}
            if isinstance(thing, defaultdict):
                extra = {"f": self.of.keep(thing.default_factory)}
            return {"d": pairs, "n": place, "y": kind, **extra}
        if isinstance(thing, (list, tuple, set, frozenset, deque)):
            bound: dict[str, Any] = {"x": thing.maxlen} if isinstance(thing, deque) else {}
            return {"l": [self.node(part) for part in thing], "n": place, "y": kind, **bound}
        if _is_entered(thing):
            own = [[name, self.node(value)] for name, value in vars(thing).items()]
            return {"o": own, "n": place, "y": kind}
        return {"k": self.of.keep(thing), "n": place}

    def _kind(self, thing: Any) -> str:
        kind = type(thing)
        name = f"{kind.__module__}:{kind.__qualname__}"
        self.of.classes[name] = kind
        return name

    @staticmethod
    def _is_group(thing: dict[Any, Any]) -> bool:
        return "params" in thing

    def _tensor(self, thing: Tensor) -> int:
        self.tensors.append(thing)
        return len(self.tensors) - 1


class _Writing:
    """One walk over a description: makes an object hold what it says."""

    def __init__(self, of: Belongings, held: Mapping[str, Tensor], given: bool) -> None:
        self.of, self.held, self.given = of, held, given
        self.made: dict[int, Any] = {}

    def node(self, said: Any, live: Any = None) -> Any:
        """Return the value of a description; ``live`` is what is there now, filled if it fits."""
        if not isinstance(said, dict):
            return said
        if "m" in said:
            return self.of.tensors[said["m"]]
        if "i" in said:
            return id(self.of.tensors[said["i"]])
        if "r" in said:
            return self.made[said["r"]]
        made = self._leaf(said, live)
        if made is None:
            return self._filled(said, live)
        return self._remember(said, made[0])

    def _remember(self, said: dict[str, Any], made: Any) -> Any:
        if "n" in said:
            self.made[said["n"]] = made
        return made

    def _leaf(self, said: dict[str, Any], live: Any) -> tuple[Any] | None:
        if "t" in said:
            tensor = self._held(said["t"])
            tensor = tensor if self.given else tensor.clone()
            return (tensor.requires_grad_(said["g"]) if said["g"] else tensor,)
        if "G" in said:
            generator = self._kept(said, live)
            generator.set_state(self._held(said["G"]).clone())
            return (generator,)
        if "a" in said:
            array = self._held(said["a"]).clone().numpy()
            return (array[()] if said["s"] else array,)
        if "c" in said:
            return (complex(*said["c"]),)
        if "k" in said:
            return (self._kept(said, live),)
        return None

    def _kept(self, said: dict[str, Any], live: Any) -> Any:
        kept = self.of.kept
        return kept[said["k"]] if said["k"] < len(kept) else live

    def _held(self, place: int) -> Tensor:
        return self.held[f"|{place}"]

    def _filled(self, said: dict[str, Any], live: Any) -> Any:
        kind = self._class(said["y"])
        if "l" in said:
            return self._sequence(said, kind, live)
        made: Any = live if type(live) is kind else self._blank(said, kind)
        self._remember(said, made)
        if "o" in said:
            own = vars(made)
            values = {name: self.node(part, own.get(name)) for name, part in said["o"]}
            own.clear()
            own.update(values)
            return made
        old = {k: v for k, v in made.items() if isinstance(k, (str, int, torch.Tensor))}
        pairs = []
        for key, part in said["d"]:
            name = self.node(key)
            pairs.append((name, self.node(part, old.get(name))))
        scheduled = {k: old[k] for k in self.of.skipped if "params" in old and k in old}
        made.clear()
        made.update(pairs)
        made.update(scheduled)
        return made

    def _sequence(self, said: dict[str, Any], kind: Any, live: Any) -> Any:
        old = list(live) if type(live) is kind and isinstance(live, (list, tuple, deque)) else []
        olds = old + [None] * (len(said["l"]) - len(old))
        if issubclass(kind, (list, deque, set)):
            made = live if type(live) is kind else self._blank(said, kind)
            self._remember(said, made)
            parts = [self.node(p, o) for p, o in zip(said["l"], olds, strict=False)]
            made.clear()
            (made.update if isinstance(made, set) else made.extend)(parts)
            return made
        parts = [self.node(p, o) for p, o in zip(said["l"], olds, strict=False)]
        fields = hasattr(kind, "_fields")
        return self._remember(said, kind(*parts) if fields else kind(parts))

    def _blank(self, said: dict[str, Any], kind: type) -> Any:
        if issubclass(kind, defaultdict):
            return kind(self._kept({"k": said["f"]}, dict))
        if issubclass(kind, deque):
            return kind(maxlen=said["x"])
        return kind() if issubclass(kind, (dict, list, set)) else kind.__new__(kind)

    def _class(self, name: str) -> type:
        if name not in self.of.classes:
            module, _, path = name.partition(":")
            try:
                found: Any = importlib.import_module(module)
                for part in path.split("."):
                    found = getattr(found, part)
            except (ImportError, AttributeError) as error:
                msg = f"the optimizer's saved state holds a {name}, which cannot be found: {error}"
                raise RunError(msg) from error
            self.of.classes[name] = found
        return self.of.classes[name]
