"""Plain data that training scripts keep beside weights, read without running code of anyone.

A file names classes of NumPy and of the standard library for its notes: a best loss as a NumPy
scalar, the state of a random generator, the arguments of a script, a path. What they would be is
not needed to read the weights beside them, so each is taken as an inert `Stand` that keeps what
the file says of it and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Stand:
    """Whatever a file names under one of `NAMES`: kept, not made.

    Attributes:
        given: what the file says it was made of.
    """

    def __init__(self, *given: object) -> None:
        self.given = given

    def __new__(cls, *_: object) -> Stand:
        """Make one from any arguments, as the opcodes of a file ask for it."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        self.given = (state,)


NAMES = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "pathlib.PureWindowsPath",
    "pathlib._local.PosixPath",
    "datetime.datetime",
    "datetime.timedelta",
    "numpy.dtype",
    "numpy.ndarray",
    *(
        f"numpy.{core}.multiarray.{name}"
        for core in ("core", "_core")  # before and since NumPy 2
        for name in ("scalar", "_reconstruct")
    ),
)
"""What is taken as a `Stand`; none of it is imported or called."""


def stands() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return what ``torch.serialization.safe_globals`` takes: every name with its stand."""
    return [(Stand, name) for name in NAMES]
