"""What enters a graph: parameters get new axes, everything else stays in place."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind, InputSpec
from torch.fx import Node

from wingbeat.symmetry.axes import AxisKind, leaf, wild
from wingbeat.symmetry.calls import Axes, Value
from wingbeat.symmetry.export import PREFIX

Tied = tuple[object, ...]


def placeholders(
    program: torch.export.ExportedProgram, model: nn.Module
) -> tuple[dict[str, Axes], dict[Node, Value]]:
    """Return the axes of parameters and statistics by name, and of every placeholder.

    Names that share memory share axes. Buffers move where a normalisation uses them as running
    statistics, and where spectral norm keeps singular vectors in them. A floating-point buffer of
    the state dict moves along every axis on which it is still constant, as those of a batch norm
    written by hand are before training, and is fixed along the others. Other buffers, constants
    and the inputs of the model are fixed.
    """
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    state: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    state.update(model.named_buffers(remove_duplicate=False))
    shared = _shared(program, nodes, state)
    spectral = _spectral(model)
    named: dict[str, Axes] = {}
    values: dict[Node, Value] = {}
    for spec in program.graph_signature.input_specs:
        node = nodes.get(getattr(spec.arg, "name", ""))
        if node is None:
            continue
        name = (spec.target or "").removeprefix(PREFIX)
        if (
            spec.kind is InputKind.PARAMETER
            or name in spectral
            or (name in state and _statistic(node))
        ):
            values[node] = named[name] = shared[_memory(state[name])]
        elif name in state and spec.persistent and _moving(state[name]):
            values[node] = named[name] = _still_constant(name, state[name], shared)
        elif spec.kind is InputKind.USER_INPUT:
            values[node] = _fixed(node, "input")
        else:
            content = _content(program, spec)
            reason = f"buffer {name or node.name}"
            values[node] = None if content is None else constant_axes(content, reason)
    return named, values


def _memory(tensor: Tensor) -> Tied:
    place = tensor.untyped_storage().data_ptr() + tensor.storage_offset() * tensor.element_size()
    return place, tuple(tensor.shape), tensor.stride(), id(tensor) if place == 0 else 0


def _shared(
    program: torch.export.ExportedProgram, nodes: dict[str, Node], state: dict[str, Tensor]
) -> dict[Tied, Axes]:
    """Return new axes for every piece of memory; pinned where no operation reads it."""
    used: dict[Tied, bool] = defaultdict(bool)
    for spec in program.graph_signature.input_specs:
        name = (spec.target or "").removeprefix(PREFIX)
        if name in state:
            node = nodes.get(getattr(spec.arg, "name", ""))
            used[_memory(state[name])] |= node is not None and bool(node.users)
    return {
        memory: tuple(leaf(n, "" if used[memory] else "not used") for n in tensor.shape)
        for memory, tensor in ((_memory(t), t) for t in state.values())
    }


def _statistic(node: Node) -> bool:
    return any(
        "batch_norm" in str(u.target) or "instance_norm" in str(u.target) for u in node.users
    )


def _spectral(model: nn.Module) -> set[str]:
    """Return the names of the singular vectors that spectral norm keeps: they move as weights.

    Both forms of torch: the parametrization, and the older hook (``torch.nn.utils.spectral_norm``).
    """
    found = set()
    for name, module in model.named_modules():
        dot = f"{name}." if name else ""
        if type(module).__name__ == "_SpectralNorm":
            found |= {f"{dot}{vector}" for vector in ("_u", "_v")}
        for hook in module._forward_pre_hooks.values():
            if type(hook).__name__ == "SpectralNorm":
                weight = getattr(hook, "name", "weight")
                found |= {f"{dot}{weight}{vector}" for vector in ("_u", "_v")}
    return found


def _moving(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.ndim > 0


def _still_constant(name: str, tensor: Tensor, shared: dict[Tied, Axes]) -> Axes:
    """Return axes that move where a buffer does not vary, as another state may, fixed elsewhere."""
    own = shared[_memory(tensor)]
    seen = constant_axes(tensor.detach(), f"buffer {name}")
    return tuple(
        mine if axis.kind is AxisKind.WILD else axis for mine, axis in zip(own, seen, strict=True)
    )


def _fixed(node: Node, reason: str) -> Value:
    found = node.meta.get("val")
    if not isinstance(found, Tensor):
        return None
    return tuple(leaf(int(n), reason) for n in found.shape)


def _content(program: torch.export.ExportedProgram, spec: InputSpec) -> Tensor | None:
    target = spec.target or ""
    found = program.state_dict.get(target, program.constants.get(target))
    return found if isinstance(found, Tensor) else None


def constant_axes(tensor: Tensor, reason: str) -> Axes:
    """Return wild axes where the values do not change along them, pinned ones elsewhere.

    >>> axes = constant_axes(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), "buffer mask")
    >>> [axis.kind.value for axis in axes]
    ['wild', 'leaf']
    """
    found = []
    for dim, size in enumerate(tensor.shape):
        first = tensor.narrow(dim, 0, 1) if size else tensor
        same = bool(torch.equal(tensor, first.expand_as(tensor)))
        found.append(wild(size) if same else leaf(size, reason))
    return tuple(found)
