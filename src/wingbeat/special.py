"""SciPy's special functions, loaded when one is first asked for.

A table of numbers needs a quantile of Student's t, and for it `scipy.special`: a tenth of what
importing torch takes. A third of that is NumPy's translator of Fortran with what it needs, which is
loaded because SciPy asks NumPy for everything that it has. Here it is loaded when it is used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import LazyLoader, find_spec, module_from_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wingbeat.garbage import made_to_stay

if TYPE_CHECKING:
    from scipy.special import (
        bdtrc,
        betaincinv,
        chdtri,
        log_softmax,
        logsumexp,
        ndtr,
        ndtri,
        polygamma,
        psi,
        stdtr,
        stdtrit,
    )

__all__ = [
    "bdtrc",
    "betaincinv",
    "chdtri",
    "log_softmax",
    "logsumexp",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "stdtr",
    "stdtrit",
]

_TRANSLATOR: Final = "numpy.f2py"


def __getattr__(name: str) -> Any:
    """Return a function of `scipy.special`.

    >>> from wingbeat import special
    >>> float(special.ndtri(0.5))
    0.0
    """
    if name.startswith("__"):
        raise AttributeError(name)
    with made_to_stay():
        _load_when_used(_TRANSLATOR)
        globals()[name] = found = getattr(import_module("scipy.special"), name)
        return found


def _load_when_used(name: str) -> None:
    """Have a module of NumPy's be loaded when something of it is asked for; no other is changed."""
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:
        return
    spec.loader = LazyLoader(spec.loader)
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    setattr(np, name.rpartition(".")[2], module)
