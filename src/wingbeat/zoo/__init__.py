"""The former place of tasks and studies: old names import from the new place, with a warning.

To be removed with the next version; `wingbeat.moved` lists where each module is.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from wingbeat.moved import MOVED


class _Moved(MetaPathFinder, Loader):
    """Finds the former modules, and gives each of their names from where it is now."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a specification for a module that has moved, None for any other."""
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the module to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill a former module with what its new places hold."""
        old = module.__name__
        places = MOVED[old]
        msg = f"{old} has moved to {' and '.join(places)}: import it from there"
        warnings.warn(msg, DeprecationWarning, stacklevel=2)
        module.__doc__ = msg
        for found in map(importlib.import_module, reversed(places)):
            vars(module).update({k: v for k, v in vars(found).items() if not k.startswith("__")})


sys.meta_path.append(_Moved())


def __getattr__(name: str) -> Any:
    if f"{__name__}.{name}" in MOVED:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
