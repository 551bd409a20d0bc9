"""The lock-step driver: one vectorised call advances a whole stack of replicas.

The pure step is mapped over the replica axis (``torch.func.vmap``) and the result is
recorded once as a flat list of tensor operations, which is replayed for every later step:
the same kernels, hence the same bits, without the cost of differentiating and vectorising
anew in Python. Optionally the recording is compiled, which changes the bits.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from wingbeat.errors import DriverError
from wingbeat.replicas.simplify import simplify
from wingbeat.task.step import State, TrainingStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from wingbeat.task.task import Batch

Mode = Literal["traced", "compiled", "eager"]
Flat = tuple["Tensor", dict[str, "Tensor"], dict[str, "Tensor"]]


class Lockstep:
    """Advance a stack of at least two replicas at once.

    Args:
        step: the pure single-replica step.
        mode: "traced" (record and replay), "compiled" (the recording through
            ``torch.compile``) or "eager" (``vmap`` at every step).

    Raises:
        DriverError: at the first call, if the model cannot be vectorised; with the reason.
    """

    name = "lockstep"

    def __init__(self, step: TrainingStep, mode: Mode = "traced") -> None:
        self.step, self.mode = step, mode
        self._programs: dict[Any, Callable[..., Any]] = {}
        if step.optimizer is None:
            raise DriverError(step.reason)

    def __call__(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Advance a stack ``(replicas, …)``; returns it with the losses ``(replicas,)``."""
        c = torch.tensor(self.step.coefficients(index), dtype=torch.float64).unbind()
        args = (state.params, state.buffers, state.slots, batch, c)
        key = _shapes(args)
        if key not in self._programs:
            self._programs[key] = self._program(args)
        params, buffers, slots, losses = self._programs[key](*args)
        return State(params, buffers, slots), losses

    def eager(self, *args: Any) -> Any:
        """Vectorise and run the step without recording it."""
        mapped = vmap(self._single, in_dims=(0, 0, 0, None, None), randomness="same")
        try:
            with sdpa_kernel(SDPBackend.MATH):
                return mapped(*args)
        except (RuntimeError, NotImplementedError) as error:
            msg = f"the model cannot run in lock step: {_first_line(error)}"
            raise DriverError(msg) from error

    def _single(self, params: Tensor, buffers: Any, slots: Any, batch: Batch, c: Any) -> Any:
        after, loss = self.step(State(params, buffers, slots), batch, c)
        return after.params, after.buffers, after.slots, loss

    def _program(self, args: Any) -> Callable[..., Any]:
        rng = torch.get_rng_state()
        expected = self._repeated(args)
        torch.set_rng_state(rng)
        if self.mode == "eager":
            return self.eager
        program = self._record(args)
        torch.set_rng_state(rng)
        if not _equal(program(*args), expected):
            msg = "the recorded step does not repeat the model"
            raise DriverError(msg)
        torch.set_rng_state(rng)
        return torch.compile(program, dynamic=False) if self.mode == "compiled" else program

    def _repeated(self, args: Any) -> Any:
        """Return the outputs of a step, made twice: all that it depends on must be in ``args``."""
        rng, host = torch.get_rng_state(), _host_random()
        expected, attributes = self.eager(*args), _attributes(self.step.skeleton)
        if _host_random() != host:
            msg = "the model draws from Python's or NumPy's generator, not from torch's"
            raise DriverError(msg)
        torch.set_rng_state(rng)
        try:
            same = _equal(self.eager(*args), expected)
        except DriverError as error:  # a stored tensor of the first call, used in the second
            msg = f"the model's forward pass keeps hidden state ({error})"
            raise DriverError(msg) from error
        now = _attributes(self.step.skeleton)
        changed = [name for name, value in now.items() if attributes.get(name, now) != value]
        if changed or not same:
            where = f": it changes {', '.join(changed[:3])}" if changed else ""
            msg = f"the model's forward pass keeps hidden state{where}"
            raise DriverError(msg)
        return expected

    def _record(self, args: Any) -> Callable[..., Any]:
        leaves, spec = pytree.tree_flatten(args)
        outputs: list[Any] = []

        def flat(*tensors: Tensor) -> list[Tensor]:
            result, out = pytree.tree_flatten(
                self.eager(*pytree.tree_unflatten(list(tensors), spec))
            )
            outputs[:] = [out]
            return result

        try:
            graph = simplify(make_fx(flat)(*leaves))
        except DriverError:
            raise
        except Exception as error:  # whatever a model does that a recording cannot hold
            msg = f"the step cannot be recorded: {_first_line(error)}"
            raise DriverError(msg) from error
        run = graph.forward

        def program(*now: Any) -> Any:
            return pytree.tree_unflatten(run(*pytree.tree_leaves(now)), outputs[0])

        return program


def _shapes(args: Any) -> tuple[Any, ...]:
    return tuple((tuple(t.shape), t.dtype) for t in pytree.tree_leaves(args))


def _attributes(model: nn.Module) -> dict[str, Any]:
    """Return the plain Python values that the modules of a model hold, by name."""
    return {
        f"{path}.{name}".lstrip("."): value
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, (bool, int, float, str, type(None)))
    }


def _host_random() -> tuple[Any, ...]:
    numpy = np.random.get_state()  # noqa: NPY002  (the model's own draws are watched)
    return (
        random.getstate(),
        str(numpy[1].tobytes() if hasattr(numpy[1], "tobytes") else ""),
        numpy[2],
    )


def _equal(a: Any, b: Any) -> bool:
    pairs = zip(pytree.tree_leaves(a), pytree.tree_leaves(b), strict=True)
    return all(torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in pairs)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
