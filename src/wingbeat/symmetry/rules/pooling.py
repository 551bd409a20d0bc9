"""Pooling and resizing: channels are kept, places are pinned."""

from __future__ import annotations

from wingbeat.symmetry.calls import Call, Value
from wingbeat.symmetry.rules.registry import rule


@rule("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d")
@rule("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
@rule("_adaptive_avg_pool2d", "_adaptive_avg_pool3d")
@rule("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
@rule("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices")
@rule("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact2d")
@rule("upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d")
def pool(call: Call) -> Value:
    """Mix places within a channel."""
    axes = call.axes("self", "input")
    mixed = next(int(c) for c in call.name.replace("with_indices", "") if c.isdigit())
    kept = axes[: len(axes) - mixed]
    call.pin(axes[len(kept) :])
    made: list[Value] = [
        (*kept, *(call.pinned(size) for size in shape[len(kept) :])) for shape in call.shapes
    ]
    return made if isinstance(call.node.meta["val"], (tuple, list)) else made[0]
