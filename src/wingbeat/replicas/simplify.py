"""Drop the operations of a recorded step that do nothing, or what another one did.

Vectorising emits many views that change no shape, transposes that cancel and products with
the number 1, and a loss and its gradient ask the same of the labels twice. Each costs a few
microseconds of dispatch at every step, which is most of the time of a small network. Only exact
identities are removed: the bits stay the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from wingbeat.replicas.aliases import is_random, returned, writes, written

if TYPE_CHECKING:
    from torch.fx import Graph, GraphModule, Node

aten = torch.ops.aten
_SAME_SHAPE = {aten.expand.default, aten.view.default, aten._unsafe_view.default}
_TIMES_ONE = {aten.mul.Scalar, aten.mul.Tensor, aten.div.Scalar, aten.div.Tensor}


def simplify(recorded: GraphModule) -> GraphModule:
    """Remove exact identities, repeats and dead operations; returns the same module, recompiled."""
    for node in list(recorded.graph.nodes):
        same = _identity(node)
        if same is not None:
            node.replace_all_uses_with(same)
    recorded.graph.eliminate_dead_code()
    _drop_repeats(recorded.graph)
    recorded.recompile()
    return recorded


def _drop_repeats(graph: Graph) -> None:
    """Let an operation stand for every later one that does the same to the same."""
    kept, changed = dict[str, "Node"](), written(graph)
    apart = changed | returned(graph)
    for node in list(graph.nodes):
        if node.op != "call_function" or node in apart or is_random(node):
            continue
        if not changed.isdisjoint(node.all_input_nodes):
            continue
        # Their text: 1, 1.0 and True are equal, and so are 0.0 and -0.0.
        first = kept.setdefault(f"{node.target} {node.args} {node.kwargs}", node)
        if first is not node:
            node.replace_all_uses_with(first)
            graph.erase_node(node)


def _identity(node: Node) -> Node | None:
    """Return the argument that the node merely repeats, or None."""
    if node.op != "call_function" or not node.args or not hasattr(node.args[0], "meta"):
        return None
    source: Node = node.args[0]  # type: ignore[assignment]
    before, after = source.meta.get("val"), node.meta.get("val")
    if not isinstance(before, torch.Tensor) or not isinstance(after, torch.Tensor):
        return None
    alike = before.shape == after.shape and before.dtype == after.dtype
    if alike and (node.target in _SAME_SHAPE or _is_times_one(node)):
        return (
            source if before.stride() == after.stride() or node.target not in _SAME_SHAPE else None
        )
    return _undone_transpose(node, source)


def _is_times_one(node: Node) -> bool:
    one = node.target in _TIMES_ONE and isinstance(node.args[1], int) and node.args[1] == 1
    return one and not any(writes(user) for user in node.users)


def _undone_transpose(node: Node, source: Node) -> Node | None:
    swap = aten.transpose.int
    if node.target is not swap or source.target is not swap:
        return None
    value = source.meta["val"]
    if _axes(node, value.dim()) != _axes(source, value.dim()):
        return None
    return source.args[0]  # type: ignore[return-value]


def _axes(node: Node, dims: int) -> frozenset[int]:
    return frozenset(a % dims for a in node.args[1:3] if isinstance(a, int))
