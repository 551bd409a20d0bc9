"""The benchmark of accelerators: its document is made on a processor too, of the nets it names."""

from __future__ import annotations

import pytest

from benchmarks.gpu import measure, tasks


@pytest.mark.slow
def test_the_document_is_made_on_a_processor() -> None:
    found = measure("cpu", quick=True)
    right = found["correctness"]
    assert {v for k, v in right.items() if k.startswith("twin")} == {0.0}
    assert all(v < 1e-9 for k, v in right.items() if k.startswith("distance"))
    rates = found["speed"]
    assert len(rates) == 6
    assert all(rate["replica_steps_a_second"] > 0 for rate in rates.values())


def test_the_nets_have_the_sizes_that_are_named() -> None:
    counts = {n: sum(p.numel() for p in t.model().parameters()) for n, t in tasks(1).items()}
    assert 9.5e6 < counts["transformer"] < 1.05e7
    assert 2.6e5 < counts["ResNet-20"] < 2.8e5
