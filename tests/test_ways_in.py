"""Every way in is executed as its page shows it; the table of lines is what is counted there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import wingbeat as wb
from benchmarks.ways import ROOT, WAYS, Way, execute, in_folder, row

PAGE = (ROOT / "docs" / "ways_in.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.link)
def test_the_table_has_the_lines_that_are_counted(way: Way) -> None:
    (found,) = [line for line in PAGE.splitlines() if line.startswith(f"| {way.has} |")]
    assert re.fullmatch(re.escape(row(way, "#").strip()).replace(r"\#", "[0-9]+"), found)
    assert 1 <= way.lines() <= 10


def test_lines_are_those_that_are_new_or_changed() -> None:
    changed = Way("", "", "docs/scripts.md", "", (0,), "", dict)
    assert changed.lines() == 1, "a command of two lines is one"
    bare = Way("", "", "README.md", "Or describe the task", (0,), "", dict)
    assert bare.lines() == len([x for x in bare.code().splitlines() if x.strip()])
    assert Way("", "", bare.page, bare.begins, (0,), bare.code(), dict).lines() == 0


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.link)
def test_it_runs_as_it_is_shown(way: Way) -> None:
    if way.missing():
        pytest.skip(f"{way.missing()[0]} is not installed")
    assert way.run() > 0.0


def blocks(page: str, begins: str, kind: str = "python") -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (section,) = [s for s in re.split(r"^## ", text, flags=re.M) if s.startswith(begins)]
    return re.findall(rf"^```{kind}\n(.*?)^```", section, re.M | re.S)


def a_task() -> wb.Task:
    x = torch.linspace(-1, 1, 32).unsqueeze(1)
    return wb.Task(
        model=lambda: torch.nn.Linear(1, 1),
        loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        data=(x, 2 * x),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=16,
        steps=8,
    )


@pytest.mark.slow
def test_trackers_as_they_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorboard", "wandb", "mlflow", "xarray"):
        pytest.importorskip(name)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("WANDB_SILENT", "true")
    running, afterwards = blocks("frameworks.md", "To a tracker")
    names: dict[str, Any] = {"task": a_task()}
    with in_folder():
        execute(running, names)
        execute(afterwards, names)
        assert len(list(Path("logs").rglob("*tfevents*"))) == 2
        assert list(Path("wandb").rglob("*.wandb"))
        assert list(Path("mlruns").rglob("meta.yaml"))


@pytest.mark.slow
def test_scripts_from_python_and_nudge_as_they_are_shown() -> None:
    (way,) = [w for w in WAYS if "wingbeat fork" in w.link]
    with in_folder():
        names = way.prepare()
        (block,) = blocks("scripts.md", "From Python")
        import sys

        execute(block.replace('"python"', repr(sys.executable)), names)
        assert names["result"].noise_floor == 0.0
    with in_folder():
        from safetensors.torch import save_file

        Path("checkpoint-500").mkdir()
        save_file({"w": torch.randn(9, 9)}, "checkpoint-500/model.safetensors")
        nudge = blocks("scripts.md", "Only the checkpoints", "console")[0]
        names = {}
        execute(nudge, names)
        assert names["said"].count("moved by") == 6
        assert len(list(Path("forks").rglob("model.safetensors"))) == 6
