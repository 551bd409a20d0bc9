"""Words of the command line into tasks, arguments and perturbations."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingbeat.errors import RequestError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from wingbeat.replicas.perturb import Perturbation
    from wingbeat.task.task import Task


_BETWEEN = re.compile(r",(?![^\[\]{}]*[\]}])")
"""A comma that stands in no list and no dict."""


_FROM_FILES: set[str] = set()
"""Names of modules that were made of files: another file may take the name over."""


def parse_perturbation(text: str) -> Perturbation:
    """Read ``kind[:size][@step][,field=value]…``; the kind may be ``module:Class``.

    A module or file (``mine.py:Class``) is found from the folder that the command runs in.

    Raises:
        RequestError: an unknown kind or field, or a value that does not fit.

    Example:
        >>> parse_perturbation("gaussian:0.01@500,relative_to=init").label
        'gaussian-0.01@500'
    """
    from wingbeat.replicas.perturb import PERTURBATIONS, perturbation_of, size_field

    head, *options = _BETWEEN.split(text)
    head, _, at = head.partition("@")
    kind, _, size = head.partition(":")
    settings: dict[str, Any] = {}
    if kind not in PERTURBATIONS and size.partition(":")[0].isidentifier():
        name, _, size = size.partition(":")  # module:Class:size
        kind = f"{kind}:{name}"
        import_from_here()
    elif kind not in PERTURBATIONS:
        msg = f"unknown perturbation {kind!r} in {text!r}: {nearest(kind, PERTURBATIONS.names())}"
        raise RequestError(msg)
    if size:
        settings[size_field(kind)] = parse_value(size)
    if at:
        settings["at"] = parse_value(at)
    return perturbation_of(kind, settings | parse_arguments(options))


def parse_arguments(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``key=value`` words; values are JSON where they can be, else text.

    >>> parse_arguments(["lr=0.1", "hidden=[8,4]", "name=wide net"])
    {'lr': 0.1, 'hidden': [8, 4], 'name': 'wide net'}
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            msg = f"{pair!r} is not of the form name=value"
            raise RequestError(msg)
        found[name.strip()] = parse_value(value)
    return found


def parse_value(text: str) -> Any:
    """Read a JSON value, or return the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def load_task(place: str, arguments: dict[str, Any]) -> Task:
    """Call ``module:factory`` or ``file.py:factory`` and return its task.

    Raises:
        RequestError: it cannot be found, ends the process, or does not give a ``wb.Task``.
    """
    from torch import nn

    from wingbeat.task.task import Task

    where, colon, name = place.rpartition(":")
    if not colon or not where or not name:
        msg = f"{place!r} is not of the form MODULE:FACTORY or FILE.py:FACTORY"
        raise RequestError(f"{msg}{_as_a_script(place)}")
    with _own_words(where):
        found = _attribute(_module(where), name, where)
        if callable(found) and not isinstance(found, Task | nn.Module):
            _check_arguments(place, found, arguments)
            # What it raises itself is the caller's own error, and is shown as it is.
            found = found(**arguments)
    task = found
    if not isinstance(task, Task):
        msg = f"{place} gave {type(task).__name__}: it must return a wb.Task"
        raise RequestError(f"{msg}, as wb.Task(model, loss, data, optimizer){_as_a_script(where)}")
    return task


@contextlib.contextmanager
def _own_words(where: str) -> Iterator[None]:
    """Let a file that is imported see its own name in place of our command's words.

    Raises:
        RequestError: it ends the process, as argparse does with words that it does not know, or
            was made of a notebook.
    """
    before, sys.argv = sys.argv, [where]
    try:
        yield
    except SystemExit as error:
        msg = f"{where} ended with exit code {error.code} when it was imported or called"
        raise RequestError(
            f"{msg}: keep what trains or reads the command line below `if __name__ == "
            f"'__main__':`{_as_a_script(where)}"
        ) from error
    except NameError as error:
        from wingbeat.scripts.runs import OF_NOTEBOOKS

        if error.name not in OF_NOTEBOOKS:
            raise
        msg = f"{where} uses {error.name}, which only a notebook has"
        raise RequestError(
            f"{msg}: take such lines out, or keep them below `if __name__ == '__main__':`"
            f"{_as_a_script(where)}"
        ) from error
    finally:
        sys.argv = before


def _as_a_script(where: str) -> str:
    """Return how a file that trains when it is run is measured as it is."""
    if not where.endswith(".py"):
        return ""
    return (
        ". A script that trains when it is run stays as it is: wingbeat fork CHECKPOINT --perturb "
        f"gaussian:0.01 --out runs/fork -- python {where} --resume {{checkpoint}} --output {{out}}"
    )


def _check_arguments(place: str, factory: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Refuse arguments that a factory does not take, before it is called."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # of a builtin: only the call tells
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        given = ", ".join(f"{k}={v!r}" for k, v in arguments.items()) or "no arguments"
        raise RequestError(
            f"{place} cannot be called with {given}: {error}. It takes {signature}; give them with "
            "--arg name=value"
        ) from error


def parse_dtype(name: str) -> torch.dtype:
    """Return a floating-point type by name.

    >>> parse_dtype("float64")
    torch.float64
    """
    known = ("float16", "bfloat16", "float32", "float64")
    if name not in known:
        msg = f"dtype is {name!r}: {nearest(name, known)}"
        raise RequestError(msg)
    import torch

    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _module(where: str) -> Any:
    try:
        if where.endswith(".py"):
            return _from_file(Path(where))
        import_from_here()
        return importlib.import_module(where)
    except (ImportError, OSError) as error:
        msg = f"{where!r} cannot be imported: {error}"
        raise RequestError(msg) from error


def _from_file(path: Path) -> Any:
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.exists():
        msg = f"there is no file {path}"
        raise ImportError(msg)
    before, module = sys.modules.get(name), importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise
    _FROM_FILES.add(name)
    return module


def _module_name(path: Path) -> str:
    """Return the name of a file's module: its own, unless another module is imported by that."""
    name = path.stem
    if name in _FROM_FILES:
        return name
    try:
        other = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # `__main__` and modules made by hand have no such thing
        return f"{name}_file"
    same = other is None or (other.origin and Path(other.origin).resolve() == path.resolve())
    return name if same else f"{name}_file"


def _attribute(module: Any, name: str, where: str) -> Any:
    if not hasattr(module, name):
        public = [n for n in vars(module) if not n.startswith("_")]
        msg = f"{where} has no {name!r}: {nearest(name, public)}"
        raise RequestError(msg)
    return getattr(module, name)


def parse_metrics(names: Sequence[str] | None) -> list[str] | None:
    """Return names of metrics; a module or file (``mine.py:l1``) is found from this folder."""
    if any(":" in name for name in names or ()):
        import_from_here()
    return list(names) if names else None


def import_from_here() -> None:
    """Let this process import what lies in the folder that the command runs in."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def make_importable(*folders: Path) -> None:
    """Let this process and those that it starts import factories that lie in folders."""
    for folder in folders:
        text = str(folder)
        if text not in sys.path:
            sys.path.insert(0, text)
        there = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if text not in there:
            os.environ["PYTHONPATH"] = os.pathsep.join([text, *filter(None, there)])
