"""What two runs of one process share and another process does not is found, and named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import wingbeat as wb
from wingbeat.cli import another_process
from wingbeat.cli.another_process import beside_another
from wingbeat.execution.verify import Break, Verification

TASK = """
import time, torch, wingbeat as wb

def made(order, scale=1.0):
    x = torch.linspace(0, 1, 64).reshape(8, 8)[:, order]
    return wb.Task(
        model=lambda: torch.nn.Linear(8, 1),
        loss=lambda model, batch: (model(batch[0]) ** 2).mean() * scale,
        data=(x,), batch_size=4, steps=4,
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
    )

def steady():
    print("a file may print")
    return made(list(range(8)))

def by_a_set():
    return made([ord(name) - 97 for name in set("abcdefgh")])

def by_the_clock():
    return made(list(range(8)), time.time_ns() % 10**9 / 1e9)
"""


@pytest.mark.slow  # two to five processes for each
@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("steady", ""),
        ("by_a_set", "with PYTHONHASHSEED=0 it repeats itself"),
        ("by_the_clock", "the time, a number of the process"),
    ],
)
def test_the_cause_is_named(name: str, cause: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TASK)
    source = str(Path(wb.__file__).parents[1])
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONHASHSEED"}
    words = [sys.executable, "-m", "wingbeat", "verify", f"mine.py:{name}", "--json"]
    done = subprocess.run(
        [*words, "--driver", "loop"],
        cwd=tmp_path,
        env=plain | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)  # what the file prints is no part of the document
    assert cause in found["cause"]
    assert (done.returncode, found["identical"]) == ((1, False) if cause else (0, True))
    assert found["repeated"] is None, "one process repeats itself in each case"
    assert bool(cause) == (found["process"] is not None)
    if name == "by_a_set":
        assert "task.data: there" in found["cause"]


def found_here(condition: Any = None) -> Verification:
    trail = {"0": {"w": "a"}, "1": {"w": "b"}}
    facts = {"driver": "loop", "mode": "loop", "dtype": "float32", "device": "cpu"}
    return Verification(None, None, None, None, {}, trail, facts, condition or {})


@pytest.mark.parametrize(
    ("other", "process", "says"),
    [
        ({"trail": {"0": {"w": "a"}, "1": {"w": "b"}}}, None, ""),
        ({"trail": {"0": {"w": "a"}, "1": {"w": "c"}}}, Break(1, "w", 1), "is not seeded decides"),
        ({"failed": "ValueError: no"}, Break(0, "none", 1), "it failed: ValueError: no"),
        ({"environment": {"mode": "channels_last"}}, None, "in another mode: not compared"),
    ],
)
def test_what_another_process_leaves(
    other: dict[str, Any],
    process: Break | None,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = found_here()
    left = {"environment": here.environment, "condition": {}} | other
    monkeypatch.setenv("PYTHONHASHSEED", "3")
    monkeypatch.setattr(another_process, "_trail", lambda order: left)
    found = beside_another(here, "mine:task", {}, steps=None, every=1)
    assert (found.process, found.identical) == (process, process is None)
    assert says in found.cause
