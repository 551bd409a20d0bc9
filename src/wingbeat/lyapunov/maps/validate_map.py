"""What is found out about a map before it is iterated.

A map may look at the index of its step, draw random numbers, keep hidden state, change its
input in place or lose its derivative. Each is found by one or two calls of the map.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from wingbeat.errors import RequestError
from wingbeat.generators import GeneratorStates

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.lyapunov.maps.states import StateLayout, Step

STEPWISE = frozenset(
    (
        *("floor", "ceil", "round", "trunc", "sign", "sgn", "heaviside", "bucketize"),
        *("floor_divide", "argmax", "argmin", "argsort", "bernoulli"),
        *("detach", "_local_scalar_dense", "_to_copy"),
    )
)
"""Operations whose derivative is zero, or that hand a value on without its derivative."""
SPOKEN = {"_local_scalar_dense": "item", "_to_copy": "to (another type)"}
INSTEAD = "use wingbeat.lyapunov.benettin, which needs no derivative"


@dataclass(frozen=True)
class FlatMap:
    """A map of states as a map of flat vectors ``(n,)``."""

    step: Step
    layout: StateLayout

    def __call__(self, flat: Tensor, t: int) -> Tensor:
        """Return the next flat state."""
        return self.layout.flatten(self.step(self.layout.unflatten(flat), t))


@dataclass(frozen=True)
class Nature:
    """What a map depends on besides its state.

    Attributes:
        timed: it looks at the index of the step.
        random: it draws from torch's generator.
    """

    timed: bool
    random: bool


def examine(flow: FlatMap, flat: Tensor, t: int, *, derivative: bool = True) -> Nature:
    """Call a map at one state ``(n,)`` and say what it depends on.

    Args:
        flow: the map.
        flat: a state.
        t: index of the first step.
        derivative: whether the derivative is needed, and therefore compared with differences.

    Raises:
        RequestError: if the map changes its input, keeps hidden state, returns another form of
            state or has no derivative; says which operation.
    """
    rng = GeneratorStates.now()
    try:
        after = _checked_call(flow, flat, t)
        random = rng.moved()
        rng.put_back()
        if not torch.equal(flow(flat, t).nan_to_num(), after.nan_to_num()):
            raise RequestError(
                "two calls of the step with equal arguments differ: it keeps hidden state, "
                "or draws from a generator other than torch's; put what it keeps into the state"
            )
        if derivative and bool(torch.isfinite(after).all()):
            rng.put_back()
            _check_derivative(flow, flat, after, t, rng)
        rng.put_back()
        return Nature(timed=random or looks_at_time(flow, flat), random=random)
    finally:
        rng.put_back()


def looks_at_time(flow: FlatMap, flat: Tensor) -> bool:
    """Tell whether a map looks at the index of its step, by handing it something else.

    >>> from wingbeat.lyapunov.maps.states import read_state
    >>> layout, x = read_state(torch.ones(1), batched=False)
    >>> looks_at_time(FlatMap(lambda x, t: x * 2, layout), x[0])
    False
    >>> looks_at_time(FlatMap(lambda x, t: x * 0.5**t, layout), x[0])
    True
    """
    _Probe.asked = False
    try:
        flow(flat, _Probe())  # type: ignore[arg-type]
    except Exception:  # whatever the map does with a thing that is no number
        return True
    return _Probe.asked


class _Asked(Exception):  # noqa: N818  (a signal, caught above)
    pass


class _Probe:
    """Stands in for the index of a step and notes whether anything looks at it."""

    asked = False

    def __getattribute__(self, name: str) -> Any:
        type(self).asked = True
        raise _Asked


def _ask(*_: Any) -> Any:
    _Probe.asked = True
    raise _Asked


_OPERATORS = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "divmod",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
    "matmul",
]
for _name in (
    *_OPERATORS,
    *(f"r{operator}" for operator in _OPERATORS),
    *("neg", "pos", "abs", "invert", "int", "float", "complex", "index", "bool", "round", "trunc"),
    *("floor", "ceil", "eq", "ne", "lt", "le", "gt", "ge", "hash", "str", "repr", "format"),
    *("len", "iter", "contains", "getitem", "call"),
):
    setattr(_Probe, f"__{_name}__", _ask)


def _checked_call(flow: FlatMap, flat: Tensor, t: int) -> Tensor:
    given = flat.clone()
    after = flow(given, t)
    if not torch.equal(given, flat):
        raise RequestError("the step changes its input in place; let it return a new state")
    if after.requires_grad:
        after = after.detach()
    return after


def _check_derivative(
    flow: FlatMap, flat: Tensor, after: Tensor, t: int, rng: GeneratorStates
) -> None:
    """Compare the derivative along one direction with differences, on both sides, of two sizes.

    One that agrees is enough: a kink or a jump nearby spoils some.
    """
    v = _direction(flat)
    tangent = _tangent(flow, flat, v, t)
    sizes = (1e-7, 1e-6) if flat.dtype == torch.float64 else (3e-4, 3e-3)
    if not any(_agrees(flow, flat, after, v, tangent, h, t, rng) for s in sizes for h in (s, -s)):
        raise RequestError(
            f"the derivative of the step is not that of its values: {_culprit(flow, flat, t)} "
            f"cannot be differentiated; {INSTEAD}"
        )
    if not bool(tangent.any()):
        found = _stepwise(flow, flat, t)
        if found:
            raise RequestError(
                f"the derivative of the step is zero everywhere: {found} cannot be "
                f"differentiated; {INSTEAD}"
            )


def _direction(flat: Tensor) -> Tensor:
    """Return a random direction that changes every coordinate in proportion to its size."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(flat.shape, generator=generator, dtype=torch.float64).to(flat)
    typical = float(flat.abs().mean())
    return drawn * (flat.abs() + (0.01 * typical if typical > 0 else 1.0))


def _agrees(
    flow: FlatMap,
    flat: Tensor,
    after: Tensor,
    v: Tensor,
    tangent: Tensor,
    h: float,
    t: int,
    rng: GeneratorStates,
) -> bool:
    """Tell whether a tangent is within a factor of a difference, rounding allowed for."""
    rng.put_back()
    slope = (flow(flat + h * v, t) - after) / h
    noise = torch.finfo(flat.dtype).eps * float(after.norm()) / abs(h)
    return float((slope - tangent).norm()) <= 0.5 * float(slope.norm()) + 8 * noise


def _tangent(flow: FlatMap, flat: Tensor, v: Tensor, t: int) -> Tensor:
    try:
        with sdpa_kernel(SDPBackend.MATH):
            tangent: Tensor = jvp(lambda x: flow(x, t), (flat,), (v,))[1]
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise RequestError(
            f"the step is not differentiable: {_reason(error)}; {INSTEAD}"
        ) from error
    return tangent


def _reason(error: Exception) -> str:
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    named = re.search(r"forward AD with (\w+)", line)
    if named:
        return f"{named[1]} has no forward derivative"
    if "data pointer" in line or "numpy" in line:
        return "numpy (its values leave torch)"
    if "autograd.Function" in line:
        return f"an autograd.Function ({line[:120]})"
    return line[:200]


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Write down the names of the operations that are executed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func.overloadpacket).removeprefix("aten."))
        return func(*args, **(kwargs or {}))


def _stepwise(flow: FlatMap, flat: Tensor, t: int) -> str:
    """Return the first operation of a map that loses the derivative, or an empty string."""
    with _Operations() as seen:
        flow(flat, t)
    found = next((name for name in seen.names if name in STEPWISE), "")
    return SPOKEN.get(found, found)


def _culprit(flow: FlatMap, flat: Tensor, t: int) -> str:
    return _stepwise(flow, flat, t) or "an operation outside torch (.data, .tolist())"
