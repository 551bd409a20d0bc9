"""Scaling and shifting the output channels of a layer by its weight and bias."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from wingbeat.errors import RequestError

State = Mapping[str, Tensor]
# Where weight norm keeps the lengths of a weight: the older hook, and the parametrization.
_LENGTHS = ("weight_g", "parametrizations.weight.original0")


@dataclass(frozen=True)
class RescaledLayer:
    """A layer whose output channels can be scaled and shifted.

    Attributes:
        name: of the module.
        module: a linear layer, a convolution, or GPT-2's ``Conv1D``.
    """

    name: str
    module: nn.Module

    @property
    def channel_last(self) -> bool:
        """Whether the channel is the last axis of the output, else axis 1."""
        return not isinstance(self.module, _ConvNd)

    def scale(self, state: State) -> str:
        """Return the name of the tensor that scales the output: the weight, or its lengths.

        Raises:
            RequestError: the weight is made in another way, which scaling would leave.
        """
        plain = f"{self.name}.weight"
        if plain in state:
            return plain
        found = [f"{self.name}.{key}" for key in _LENGTHS if f"{self.name}.{key}" in state]
        channels = len(state[f"{self.name}.bias"])
        if found and state[found[0]].numel() == channels == len(state[found[0]]):
            return found[0]
        made = [n for n in state if n.startswith(f"{self.name}.") and "weight" in n]
        raise RequestError(
            f"the weight of {self.name!r} is made of {', '.join(made) or 'nothing'}: its channels "
            "cannot be rescaled; take the parametrization off with "
            "torch.nn.utils.parametrize.remove_parametrizations before averaging"
        )

    def put(self, state: MutableMapping[str, Tensor], scale: Tensor, shift: Tensor) -> None:
        """Multiply the output without bias by a scale per channel, and add a shift to the bias.

        Args:
            state: weights; changed.
            scale: ``(channels,)`` float64, ≥ 0.
            shift: the new bias, ``(channels,)`` float64.
        """
        name = self.scale(state)
        weight = state[name]
        state[name] = (weight.double() * self._spread(scale, weight, name)).to(weight)
        bias = f"{self.name}.bias"
        state[bias] = shift.to(state[bias])

    def _spread(self, scale: Tensor, weight: Tensor, name: str) -> Tensor:
        """Return the scale in a shape that multiplies the weight."""
        if not name.endswith(".weight"):
            return scale.reshape(weight.shape)
        if isinstance(self.module, _ConvTransposeNd):
            groups = self.module.groups
            each = scale.reshape(groups, 1, -1).expand(-1, len(weight) // groups, -1)
            return each.reshape(len(weight), -1, *[1] * (weight.dim() - 2))
        if _is_transposed_linear(self.module):
            return scale
        return scale.reshape(-1, *[1] * (weight.dim() - 1))


def layer_of(name: str, module: nn.Module) -> RescaledLayer | None:
    """Return a module as a layer of weights, with or without bias; None if it is none."""
    known = isinstance(module, (nn.Linear, _ConvNd)) or _is_transposed_linear(module)
    return RescaledLayer(name, module) if known else None


def _is_transposed_linear(module: nn.Module) -> bool:
    """Tell whether a module is GPT-2's ``Conv1D``: a linear layer with weight (in, out).

    It is known by name and shape, so that the library that defines it need not be there.
    """
    weight = getattr(module, "weight", None)
    return (
        type(module).__name__ == "Conv1D"
        and not isinstance(module, _ConvNd)
        and isinstance(weight, Tensor)
        and weight.dim() == 2
    )
