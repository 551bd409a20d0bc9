"""Checkpoints measured with their task's model give what the run itself measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import nn

import wingbeat as wb
from wingbeat.cli.main import main
from wingbeat.errors import RequestError
from wingbeat.execution.external import measure_checkpoints

METRICS = ["l2", "barrier", "cka", "disagreement", "eval_loss"]

SOURCE = """
import torch
from torch import nn
import wingbeat as wb

def task(hidden=8):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(96, 4, generator=draw)
    y = (x[:, 0] * x[:, 1] > 0).long()
    def build():
        layers = nn.Linear(4, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, 2)
        return nn.Sequential(*layers)
    return wb.Task(
        model=build,
        loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        data=(x[:64], y[:64]), eval_data=(x[64:], y[64:]),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1), batch_size=16, steps=8,
    )
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, wb.Task, wb.Result]:
    """A run, and its moments as checkpoints that a script might have written."""
    folder = tmp_path_factory.mktemp("checkpoints")
    (folder / "mine.py").write_text(SOURCE)
    names: dict[str, object] = {}
    exec(compile(SOURCE, "mine.py", "exec"), names)
    task = names["task"]()  # type: ignore[operator]
    result = wb.run(
        task, wb.Gaussian(0.3), replicas=2, record_every=4, metrics=METRICS, driver="loop"
    )
    for snapshot in result.trajectory:
        tensors = {**snapshot.params, **snapshot.buffers}
        for place, label in enumerate(snapshot.labels):
            own = {f"model.{n}": t[place].clone().contiguous() for n, t in tensors.items()}
            (folder / label).mkdir(exist_ok=True)
            save_file(own, folder / label / f"step-{snapshot.step}.safetensors")
    return folder, task, result


def pattern(folder: Path) -> str:
    return f"{folder}/{{replica}}/step-{{step}}.safetensors"


def test_equal_to_the_run(ran: tuple[Path, wb.Task, wb.Result]) -> None:
    folder, task, result = ran
    trajectory = wb.Trajectory.from_checkpoints(pattern(folder), reference="reference", null="null")
    found = measure_checkpoints(trajectory, METRICS, task=task)
    assert found.noise_floor == 0.0
    keys = ["metric", "step", "a", "b", "layer"]
    ours = found.table[found.table.metric != "train_loss"].set_index(keys).value
    theirs = result.table.set_index(keys).value
    asked = set(METRICS) - {"barrier", "cka"} | {"barrier_train", "angular_cka"}
    assert asked <= set(found.table.metric)
    assert found.warnings == ()
    for metric in sorted(asked):
        both = ours[metric].dropna().index.intersection(theirs[metric].dropna().index)
        assert len(both) == theirs[metric].notna().sum(), metric
        for key in both:
            assert ours[metric][key] == pytest.approx(theirs[metric][key], rel=1e-5, abs=1e-7)


def test_another_model_is_refused(ran: tuple[Path, wb.Task, wb.Result]) -> None:
    folder, task, _ = ran
    trajectory = wb.Trajectory.from_checkpoints(pattern(folder), reference="reference", null="null")
    wide = wb.Task(
        model=lambda: nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 2)),
        loss=task.loss, data=task.data, optimizer=task.optimizer, batch_size=16, steps=8,
    )  # fmt: skip
    with pytest.raises(RequestError, match=r"'0.weight' is \(8, 4\) in the checkpoints and \(9, 4"):
        measure_checkpoints(trajectory, ["l2"], task=wide)
    deep = wb.Task(
        model=lambda: nn.Linear(4, 2),
        loss=task.loss, data=task.data, optimizer=task.optimizer, batch_size=16, steps=8,
    )  # fmt: skip
    with pytest.raises(RequestError, match="do not hold 'weight'"):
        measure_checkpoints(trajectory, ["l2"], task=deep)
    with pytest.raises(RequestError, match="say whose model they are"):
        measure_checkpoints(trajectory, ["barrier"])
    with pytest.raises(RequestError, match="needs losses"):
        measure_checkpoints(trajectory, ["disagreement"], task=wide)


def test_the_command(
    ran: tuple[Path, wb.Task, wb.Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, _, result = ran
    words = ["measure", pattern(folder), "--reference", "reference", "--null", "null"]
    words += ["--model", f"{folder}/mine.py:task", "--metric", "disagreement", "--json"]
    monkeypatch.setattr("sys.argv", ["wingbeat", *words, "--report", str(tmp_path / "r.html")])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code in (0, None)
    told = json.loads(capsys.readouterr().out)
    (name,) = {key.split("/")[0] for key in told["summary"] if "/" in key}
    theirs = result.summary["final_disagreement"]["value"]
    assert told["summary"][f"{name}/final_disagreement"]["value"] == pytest.approx(theirs)
