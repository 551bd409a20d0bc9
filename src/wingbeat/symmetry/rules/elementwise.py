"""Entry by entry: arithmetic, activations, comparisons, masks, and what changes no entry."""

from __future__ import annotations

from wingbeat.symmetry.calls import Call, Value
from wingbeat.symmetry.rules.registry import rule
from wingbeat.symmetry.unify import broadcast, unify


@rule("where", "masked_fill", "addcmul", "addcdiv", "clamp", "rsub", "dropout")
@rule("feature_dropout", "alpha_dropout", "softplus", "hardtanh", "relu6", "logical_not")
@rule("__and__", "__or__", "__xor__", "bitwise_and", "bitwise_or", "floor_divide", "pow")
def elementwise(call: Call) -> Value:
    """Align from the right and tie equal axes; also the rule of every pointwise operation."""
    return broadcast(call.inputs(), call.shape, call.why)


@rule("to", "_to_copy", "clone", "contiguous", "alias", "detach", "lift_fresh_copy", "type_as")
@rule("lift", "float", "double", "half", "conj", "resolve_conj", "resolve_neg", "requires_grad_")
def same(call: Call) -> Value:
    """Pass the first argument on."""
    return call.axes("self", "input", "x")


@rule("_assert_tensor_metadata", "_assert_async", "_assert_scalar", "sym_size", "sym_numel")
@rule("sym_constrain_range_for_size", "_local_scalar_dense", "item")
def no_tensor(call: Call) -> Value:
    """Pin every axis that has several entries where one number is read; a check ties nothing."""
    for axes in call.inputs():
        if call.name in {"_local_scalar_dense", "item"}:
            call.pin(axes)
    return None


@rule("prelu", "_prelu_kernel")
def prelu(call: Call) -> Value:
    """One slope for all, or one for each channel (axis 1)."""
    axes, weight = call.axes("self"), call.axes("weight")
    if len(weight) == 1 and weight[0].size > 1:
        channel = unify(axes[1], weight[0], call.why)
        return (axes[0], channel, *axes[2:])
    return axes


@rule("glu")
def glu(call: Call) -> Value:
    """First half times the sigmoid of the second half."""
    from wingbeat.symmetry.rules.selection import pieces

    axes, dim = call.axes("self"), int(call.arg("dim"))
    half = axes[dim].size // 2
    first, second = pieces(call, axes, dim, [half, half])
    return broadcast([first, second], call.shape, call.why)
