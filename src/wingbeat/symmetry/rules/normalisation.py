"""Batch, layer, instance, group and RMS normalisation, and softmax."""

from __future__ import annotations

from wingbeat.symmetry.calls import Axes, Call, Value, place_of
from wingbeat.symmetry.reshape import regroup
from wingbeat.symmetry.rules.registry import rule
from wingbeat.symmetry.unify import broadcast, unify

_STATISTICS = ("weight", "bias", "running_mean", "running_var")


@rule("batch_norm", "_native_batch_norm_legit_no_training", "instance_norm", "cudnn_batch_norm")
@rule("native_batch_norm")
def batch_norm(call: Call) -> Value:
    """One scale, shift and pair of statistics for each channel."""
    axes = call.axes("input")
    channel = axes[1]
    for name in _STATISTICS:
        vector = call.tensor(name)
        if vector:
            channel = unify(channel, vector[0], call.why)
    call.hide((axes[0], channel) if call.name == "instance_norm" else (channel,))
    out = (axes[0], channel, *axes[2:])
    return _results(call, out)


@rule("layer_norm", "rms_norm", "native_layer_norm")
def layer_norm(call: Call) -> Value:
    """Statistics over the trailing axes, with a scale and a shift along them."""
    axes, shape = call.axes("input"), call.arg("normalized_shape")
    lead, tail = axes[: len(axes) - len(shape)], axes[len(axes) - len(shape) :]
    for name in ("weight", "bias"):
        vector = call.tensor(name)
        if vector:
            tail = broadcast([tail, vector], tuple(a.size for a in tail), call.why)
    call.hide(lead)
    return _results(call, (*lead, *tail))


@rule("group_norm", "native_group_norm")
def group_norm(call: Call) -> Value:
    """Statistics over the channels of a group: a channel is (group, within)."""
    axes = call.axes("input")
    groups = int(call.arg("num_groups", "group"))
    channel = axes[1]
    for name in ("weight", "bias"):
        vector = call.tensor(name)
        if vector:
            channel = unify(channel, vector[0], call.why)
    outer, _ = regroup([channel], (groups, channel.size // groups), call.why)
    call.hide((axes[0], outer))
    return _results(call, (axes[0], channel, *axes[2:]))


def _results(call: Call, out: Axes) -> Value:
    """Return the result, beside the statistics that native forms return as well."""
    if not isinstance(call.node.meta.get("val"), (tuple, list)):
        return out
    return [out, *(tuple(call.pinned(size) for size in shape) for shape in call.shapes[1:])]


@rule("softmax", "log_softmax", "_softmax", "_log_softmax", "_safe_softmax", "softmin")
def softmax(call: Call) -> Value:
    """Entries compete along one axis; their order does not matter."""
    axes = call.axes("self")
    dim = place_of(int(call.arg("dim")), len(axes))
    call.hide(axes[:dim] + axes[dim + 1 :])
    return axes
