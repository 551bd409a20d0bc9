"""Named tensors and the flat vector, there and back."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.params import Layout

SHAPES = st.lists(st.lists(st.integers(1, 3), max_size=3).map(tuple), min_size=1, max_size=4)


@given(SHAPES, st.lists(st.integers(1, 3), max_size=2).map(tuple))
def test_flatten_and_unflatten_are_inverse(shapes: list[tuple[int, ...]], lead) -> None:
    """Also for tensors without axes, and with any number of leading axes."""
    named = {f"t{i}": torch.randn((*lead, *shape)) for i, shape in enumerate(shapes)}
    layout = Layout.of({f"t{i}": torch.zeros(shape) for i, shape in enumerate(shapes)})
    flat = layout.flatten(named)
    assert flat.shape == (*lead, sum(torch.zeros(shape).numel() for shape in shapes))
    back = layout.unflatten(flat)
    assert list(back) == list(named)
    for name, tensor in named.items():
        assert torch.equal(back[name], tensor)
