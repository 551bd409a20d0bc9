"""The Python state that a task's own functions keep between calls, carried with each replica.

A counter in a closure, a queue in a global, a moving average in an attribute, a second network
with its optimizer inside the loss: training depends on it, and no tensor of the model holds it.
Replicas that are advanced one after the other would share it, and each would see what the
others left. It is found here, and put back before each replica's step.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import sys
import types
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from wingbeat.errors import RequestError
from wingbeat.params import fixed, trainable
from wingbeat.task.closures import is_filled
from wingbeat.task.frozen import Freezer, Tree
from wingbeat.task.signatures import AtStep

if TYPE_CHECKING:
    from wingbeat.task.task import Task

_PREFIX = "python|"
_DEEPEST = 6
_MADE_BY_PYTHON = 1 << 9
"""The flag of classes that were not built into the interpreter (Py_TPFLAGS_HEAPTYPE)."""
_LIBRARIES = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class TheirData:
    """What makes a task's batches, to look for hidden state in: ``loss`` is that function."""

    loss: Callable[..., Any]


@dataclass(frozen=True)
class _Place:
    """Something that a function can reach and change: a cell, a global, an attribute."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], None]


class HiddenState:
    """What the loss and the model of a task remember outside parameters and buffers.

    Args:
        task: what is trained.
        model: the module that is called (a driver may replace it: make this anew then).
    """

    def __init__(self, task: Task | TheirData, model: nn.Module) -> None:
        apart: list[Tensor] = [*trainable(model).values(), *fixed(model).values()]
        self._freezer = Freezer(apart, _is_own_object)
        self._places = list(_places(task, model))
        for place in self._places:
            self._freezer.learn(place.read())
        self.carried: list[_Place] = []

    def look(self) -> list[Tree]:
        """Return what all of it is now, to compare with later."""
        out = []
        for place in self._places:
            tensors: list[Tensor] = []
            out.append([self._freezer.freeze(place.read(), tensors), tensors])
        return out

    def changed(self, before: list[Tree]) -> list[str]:
        """Name what is not as it was."""
        pairs = zip(self._places, before, self.look(), strict=True)
        return [place.name for place, then, now in pairs if not _same(then, now)]

    def carry(self, names: Collection[str]) -> None:
        """Carry with each replica, from now on, what has one of these names.

        Raises:
            RequestError: something of that name has no plain form.
        """
        self.carried = [place for place in self._places if place.name in names]
        self.take()

    def restore(self, before: list[Tree]) -> None:
        """Put back what ``look`` returned, wherever it has changed."""
        for place, then, now in zip(self._places, before, self.look(), strict=True):
            if not _same(then, now):
                place.write(self._freezer.thaw(*then))

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Run a block and leave everything as it was before it."""
        before = self.look()
        try:
            yield
        finally:
            self.restore(before)

    def take(self) -> dict[str, Tensor]:
        """Return what is carried as tensors by name: a text, and the tensors that it names.

        Raises:
            RequestError: something has no plain form.
        """
        tensors: list[Tensor] = []
        self._freezer.foreign.clear()
        trees = [self._freezer.freeze(place.read(), tensors) for place in self.carried]
        if self._freezer.foreign:
            where = ", ".join(place.name for place in self.carried)
            msg = (
                f"the task's functions keep state between steps ({where}), and a replica cannot "
                f"have its own {', '.join(sorted(self._freezer.foreign))}: keep numbers, tensors "
                "or containers of them instead, or make it a buffer of the model"
            )
            raise RequestError(msg)
        text = torch.frombuffer(bytearray(json.dumps(trees).encode()), dtype=torch.uint8)
        return {f"{_PREFIX}text": text} | {f"{_PREFIX}{i}": t for i, t in enumerate(tensors)}

    def put(self, slots: dict[str, Tensor]) -> None:
        """Put back what ``take`` returned, for one replica."""
        own = {k.removeprefix(_PREFIX): t for k, t in slots.items() if k.startswith(_PREFIX)}
        text = own.pop("text", None)
        if text is None:
            return
        tensors = [own[str(i)] for i in range(len(own))]
        trees = json.loads(text.numpy().tobytes())
        for place, tree in zip(self.carried, trees, strict=True):
            place.write(self._freezer.thaw(tree, tensors))


def is_hidden(slot: str) -> bool:
    """Tell whether a slot of a replica's state holds hidden state."""
    return slot.startswith(_PREFIX)


def _same(then: Tree, now: Tree) -> bool:
    if then[0] != now[0] or len(then[1]) != len(now[1]):
        return False
    return all(
        a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
        for a, b in zip(then[1], now[1], strict=True)
    )


def what_is_read(task: Task, model: nn.Module) -> tuple[list[Tree], list[Tensor], set[Any]] | None:
    """Return all that the loss and the model reach: values, their tensors, functions and classes.

    None where something has no plain form: an object of a library, an open file, a large array.
    Functions of torch's own count as what they are.
    """
    kinds: set[Any] = set()

    def follow(value: Any) -> bool:
        kinds.add(value if isinstance(value, types.BuiltinFunctionType) else type(value))
        return _is_own_object(value)

    freezer = Freezer([*trainable(model).values(), *fixed(model).values()], follow)
    tensors: list[Tensor] = []
    trees = [["=", p.name, freezer.freeze(p.read(), tensors)] for p in _places(task, model, kinds)]
    foreign = freezer.foreign - {types.BuiltinFunctionType.__qualname__}
    return None if foreign else (trees, tensors, kinds)


def _places(
    task: Task | TheirData, model: nn.Module, seen: set[Any] | None = None
) -> Iterator[_Place]:
    seen = set() if seen is None else seen
    yield from _of_callable(task.loss, seen, 0)
    if (after := getattr(task, "after_step", None)) is not None:
        yield from _of_callable(after, seen, 0)
    for path, module in model.named_modules():
        for name in [n for n in vars(module) if n[0] != "_" and n != "training"]:
            if not isinstance(vars(module)[name], (nn.Module, types.FunctionType)):
                yield _attribute(f"{path}.{name}".lstrip("."), module, name)
        if isinstance(type(module).forward, types.FunctionType):
            yield from _of_callable(type(module).forward, seen, 1)
        yield from _of_class(type(module), seen)


def _of_callable(function: Any, seen: set[Any], depth: int) -> Iterator[_Place]:
    """Yield what a function, method, partial or callable object can reach and change."""
    function = function.loss if isinstance(function, AtStep) else function
    if isinstance(function, functools.partial):
        yield from _of_callable(function.func, seen, depth)
        for value in (*function.args, *function.keywords.values()):
            yield from _reached("argument", value, seen, depth)
        return
    if inspect.ismethod(function):
        yield from _reached(type(function.__self__).__name__, function.__self__, seen, depth)
        function = function.__func__
    elif not isinstance(function, types.FunctionType):
        yield from _reached(type(function).__name__, function, seen, depth)
        return
    if function in seen or depth > _DEEPEST:
        return
    seen.add(function)
    if _is_own(_home(function)):
        yield from _of_function(function, seen, depth)


def _of_function(function: types.FunctionType, seen: set[Any], depth: int) -> Iterator[_Place]:
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=True):
        if is_filled(cell):
            read = functools.partial(getattr, cell, "cell_contents")
            write = functools.partial(setattr, cell, "cell_contents")
            yield from _slot(_Place(name, read, write), seen, depth)
    for name in sorted(_global_names(function.__code__)):
        if name in function.__globals__:
            own = function.__globals__
            read = functools.partial(own.__getitem__, name)
            write = functools.partial(own.__setitem__, name)
            yield from _slot(_Place(name, read, write), seen, depth)
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield from _reached("default argument", value, seen, depth)
    for name in vars(function):
        yield from _slot(_attribute(f"{function.__name__}.{name}", function, name), seen, depth)


def _slot(place: _Place, seen: set[Any], depth: int) -> Iterator[_Place]:
    """Yield a place that can be assigned anew, or what the function in it can reach."""
    value = place.read()
    if isinstance(value, types.ModuleType):
        yield from _of_module(value, seen, depth)
    elif isinstance(value, type):
        yield from _of_class(value, seen)
    elif isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
        yield from _of_callable(value, seen, depth + 1)
    elif not isinstance(value, types.BuiltinFunctionType):
        yield place
        called = getattr(type(value), "__call__", None)  # noqa: B004  (the class's own)
        if isinstance(called, types.FunctionType) and not isinstance(value, nn.Module):
            yield from _of_callable(called, seen, depth + 1)


def _reached(name: str, value: Any, seen: set[Any], depth: int) -> Iterator[_Place]:
    """Yield a value that cannot be assigned anew, only changed."""
    yield from _slot(_Place(name, lambda: value, lambda _: None), seen, depth)


def _of_module(module: types.ModuleType, seen: set[Any], depth: int) -> Iterator[_Place]:
    if module in seen or not _is_own(module.__name__):
        return
    seen.add(module)
    for name, value in list(vars(module).items()):
        if name[:2] != "__" and not isinstance(value, (types.ModuleType, type)):
            yield from _slot(_attribute(f"{module.__name__}.{name}", module, name), seen, depth + 1)


def _of_class(kind: type, seen: set[Any]) -> Iterator[_Place]:
    """Yield what a class of the user's own holds for all its objects."""
    if kind in seen or not _is_own(_home(kind)):
        return
    seen.add(kind)
    for name, value in list(vars(kind).items()):
        if name[:2] != "__" and isinstance(value, (bool, int, float, str, list, dict, set, Tensor)):
            yield _attribute(f"{kind.__name__}.{name}", kind, name)


def _attribute(name: str, owner: Any, attribute: str) -> _Place:
    return _Place(
        name,
        lambda: vars(owner).get(attribute),
        lambda value: setattr(owner, attribute, value),
    )


def _global_names(code: types.CodeType) -> set[str]:
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*map(_global_names, inner))


def _home(thing: Any) -> str:
    """Return the module of a function or a class; ``__main__`` for what ``exec`` made of a text.

    Functions of such code have no module, and its classes say that they are of ``builtins``.
    """
    module = thing.__module__
    if isinstance(thing, type) and module == "builtins" and thing.__flags__ & _MADE_BY_PYTHON:
        return "__main__"
    return module or "__main__"


def _is_own(module: str | None) -> bool:
    """Tell the user's own modules from the standard library, installed packages and wingbeat."""
    root = (module or "").partition(".")[0]
    # Under a debugger, a profiler or a test runner, __main__ is a file of an installed package.
    if root == "__main__":
        return True
    if not root or root == "wingbeat" or root in sys.stdlib_module_names:
        return False
    path = str(getattr(sys.modules.get(root), "__file__", "") or "")
    return not any(part in path for part in _LIBRARIES) and root not in sys.builtin_module_names


def _is_own_object(value: Any) -> bool:
    """Tell whether an object's attributes are state: the user's own, optimizers, schedulers."""
    if not hasattr(value, "__dict__") or isinstance(value, (type, types.ModuleType)):
        return False
    if isinstance(value, (types.FunctionType, types.MethodType)):
        return False
    kinds = (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, types.SimpleNamespace)
    return isinstance(value, kinds) or _is_own(_home(value.__class__))
