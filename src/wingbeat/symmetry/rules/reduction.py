"""Sums, means and extremes: the reduced axis is dropped, in whatever order it was."""

from __future__ import annotations

from wingbeat.symmetry.axes import ONE
from wingbeat.symmetry.calls import Call, Value, place_of, places_of
from wingbeat.symmetry.rules.registry import rule
from wingbeat.symmetry.unify import broadcast


@rule("mean", "sum", "amax", "amin", "any", "all", "var", "std", "prod", "logsumexp", "norm")
@rule("linalg_vector_norm", "nansum", "nanmean", "count_nonzero", "aminmax", "var_mean", "std_mean")
def reduction(call: Call) -> Value:
    """Drop the reduced axes, or keep them at size one."""
    axes = call.axes("self", "x")
    places = places_of(call.arg("dim"), len(axes))
    keep = bool(call.arg("keepdim"))
    out = tuple(
        ONE if place in places else axis
        for place, axis in enumerate(axes)
        if keep or place not in places
    )
    call.hide(tuple(axis for place, axis in enumerate(axes) if place not in places))
    if isinstance(call.node.meta["val"], (tuple, list)):
        return [out for _ in call.shapes]
    return out


@rule("max", "min")
def extreme(call: Call) -> Value:
    """The largest along one axis, of all, or of two; where it stood depends on the order."""
    if call.overload in {"other", "binary"}:
        return broadcast(call.inputs(), call.shape, call.why)
    if call.overload != "dim":
        call.hide(call.axes("self"))
        return ()
    axes = call.axes("self")
    if any(user.args[1] == 1 and user.users for user in call.node.users):
        call.pin([axes[place_of(int(call.arg("dim")), len(axes))]])
    return reduction(call)
