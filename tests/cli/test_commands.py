"""The commands: what they print, write and return."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import wingbeat as wb
from wingbeat.cli import another_process
from wingbeat.cli.parse import load_task
from wingbeat.execution.verify import leave_trail

TASK = """
import torch
import wingbeat as wb

def task(steps=12, lr=0.1):
    x = torch.linspace(-1, 1, 40).reshape(20, 2)
    return wb.Task(
        model=lambda: torch.nn.Sequential(
            torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)
        ),
        loss=lambda model, batch: torch.nn.functional.cross_entropy(model(batch[0]), batch[1]),
        data=(x, (x.sum(1) > 0).long()),
        optimizer=lambda params: torch.optim.SGD(params, lr=lr),
        batch_size=5, steps=steps, name="<b>täsk</b>",
    )

def broken():
    return wb.Task(
        model=lambda: torch.nn.Linear(1, 1),
        loss=lambda model, batch: model(batch[0]).mean() * float("nan"),
        data=(torch.ones(4, 1),),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=2, steps=3,
    )
"""


def trail_of_this_process(order, settings=None):
    """Stand in for the process that `verify` starts: tests/verify starts it."""
    own = {**order, "dtype": getattr(torch, order["dtype"])}
    return leave_trail(load_task(own.pop("place"), own.pop("arguments")), **own)


@pytest.fixture
def call(tmp_path, monkeypatch, command):
    """Return a function that runs the command line in a folder that holds ``tasks_of_mine.py``."""
    (tmp_path / "tasks_of_mine.py").write_text(TASK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(another_process, "_trail", trail_of_this_process)

    return command


def test_run_writes_a_run_folder_and_a_report(call, tmp_path) -> None:
    out = "out 'ä' <i>"
    code, text, _ = call(
        "run", "tasks_of_mine.py:task", "--perturb", "gaussian:0.01", "--perturb", "ulp:1@4",
        "--replicas", "3", "--driver", "loop", "--out", out, "--arg", "lr=0.2",
    )  # fmt: skip
    assert code == 0
    assert "gaussian-0.01@0" in text
    assert "ulp-1@4" in text
    assert "noise floor exactly 0" in text
    result = wb.load(tmp_path / out)
    assert result.condition["factory"] == {
        "place": "tasks_of_mine.py:task",
        "arguments": {"lr": 0.2},
    }
    page = (tmp_path / out / "report.html").read_text(encoding="utf-8")
    assert "<b>täsk</b>" not in page
    assert "&lt;b&gt;täsk" in page


def test_json_is_one_document_and_the_second_call_trains_nothing(call, monkeypatch) -> None:
    words = ("run", "tasks_of_mine.py:task", "--driver", "loop", "--out", "out", "--json")
    code, first, err = call(*words)
    found = json.loads(first)
    assert (code, err) == (0, "")
    assert found["behavior"] in ("convergent", "divergent", "undetermined")
    assert found["report"] == "out/report.html"
    assert Path(found["report"]).exists()
    monkeypatch.setattr("wingbeat.execution.session.advance", None)  # training would now fail
    assert call(*words) == (0, first, "")


def test_what_the_users_code_prints_is_no_part_of_the_document(call, tmp_path) -> None:
    task = "tasks_of_mine.py:task"
    loud = TASK.replace("def task(", "print('loaded')\n\ndef task(").replace(
        "torch.nn.functional.cross_entropy(", "print('batch') or torch.nn.functional.cross_entropy("
    )
    (tmp_path / "tasks_of_mine.py").write_text(loud, encoding="utf-8")
    code, text, err = call("run", task, "--driver", "loop", "--out", "out", "--json")
    assert (code, json.loads(text)["summary"]["noise_floor"]["value"]) == (0, 0.0)
    assert "loaded" in err
    assert "batch" in err


def test_report_writes_the_page_again(call, tmp_path) -> None:
    call("run", "tasks_of_mine.py:task", "--driver", "loop", "--out", "out")
    (tmp_path / "out" / "report.html").unlink()
    code, text, _ = call("report", "out")
    assert code == 0
    assert "report.html" in text
    assert 500_000 < (tmp_path / "out" / "report.html").stat().st_size < 1_600_000


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("run", "tasks_of_mine.py:task", "--perturb", "gausian:1"), 2, "did you mean 'gaussian'"),
        (("run", "tasks_of_mine.py:tusk"), 2, "did you mean 'task'"),
        (("run", "tasks_of_mine.py:task", "--metric", "spraed"), 2, "did you mean 'spread'"),
        (("run", "tasks_of_mine.py:task", "--driver", "vmap"), 2, "driver is 'vmap'"),
        (("run", "tasks_of_mine.py:task", "--perturb", "ulp:1@99"), 2, "the run has 12 steps"),
        (("run", "tasks_of_mine.py:task", "--device", "toaster"), 2, "toaster"),
        (("run", "tasks_of_mine.py:task", "--dtype", "int8"), 2, "int8"),
        (("run", "tasks_of_mine.py:broken"), 2, "is nan before any update"),
        (("report", "nowhere"), 2, "nowhere"),
        (("verify", "tasks_of_mine.py:task", "--against", "nowhere"), 1, "nowhere"),
    ],
)
def test_errors_are_one_plain_message_and_the_right_code(call, words, code, says) -> None:
    found, out, err = call(*words)
    assert found == code
    assert says in " ".join(err.split())
    assert "Traceback" not in err
    assert out == ""


def test_another_request_in_the_same_folder_is_refused(call) -> None:
    call("run", "tasks_of_mine.py:task", "--driver", "loop", "--out", "out")
    code, _, err = call("run", "tasks_of_mine.py:task", "--arg", "lr=0.3", "--out", "out")
    assert code == 1
    assert "lr" in err


def test_verify_says_identical_and_leaves_a_trail(call) -> None:
    code, text, _ = call("verify", "tasks_of_mine.py:task", "--write", "trail.json")
    assert code == 0
    assert text.count("bit-identical") == 3
    code, text, _ = call("verify", "tasks_of_mine.py:task", "--against", "trail.json", "--json")
    assert (code, json.loads(text)["identical"]) == (0, True)


def test_verify_names_the_step_and_tensor_where_the_bits_part(call, tmp_path) -> None:
    call("verify", "tasks_of_mine.py:task", "--write", "trail.json", "--driver", "loop")
    trail = json.loads((tmp_path / "trail.json").read_text())
    trail["trail"]["7"]["2.weight"] = "0" * 32
    trail["environment"]["threads"] = 77
    (tmp_path / "trail.json").write_text(json.dumps(trail))
    code, text, _ = call(
        "verify", "tasks_of_mine.py:task", "--against", "trail.json", "--driver", "loop"
    )
    assert code == 1
    assert "step 7, tensor 2.weight" in text
    assert f"threads: trail 77, here {torch.get_num_threads()}" in text


def test_the_trail_of_another_task_is_refused(call) -> None:
    call("verify", "tasks_of_mine.py:task", "--write", "trail.json")
    code, _, err = call(
        "verify", "tasks_of_mine.py:task", "--arg", "lr=0.7", "--against", "trail.json"
    )
    assert code == 1
    assert "another task" in err
