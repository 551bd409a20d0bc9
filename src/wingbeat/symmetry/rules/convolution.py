"""Convolutions: channels are tied, places are pinned."""

from __future__ import annotations

from wingbeat.symmetry.axes import Axis, product
from wingbeat.symmetry.calls import Axes, Call, Value
from wingbeat.symmetry.reshape import regroup
from wingbeat.symmetry.rules.registry import rule
from wingbeat.symmetry.unify import broadcast, unify


@rule("conv1d", "conv2d", "conv3d", "convolution", "_convolution")
@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def convolution(call: Call) -> Value:
    """Sum over input channels and window; with G groups a channel is (group, within)."""
    axes, weight = call.axes("input"), call.axes("weight")
    channel = len(axes) - len(weight) + 1  # 0 where there is no batch axis
    call.pin((*axes[channel + 1 :], *weight[2:]))
    groups = int(call.arg("groups") or 1)
    transposed = "transpose" in call.name or bool(call.arg("transposed"))
    tie = _transposed if transposed else _forward
    out = tie(call, axes[channel], weight, groups)
    call.contracts("input")
    bias = call.tensor("bias")
    if bias:
        out = broadcast([(out,), bias], (out.size,), call.why)[0]
    places = tuple(call.pinned(size) for size in call.shape[channel + 1 :])
    return (*axes[:channel], out, *places)


def _halves(call: Call, axis: Axis, groups: int) -> Axes:
    return regroup([axis], (groups, axis.size // groups), call.why)


def _forward(call: Call, channel: Axis, weight: Axes, groups: int) -> Axis:
    """Weight (G×out, in, window): both sides share the group factor."""
    if groups == 1:
        unify(channel, weight[1], call.why)
        return weight[0]
    group, within = _halves(call, channel, groups)
    same, out = _halves(call, weight[0], groups)
    unify(within, weight[1], call.why)
    return product([unify(group, same, call.why), out])


def _transposed(call: Call, channel: Axis, weight: Axes, groups: int) -> Axis:
    """Weight (G×in, out, window)."""
    inner = unify(channel, weight[0], call.why)
    if groups == 1:
        return weight[1]
    group, _ = _halves(call, inner, groups)
    return product([group, weight[1]])
