"""A state as one flat vector: tensors and dictionaries of tensors to ``(…, n)`` and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wingbeat.errors import RequestError
from wingbeat.params import Layout

State = Tensor | Mapping[str, Tensor]
"""What a map acts on: one floating-point tensor, or several by name."""
Step = Callable[[Any, int], Any]
"""A map ``step(state, t) -> state``; ``t`` is the index of the step, an int. Or ``step(state)``."""


@dataclass(frozen=True)
class StateLayout(Layout):
    """Where the entries of a state lie in its flat vector.

    Attributes:
        names: of the tensors in order; one empty name where the state is a single tensor.
        shapes: of one state, without a leading axis of initial states.
        dtype: of all tensors.
        device: of all tensors.
        single: whether the state is a tensor and not a dictionary.
    """

    dtype: torch.dtype
    device: torch.device
    single: bool

    def flatten(self, tensors: State) -> Tensor:
        """Return ``(…, n)``; leading axes beyond the shape of one state stay.

        Raises:
            RequestError: if names, shapes or types are not those of the layout.
        """
        if self.single and isinstance(tensors, Tensor):
            return self._row(tensors, self.shapes[0], "the state")
        if self.single or isinstance(tensors, Tensor) or set(tensors) != set(self.names):
            raise RequestError(
                f"the step returned {_form(tensors)}, but it was given {self._own()}"
            )
        rows = [
            self._row(tensors[name], shape, repr(name))
            for name, shape in zip(self.names, self.shapes, strict=True)
        ]
        return rows[0] if len(rows) == 1 else torch.cat(rows, dim=-1)

    def unflatten(self, flat: Tensor) -> Any:
        """Return the state that a flat vector ``(…, n)`` stands for."""
        lead = flat.shape[:-1]
        if self.single:
            return flat if self.shapes[0] == (self.size,) else flat.reshape(lead + self.shapes[0])
        parts = torch.split_with_sizes(flat, self.sizes, dim=-1)
        triples = zip(self.names, self.shapes, parts, strict=True)
        return {name: part.reshape(lead + shape) for name, shape, part in triples}

    def _row(self, value: Tensor, shape: tuple[int, ...], what: str) -> Tensor:
        lead = value.dim() - len(shape)
        if value.shape[lead:] != shape or lead < 0:
            raise RequestError(
                f"the step returned {what} with shape {tuple(value.shape)}, not {shape}"
            )
        if value.dtype != self.dtype:
            raise RequestError(f"the step returned {what} as {value.dtype}, not {self.dtype}")
        return value if len(shape) == 1 else value.reshape((*value.shape[:lead], -1))

    def _own(self) -> str:
        return "one tensor" if self.single else f"a dictionary with {', '.join(self.names)}"


def read_state(state: State, *, batched: bool) -> tuple[StateLayout, Tensor]:
    """Return the layout of a state and its flat copy.

    Args:
        state: a tensor, or a dictionary of tensors of one floating-point type.
        batched: whether every tensor has a leading axis of initial states.

    Returns:
        StateLayout of one state, and the states ``(B, n)``; B is 1 without ``batched``.

    Raises:
        RequestError: for integers, several types, nothing at all, values that are not finite,
            or leading axes that differ.

    >>> layout, flat = read_state({"x": torch.zeros(2, 3), "v": torch.zeros(6)}, batched=False)
    >>> layout.size, layout.slices["v"], tuple(flat.shape)
    (12, slice(6, 12, None), (1, 12))
    """
    single = isinstance(state, Tensor)
    if not isinstance(state, (Tensor, Mapping)):
        raise RequestError(f"the state is {_form(state)}; give a tensor or a dictionary of tensors")
    tensors: dict[str, Tensor] = {"": state} if isinstance(state, Tensor) else dict(state)
    _check_tensors(tensors)
    _check_batch(tensors, batched)
    first = next(iter(tensors.values()))
    shapes = tuple(tuple(x.shape[int(batched) :]) for x in tensors.values())
    layout = StateLayout(tuple(tensors), shapes, first.dtype, first.device, single)
    plain = state if isinstance(state, Tensor) else tensors
    flat = layout.flatten(plain).detach().clone().reshape(-1, layout.size)
    if not bool(torch.isfinite(flat).all()):
        raise RequestError("the initial state holds values that are not finite")
    return layout, flat


def _check_tensors(tensors: Mapping[str, Tensor]) -> None:
    if not tensors or not all(isinstance(x, Tensor) for x in tensors.values()):
        raise RequestError(
            f"the state is {_form(tensors)}; give a tensor or a dictionary of tensors"
        )
    for name, x in tensors.items():
        where = f"entry {name!r} of the state" if name else "the state"
        if not x.is_floating_point():
            raise RequestError(
                f"{where} is {x.dtype}; only floating-point numbers can be differentiated: "
                "convert it with .double(), or close over it if the map never changes it"
            )
        if x.numel() == 0:
            raise RequestError(f"{where} has no elements (shape {tuple(x.shape)})")
    kinds = sorted({str(x.dtype) for x in tensors.values()})
    places = sorted({str(x.device) for x in tensors.values()})
    if len(kinds) > 1 or len(places) > 1:
        raise RequestError(f"the state mixes {', '.join(kinds + places)}; use one type and device")


def _check_batch(tensors: Mapping[str, Tensor], batched: bool) -> None:
    if not batched:
        return
    if any(x.dim() == 0 for x in tensors.values()):
        raise RequestError("batched=True needs a leading axis of initial states in every tensor")
    lengths = sorted({x.shape[0] for x in tensors.values()})
    if len(lengths) > 1:
        raise RequestError(f"the leading axes of the state have lengths {lengths}; they must agree")


def _form(state: Any) -> str:
    if isinstance(state, Mapping):
        return f"a dictionary with {', '.join(map(str, state)) or 'no entries'}"
    return "one tensor" if isinstance(state, Tensor) else f"a {type(state).__name__}"
