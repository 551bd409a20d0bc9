"""A field of a data class whose value is made when it is first read."""

from __future__ import annotations

from typing import Any


class Late:
    """A field that may be given as a function, which is called when the field is first read.

    Importing pandas takes a fifth of a short program's time, and many read the scalars alone.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._place = f"_{name}"

    def __get__(self, owner: Any, _: type | None = None) -> Any:
        if owner is None:
            raise AttributeError(self._place)  # the field has no default
        found = vars(owner)[self._place]
        if callable(found):
            vars(owner)[self._place] = found = found()
        return found

    def __set__(self, owner: Any, given: Any) -> None:
        vars(owner)[self._place] = given
