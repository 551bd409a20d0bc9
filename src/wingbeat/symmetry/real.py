"""Permutations and distances are of real weights; complex ones are refused by name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from wingbeat.errors import RequestError


def refuse_complex(state: Mapping[str, Tensor]) -> None:
    """Refuse complex weights: their symmetries are rotations too, and a distance needs both parts.

    Raises:
        RequestError: it names the first complex tensor.
    """
    found = [name for name, t in state.items() if isinstance(t, Tensor) and t.is_complex()]
    if found:
        raise RequestError(
            f"{found[0]!r} is complex: permutations and distances are of real weights; hand over "
            "torch.view_as_real of it"
        )
