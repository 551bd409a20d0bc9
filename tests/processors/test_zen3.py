"""On an AMD EPYC's choice of kernels, products of equal rows are equal and twins stay twins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.processors.zen3 import zen3

SHAPES = """
import json, torch
torch.manual_seed(0)
def rows_differ(m, k, n):
    a, b = torch.randn(1, m, k).repeat(3, 1, 1), torch.randn(1, k, n).repeat(3, 1, 1)
    c = torch.bmm(a, b)
    return not (torch.equal(c[0], c[1]) and torch.equal(c[0], c[2]))
sizes = [(m, k, n) for m in (5, 7, 9, 16) for k in (6, 11, 16, 33) for n in (3, 6, 13)]
found = {"capability": torch.backends.cpu.get_cpu_capability(),
         "differ": sum(rows_differ(*s) for s in sizes)}
print(json.dumps(found))
"""
TWINS = """
import json, torch, warnings
import wingbeat as wb
warnings.simplefilter("error")
torch.manual_seed(1)
data = torch.randn(210, 11), torch.randint(0, 3, (210,))
def model():
    return torch.nn.Sequential(torch.nn.Linear(11, 25), torch.nn.SiLU(), torch.nn.Linear(25, 3))
def loss(net, batch):
    return torch.nn.functional.cross_entropy(net(batch[0]), batch[1])
task = wb.Task(model=model, data=data, loss=loss, optimizer=lambda p: torch.optim.AdamW(p, 1e-2),
               batch_size=21, steps=30)
found = {}
for driver in ("lockstep", "loop"):
    found[driver] = wb.run(task, [wb.Gaussian(0.01)], replicas=6, driver=driver).noise_floor
print(json.dumps(found))
"""


def said_by(program: str) -> Any:
    """Return what a program prints as JSON, run with Zen 3's answers."""
    other = zen3()
    if other.why_not:
        pytest.skip(other.why_not)
    names = os.environ | {"OMP_NUM_THREADS": "1"} | other.environment
    names.pop("MKL_CBWR", None)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=names, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_kernels_are_those_of_the_other_processor() -> None:
    # Without wingbeat MKL rounds by the address of a slice there: the fault to be kept out.
    plain = said_by(SHAPES)
    assert plain["capability"] == "AVX2"
    assert plain["differ"] > 0


def test_products_of_equal_rows_are_equal_once_wingbeat_is_imported() -> None:
    assert said_by("import wingbeat\n" + SHAPES)["differ"] == 0


@pytest.mark.slow
def test_twins_stay_twins() -> None:
    assert said_by(TWINS) == {"lockstep": 0.0, "loop": 0.0}
