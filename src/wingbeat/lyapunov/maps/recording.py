"""Record a function of tensors once and replay it: the same bits, without the Python cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from wingbeat.errors import RunError
from wingbeat.generators import GeneratorStates
from wingbeat.replicas.reads import ReadsRefused, refuse_dynamic
from wingbeat.replicas.simplify import simplify
from wingbeat.tracing import trace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    Program = Callable[..., tuple[Tensor, ...]]


class Recorded:
    """A function of tensors as a recorded list of operations, checked now and then.

    At calls 1, 2, 4, 8, … the recording is compared with the function itself, so that hidden
    state that a recording cannot hold does not stay unseen. A function that cannot be
    recorded (it branches on values) is called as it is.

    Args:
        function: from tensors to a tuple of tensors, of its arguments alone.
        compiled: pass the recording through ``torch.compile``: faster after some seconds of
            building, and not the same bits.
    """

    def __init__(self, function: Program, *, compiled: bool = False) -> None:
        self.function, self.compiled = function, compiled
        self.calls = 0
        self._program: Program | None = None

    def __call__(self, *leaves: Tensor) -> tuple[Tensor, ...]:
        """Return what the function returns."""
        if self._program is None:
            self._program = self._built(leaves)
        self.calls += 1
        if self.calls & (self.calls - 1) or self._program is self.function:
            return self._program(*leaves)
        return self._compared(leaves)

    def _built(self, leaves: Sequence[Tensor]) -> Program:
        rng = GeneratorStates.now()
        try:
            with ReadsRefused():
                graph = trace(self._flat, *leaves)
            refuse_dynamic(graph.graph)
            graph = simplify(graph)
        except Exception:  # whatever a map does that a recording cannot hold
            return self.function
        finally:
            rng.put_back()
        if not self.compiled:
            replay: Program = graph.forward
            return replay
        # called with one set of shapes only, so nothing needs a guard
        unguarded = getattr(torch.compiler, "skip_all_guards_unsafe", None)
        options: dict[str, Any] = {"guard_filter_fn": unguarded} if unguarded else {}
        program: Program = torch.compile(graph.forward, dynamic=False, options=options)
        return program

    def _flat(self, *leaves: Tensor) -> tuple[Tensor, ...]:
        return self.function(*leaves)

    def _compared(self, leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
        rng = GeneratorStates.now()
        expected = self.function(*leaves)
        rng.put_back()
        assert self._program is not None
        found = self._program(*leaves)
        if not all(self._alike(a, b) for a, b in zip(found, expected, strict=True)):
            raise RunError(
                f"call {self.calls} of the recorded step does not repeat the step itself: the "
                "step depends on something besides its state; put it into the state"
            )
        return found

    def _alike(self, a: Tensor, b: Tensor) -> bool:
        a, b = a.nan_to_num(), b.nan_to_num()
        return torch.allclose(a, b, rtol=1e-4, atol=1e-6) if self.compiled else torch.equal(a, b)
