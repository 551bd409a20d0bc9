"""Ask the matrix library for products whose rounding does not depend on addresses.

MKL picks a kernel for each slice of a batched product by how its address is aligned, so that
equal slices of odd sizes round differently (seen on AMD EPYC, AVX2: replicas that start equal
part by 1e-8). Its reproducible mode ends that, at no measurable cost with the branch AUTO, which
keeps the kernels of the processor (Intel oneMKL developer guide, "Conditional Numerical
Reproducibility"). MKL reads the mode when it first computes, and never again.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

VARIABLE: Final = "MKL_CBWR"
_AUTO: Final = 2  # MKL_CBWR_AUTO of mkl_types.h
_BRANCH: Final = 1  # MKL_CBWR_BRANCH: ask for the mode without the flag STRICT
_MODES: Final = {1: "off", 2: "AUTO", 3: "COMPATIBLE", 4: "SSE2", 6: "SSSE3", 7: "SSE4_1"}
_MODES_AVX: Final = {8: "SSE4_2", 9: "AVX", 10: "AVX2", 11: "AVX512_MIC", 12: "AVX512"}


@cache
def _library() -> Any:
    """Return torch's own library if it holds MKL, else None."""
    import torch  # late: what only lists commands or reads a folder does not need it

    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return None
    folder = Path(torch.__file__).parent / "lib"
    for name in ("libtorch_cpu.so", "torch_cpu.dll", "libtorch_cpu.dylib"):
        if (folder / name).exists():
            library = ctypes.CDLL(str(folder / name))
            return library if hasattr(library, "mkl_serv_cbwr_set") else None
    return None


def ask_for_reproducible_products() -> None:
    """Switch MKL's reproducible mode on, unless the environment chooses one or it is too late."""
    if os.environ.setdefault(VARIABLE, "AUTO") != "AUTO" or "torch" not in sys.modules:
        return  # not loaded yet: MKL will read the variable
    if (library := _library()) is not None:
        library.mkl_serv_cbwr_set(_AUTO)  # refused, with a status, once a product ran


def products() -> str:
    """Return MKL's mode in force: "off", "AUTO" or a branch; "" without MKL.

    >>> products() in ("", "off") or products() in (*_MODES.values(), *_MODES_AVX.values())
    True
    """
    library = _library()
    if library is None:
        return ""
    mode = int(library.mkl_serv_cbwr_get(_BRANCH))
    return {**_MODES, **_MODES_AVX}.get(mode, str(mode))


def warn_if_not_reproducible() -> tuple[str, ...]:
    """Return a warning where the mode could not be switched on because a product ran before."""
    if products() != "off" or os.environ.get(VARIABLE, "").upper() != "AUTO":
        return ()
    warning = (
        "MKL computed something before wingbeat was imported, so that its reproducible mode could "
        "not be switched on: import wingbeat first, or set MKL_CBWR=AUTO in the environment"
    )
    return (warning,)
