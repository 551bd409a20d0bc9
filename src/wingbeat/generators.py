"""The states of global generators: torch's on the processor and on accelerators, and the host's."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


@dataclass(frozen=True, eq=False)
class GeneratorStates:
    """Where torch's global generators stand.

    Attributes:
        processor: state of the processor's generator.
        cuda: one state a CUDA device; none where CUDA is not in use in this process.
    """

    processor: Tensor
    cuda: tuple[Tensor, ...] = ()

    @classmethod
    def now(cls) -> GeneratorStates:
        """Return the states as they are.

        Example:
            >>> before = GeneratorStates.now()
            >>> drawn = torch.rand(1)
            >>> before.put_back()
            >>> bool(torch.rand(1) == drawn)
            True
        """
        return cls(torch.get_rng_state(), tuple(g.get_state() for g in _of_devices()))

    def moved(self) -> bool:
        """Tell whether a number was drawn, or a generator seeded, since these states were taken."""
        now = GeneratorStates.now()
        pairs = zip((self.processor, *self.cuda), (now.processor, *now.cuda), strict=False)
        return not all(torch.equal(a, b) for a, b in pairs)

    def put_back(self) -> None:
        """Set the generators to these states."""
        torch.set_rng_state(self.processor)
        for generator, state in zip(_of_devices(), self.cuda, strict=False):
            generator.set_state(state)


def _of_devices() -> tuple[torch.Generator, ...]:
    # Asking for one would begin to use CUDA, which takes seconds and memory.
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return tuple(torch.cuda.default_generators) if used else ()


def host_states() -> tuple[Any, ...]:
    """Return the states of Python's and NumPy's global generators, to compare.

    >>> host_states() == host_states()
    True
    """
    numpy: Any = np.random.get_state()  # noqa: NPY002  (the model's own draws are watched)
    return random.getstate(), numpy[1].tobytes(), numpy[2]


@contextlib.contextmanager
def kept_generators() -> Iterator[None]:
    """Leave torch's generators after a block as they were before it."""
    before = GeneratorStates.now()
    try:
        yield
    finally:
        before.put_back()
