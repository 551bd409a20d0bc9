"""The derivative that a stack of replicas takes: a plain loop's, where it can be stacked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from torch import _C

from wingbeat.generators import GeneratorStates
from wingbeat.task.last_derivative import last_derivative

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_MAPPING: Final[Any] = _C._functorch
"""Part of torch's that maps functions; its types do not tell all that it has."""
_ONE_BY_ONE: Final = "vmap fallback"
"""What torch says of an operation that it would call for each replica of a stack in turn."""


class StackedDerivative:
    """Call steps of a stack, of whose gradients nothing is a further derivative.

    Attributes:
        is_last: whether a plain loop's kernels are taken; None before the first call. Torch cannot
            stack all of them (Mish's in 2.13): it would call them for one replica after another.
    """

    def __init__(self) -> None:
        self.is_last: bool | None = None

    def __call__(self, step: Callable[[], T]) -> T:
        """Return what a step returns; the first one says which derivatives there are."""
        if self.is_last is None:
            return self._first(step)
        with last_derivative(self.is_last):
            return step()

    def _first(self, step: Callable[[], T]) -> T:
        rng, usual = GeneratorStates.now(), _MAPPING._is_vmap_fallback_enabled()
        _MAPPING._set_vmap_fallback_enabled(False)
        try:
            with last_derivative():
                found = step()
            self.is_last = True
            return found
        except RuntimeError as error:
            self.is_last = _ONE_BY_ONE not in str(error)
            if self.is_last:
                raise
        finally:
            _MAPPING._set_vmap_fallback_enabled(usual)
        rng.put_back()
        return step()
