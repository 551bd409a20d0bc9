"""What training sets on a model that is no tensor: modes, settings, which parameters train.

Gradual unfreezing, a norm that is put into evaluation mode late, a dropout rate that falls: user
code sets them on the module at some step. They belong to the replica that got there, and travel
with it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

FLAGS: Final = "flags"
"""Name of the slot that holds a replica's flags, where they are not those of the start."""
_KINDS: Final = (bool, int, float, str)


class Flags:
    """Reads and writes the flags of a model, which are there when this is made.

    Args:
        model: whose modules' plain attributes, ``training`` and ``requires_grad`` are flags.

    Attributes:
        base: the flags as they are now.

    Example:
        >>> layer = torch.nn.Dropout(0.5)
        >>> flags = Flags(layer)
        >>> layer.p = 0.1
        >>> slots = flags.take()
        >>> flags.put({})
        >>> layer.p
        0.5
        >>> flags.put(slots)
        >>> layer.p
        0.1
    """

    def __init__(self, model: nn.Module) -> None:
        self._places = [
            (vars(module), name)
            for module in model.modules()
            for name, value in vars(module).items()
            if type(value) in _KINDS and (name[0] != "_" or name == "training")
        ]
        self._parameters = list(model.parameters())
        self.base = self.read()

    def read(self) -> list[Any]:
        """Return the flags as they are; what is no longer plain reads as its start."""
        own = [held.get(name) for held, name in self._places]
        return [*own, *(p.requires_grad for p in self._parameters)]

    def take(self) -> dict[str, Tensor]:
        """Return the slot of the flags, or none where they are those of the start."""
        now = self.read()
        if now == self.base:
            return {}
        plain = [v if type(v) in _KINDS else b for v, b in zip(now, self.base, strict=True)]
        return {FLAGS: torch.frombuffer(bytearray(json.dumps(plain).encode()), dtype=torch.uint8)}

    def put(self, slots: dict[str, Tensor]) -> None:
        """Set the flags of a replica: those in its slot, or those of the start."""
        found = slots.get(FLAGS)
        wanted = self.base if found is None else json.loads(found.numpy().tobytes())
        if self.read() == wanted:
            return
        count = len(self._places)
        for (held, name), value in zip(self._places, wanted[:count], strict=True):
            held[name] = value
        for parameter, value in zip(self._parameters, wanted[count:], strict=True):
            parameter.requires_grad_(value)
