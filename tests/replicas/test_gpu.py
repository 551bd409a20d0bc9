"""Every driver on an accelerator against the processor's loop; the same document on the processor.

Never run on an accelerator so far. ``pytest -m gpu`` runs it there.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.gpu import COMPILED, DRIVERS, correctness, measure, tasks

NO_DEVICE = not torch.cuda.is_available()


@pytest.mark.slow
def test_the_document_is_made_on_a_processor() -> None:
    found = measure("cpu", quick=True)
    _right(found["correctness"])
    rates = [v["replica_steps_a_second"] for k, v in found.items() if " copies" in k]
    assert len(rates) == 4
    assert min(rates) > 0


def test_the_transformer_has_ten_million_parameters() -> None:
    counts = {n: sum(p.numel() for p in t.model().parameters()) for n, t in tasks(1, False).items()}
    assert 9.5e6 < counts["transformer"] < 1.05e7
    assert 2.6e5 < counts["ResNet-20"] < 2.8e5


@pytest.mark.gpu
@pytest.mark.skipif(NO_DEVICE, reason="no CUDA device")
def test_drivers_repeat_the_processor_and_keep_their_twin() -> None:
    _right(correctness("cuda", {**DRIVERS, **COMPILED}))


def _right(found: dict[str, Any]) -> None:
    for name, values in found.items():
        assert values["relative_distance_float64"] < 1e-9, name
        assert values["twin_float32_dropout"] == 0.0, name
