"""The numerical check: permuted weights give the same outputs, or the group is fixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf, isnan
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from wingbeat.errors import RequestError
from wingbeat.symmetry.export import PREFIX, Chosen, Inputs, Outputs, arguments
from wingbeat.symmetry.groups import Blocked, Group
from wingbeat.symmetry.spec import PermutationSpec

TOLERANCE: Final = 1e-10
"""Largest change of an output, relative to the largest output, in float64."""
COARSE: Final = 1e-4
"""The same where an operation of the model insists on float32, which rounds to 6e-8 each time."""
_NARROW = (torch.float32, torch.float16, torch.bfloat16)


class Float64(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Compute everything in float64, also where a model casts to a narrower type itself.

    An operation that refuses float64 (grouped products in mixtures of experts) is computed in
    float32 alone, and noted.

    Attributes:
        insisted: names of the operations that refused.

    >>> with Float64():
    ...     (torch.ones(2, dtype=torch.float64) / 3).float().dtype
    torch.float64
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.insisted: list[str] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        written = {
            place
            for place, argument in enumerate(func._schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        }
        given = [a if p in written else tree_map(_wide, a) for p, a in enumerate(args)]
        named = {name: tree_map(_wide, a) for name, a in (kwargs or {}).items()}
        try:
            out = func(*given, **named)
        except (RuntimeError, ValueError) as error:
            if written or not _refuses_type(error):
                raise
            self.insisted.append(str(func))
            given, named = tree_map(_narrow, (given, named))
            out = func(*given, **named)
        return out if written else tree_map(_wide, out)


def _wide(item: Any) -> Any:
    if isinstance(item, Tensor) and item.dtype in _NARROW:
        return item.to(torch.float64)
    return torch.float64 if isinstance(item, torch.dtype) and item in _NARROW else item


def _narrow(item: Any) -> Any:
    if isinstance(item, Tensor) and item.dtype == torch.float64:
        return item.to(torch.float32)
    return torch.float32 if item is torch.float64 else item


def _refuses_type(error: Exception) -> bool:
    """Tell whether an operation has no float64; torch tells it in words alone."""
    words = str(error).lower()
    return "double" in words or "float64" in words


def evaluate(
    model: nn.Module,
    state: Mapping[str, Tensor],
    inputs: Inputs,
    outputs: Outputs | None = None,
) -> list[Tensor]:
    """Return the floating-point outputs of a model with other weights, computed in float64.

    They are float32 where an operation insisted on that type. The model is run in evaluation mode
    without gradients and is not changed.
    """
    args, kwargs = tree_map(_wide, arguments(inputs))
    modes = {module: module.training for module in model.modules()}
    usual = torch.get_default_dtype()
    wrapped = Chosen(model, outputs).eval()
    named = {PREFIX + name: _wide(tensor) for name, tensor in state.items()}
    try:
        # A limit such as torch.finfo(x.dtype).min is made into a tensor of the default type.
        torch.set_default_dtype(torch.float64)
        with torch.no_grad(), Float64() as mode:
            found = torch.func.functional_call(
                wrapped, named, args, kwargs, tie_weights=False, strict=False
            )
    finally:
        torch.set_default_dtype(usual)
        for module, training in modes.items():
            module.training = training
    outs = [t for t in tree_leaves(found) if isinstance(t, Tensor) and t.is_floating_point()]
    return [out.float() for out in outs] if mode.insisted else outs


def evaluate_on(
    model: nn.Module,
    inputs: Inputs,
    outputs: Outputs | None,
    state: Mapping[str, Tensor],
) -> list[Tensor]:
    """Return `evaluate` of weights that may lie on another device than the model's own."""
    own = model.state_dict()
    placed = {name: tensor.to(own[name].device) for name, tensor in state.items() if name in own}
    return evaluate(model, placed, inputs, outputs)


def gap(first: list[Tensor], second: list[Tensor]) -> float:
    """Return the largest change over all outputs, each relative to its largest entry."""
    worst = 0.0
    for a, b in zip(first, second, strict=True):
        scale = float(a.abs().max()) if a.numel() else 0.0
        apart = float((a - b).abs().max()) if a.numel() else 0.0
        found = apart / scale if scale else apart
        worst = inf if isnan(found) else max(worst, found)
    return worst


def tolerance(outputs: list[Tensor], fine: float = TOLERANCE) -> float:
    """Return the largest gap that rounding explains: ``fine`` in float64."""
    return fine if all(out.dtype == torch.float64 for out in outputs) else COARSE


def checked(
    spec: PermutationSpec, model: nn.Module, inputs: Inputs, outputs: Outputs | None, seed: int
) -> PermutationSpec:
    """Return the specification with the largest gap, groups that fail the check fixed.

    Raises:
        RequestError: the outputs are random, or not finite with any weights tried.
    """
    state, reference = _noisy(spec, model, inputs, outputs, seed)

    allowed = tolerance(reference)

    def change(candidate: PermutationSpec) -> float:
        moved = candidate.random(seed + 1).apply(state)
        return gap(reference, evaluate(model, moved, inputs, outputs))

    found = change(spec)
    if not found <= allowed:
        if gap(reference, evaluate(model, state, inputs, outputs)) > 0.0:
            raise RequestError(
                "two evaluations of the model differ: its outputs are random in evaluation mode"
            )
        spec = _without_failures(spec, change, allowed)
        found = change(spec)
    if not found <= allowed:  # groups that fail only together
        blocked = tuple(_refused(group) for group in spec.groups)
        spec, found = replace(spec, groups=(), blocked=(*spec.blocked, *blocked)), 0.0
    return replace(spec, largest_gap=found)


def _without_failures(
    spec: PermutationSpec, change: Callable[[PermutationSpec], float], allowed: float
) -> PermutationSpec:
    """Test groups one by one; a failing one loses its parents, and if it still fails, is fixed."""
    kept: list[Group] = []
    blocked: list[Blocked] = []
    for group in spec.groups:
        plain = replace(group, parents=(), parent_sizes=())
        for candidate in (group, plain):
            if change(replace(spec, groups=(candidate,))) <= allowed:
                kept.append(candidate)
                break
        else:
            blocked.append(_refused(group))
    return replace(spec, groups=tuple(kept), blocked=(*spec.blocked, *blocked))


def _refused(group: Group) -> Blocked:
    parameter, axis = group.members[0]
    return Blocked(parameter, axis, group.size, "numerical check")


def _noisy(
    spec: PermutationSpec, model: nn.Module, inputs: Inputs, outputs: Outputs | None, seed: int
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Return weights with noise, and the outputs for them.

    Biases of zero and scales of one, as models start with, would hide a wrong group.
    """
    for share in (0.1, 0.01, 0.0):
        state = _with_noise(spec, model, share, seed)
        found = evaluate(model, state, inputs, outputs)
        if all(bool(torch.isfinite(t).all()) for t in found):
            break
    else:
        raise RequestError(
            "the model's outputs are not finite: give weights and example inputs for which they are"
        )
    return state, found


def _with_noise(
    spec: PermutationSpec, model: nn.Module, share: float, seed: int
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made: dict[int, Tensor] = {}
    state = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        if id(tensor) not in made:
            moves = name in spec.blocks and tensor.is_floating_point()
            positive = not isinstance(tensor, nn.Parameter)
            made[id(tensor)] = (
                _jittered(tensor.detach(), share, generator, variance=positive)
                if moves
                else tensor.detach()
            )
    return {name: made[id(tensor)] for name, tensor in state.items()}


def _jittered(
    tensor: Tensor, share: float, generator: torch.Generator, *, variance: bool
) -> Tensor:
    draws = torch.randn(tensor.shape, generator=generator).to(tensor)
    finite = tensor.isfinite()
    if not bool(finite.all()):  # a mask with infinities keeps them
        moved = _jittered(tensor.where(finite, 0.0), share, generator, variance=False)
        return moved.where(finite, tensor)
    if variance and bool((tensor > 0).all()):
        return torch.mul(tensor, (3 * share * draws).exp())
    size = float(tensor.norm()) / max(1, tensor.numel()) ** 0.5
    return torch.add(tensor, draws, alpha=share * max(size, 0.1))
