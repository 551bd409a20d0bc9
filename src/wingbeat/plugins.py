"""Registries: things that declare themselves, found by name whoever wrote them.

A name is looked up among the built-in things, then among what was registered in this process,
then among the entry points of installed packages, then as ``module:attribute``. Entry points are
loaded when they are asked for, not before: a package that fails to load harms nobody who does not
use it.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from wingbeat.errors import RequestError, nearest
from wingbeat.garbage import made_to_stay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Thing = TypeVar("Thing")

GROUPS: Final = (
    "wingbeat.metrics",
    "wingbeat.perturbations",
    "wingbeat.optimizers",
    "wingbeat.drivers",
    "wingbeat.runners",
    "wingbeat.checkpoint_formats",
    "wingbeat.checks",
    "wingbeat.studies",
)
"""Groups of entry points under which packages announce what they add."""


class Registry(Generic[Thing]):
    """Things of one kind by name.

    Args:
        group: group of entry points, one of `GROUPS`.
        what: what a thing is called in messages.
        fits: tells whether an object is such a thing.
        builtin: package whose modules declare the built-in ones; imported when first needed.

    Example:
        >>> colors = Registry[str]("wingbeat.metrics", "color", lambda x: isinstance(x, str))
        >>> colors.add("red", "#f00")
        '#f00'
        >>> colors.find("red"), "blue" in colors
        ('#f00', False)
    """

    def __init__(
        self, group: str, what: str, fits: Callable[[object], bool], builtin: str = ""
    ) -> None:
        self.group, self.what, self.fits, self.builtin = group, what, fits, builtin
        self._things: dict[str, Thing] = {}
        self._loaded = not builtin
        self._announced: dict[str, EntryPoint] | None = None

    def add(self, name: str, thing: Thing) -> Thing:
        """Register a thing and return it.

        The same definition made again, as by a notebook cell that is run twice, replaces the
        first. A name that another definition holds is refused.

        Args:
            name: how it is asked for; no "#" and no ":".
            thing: what the name stands for.

        Raises:
            RequestError: the name is taken or cannot be one.
        """
        if not name or {"#", ":"} & set(name):
            raise RequestError(f"{self.what} name is {name!r}: use a word without '#' and ':'")
        if not self.builtin or not origin(thing).startswith(f"{self.builtin}."):
            self._load_builtin()  # so that nobody takes a built-in name before it is there
        there = self._things.get(name)
        if there is not None and origin(there) != origin(thing):
            raise RequestError(
                f"{self.what} {name!r} is taken by {origin(there)}: give {origin(thing)} another "
                "name"
            )
        self._things[name] = thing
        return thing

    def find(self, name: str) -> Thing:
        """Return the thing of a name, or of ``module:attribute``.

        Raises:
            RequestError: there is none, or what announces it cannot be loaded.
        """
        self._load_builtin()
        if name in self._things:
            return self._things[name]
        if name in self._entry_points():
            return self._load(name)
        if ":" in name:
            return self._named(name)
        raise RequestError(f"unknown {self.what} {name!r}: {nearest(str(name), self.names())}")

    def __contains__(self, name: object) -> bool:
        self._load_builtin()
        return name in self._things or name in self._entry_points()

    def names(self) -> tuple[str, ...]:
        """Return every name; nothing that a package announces is loaded for it."""
        self._load_builtin()
        return (*self._things, *(n for n in self._entry_points() if n not in self._things))

    def registered(self) -> dict[str, Thing]:
        """Return what is declared in this process by now, by name."""
        self._load_builtin()
        return dict(self._things)

    def all(self) -> dict[str, Thing]:
        """Return everything by name; a package that cannot be loaded is left out with a warning."""
        for name in self._entry_points():
            if name not in self.registered():
                try:
                    self._load(name)
                except RequestError as error:
                    warnings.warn(f"{error}", stacklevel=2)
        return self.registered()

    def __iter__(self) -> Iterator[Thing]:
        return iter(self.registered().values())

    def _load_builtin(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # before the import: the modules themselves look here
        with made_to_stay():
            package = importlib.import_module(self.builtin)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.builtin}.{module.name}")

    def _entry_points(self) -> dict[str, EntryPoint]:
        if self._announced is None:
            self._announced = {found.name: found for found in entry_points(group=self.group)}
        return self._announced

    def _load(self, name: str) -> Thing:
        point = self._entry_points()[name]
        try:
            found = point.load()
        except Exception as error:  # whatever a foreign package raises while it is imported
            raise RequestError(
                f"{self.what} {name!r} is announced by {_distribution(point)} as {point.value} and "
                f"cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        return self.add(name, self._checked(found, point.value))

    def _named(self, place: str) -> Thing:
        module, _, attribute = place.partition(":")
        try:
            found = getattr(importlib.import_module(module_of(module)), attribute)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise RequestError(f"{self.what} {place!r} cannot be found: {error}") from error
        return self._checked(found, place)

    def _checked(self, found: object, place: str) -> Thing:
        if not self.fits(found):
            raise RequestError(f"{place} is {type(found).__name__} and no {self.what}")
        return cast("Thing", found)


def module_of(place: str) -> str:
    """Return the module that a place names: a file is as good as its module, from a folder on.

    >>> module_of("nets/mine.py"), module_of("nets.mine")
    ('nets.mine', 'nets.mine')
    """
    return place.removesuffix(".py").replace("/", ".") if place.endswith(".py") else place


def origin(thing: Any) -> str:
    """Return the place where a thing was defined, as ``module.name``.

    A declaration that was made of a function stands where the function does.

    >>> origin(Registry)
    'wingbeat.plugins.Registry'
    """
    own = thing
    for name in ("declared", "function"):
        own = getattr(thing, name, None) or own
    own = own if hasattr(own, "__qualname__") else type(own)
    return f"{own.__module__}.{own.__qualname__}"


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "a package"
