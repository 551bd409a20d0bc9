"""MKL's reproducible mode: switched on at import, left to the user's choice, warned about."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from wingbeat.products import VARIABLE, products

RUN = """
import torch
{first}
import wingbeat as wb
from wingbeat.products import products
task = wb.Task(lambda: torch.nn.Linear(3, 1), lambda m, b: m(b[0]).square().mean(),
               (torch.ones(4, 3),), lambda p: torch.optim.SGD(p, lr=0.1), batch_size=2, steps=2)
result = wb.run(task, wb.Gaussian(0.01), replicas=2, progress=False)
print(products(), result.environment["mkl_cbwr"], len(result.warnings))
"""
PRODUCT = "torch.ones(7, 7) @ torch.ones(7, 7)"

mkl = pytest.mark.skipif(products() == "", reason="torch has no MKL here")


def ran(first: str, **environment: str) -> list[str]:
    own = {k: v for k, v in os.environ.items() if k != VARIABLE} | environment
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(first=first)],
        check=True,
        env=own,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


@mkl
def test_it_is_switched_on_after_torch_was_imported() -> None:
    assert ran("") == ["AUTO", "AUTO", "0"]


@pytest.mark.slow
@mkl
def test_a_choice_of_the_users_stands() -> None:
    assert ran("", MKL_CBWR="COMPATIBLE") == ["COMPATIBLE", "COMPATIBLE", "0"]


@pytest.mark.slow
@mkl
def test_a_product_before_the_import_is_warned_about() -> None:
    assert ran(PRODUCT) == ["off", "off", "1"]
