"""The permutation symmetries of a model, found in its graph and checked by numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from wingbeat.errors import RequestError
from wingbeat.symmetry.blocks import Block, blocks
from wingbeat.symmetry.check import checked, evaluate_on
from wingbeat.symmetry.export import Inputs, Outputs, exported
from wingbeat.symmetry.groups import (
    Blocked,
    Group,
    blocked_of,
    groups_of,
    leaf_numbers,
    parameter_blocks,
)
from wingbeat.symmetry.permutation import Permutation
from wingbeat.symmetry.real import refuse_complex
from wingbeat.symmetry.trace import Trace, traced


@dataclass(frozen=True)
class Capture:
    """An activation that some operation sums over: where units of two models are compared.

    Attributes:
        node: name in the graph.
        blocks: parts of the tensor with one axis for each leaf.
    """

    node: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class PermutationSpec:
    """Which entries of a model's weights may be permuted together without changing the model.

    Attributes:
        groups: what may be permuted, outer groups before those inside them.
        blocked: axes that stay in place, each with the operation that blocked it.
        shapes: of every tensor of the state dict.
        tied: for every name, all names of the same memory.
        blocks: parts of every parameter with one axis for each leaf.
        captures: activations at which units can be compared.
        program: the exported graph; None after pickling.
        leaf_of: number of the leaf of every group and of every fixed part, by name.
        parameters: names of what training moves, which distances count; buffers are not.
        largest_gap: largest relative change of an output in the numerical check.
        compute: the outputs of the model for the example inputs with other weights, in float64;
            None after pickling, or without the numerical check.
    """

    groups: tuple[Group, ...]
    blocked: tuple[Blocked, ...]
    shapes: Mapping[str, tuple[int, ...]]
    tied: Mapping[str, tuple[str, ...]]
    blocks: Mapping[str, tuple[Block, ...]]
    captures: tuple[Capture, ...] = ()
    program: torch.export.ExportedProgram | None = field(default=None, repr=False, compare=False)
    leaf_of: Mapping[str, int] = field(default_factory=dict, repr=False)
    parameters: tuple[str, ...] = ()
    largest_gap: float = float("nan")
    compute: Callable[[Mapping[str, Tensor]], list[Tensor]] | None = field(
        default=None, repr=False, compare=False
    )

    def named(self, name: str) -> Group:
        """Return a group by name.

        Raises:
            RequestError: there is none of that name.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise RequestError(f"no group {name!r}: the groups are {[g.name for g in self.groups]}")

    def parent_leaves(self, group: Group) -> tuple[int, ...]:
        """Return the leaf numbers of a group's parents."""
        return tuple(self.leaf_of[parent] for parent in group.parents)

    def identity(self) -> Permutation:
        """Return the permutation that moves nothing."""
        arrays = {g.name: torch.arange(g.size).expand(g.shape).clone() for g in self.groups}
        return Permutation(self, arrays)

    def random(self, seed: int, *, uniform: bool = False) -> Permutation:
        """Return a permutation drawn uniformly and independently for every group.

        Args:
            seed: the same seed gives the same permutation.
            uniform: whether an inner group gets one permutation for all entries of its parents
                instead of one for each.
        """
        generator = torch.Generator().manual_seed(seed)
        arrays = {}
        for group in self.groups:
            shape = (group.size,) if uniform else group.shape
            draws = torch.rand(shape, generator=generator, dtype=torch.float64)
            arrays[group.name] = draws.argsort(-1).expand(group.shape).clone()
        return Permutation(self, arrays)

    def permutation(self, arrays: Mapping[str, Tensor | Sequence[int]]) -> Permutation:
        """Return the permutation with the given arrays; groups that are not named stay.

        Raises:
            RequestError: an unknown group, a wrong shape, or numbers that are no permutation.
        """
        found = dict(self.identity().arrays)
        for name, given in arrays.items():
            group = self.named(name)
            array = torch.as_tensor(given, dtype=torch.int64)
            whole = torch.arange(group.size).expand(group.shape)
            if tuple(array.shape) != group.shape or not torch.equal(array.sort(-1).values, whole):
                raise RequestError(
                    f"group {name!r} needs permutations of 0…{group.size - 1} in an array of shape "
                    f"{group.shape}, not one of shape {tuple(array.shape)}"
                )
            found[name] = array
        return Permutation(self, found)

    def check_state(self, state: Mapping[str, Tensor], *, strict: bool = True) -> None:
        """Check that a state dict is one of the model.

        Raises:
            RequestError: names are missing or unknown, or a shape is another one; all listed.
        """
        missing = (
            []
            if not strict
            else [
                name
                for name in self.shapes
                if name not in state
                and not any(alias in state for alias in self.tied.get(name, ()))
            ]
        )
        extra = [name for name in state if name not in self.shapes]
        wrong = [
            f"{name} has {tuple(tensor.shape)} instead of {self.shapes[name]}"
            for name, tensor in state.items()
            if name in self.shapes and tuple(tensor.shape) != self.shapes[name]
        ]
        problems = [
            f"{label}: {', '.join(names)}"
            for label, names in (("missing", missing), ("unknown", extra), ("shapes", wrong))
            if names
        ]
        if problems:
            raise RequestError(
                f"the state dict is of another model than the specification; {'; '.join(problems)}"
            )

    def __getstate__(self) -> dict[str, object]:
        # Graphs and the model itself stay behind; all else can be pickled.
        return {**self.__dict__, "program": None, "compute": None}


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


def _from_trace(trace: Trace, model: nn.Module) -> PermutationSpec:
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


def _captures(trace: Trace, numbers: dict[int, int], free: set[int]) -> tuple[Capture, ...]:
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
