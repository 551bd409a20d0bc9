"""Streamed correlations between the units of two models, over the exported graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import torch
from torch import Tensor
from torch.export.graph_signature import InputKind
from torch.fx import Interpreter, Node
from torch.utils._pytree import tree_leaves

from wingbeat.errors import RequestError
from wingbeat.symmetry.blocks import AxisBlock
from wingbeat.symmetry.export import PREFIX, Inputs, arguments
from wingbeat.symmetry.part_batch import weighted
from wingbeat.symmetry.spec import PermutationSpec
from wingbeat.symmetry.terms import CovarianceTerm, arranged

LARGEST: Final = 8192
"""Units of one activation that are compared pair by pair at most."""


@dataclass
class Moments:
    """Running sums over samples of the units of two models at one activation.

    Attributes:
        node: name in the graph.
        block: the part of the tensor that is read.
        kept: axes of the part that count units; along the others lie samples.
        shape: number of units along the kept axes.
        count: samples so far.
        sums: of both models, of their squares, and of the products of each pair of units, all
            after subtraction of the first batch's means, so that squares do not cancel.
    """

    node: str
    block: AxisBlock
    kept: tuple[int, ...]
    shape: tuple[int, ...] = ()
    count: float = 0.0
    sums: dict[str, Tensor] = field(default_factory=dict)

    def add(self, a: Tensor, b: Tensor, share: float = 1.0) -> None:
        """Add the activations of one batch, as far as it counts."""
        part = self.block.view(a)
        self.shape = tuple(part.shape[dim] for dim in self.kept)
        x, y = (arranged(self.block.view(t), (), self.kept)[0].double() for t in (a, b))
        if not self.sums:
            self.sums = {"mean_a": x.mean(1, keepdim=True), "mean_b": y.mean(1, keepdim=True)}
        x, y = x - self.sums["mean_a"], y - self.sums["mean_b"]
        self.count += share * x.shape[1]
        new = {"a": x.sum(1), "b": y.sum(1), "aa": (x * x).sum(1), "bb": (y * y).sum(1)}
        for name, value in {**new, "ab": x @ y.T}.items():
            self.sums[name] = self.sums.get(name, 0.0) + share * value

    def correlation(self) -> Tensor:
        """Return correlations with the axes of the units twice; 0 for a unit without variance."""
        sums, n = self.sums, self.count
        covariance = sums["ab"] / n - torch.outer(sums["a"] / n, sums["b"] / n)
        spread = [(sums[k * 2] / n - (sums[k] / n) ** 2).clamp(min=0).sqrt() for k in "ab"]
        alive = torch.outer(*(s > 1e-12 * s.max() for s in spread))
        scale = torch.outer(*spread).where(alive, torch.ones((), dtype=torch.float64))
        found = (covariance / scale).where(alive, torch.zeros((), dtype=torch.float64))
        return found.reshape(*self.shape, *self.shape)

    def term(self) -> CovarianceTerm:
        """Return what a matching maximises at this activation."""
        leaves = tuple(self.block.leaves[dim] for dim in self.kept)
        return CovarianceTerm(AxisBlock((), leaves), self.correlation())


def empty_moments(spec: PermutationSpec) -> list[Moments]:
    """Return empty sums for every activation that shows units of groups."""
    groups = {group.leaf for group in spec.groups}
    parents = {leaf for group in spec.groups for leaf in spec.parent_leaves(group)}
    sizes = {spec.leaf_of[g.name]: g.size for g in spec.groups}
    for group in spec.groups:
        sizes |= dict(zip(spec.parent_leaves(group), group.parent_sizes, strict=True))
    found = []
    for capture in spec.captures:
        for block in capture.blocks:
            kept = tuple(d for d, leaf in enumerate(block.leaves) if leaf in groups | parents)
            shown = {block.leaves[d] for d in kept}
            whole = all(set(spec.parent_leaves(g)) <= shown for g in spec.groups if g.leaf in shown)
            if shown & groups and whole and prod(sizes[block.leaves[d]] for d in kept) <= LARGEST:
                found.append(Moments(capture.node, block, kept))
    return found


def streamed(
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    spec: PermutationSpec,
    batches: Iterable[Inputs],
) -> list[Moments]:
    """Run both models over the data and return the sums.

    Raises:
        RequestError: no data, a batch of other shapes, or a specification without its graph.
    """
    if spec.program is None:
        raise RequestError(
            "this specification was pickled and has lost its graph: call permutation_spec again"
        )
    found = empty_moments(spec)
    wanted = {moments.node for moments in found}
    parts = ((part, share) for batch in batches for part, share in weighted(spec.program, batch))
    for part, share in parts:
        first, second = (_activations(spec.program, s, part, wanted) for s in (a, b))
        for moments in found:
            moments.add(first[moments.node], second[moments.node], share)
    if not found or not found[0].count:
        raise RequestError(
            "no activations to compare: give at least one batch, and a model with hidden units"
        )
    return found


class _Recorder(Interpreter):
    """Runs a graph and keeps chosen results."""

    def __init__(self, module: torch.fx.GraphModule, wanted: set[str]) -> None:
        super().__init__(module)
        self.wanted = wanted
        self.seen: dict[str, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        """Run a node, and keep its result where it is wanted."""
        if "_assert_tensor_metadata" in str(n.target):
            return None  # it asks for the type at export; other types are fine here
        found = super().run_node(n)
        if n.name in self.wanted:
            self.seen[n.name] = found
        return found


def _activations(
    program: torch.export.ExportedProgram,
    state: Mapping[str, Tensor],
    batch: Inputs,
    wanted: set[str],
) -> dict[str, Tensor]:
    recorder = _Recorder(program.graph_module, wanted)
    with torch.no_grad():
        recorder.run(*_placeholder_values(program, state, batch))
    return recorder.seen


def _placeholder_values(
    program: torch.export.ExportedProgram, state: Mapping[str, Tensor], batch: Inputs
) -> list[Any]:
    given = iter(_user_inputs(program, batch))
    values: list[Any] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            values.append(next(given))
            continue
        target = spec.target or ""
        own = state.get(target.removeprefix(PREFIX))
        kept = program.state_dict.get(target, program.constants.get(target))
        values.append(kept if own is None else own)
    return values


def _user_inputs(program: torch.export.ExportedProgram, batch: Inputs) -> Sequence[Any]:
    """Return a batch in the order of the placeholders.

    Raises:
        RequestError: it has other names or shapes than the example inputs.
    """
    args, kwargs = arguments(batch)
    example_args, example_kwargs = program.example_inputs or ((), {})
    if set(kwargs) != set(example_kwargs):
        raise RequestError(
            f"a batch has inputs {sorted(kwargs)}, the example inputs had {sorted(example_kwargs)}"
        )
    given = tree_leaves((args, {name: kwargs[name] for name in example_kwargs}))
    shapes = [_shape(item) for item in given]
    known = [_shape(item) for item in tree_leaves((example_args, example_kwargs))]
    if shapes != known:
        raise RequestError(
            f"a batch has shapes {shapes}, the example inputs had {known}: the graph is made for "
            "these; give batches of that size or with fewer samples, or a specification made with "
            "other example inputs"
        )
    return given


def _shape(item: object) -> tuple[int, ...]:
    return tuple(item.shape) if isinstance(item, Tensor) else ()
