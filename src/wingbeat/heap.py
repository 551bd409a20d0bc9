"""Give freed memory back to the system: an allocator keeps holes that nothing large fits into."""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""Options of glibc's ``mallopt``."""
_LARGEST_IN_HEAP: Final = 1 << 25
"""Bytes up to which glibc takes blocks from its heap, once it has freed one so large."""
USUAL: Final = 1 << 26
"""Freed bytes at its end that glibc keeps of itself by then."""
_KEPT: Final = 1 << 30
"""Gradients of a stack whose layers are smaller than that."""


def give_back() -> None:
    """Return freed memory to the system, where the C library can be asked to (glibc, on Linux).

    Tensors of up to 32 MB come from a heap that shrinks at its end only, so that one small tensor
    holds on to all that was freed below it. Takes milliseconds a gigabyte; no number changes.

    >>> give_back()
    """
    _trim()(0)


def hold(size: int = _KEPT) -> None:
    """Let the heap keep up to so many freed bytes at its end, for a step that needs them again.

    Without it glibc returns them after each step and has them filled with zeros in the next; how
    much it keeps of itself depends on what was freed before. `give_back` returns them all the same.

    >>> hold()
    >>> hold(USUAL)
    """
    for option, value in ((_MMAP_THRESHOLD, _LARGEST_IN_HEAP), (_TRIM_THRESHOLD, size)):
        _option()(option, value)


@functools.cache
def _option() -> Callable[[int, int], object]:
    if not sys.platform.startswith("linux"):
        return lambda *_: None
    return getattr(ctypes.CDLL(None), "mallopt", lambda *_: None)


@functools.cache
def _trim() -> Callable[[int], object]:
    if not sys.platform.startswith("linux"):
        return lambda _: None
    return getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)
