"""Python's search for garbage, left out while what is made stays.

Importing makes a hundred thousand objects that stay, and each full search among those of torch
takes 0.1 s, to find nothing.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def not_searched_for() -> Iterator[None]:
    """Search for no garbage in this block; afterwards as before.

    >>> with not_searched_for():
    ...     gc.isenabled()
    False
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


@contextmanager
def made_to_stay() -> Iterator[None]:
    """Search for no garbage in this block, and count what it makes as old, as after a full search.

    Else the search that is left out comes right after it. A later full search sees all of it.

    >>> with made_to_stay():
    ...     kept = [[] for _ in range(1000)]
    >>> gc.get_count()[0] < 1000, gc.get_freeze_count()
    (True, 0)
    """
    with not_searched_for():
        yield
    if gc.isenabled() and not gc.get_freeze_count():  # what others froze stays frozen
        gc.freeze()
        gc.unfreeze()
