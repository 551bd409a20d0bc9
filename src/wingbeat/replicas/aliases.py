"""Which values of a recording may share memory with what is written into, or is handed out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch.fx import Graph, Node


def written(graph: Graph) -> set[Node]:
    """Return values that an operation writes into, and all that may be views with them."""
    found = (node for node in graph.nodes if writes(node))
    return _with_views(n for node in found for n in (node, *node.all_input_nodes))


def returned(graph: Graph) -> set[Node]:
    """Return the values that a recording returns, and all that may be views with them.

    >>> from wingbeat.tracing import trace
    >>> graph = trace(lambda x: (x.t() + 1).t(), torch.ones(2, 2)).graph
    >>> sorted(node.name for node in returned(graph))
    ['add', 't_1']
    """
    (output,) = (node for node in graph.nodes if node.op == "output")
    return _with_views(output.all_input_nodes)


def _with_views(nodes: Iterable[Node]) -> set[Node]:
    found: set[Node] = set()
    left = list(nodes)
    while left:
        node = left.pop()
        if node in found:
            continue
        found.add(node)
        left += [user for user in node.users if _is_view(user)]
        left += node.all_input_nodes if _is_view(node) else []
    return found


def writes(node: Node) -> bool:
    """Tell whether an operation changes one of its inputs in place."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def is_random(node: Node) -> bool:
    """Tell whether an operation draws random numbers."""
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _is_view(node: Node) -> bool:
    """Tell whether what an operation returns may share memory with what it takes."""
    if node.op != "call_function":
        return False
    schema = getattr(node.target, "_schema", None)
    return schema is None or any(found.alias_info is not None for found in schema.returns)
