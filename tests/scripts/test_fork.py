"""An unchanged script, forked from its checkpoint: twin, copies, resume, and what can go wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import wingbeat as wb
from wingbeat.cli.main import app
from wingbeat.scripts import fork

SCRIPT = Path(__file__).parents[2] / "examples/scripts/train_plain.py"
COMMAND = (sys.executable, str(SCRIPT), "--resume", "{checkpoint}", "--output", "{out}")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of step 20, written by the script itself."""
    folder = tmp_path_factory.mktemp("first")
    subprocess.run(
        [sys.executable, str(SCRIPT), "--output", str(folder), "--steps", "20"], check=True
    )
    return folder / "ckpt_20.pt"


@pytest.fixture
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the script writes one, made without it: for what never gets to training."""
    path = tmp_path_factory.mktemp("saved") / "ckpt_20.pt"
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 20}
    torch.save(state, path)
    return path


def forked(checkpoint: Path, out: Path, *more: str, **changed: Any) -> Any:
    options = {"perturbations": wb.Gaussian(0.01), "replicas": 2, "key": "model"} | changed
    return fork(checkpoint, options.pop("perturbations"), (*COMMAND, *more), out, **options)


@pytest.mark.slow  # test_outside_forms has fast ones
def test_the_script_repeats_itself_and_copies_part(checkpoint: Path, tmp_path: Path) -> None:
    result = forked(checkpoint, tmp_path / "x")
    assert result.noise_floor == 0.0
    assert result.steps == (20, 30, 40, 50)
    assert result.labels == ("reference", "null", "gaussian-0.01@0#1", "gaussian-0.01@0#2")
    whole = result.table[(result.table.metric == "l2") & (result.table.layer == "")]
    for label in result.labels[2:]:
        last = torch.load(tmp_path / "x/runs" / label / "ckpt_50.pt", weights_only=True)["model"]
        there = torch.load(tmp_path / "x/runs/reference/ckpt_50.pt", weights_only=True)["model"]
        floats = [n for n in last if n.endswith(("weight", "bias"))]
        apart = sum(float((last[n].double() - there[n].double()).square().sum()) for n in floats)
        found = whole[(whole.b == label) & (whole.step == 50)].value.item()
        assert found == pytest.approx(apart**0.5, rel=1e-12)
        assert found > 0
    assert (tmp_path / "x/runs/reference.log").read_text().count("loss") == 3
    loaded = wb.load(tmp_path / "x")
    assert loaded.table.equals(result.table)
    assert loaded.report(tmp_path / "page.html").exists()


@pytest.mark.slow
def test_a_second_call_starts_nothing(checkpoint: Path, tmp_path: Path) -> None:
    first = forked(checkpoint, tmp_path)
    marks = {p: p.read_bytes() for p in (tmp_path / "runs").glob("*.json")}
    assert len(marks) == 4
    assert forked(checkpoint, tmp_path).table.equals(first.table)
    assert {p: p.read_bytes() for p in (tmp_path / "runs").glob("*.json")} == marks


@pytest.mark.slow
def test_a_copy_that_was_stopped_begins_anew(checkpoint: Path, tmp_path: Path) -> None:
    first = forked(checkpoint, tmp_path)
    (tmp_path / "runs/null.done.json").unlink()
    (tmp_path / "runs/null/ckpt_50.pt").write_bytes(b"half")
    assert forked(checkpoint, tmp_path).table.equals(first.table)


@pytest.mark.slow
def test_side_by_side_is_the_same(checkpoint: Path, tmp_path: Path) -> None:
    one = forked(checkpoint, tmp_path / "one")
    two = forked(checkpoint, tmp_path / "two", jobs=2)
    assert one.table.equals(two.table)


@pytest.mark.slow
def test_a_script_that_does_not_repeat_itself(checkpoint: Path, tmp_path: Path) -> None:
    result = forked(checkpoint, tmp_path, "--noisy")
    assert result.noise_floor > 0


@pytest.mark.slow
def test_a_script_that_ignores_its_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    command = (*COMMAND[:2], "--output", "{out}", "--resume=", "--seed", "1")
    ignoring = ("sh", "-c", 'shift; exec "$@"', "sh", "{checkpoint}", *command)
    result = fork(checkpoint, wb.Gaussian(0.01), ignoring, tmp_path, replicas=1, key="model")
    assert any("ignore the checkpoint" in warning for warning in result.warnings)


@pytest.mark.parametrize("missing", ["{checkpoint}", "{out}"])
def test_a_command_without_places(saved: Path, tmp_path: Path, missing: str) -> None:
    command = [word for word in COMMAND if word != missing]
    with pytest.raises(wb.RequestError, match="does not name"):
        fork(saved, wb.Gaussian(0.01), command, tmp_path, key="model")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_script_that_fails(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(wb.RunError, match="reference ended with exit code 1") as failed:
        forked(checkpoint, tmp_path, "--fail-at", "25")
    assert "the disk of this script is full" in str(failed.value)


@pytest.mark.parametrize("changed", ["train.py", "settings.yaml", "checkpoint"])
def test_what_has_changed_since_copies_were_made_is_not_mixed_with_them(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """Was: old copies beside new ones, or the old result for the new script, without a word."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(saved, "start.pt")
    for name in ("train.py", "settings.yaml", "log.csv"):
        Path(name).write_text("a = 1\n")
    command = ("echo", "train.py", "--config=settings.yaml", "log.csv", "{checkpoint}", "{out}")
    options: dict[str, Any] = {"key": "model", "replicas": 1}
    Path("log.csv").write_text("grown")
    for _ in range(2):  # done, and measured again
        with pytest.raises(wb.RunError, match="no checkpoint with a step in its name"):
            fork("start.pt", wb.Gaussian(0.1), command, "out", **options)
        Path("log.csv").write_text("grown again")
    if changed == "checkpoint":
        changed = "start.pt"
        torch.save({"model": {"w": torch.ones(9)}}, "start.pt")
    else:
        Path(changed).write_text("a = 2\n")
    with pytest.raises(wb.StoreError, match=f"{changed} has changed since copies in out were made"):
        fork("start.pt", wb.Gaussian(0.1), command, "out", **options)


def test_a_script_that_was_made_of_a_notebook(saved: Path, tmp_path: Path) -> None:
    line = "get_ipython().run_line_magic('matplotlib', 'inline')"
    command = (sys.executable, "-S", "-c", line, "{checkpoint}", "{out}")
    with pytest.raises(wb.RunError, match="run it by ipython in place of python"):
        fork(saved, wb.Gaussian(1), command, tmp_path, key="model")


def test_an_exit_code_that_is_no_signal(saved: Path, tmp_path: Path) -> None:
    command = ("sh", "-c", "exit 255", "{checkpoint}", "{out}")
    with pytest.raises(wb.RunError, match="reference ended with exit code 255"):
        fork(saved, wb.Gaussian(1), command, tmp_path, key="model")


def test_a_program_that_does_not_exist(saved: Path, tmp_path: Path) -> None:
    command = ("no-such", "{checkpoint}", "{out}")
    with pytest.raises(wb.RequestError, match="cannot be run"):
        fork(saved, wb.Gaussian(1), command, tmp_path, key="model")


def test_a_script_that_writes_nothing(saved: Path, tmp_path: Path) -> None:
    command = ("echo", "{checkpoint}", "{out}")
    with pytest.raises(wb.RunError, match="no checkpoint with a step in its name"):
        fork(saved, wb.Gaussian(0.01), command, tmp_path, key="model")


def test_several_groups_need_a_key(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(wb.RequestError, match="has no 'nonsense'"):
        forked(saved, tmp_path, key="nonsense")


@pytest.mark.parametrize(
    "wrong", [wb.DataOrder(1), wb.BatchGradient(0.1), wb.Init(1), wb.Gaussian(0.01, at=5)]
)
def test_what_a_checkpoint_cannot_carry(saved: Path, tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(wb.RequestError):
        forked(saved, tmp_path, perturbations=wrong)


def test_another_request_in_the_folder(saved: Path, tmp_path: Path) -> None:
    """A command with a slip keeps nothing, and may be put right; what is done is another's."""
    options: dict[str, Any] = {"key": "model", "replicas": 1}
    with pytest.raises(wb.RunError, match="ended with exit code 1"):
        fork(saved, wb.Gaussian(0.1), ("false", "{checkpoint}", "{out}"), tmp_path, **options)
    works = ("echo", "{checkpoint}", "{out}")
    with pytest.raises(wb.RunError, match="no checkpoint with a step in its name"):
        fork(saved, wb.Gaussian(0.2), works, tmp_path, **options)
    assert {p.name for p in (tmp_path / "starts").iterdir()} == {
        "null", "gaussian-0.2@0#1", "nudges.json",
    }  # fmt: skip
    with pytest.raises(wb.StoreError, match="holds another fork"):
        fork(saved, wb.Gaussian(0.3), works, tmp_path, **options)


@pytest.mark.slow
def test_the_command_line(checkpoint: Path, tmp_path: Path) -> None:
    words = ["fork", str(checkpoint), "--perturb", "gaussian:0.01", "--replicas", "1"]
    words += ["--out", str(tmp_path / "x"), "--key", "model", "--json", "--", *COMMAND]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["summary"]["noise_floor"]["value"] == 0.0
    assert Path(found["report"]).exists()
    words = ["measure", f"{tmp_path}/x/runs/{{replica}}/ckpt_{{step}}.pt", "--key", "model"]
    words += ["--reference", "reference", "--null", "null", "--json"]
    done = CliRunner().invoke(app, [*words, "--report", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["summary"]["noise_floor"]["value"] == 0.0
