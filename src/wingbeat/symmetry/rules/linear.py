"""Sums of products: linear layers, matrix products, einsum."""

from __future__ import annotations

from wingbeat.symmetry.axes import Axis
from wingbeat.symmetry.calls import Axes, Call, Value
from wingbeat.symmetry.rules.registry import rule
from wingbeat.symmetry.unify import broadcast, unify


@rule("linear")
def linear(call: Call) -> Value:
    """Sum over the last axis of the input and of the weight (out, in)."""
    inner, weight, bias = call.axes("input"), call.axes("weight"), call.tensor("bias")
    unify(inner[-1], weight[-1], call.why)
    call.contracts("input")
    if len(weight) == 1:
        return inner[:-1]
    out = weight[0]
    if bias:
        out = broadcast([(out,), bias], (out.size,), call.why)[0]
    return (*inner[:-1], out)


@rule("matmul", "mm", "bmm", "mv", "dot", "vdot", "inner_product")
def matmul(call: Call) -> Value:
    """Sum over the last axis of the first and the last but one of the second."""
    return product_of(call, "self", "mat2" if "mat2" in call.bound else _second(call))


def _second(call: Call) -> str:
    return next(name for name in ("other", "vec", "tensor") if name in call.bound)


@rule("addmm", "addmv")
def addmm(call: Call) -> Value:
    """A matrix product and a broadcast addend."""
    first, second = ("mat1", "mat2") if call.name == "addmm" else ("mat", "vec")
    return broadcast([product_of(call, first, second), call.axes("self")], call.shape, call.why)


@rule("baddbmm")
def baddbmm(call: Call) -> Value:
    """A batched matrix product and a broadcast addend."""
    out = product_of(call, "batch1", "batch2")
    return broadcast([out, call.axes("self")], call.shape, call.why)


def product_of(call: Call, first: str, second: str) -> Axes:
    """Tie the summed axes and the leading ones, and return the axes of the product."""
    a, b = call.axes(first), call.axes(second)
    right = b[-2] if len(b) > 1 else b[-1]
    unify(a[-1], right, call.why)
    call.contracts(first)
    call.contracts(second)
    rows, columns = a[-2:-1], (b[-1:] if len(b) > 1 else ())
    lead_shape = call.shape[: len(call.shape) - len(rows) - len(columns)]
    lead = broadcast([a[:-2], b[:-2]], lead_shape, call.why)
    call.hide((*lead, *rows, *columns))
    return (*lead, *rows, *columns)


@rule("_grouped_mm", "grouped_mm", "grouped_mm_fallback")
def grouped(call: Call) -> Value:
    """Rows, sorted by expert, times their expert's matrix (experts, in, out)."""
    first, second = ("self", "mat2") if "mat2" in call.bound else ("input", "weight")
    rows, weight = call.axes(first), call.axes(second)
    if len(rows) != 2 or len(weight) != 3:
        return call.give_up()
    call.pin((rows[0], weight[0]))
    unify(rows[1], weight[1], call.why)
    call.contracts(first)
    return (rows[0], weight[2])


@rule("einsum")
def einsum(call: Call) -> Value:
    """One axis for each letter."""
    equation = str(call.arg("equation")).replace(" ", "")
    operands = [axes for axes in call.tensors("tensors") if axes is not None]
    if "." in equation or "->" not in equation:
        return call.give_up()
    left, right = equation.split("->")
    letters: dict[str, Axis] = {}
    for term, axes in zip(left.split(","), operands, strict=True):
        for letter, axis in zip(term, axes, strict=True):
            _tie(letters, letter, axis, call.why)
    for node, term in zip(call.arg("tensors"), left.split(","), strict=True):
        if set(term) - set(right):
            call.notes.contracted.append(node.name)
    return tuple(letters[letter] for letter in right)


def _tie(letters: dict[str, Axis], letter: str, axis: Axis, why: str) -> None:
    known = letters.get(letter)
    if known is None or known.size == 1:
        letters[letter] = axis
    elif axis.size > 1:
        letters[letter] = unify(known, axis, why)


@rule("bilinear")
def bilinear(call: Call) -> Value:
    """Sum over the last axes of two inputs, with a weight (out, first, second)."""
    first, second, weight = call.axes("input1"), call.axes("input2"), call.axes("weight")
    unify(first[-1], weight[1], call.why)
    unify(second[-1], weight[2], call.why)
    call.contracts("input1")
    call.contracts("input2")
    lead = broadcast([first[:-1], second[:-1]], call.shape[:-1], call.why)
    out, bias = weight[0], call.tensor("bias")
    if bias:
        out = broadcast([(out,), bias], (out.size,), call.why)[0]
    call.hide((*lead, *weight))
    return (*lead, out)


@rule("cdist", "_cdist_forward")
def cdist(call: Call) -> Value:
    """Distances of all pairs of rows: a sum over the last axis of both."""
    a, b = call.axes("x1"), call.axes("x2")
    inner = unify(a[-1], b[-1], call.why)
    lead = broadcast([a[:-2], b[:-2]], call.shape[:-2], call.why)
    call.hide((*lead, a[-2], b[-2], inner))
    return (*lead, a[-2], b[-2])
