"""``onset`` and ``noise`` as commands: words, JSON, a plan, and what is refused."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from wingbeat.cli.noise import noise
from wingbeat.cli.onset import onset
from wingbeat.errors import RequestError

TASK = """
import torch
import wingbeat as wb

def task(steps=6):
    x = torch.linspace(-1, 1, 40).reshape(20, 2)
    data = (x, (x.sum(1) > 0).long())
    return wb.Task(
        model=lambda: torch.nn.Linear(2, 2),
        loss=lambda model, batch: torch.nn.functional.cross_entropy(model(batch[0]), batch[1]),
        data=data, eval_data=data,
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=5, steps=steps,
    )
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Return a function that calls the two commands beside a module with a task."""
    (tmp_path / "own_tasks.py").write_text(TASK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(onset)
    app.command()(noise)
    return lambda *words: CliRunner().invoke(app, list(words))


def test_onset_says_the_cost_and_the_answer(call, tmp_path) -> None:
    words = ("onset", "own_tasks.py:task", "--tolerance", "2", "--driver", "loop")
    plan = json.loads(call(*words, "--plan", "--json").stdout)
    assert plan["reference"] == 12
    assert not (tmp_path / "runs").exists()
    shown = call(*words).stdout
    assert "replica-steps" in shown
    assert "stable from step 0 on" in shown
    found = json.loads(call(*words, "--json").stdout)
    assert (found["status"], found["step"]) == ("always_stable", 0)
    refused = call(*words, "--metric", "bariers")
    assert isinstance(refused.exception, RequestError)


def test_noise_says_which_source_and_how_many_seeds(call) -> None:
    words = ("noise", "own_tasks.py:task", "--source", "init", "--source", "dropout")
    words = (*words, "--replicas", "3", "--driver", "loop", "--gain", "0.1")
    shown = call(*words).stdout
    assert "draws no random numbers" in shown
    found = json.loads(call(*words, "--json").stdout)
    assert {row["source"] for row in found["table"]} == {"init", "dropout"}
    assert set(found["seeds_needed"]) <= {"init"}
    assert isinstance(call(*words, "--source", "initt").exception, RequestError)
