"""Finding the permutation symmetries of a model in its graph, checked by numbers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import nn

from wingbeat.symmetry.blocks import blocks
from wingbeat.symmetry.check import checked, evaluate_on
from wingbeat.symmetry.export import Inputs, Outputs, exported
from wingbeat.symmetry.groups import blocked_of, groups_of, leaf_numbers, parameter_blocks
from wingbeat.symmetry.real import refuse_complex
from wingbeat.symmetry.spec import Capture, PermutationSpec
from wingbeat.symmetry.trace import TracedGraph, traced


def permutation_spec(
    model: nn.Module,
    example_inputs: Inputs,
    *,
    outputs: Outputs | None = None,
    check: bool = True,
    seed: int = 0,
) -> PermutationSpec:
    """Find the permutation symmetries of a model.

    The model is exported once (in evaluation mode, without gradients), and every operation of
    the graph ties the axes that it pairs. Axes whose order matters are fixed and listed in
    ``blocked``. Then random permutations of all groups, drawn afresh on weights with noise, must
    leave the outputs unchanged within 1e-10 of their largest entry in float64; a group that fails
    is fixed as well.

    Args:
        model: any module that ``torch.export`` can follow; not changed.
        example_inputs: one tensor, a tuple of positional or a dict of keyword arguments. The
            numbers do not matter, the shapes do: activation matching needs the same shapes.
        outputs: picks from the model's result what must not change, as
            ``lambda out: out.logits``; everything by default. What is returned is fixed: a model
            that returns its hidden states or a cache keeps their axes in place.
        check: whether to do the numerical check.
        seed: of the check.

    Returns:
        The groups, what is blocked and why, and how to permute.

    Raises:
        RequestError: the model cannot be exported, or its outputs are random or not finite.

    Source: Ainsworth et al., "Git Re-Basin" (2022); the search in the graph is this package's.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> spec = permutation_spec(net, torch.zeros(1, 2))
    >>> [(group.name, group.size, group.members) for group in spec.groups]
    [('0.weight:0', 3, (('0.weight', 0), ('0.bias', 0), ('2.weight', 1)))]
    >>> [(axis.parameter, axis.axis, axis.reason) for axis in spec.blocked]
    [('0.weight', 1, 'input')]
    """
    refuse_complex(dict(model.named_parameters()))
    program = exported(model, example_inputs, outputs)
    spec = _from_trace(traced(program, model), model)
    if not check:
        return spec
    found = checked(spec, model, example_inputs, outputs, seed)
    return replace(found, compute=partial(evaluate_on, model, example_inputs, outputs))


def _from_trace(trace: TracedGraph, model: nn.Module) -> PermutationSpec:
    numbers: dict[int, int] = {}
    by_parameter = parameter_blocks(trace, numbers)
    state = model.state_dict(keep_vars=True)
    trained = {name for name, tensor in state.items() if isinstance(tensor, nn.Parameter)}
    found = groups_of(trace, by_parameter, numbers)
    # A group of buffers alone moves nothing that is trained: it stays.
    groups = tuple(g for g in found if trained & {name for name, _ in g.members})
    memory: dict[int, list[str]] = {}
    for name, tensor in state.items():
        memory.setdefault(id(tensor), []).append(name)
    return PermutationSpec(
        groups=groups,
        blocked=blocked_of(trace),
        shapes={name: tuple(tensor.shape) for name, tensor in state.items()},
        tied={name: tuple(names) for names in memory.values() if len(names) > 1 for name in names},
        blocks={name: parts for name, parts in by_parameter.items() if name in state},
        captures=_captures(trace, numbers, {group.leaf for group in groups}),
        program=trace.program,
        leaf_of=leaf_numbers(trace, numbers),
        parameters=tuple(name for name in state if name in trained),
    )


def _captures(trace: TracedGraph, numbers: dict[int, int], free: set[int]) -> tuple[Capture, ...]:
    """Return activations, made from the inputs, with a free axis that is summed over."""
    made = _from_inputs(trace.program)
    found = []
    for node in dict.fromkeys(trace.notes.contracted):
        axes = trace.tensors.get(node, [])
        if node not in made or len(axes) != 1:
            continue
        parts = blocks(axes[0], numbers)
        if any(free & set(part.leaves) for part in parts):
            found.append(Capture(node, parts))
    return tuple(found)


def _from_inputs(program: torch.export.ExportedProgram) -> set[str]:
    """Return the names of all nodes that depend on an input of the model."""
    found = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if any(source.name in found for source in node.all_input_nodes):
            found.add(node.name)
    return {str(name) for name in found}
