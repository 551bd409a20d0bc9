"""Quiet means silent, and all is done as without it; JSON is one document and nothing else."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from test_onset_and_noise_commands import TASK

from wingbeat.study.named import STUDIES, Finding, NamedStudy
from wingbeat.study.plan_options import default_of

FACTORY = "wingbeat.tasks.full_batch:tanh_task"
NUDGE = ("--perturb", "gaussian:0.1", "--replicas", "2")
SCRIPT = ("--", "sh", "-c", "mkdir -p {out} && cp {checkpoint} {out}/ckpt_1.pt")
SMALL = ("--driver", "loop", "--replicas", "2")
COMMANDS = {
    "fork": (("fork", "ckpt_0.pt", *NUDGE, "--out", "o"), SCRIPT, "o/report.html"),
    "nudge": (("nudge", "ckpt_0.pt", *NUDGE, "--out", "o"), (), "o/nudges.json"),
    "measure": (("measure", "runs/{replica}/{step}.pt"), (), "report.html"),
    "compare": (("compare", "ckpt_0.pt", "runs/a/2.pt", "--csv", "t.csv"), (), "t.csv"),
    "onset": (("onset", "mine.py:task", "--driver", "loop", "--step", "0", "--out", "o"), (), "o"),
    "noise": (("noise", "mine.py:task", *SMALL, "--source", "init", "--out", "o"), (), "o"),
    "calibrate": (("calibrate", "--only", "cka"), (), ""),
}
"""Words before and after ``--quiet`` or ``--json``, and what is there afterwards."""


@pytest.fixture
def call(tmp_path, monkeypatch, command):
    """Return a function that runs a command in a folder with a task and a few checkpoints."""
    (tmp_path / "mine.py").write_text(TASK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.linspace(0, 1, 20)}, "ckpt_0.pt")
    for replica in "ab":
        (tmp_path / "runs" / replica).mkdir(parents=True)
        for step in (1, 2):
            torch.save(
                {"w": torch.linspace(0, step + (replica == "b"), 20)}, f"runs/{replica}/{step}.pt"
            )

    return command


@pytest.mark.parametrize("name", COMMANDS)
def test_quiet_prints_nothing_and_does_all(name: str, call, tmp_path) -> None:
    before, after, left = COMMANDS[name]
    assert call(*before, "--quiet", *after) == (0, "", "")
    assert (tmp_path / left).exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_one_document(name: str, call) -> None:
    before, after, _ = COMMANDS[name]
    code, told, beside = call(*before, "--json", *after)
    assert (code, beside) == (0, "")
    assert json.loads(told)


@pytest.mark.parametrize("name", STUDIES.all())
def test_a_named_study_is_quiet_or_speaks_json(name: str, call, monkeypatch) -> None:
    given: list[Any] = []

    def run(_: NamedStudy, plan: Any, out: Any, *, say: Any, **__: Any) -> Finding:
        say("a line")
        given.append(plan)
        done = pd.DataFrame({"key": ["k"], "status": ["done"], "lr": [0.1]})
        study: Any = SimpleNamespace(conditions=done, failures=[], folder=out)
        return Finding(study, out / "report.html", {"found": done})

    monkeypatch.setattr(NamedStudy, "run", run)
    own = fields(STUDIES.find(name).plan)
    needed = [FACTORY for f in own if f.metadata.get("metavar") and default_of(f) is MISSING]
    words = ("study", name, *needed)
    assert call(*words) == (0, "a line\n", "")
    assert call(*words, "--quiet") == (0, "", "")
    code, told, beside = call(*words, "--json")
    assert (code, beside) == (0, "")
    assert json.loads(told)["findings"] == {"found": [{"key": "k", "status": "done", "lr": 0.1}]}
    assert given[0] == given[1] == given[2]


def test_an_error_is_told_although_quiet(call) -> None:
    code, told, beside = call("nudge", "none.pt", *NUDGE, "--out", "o", "-q")
    assert (code, told) == (2, "")
    assert "none.pt" in beside
