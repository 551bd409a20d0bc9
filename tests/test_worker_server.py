"""The server of workers: started early where a command will need it, and nowhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wingbeat.cli.main import is_for_processes

WORDS = [
    (["grid.toml"], True),
    (["grid.toml", "--workers", "2", "--json"], True),
    (["topology", "--trained", "--workers=2"], True),
    (["grid.toml", "--runner", "processes"], True),
    (["grid.toml", "--runner", "inline"], False),
    (["grid.toml", "--runner=slurm"], False),
    (["topology", "--device", "cuda"], False),
    (["topology", "--device=cpu"], True),
    (["grid.toml", "--dry-run"], False),
    (["topology", "--help"], False),
    ([], False),
]


@pytest.mark.parametrize(("words", "expected"), WORDS, ids=[" ".join(w) for w, _ in WORDS])
def test_which_commands_are_done_in_processes(words: list[str], expected: bool) -> None:
    assert is_for_processes(words) is expected


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
def test_workers_are_forked_off_the_server_that_was_started_early(tmp_path) -> None:
    program = """
import os, sys
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Record
from wingbeat.study.runner import ProcessRunner
from wingbeat.worker_server import start_server
def told(condition):
    import torch
    words = f"{os.getppid()} {torch.get_num_threads()} {'torch._dynamo' in sys.modules}"
    return Record(condition.key, "done", words, 0.0)
if __name__ == "__main__":
    before = os.environ.get("OMP_NUM_THREADS")
    start_server()
    assert os.environ.get("OMP_NUM_THREADS") == before
    from multiprocessing import forkserver
    server = forkserver._forkserver._forkserver_pid
    found = [r.error for r in ProcessRunner(2).map(told, [Condition("m:f"), Condition("m:g")])]
    print(found == [f"{server} 1 False"] * 2)
"""
    (tmp_path / "early.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "early.py")], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "True", done.stderr
