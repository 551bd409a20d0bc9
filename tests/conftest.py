"""Let the tests import their shared tables, and fix what would change the bits of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "replicas")]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run each test on one thread; a test that is about threads sets its own number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
