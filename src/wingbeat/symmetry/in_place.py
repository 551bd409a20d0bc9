"""Writing into parts of tensors: ``out[:, t] = h`` changes ``out`` behind the graph's back.

An operation that writes to a view of a tensor changes that tensor too, and whatever else is a view
of it, which the axes of each node alone do not tell. Such a graph is rewritten by torch without
any writing, where the part that was written becomes an argument (``select_scatter``).
"""

from __future__ import annotations

import warnings

import torch
from torch.fx import Node


def without_writes(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Return a graph that writes to no view; the same graph where it wrote to none."""
    if not any(writes_to_view(node) for node in program.graph.nodes):
        return program
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: torch.export.ExportedProgram = program.run_decompositions({})
            return found
    except Exception:  # some models cannot be rewritten: what is written is then fixed
        return program


def mutated(node: Node) -> Node | None:
    """Return the tensor that an in-place operation writes to."""
    schema = getattr(node.target, "_schema", None)
    writes = schema is not None and any(
        a.alias_info is not None and a.alias_info.is_write for a in schema.arguments
    )
    target = node.args[0] if writes and node.args else None
    return target if isinstance(target, Node) else None


def writes_to_view(node: Node) -> bool:
    """Tell whether a node writes to a tensor that shares its memory with another."""
    target = mutated(node)
    if target is None:
        return False
    return _viewed(target) is not None or any(_viewed(user) is target for user in target.users)


def bases(node: Node) -> list[Node]:
    """Return the tensors that a node is a view of, the nearest first."""
    found = []
    base = _viewed(node)
    while base is not None:
        found.append(base)
        base = _viewed(base)
    return found


def _viewed(node: Node) -> Node | None:
    """Return the tensor that a node is a view of."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.arguments or not node.args or mutated(node) is not None:
        return None
    alias = schema.arguments[0].alias_info
    base = node.args[0]
    return base if alias is not None and isinstance(base, Node) else None
