"""Let the tests import their shared tables, and fix what would change the bits of a run.

No test asks the network for data: what ``WINGBEAT_DATA`` does not hold is a stand-in. Nothing
is kept in the user's cache folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import wingbeat  # noqa: F401  (before a product: MKL's mode is read once)

HERE = Path(__file__).resolve().parent
CACHE = tempfile.TemporaryDirectory(prefix="wingbeat-cache-")  # removed when it is collected
os.environ["WINGBEAT_OFFLINE"] = "1"
os.environ["WINGBEAT_CACHE"] = CACHE.name
sys.path[:0] = [str(HERE), str(HERE / "replicas")]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run each test on one thread; a test that is about threads sets its own number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs ``wingbeat`` with words: exit code, output, errors."""
    from wingbeat.cli.main import main  # late: few tests need the command line

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["wingbeat", *words])
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def study_command(
    command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs ``wingbeat study`` with words: exit code, output, errors."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # the command adds folders
    return partial(command, "study")
