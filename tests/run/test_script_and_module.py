"""A script that is run and the same file imported ask for the same run."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import wingbeat as wb
from wingbeat.errors import StoreError

SCRIPT = """
import torch
import wingbeat as wb

def build():
    return torch.nn.Linear(1, 1)

def loss(model, batch):
    return ((model(batch[0]) - batch[1]) ** 2).mean() * SCALE

def optimizer(params):
    return torch.optim.SGD(params, lr=0.1)

def task():
    x = torch.linspace(-1, 1, 64).unsqueeze(1)
    return wb.Task(
        model=build, loss=loss, data=(x, 2 * x), optimizer=optimizer, batch_size=16, steps=6
    )

@wb.measure.metric(
    NAME, needs="weights", unit="1", range=(0, 9), direction="0 = same", caption="A test"
)
def largest(view):
    return abs(next(iter(view.blocks()))[1]).max(axis=1)
"""


def run_as(name: str, folder: Path, text: str = SCRIPT) -> wb.Result:
    """Run what a file of this text asks for where Python calls its module so."""
    module: Any = ModuleType(name)
    text = text.replace("SCALE", "1").replace("NAME", "'largest-of-script'")
    exec(compile(text, "train.py", "exec"), module.__dict__)
    more: dict[str, Any] = {"driver": "loop", "out": folder, "progress": False}
    return wb.run(module.task(), wb.Gaussian(0.1), metrics=["l2", module.largest], **more)


@pytest.fixture(autouse=True)
def own_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    from wingbeat.measure.metric import METRICS

    monkeypatch.setattr(METRICS, "_things", {**METRICS.all()})


@pytest.mark.parametrize(("first", "second"), [("__main__", "train"), ("pkg.train", "__main__")])
def test_what_was_trained_by_one_is_gone_on_with_by_the_other(
    tmp_path: Path, first: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run_as(first, tmp_path / "run")
    monkeypatch.setattr("wingbeat.execution.session.Session.measured", None)  # nothing is left
    assert run_as(second, tmp_path / "run").table.equals(made.table)


def test_other_code_or_another_module_is_another_request(tmp_path: Path) -> None:
    run_as("__main__", tmp_path / "run")
    with pytest.raises(StoreError, match=r"holds another request \(task\.loss"):
        run_as("train", tmp_path / "run", SCRIPT.replace("** 2", "** 4"))
    run_as("train", tmp_path / "own")
    with pytest.raises(StoreError, match="holds another request"):
        run_as("other", tmp_path / "own")
