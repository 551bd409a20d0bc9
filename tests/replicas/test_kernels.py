"""Kernels that write beyond their result are left out, where a model would call them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from wingbeat.determinism import deterministic_algorithms
from wingbeat.fingerprint import fingerprint
from wingbeat.kernels import unsafe_convolution

AVX2 = {
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
TRAIN = """
import torch, wingbeat as wb
from torch import nn
from torch.nn import functional as F

def net():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 1, stride=2, bias=False),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    ).to(memory_format=torch.channels_last)

x = torch.randn(20, 3, 8, 8).to(memory_format=torch.channels_last)
task = wb.Task(net, lambda m, b: F.cross_entropy(m(b[0]), b[1]), (x, torch.arange(20) % 3),
               lambda p: torch.optim.SGD(p, lr=0.05), batch_size=5, steps=40)
for driver in ("loop", "lockstep"):
    result = wb.run(task, wb.Gaussian(0.01), replicas=2, driver=driver, progress=False)
    assert result.noise_floor == 0.0
    print(result.environment["onednn"])
"""
SAFE = {
    "eight channels": nn.Conv2d(8, 8, 1, stride=2),
    "three by three": nn.Conv2d(4, 8, 3, stride=2),
    "no stride": nn.Conv2d(4, 8, 1),
    "linear": nn.Linear(4, 8),
}


@pytest.mark.parametrize("kind", SAFE)
def test_other_convolutions_are_left_to_onednn(kind: str) -> None:
    assert unsafe_convolution(nn.Sequential(SAFE[kind])) == ""


def test_the_setting_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    before = torch.backends.mkldnn.enabled
    grouped = nn.Sequential(nn.Conv2d(8, 8, 1, stride=2, groups=2))
    with deterministic_algorithms(grouped):
        assert fingerprint(torch.device("cpu"), torch.float32)["onednn"] is False
    assert torch.backends.mkldnn.enabled is before


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")
def test_a_narrow_strided_net_trains_with_avx2_kernels() -> None:
    """Without the way round it the process ends with a corrupted heap."""
    ran = subprocess.run(
        [sys.executable, "-c", TRAIN],
        check=False,
        env={**os.environ, **AVX2},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.split() == ["False", "False"]
