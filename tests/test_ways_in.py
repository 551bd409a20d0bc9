"""Every way in is executed as its page shows it; the table of lines is what is counted there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import line_task
from safetensors.torch import load_file

import wingbeat as wb
from benchmarks.ways import ROOT, WAYS, Way, execute, in_folder, row
from wingbeat.determinism import seed_all, seeded
from wingbeat.scripts import fork_training

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


@pytest.mark.slow
def test_trackers_as_they_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorboard", "wandb", "mlflow", "xarray"):
        pytest.importorskip(name)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("WANDB_SILENT", "true")
    running, afterwards = blocks("frameworks.md", "To a tracker")
    names: dict[str, Any] = {"task": line_task()}
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


def of_frameworks() -> dict[str, Any]:
    """What the recipes of other frameworks leave to the reader, small."""
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Net(nn.Sequential):
        def __init__(self) -> None:
            hidden = nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2)
            super().__init__(nn.Linear(6, 16), *hidden, nn.Linear(16, 2))

    drawn = torch.randn(96, 6, generator=torch.Generator().manual_seed(2))
    rows = TensorDataset(drawn, (drawn.sum(1) > 0).long())

    def loaders() -> Any:
        from fastai.data.core import DataLoaders
        from fastai.data.load import DataLoader as Fast

        own = {"num_workers": 0}
        return DataLoaders(Fast(rows, bs=16, shuffle=True, **own), Fast(rows, bs=32, **own))

    return {
        "x": drawn.numpy(), "y": rows.tensors[1].numpy(), "Net": Net, "torch": torch,
        "wb": wb, "loader": DataLoader(rows, batch_size=16, shuffle=True), "loaders": loaders,
        "fork_training": fork_training,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["skorch", "ignite", "fastai", "keras"])
def test_other_frameworks_as_they_are_shown(
    framework: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each copy is what the framework alone makes of the same start, and of a nudge by hand."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip(framework)
    monkeypatch.chdir(tmp_path)
    (recipe,) = [b for b in blocks("frameworks.md", "skorch") if f"runs/{framework}" in b]
    names = of_frameworks()
    execute(recipe, names)
    result = names["result"]
    assert result.noise_floor == 0.0
    nudged = tmp_path / f"runs/{framework}/runs/gaussian-0.01@0#1"
    for label, put in (("reference", {}), (nudged.name, load_file(nudged / "step-0.safetensors"))):
        ended = trained_alone(names["train"], put)
        step = max(int(p.stem.removeprefix("step-")) for p in nudged.glob("step-*"))
        there = load_file(nudged.parent / label / f"step-{step}.safetensors")
        assert ended["step"] >= step > 0
        recorded = ended[step]
        assert recorded.keys() == there.keys()
        assert all(torch.equal(recorded[name], there[name]) for name in there)
    assert not torch.equal(recorded[name := next(iter(there))], load_file(
        nudged.parent / "reference" / f"step-{step}.safetensors")[name])  # fmt: skip


def trained_alone(train: Any, put: dict[str, torch.Tensor]) -> dict[Any, Any]:
    """Train with the framework alone from weights that are put in; returns them by step."""
    kept: dict[Any, Any] = {}

    def look(step: int, model: torch.nn.Module, **_: Any) -> None:
        weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
        if step == 0:
            for name, weight in put.items():
                weights[name].data.copy_(weight)
        kept[step] = {n: p.detach().clone() for n, p in weights.items()}
        kept["step"] = step

    with seeded(0):
        seed_all(0)
        train(look)
    return kept
