"""An unchanged script by every runner: same bits, killed and resumed, and what does not fit."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import wingbeat as wb
from wingbeat.scripts import fork
from wingbeat.scripts.command import Command
from wingbeat.scripts.runs import RunnerChoice, run_all
from wingbeat.scripts.script_run import ScriptRun
from wingbeat.study.condition import Condition
from wingbeat.study.runner.processes import ProcessRunner
from wingbeat.study.runner.slurm import Requeued, SlurmRunner

FORMS = Path(__file__).parent / "forms"
sys.path.insert(0, str(FORMS))
import tiny  # noqa: E402

sys.path.remove(str(FORMS))
PYTHON = (sys.executable, str(FORMS / "outside.py"))
SOURCE = str(Path(wb.__file__).parents[1])


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint in a folder in which the command is given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    tiny.write(tmp_path / "start.safetensors", tiny.start())
    Path("config.txt").write_text("6")
    return tmp_path / "start.safetensors"


def forked(checkpoint: Path, out: str, form: str = "relative", **more: Any) -> wb.Result:
    words = (*PYTHON, form, "{checkpoint}", "{out}", *(["1.2"] if form == "slow" else []))
    return fork(checkpoint, wb.Gaussian(0.01), words, out, **{"replicas": 2, **more})


def command(checkpoint: Path, out: str, *more: str, script: tuple[str, ...]) -> list[str]:
    asked = ["fork", str(checkpoint), "--perturb", "gaussian:0.01", "--replicas", "2"]
    return [sys.executable, "-m", "wingbeat", *asked, "--out", out, *more, "--", *script]


@pytest.mark.slow
def test_slurm_is_the_same(checkpoint: Path) -> None:
    here = forked(checkpoint, "here")
    slurm = SlurmRunner("jobs", cluster="local", poll=0.1, workers=2)
    there = forked(checkpoint, "there", runner=slurm)
    assert there.table.equals(here.table)
    assert there.noise_floor == 0.0
    # Again: nothing is run, and a copy that was lost is run anew.
    marks = {p.name: p.read_bytes() for p in Path("there/runs").glob("*.done.json")}
    Path("there/runs/gaussian-0.01@0#1.done.json").unlink()
    again = forked(checkpoint, "there", runner=slurm)
    assert again.table.equals(here.table)
    kept = {p.name: p.read_bytes() for p in Path("there/runs").glob("*.done.json")}
    assert {n for n in marks if kept[n] != marks[n]} <= {"gaussian-0.01@0#1.done.json"}


@pytest.mark.slow
def test_slurm_by_name_and_a_script_that_fails_there(checkpoint: Path) -> None:
    with pytest.raises(wb.RunError, match="reference ended with signal 9"):
        forked(checkpoint, "there", "dies", runner="slurm", jobs=2, resources={"timeout_min": 5})
    assert Path("there/jobs").is_dir()
    assert not Path("there/runs/null").exists(), "what cannot run fails once"


@pytest.mark.slow
def test_ray_is_the_same(checkpoint: Path) -> None:
    here = forked(checkpoint, "here")
    script = (*PYTHON, "relative", "{checkpoint}", "{out}")
    asked = command(
        checkpoint, "there", "--runner", "ray", "--workers", "2", "--json", script=script
    )
    done = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["summary"]["noise_floor"]["value"] == 0.0
    assert wb.load("there").table.equals(here.table)


@pytest.mark.slow
def test_the_process_runner_of_studies_takes_it_too(checkpoint: Path) -> None:
    here = forked(checkpoint, "here")
    assert forked(checkpoint, "there", runner=ProcessRunner(2)).table.equals(here.table)


def alive(folder: Path) -> set[int]:
    pids = {int(p.name.partition("-")[2]) for p in folder.glob("alive-*")}
    return {pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists()}


@pytest.mark.slow
def test_killed_while_two_run_side_by_side(checkpoint: Path, tmp_path: Path) -> None:
    whole = forked(checkpoint, "whole", "slow", jobs=2)
    Path("calls.txt").unlink()
    script = (*PYTHON, "slow", "{checkpoint}", "{out}", "1.2")
    asked = command(
        checkpoint, "x", "--runner", "processes", "--workers", "2", "--json", script=script
    )
    first = subprocess.Popen(asked, stdout=subprocess.DEVNULL)
    wait_for(lambda: Path("calls.txt").exists() and len(calls()) >= 3, first)
    time.sleep(0.4)
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_for(lambda: not alive(tmp_path))  # nobody trains on for a command that is gone
    assert subprocess.run(asked, check=False, stdout=subprocess.DEVNULL).returncode == 0
    assert wb.load("x").table.equals(whole.table)
    assert calls().count("reference") == 1, "what was done is kept"
    assert calls().count("null") == 2, "what was stopped begins anew"


def calls() -> list[str]:
    return Path("calls.txt").read_text().split()


def wait_for(what: Any, process: subprocess.Popen[bytes] | None = None) -> None:
    for _ in range(1200):
        if what():
            return
        assert process is None or process.poll() is None
        time.sleep(0.05)
    raise AssertionError("it did not happen within a minute")


def test_ctrl_c_ends_the_scripts(checkpoint: Path, tmp_path: Path) -> None:
    work = ScriptRun(tmp_path / "runs", tmp_path)
    words = [*PYTHON, "slow", str(checkpoint), str(tmp_path / "runs/a"), "60"]
    started = work.begin(Condition("m:f", {"label": "a", "command": words}))
    wait_for(lambda: alive(tmp_path))
    assert started.look() is None
    started.stop()
    assert not alive(tmp_path)
    assert not Path("runs/a.done.json").exists()


def test_a_folder_that_is_still_written_to_is_waited_for(checkpoint: Path, tmp_path: Path) -> None:
    """The guard of a script holds its folder as long as the script runs, whoever has died."""
    import fcntl

    lock = tmp_path / "runs/.kept/a.lock"
    lock.parent.mkdir(parents=True)
    (tmp_path / "runs/a").mkdir()
    (tmp_path / "runs/a/half").write_text("of a script that still writes")
    work = ScriptRun(tmp_path / "runs", tmp_path)
    words = [*PYTHON, "relative", str(checkpoint), str(tmp_path / "runs/a")]
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        started = work.begin(Condition("m:f", {"label": "a", "command": words}))
        time.sleep(0.3)
        assert started.look() is None
        assert (tmp_path / "runs/a/half").exists()
    wait_for(lambda: (record := started.look()) is not None and record.status == "done")
    assert not (tmp_path / "runs/a/half").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"runner": "slurn"}, "slurn"),
        ({"runner": "inline", "jobs": 2}, "workers is 2"),
        ({"jobs": 0}, "jobs is 0"),
        ({"resources": {"num_gpus": 1}}, "resources belong"),
        ({"runner": "slurm", "devices": ["0"]}, "on this machine only"),
        ({"runner": "slurm", "resources": {"timeuot": 1}}, "timeuot"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(
    given: dict[str, Any], said: str, checkpoint: Path
) -> None:
    with pytest.raises(wb.RequestError, match=said):
        forked(checkpoint, "x", **given)
    assert not list(Path("x/runs").glob("*.log"))


def test_devices_are_shared_out(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    shell = ("sh", "-c", 'echo "$CUDA_VISIBLE_DEVICES" > seen; cp "$1" "$2/step-3.safetensors"')
    words = (*shell, "sh", "{checkpoint}", "{out}")
    told = ("sh", "-c", shell[2].replace("> seen", '>> "seen-$WINGBEAT_REPLICA"'), *words[3:])
    fork(checkpoint, wb.Gaussian(0.01), told, "x", replicas=2, jobs=2, devices=["3", "5,6"])
    seen = {p.name.partition("-")[2]: p.read_text().strip() for p in Path().glob("seen-*")}
    assert seen["reference"] == "3"
    assert set(seen.values()) == {"3", "5,6"}


def test_a_copy_that_ran_elsewhere_is_named(checkpoint: Path) -> None:
    forked(checkpoint, "x")
    mark = Path("x/runs/gaussian-0.01@0#2.done.json")
    facts = json.loads(mark.read_text())
    facts["where"]["processor"] = "another one"
    mark.write_text(json.dumps(facts))
    (said,) = [w for w in forked(checkpoint, "x").warnings if "not in the noise floor" in w]
    assert said.startswith("gaussian-0.01@0#2 ran with processor 'another one'")


def test_the_environment_is_the_callers(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "yes")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    told = 'env > "env-$WINGBEAT_REPLICA"; cp "$1" "$2/step-3.safetensors"'
    words = ("sh", "-c", told, "sh", "{checkpoint}", "{out}")
    fork(checkpoint, wb.Gaussian(0.01), words, "x", replicas=1)
    seen = set(Path("env-null").read_text().splitlines())
    assert {"MINE=yes", "PYTHONHASHSEED=7", "CUBLAS_WORKSPACE_CONFIG=:4096:8"} <= seen


def test_slurm_does_not_begin_a_copy_again_at_its_time_limit(tmp_path: Path) -> None:
    """It would meet the limit again: submitit requeues what has a ``checkpoint`` only."""
    handed: list[Any] = []

    class Executor:
        cluster = "slurm"

        def map_array(self, work: Any, batch: list[Condition]) -> list[Any]:
            handed.append(work)
            raise RuntimeError("enough")

    runner = SlurmRunner(tmp_path, cluster="local")
    runner._executor = Executor  # type: ignore[method-assign]
    for work in (ScriptRun(tmp_path, tmp_path), print):
        with contextlib.suppress(RuntimeError):
            list(runner.map(work, [Condition("m:f")]))  # type: ignore[arg-type]
    assert not hasattr(handed[0], "checkpoint")
    assert isinstance(handed[1], Requeued)


def test_names_choose_as_they_say(tmp_path: Path) -> None:
    assert RunnerChoice().made(tmp_path).jobs == 1  # type: ignore[union-attr]
    assert RunnerChoice(jobs=3).made(tmp_path).jobs == 3  # type: ignore[union-attr]
    assert RunnerChoice("processes").made(tmp_path).jobs >= 1  # type: ignore[union-attr]
    assert isinstance(RunnerChoice("slurm").made(tmp_path), SlurmRunner)


def test_progress_says_which_of_how_many_copies(checkpoint: Path, tmp_path: Path) -> None:
    told: list[str] = []
    command = Command(("true", "{checkpoint}", "{out}"))
    starts = dict.fromkeys(("reference", "null", "a#1"), checkpoint)
    run_all(command, starts, tmp_path / "runs", RunnerChoice(), told.append)
    assert told == ["reference, 1 of 3", "null, 2 of 3", "a#1, 3 of 3"]
    (tmp_path / "runs/a#1.done.json").unlink()
    run_all(command, starts, tmp_path / "runs", RunnerChoice(), told.append)
    assert told[3:] == ["a#1, 3 of 3"]
