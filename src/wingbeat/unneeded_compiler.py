"""torch's compiler is loaded when something is compiled, not when an optimizer is made.

Making an optimizer of torch, taking its step, ``torch.func.grad`` and tracing import
``torch._dynamo`` and, with it or without, SymPy (1.7 s of processor time, more than a third of a
short process), only to tell a compiler that may be running to keep out, or to ask whether a size is
a symbol. Where neither is loaded nothing is being compiled and no size is a symbol. Meanwhile
modules that say so stand in their places. They answer those places in torch only; whoever asks
anything else, or asks from elsewhere, gets the module itself, loaded at that moment. Another
version of torch that asks in another way gets it too.
"""

from __future__ import annotations

import importlib
import sys
import threading
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.fx import experimental
from torch.utils import _python_dispatch as dispatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    Answer = Callable[[str, str, FrameType], Any]
    """From who asks, for which name and in which frame to what is answered; None if nothing is."""

_COMPILER: Final = "torch._dynamo"
_SYMBOLS: Final = "torch.fx.experimental.symbolic_shapes"
_BACKEND: Final = "torch._inductor"
_SETTINGS: Final = {_COMPILER: (f"{_COMPILER}.config",)}
"""The settings of a package, with all of the package that they need."""
_OF_TRACING: Final = SimpleNamespace(
    emulate_precision_casts=False, trace=SimpleNamespace(provenance_tracking_level=0)
)
"""What tracing asks the backend: whether to note beside the operations where they came from."""
_KEPT: Final = "__dynamo_disable"
"""Where ``torch._compile`` keeps what it was given for a function."""

_LOCK: Final = threading.RLock()
_ASKED: Final[list[Callable[..., Any]]] = []
"""Functions that ``torch._compile`` was given back as they are."""


@contextmanager
def unneeded_compiler() -> Iterator[None]:
    """Let optimizers be made and step without the compiler, as long as nobody asks for it.

    Blocks may lie within each other, and in several threads beside each other. After the last one
    torch is as it was.

    >>> with unneeded_compiler():
    ...     made = torch.optim.Adam([torch.zeros(2, requires_grad=True)])
    >>> made.param_groups[0]["lr"]
    0.001
    """
    with _LOCK:
        found = [stand_in for stand_in in _STAND_INS if stand_in.enter()]
    try:
        yield
    finally:
        with _LOCK:
            for stand_in in found:
                stand_in.blocks -= 1
                if not stand_in.blocks:
                    stand_in.leave()


def compiler_is_absent() -> bool:
    """Tell whether the compiler is not loaded, within a block of `unneeded_compiler`."""
    return isinstance(sys.modules.get(_COMPILER), _StandIn)


def load_compiler() -> None:
    """Load the compiler, whose place something else may have."""
    _loaded(_COMPILER)


def switch_deterministic(mode: bool, *, warn_only: bool) -> None:
    """Do as ``torch.use_deterministic_algorithms``, without loading the compiler to tell it.

    A compiler that is loaded later within `unneeded_compiler` is told then.
    """
    if compiler_is_absent() and f"{_BACKEND}.config" not in sys.modules:
        torch._C._set_deterministic_algorithms(mode, warn_only=warn_only)
    else:
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)


class _StandIn(ModuleType):
    """A module of torch, as long as it is not needed."""

    def __init__(self, name: str, parent: ModuleType, answer: Answer) -> None:
        super().__init__(name, __doc__)
        self.blocks = 0
        self._parent, self._answer = parent, answer

    def enter(self) -> bool:
        """Count a block, taking the module's place; False where the module itself is there."""
        if sys.modules.setdefault(self.__name__, self) is not self:
            return False
        vars(self._parent)[self.__name__.rpartition(".")[2]] = self
        self.blocks += 1
        if self.__name__ == _COMPILER and (settings := _settings(_COMPILER)) is not None:
            sys.modules[settings.__name__] = settings  # torch imports them by their full name
        return True

    def leave(self) -> None:
        """Make room for the module: nothing is left that stood in for it."""
        _, _, short = self.__name__.rpartition(".")
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        if vars(self._parent).get(short) is self:
            del vars(self._parent)[short]
        if self.__name__ == _COMPILER:
            _take_back()
            if sys.modules.get(f"{_COMPILER}.config", self) is _settings(_COMPILER):
                del sys.modules[f"{_COMPILER}.config"]  # the compiler will read its own

    def __getattr__(self, name: str) -> Any:
        """Answer those in torch that are known; load the module for everybody else."""
        frame = sys._getframe(1)
        asker = frame.f_globals.get("__name__", "")
        files = name == "__path__" and asker.startswith("importlib")  # another file of a package
        if name.startswith("__") and not files:
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self and asker.partition(".")[0] == "torch":
            found = self._answer(asker, name, frame)
            if found is not None:
                return found
        return _attribute(self.__name__, name)


def _attribute(module: str, name: str) -> Any:
    """Return what a module itself holds, or its file of that name."""
    found = _loaded(module)
    if not hasattr(found, name) and hasattr(found, "__path__"):
        with suppress(ModuleNotFoundError):
            importlib.import_module(f"{module}.{name}")
    return getattr(found, name)


def _loaded(name: str) -> ModuleType:
    """Return a module itself; nothing stands in for it or for the others any more."""
    with _LOCK:
        for stand_in in _STAND_INS:
            stand_in.leave()
    with ExitStack() as plain:  # it makes tensors while it is imported, whoever asks for it
        plain.enter_context(torch._C._DisableFuncTorch())
        plain.enter_context(torch._C.DisableTorchFunction())
        plain.enter_context(dispatch._disable_current_modes())
        found = importlib.import_module(name)
    if name == _COMPILER and torch.are_deterministic_algorithms_enabled():
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(True, warn_only=warn_only)
    return found


@cache
def _settings(package: str) -> ModuleType | None:
    """Return the settings of a package that is not loaded, as their own files make them.

    None where another version of torch needs more for them than is known here.
    """
    made: dict[str, ModuleType] = {}
    try:
        for name in _SETTINGS[package]:
            path = Path(torch.__file__).parents[1].joinpath(*name.split(".")).with_suffix(".py")
            spec = spec_from_file_location(name, path)
            if spec is None or spec.loader is None:
                return None
            sys.modules[name] = made[name] = module_from_spec(spec)
            spec.loader.exec_module(made[name])
    except (AttributeError, ImportError, OSError):
        return None
    finally:
        if isinstance(sys.modules.get(package), _StandIn):
            for name in made:
                del sys.modules[name]  # the package itself will read its own
    return made[f"{package}.config"]


def _of_compiler(asker: str, name: str, frame: FrameType) -> Any:
    """Answer those who tell the compiler to keep out."""
    asked = (asker, name)
    if asked == ("torch.optim.optimizer", "graph_break"):
        return nullcontext  # called, it does nothing
    if asked == ("torch._functorch.eager_transforms", "compiled_autograd"):
        return _NO_COMPILED_BACKWARD
    if asked == ("torch._subclasses.fake_tensor", "config"):
        return _settings(_COMPILER)
    code = frame.f_code  # the answer must be kept where it is found again
    kept = _KEPT in code.co_consts and _KEPT in code.co_names
    return _as_it_is if asked == ("torch._compile", "disable") and kept else None


def _of_backend(asker: str, name: str, _: FrameType) -> Any:
    """Answer who traces."""
    known = (asker, name) == ("torch.fx.experimental.proxy_tensor", "config")
    return _OF_TRACING if known else None


def _of_symbols(_: str, name: str, frame: FrameType) -> Any:
    """Answer with a function that knows numbers, and asks for symbols where it is given others."""
    known = name in _ON_NUMBERS or name in _LOOKED_UP
    # What the file of a module imports stays there.
    return _on_numbers(name) if known and frame.f_code.co_name != "<module>" else None


@cache
def _on_numbers(name: str) -> Callable[..., Any]:
    def called(*given: Any, **options: Any) -> Any:
        """Call the function on numbers, or the one on symbols."""
        if not options and name in _ON_NUMBERS and all(map(_is_number, given)):
            return _ON_NUMBERS[name](*given)
        return _attribute(_SYMBOLS, name)(*given, **options)

    return called


def _is_number(given: Any) -> bool:
    if isinstance(given, (tuple, list)):
        return all(map(_is_number, given))
    return type(given) in (bool, int)


def _as_it_is(function: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
    _ASKED.append(function)
    return function


def _take_back() -> None:
    """Let torch ask the compiler, when it is loaded, for the functions that it asked for."""
    for function in _ASKED:
        if vars(function).get(_KEPT) is function:
            delattr(function, _KEPT)
    _ASKED.clear()


def _listed(given: Any) -> Any:
    return list(map(_listed, given)) if isinstance(given, (tuple, list)) else given


def _itself(condition: bool) -> bool:
    """Return a condition on sizes that are numbers."""
    return condition


_ON_NUMBERS: Final[dict[str, Callable[..., Any]]] = {
    **dict.fromkeys(
        ("expect_true", "guard_or_false", "guard_or_true", "statically_known_true"),
        _itself,
    ),
    "is_nested_int": lambda _: False,
    "sym_and": lambda *given: all(given),
    "sym_eq": lambda one, other: _listed(one) == _listed(other),
    "sym_or": lambda *given: any(given),
}
"""What functions on sizes that may be symbols return where they are numbers."""
_LOOKED_UP: Final = ("ShapeEnv", "compute_unbacked_bindings", "guard_size_oblivious")
"""What is imported from there and not called where no size is a symbol."""

_NO_COMPILED_BACKWARD: Final = SimpleNamespace(_disable=nullcontext)
_STAND_INS: Final = (
    _StandIn(_COMPILER, torch, _of_compiler),
    _StandIn(_BACKEND, torch, _of_backend),
    _StandIn(_SYMBOLS, experimental, _of_symbols),
)
