"""On a GPU: a net of the study of dynamics that has learned, with the shape of its layers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from wingbeat.studies.topology import STUDY, TopologyPlan
from wingbeat.study.runner.inline import InlineRunner

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.skipif(find_spec("gudhi") is None, reason="needs gudhi"),
]


def test_both_studies_read_what_a_gpu_trained(tmp_path: Path) -> None:
    """Shapes at the start are those of the same weights on a processor; the twin is exact."""
    plan = TopologyPlan(names=("3-layer Medium",), trained=True, seeds=1, replicas=2)
    rows = []
    for device in ("cpu", "cuda"):
        study, *_ = STUDY.run(
            plan, tmp_path / device, device=device, runner=InlineRunner(), say=lambda _: None
        )
        rows.append(study.conditions.iloc[0])
    here, there = rows
    assert (here["driver"], there["driver"], there["device"]) == ("lockstep", "lockstep", "cuda")
    assert there["noise_floor"] == 0.0
    assert there["training_accuracy"] > 0.95
    for name in ("h0_start", "h1_start", "expansion_input_start"):
        assert there[name] == pytest.approx(here[name], rel=1e-5), name
    assert np.isfinite([there[n] for n in ("h0_end", "h1_end", "legacy_ratio")]).all()
