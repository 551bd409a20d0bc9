"""A batch with fewer samples than the graph was made for, as the last of an epoch is.

An exported graph knows its sizes by heart. A smaller batch is filled up with copies of its first
sample, and what these copies add is taken off again: sums over a batch that holds that sample alone
are its own, as often as the batch has samples. In evaluation mode samples do not see each other, so
the sums are those of the samples that were given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from wingbeat.symmetry.export import Inputs, arguments

Weighted = list[tuple[Inputs, float]]
"""Batches of the example's size, and how much of the sums over each counts."""


def weighted(program: torch.export.ExportedProgram, batch: Inputs) -> Weighted:
    """Return batches of the size of the example inputs that together count as a batch.

    Args:
        program: made with the example inputs.
        batch: inputs; where not all tensors that have the example's count of samples have fewer,
            or none does, it is returned as it is.
    """
    example = _tensors(program.example_inputs or ((), {}))
    given = _tensors(_ordered(batch, program))
    if len(given) != len(example):
        return [(batch, 1.0)]
    fewer = {
        (len(x), len(e))
        for x, e in zip(given, example, strict=True)
        if x.dim() and x.shape != e.shape and x.shape[1:] == e.shape[1:]
    }
    if len(fewer) != 1:
        return [(batch, 1.0)]
    ((count, whole),) = fewer
    if not 0 < count < whole:
        return [(batch, 1.0)]

    def filled(tensor: Tensor) -> Tensor:
        return torch.cat([tensor, tensor[:1].expand(whole - count, *tensor.shape[1:])])

    def alone(tensor: Tensor) -> Tensor:
        return tensor[:1].expand(whole, *tensor.shape[1:]).contiguous()

    share = (whole - count) / whole
    return [(_mapped(batch, count, filled), 1.0), (_mapped(batch, count, alone), -share)]


def _ordered(batch: Inputs, program: torch.export.ExportedProgram) -> Any:
    args, kwargs = arguments(batch)
    known: Mapping[str, Any] = program.example_inputs[1] if program.example_inputs else {}
    if set(known) != set(kwargs):
        return ()
    return args, {name: kwargs[name] for name in known}


def _tensors(inputs: Any) -> Sequence[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, Tensor)]


def _mapped(batch: Inputs, count: int, change: Any) -> Inputs:
    """Change every tensor that holds as many samples; a mapping stays a dict."""
    held: Any = dict(batch) if isinstance(batch, Mapping) else batch
    found: Inputs = pytree.tree_map(
        lambda x: change(x) if isinstance(x, Tensor) and x.dim() and len(x) == count else x, held
    )
    return found
