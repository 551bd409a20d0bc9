"""Studies: both runners give the same bytes, nothing is done twice, the rest survives a failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import pandas as pd
import pytest
import study_tasks

from wingbeat.errors import RequestError, StoreError
from wingbeat.study.condition import Condition
from wingbeat.study.grid import cross
from wingbeat.study.ledger import Ledger, Record
from wingbeat.study.run import run_study
from wingbeat.study.runner import InlineRunner, ProcessRunner

HERE = Path(__file__).resolve().parent
LINES = cross(
    Condition("study_tasks:line", {"steps": 8}, replicas=3, metrics=("l2", "spread", "train_loss")),
    {"arguments.lr": [0.05, 0.1, 0.2]},
)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let spawned processes find the tasks of these tests."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))


def test_a_study_holds_what_its_runs_hold(tmp_path: Path) -> None:
    study = run_study(LINES, tmp_path)
    assert study.conditions["status"].tolist() == ["done"] * 3
    assert study.conditions["key"].is_monotonic_increasing
    assert set(study.table["key"]) == {c.key for c in LINES}
    assert study.failures == ()
    # gradient descent on a line contracts every nudge: w and b by 1 − 2·lr·curvature
    assert (study.conditions["convergence_ratio"] < 1).all()
    assert (study.conditions["noise_floor"] == 0).all()
    for name in ("conditions", "table"):
        pd.testing.assert_frame_equal(
            pd.read_parquet(tmp_path / f"{name}.parquet"), getattr(study, name), check_dtype=False
        )
    assert not list(tmp_path.glob("records/*/run"))


def test_weights_are_kept_on_request(tmp_path: Path) -> None:
    run_study(LINES[:1], tmp_path, keep_weights=True)
    assert len(list(tmp_path.glob("records/*/run/**/*.safetensors"))) > 1


@pytest.mark.slow
def test_both_runners_give_the_same_bytes(tmp_path: Path) -> None:
    run_study(LINES, tmp_path / "inline", InlineRunner())
    run_study(list(reversed(LINES)), tmp_path / "processes", ProcessRunner(2))
    inline, processes = (tmp_path / n / "table.parquet" for n in ("inline", "processes"))
    assert inline.read_bytes() == processes.read_bytes()


def test_nothing_is_done_twice(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    grid = [Condition("study_tasks:counted", {"folder": str(marks), "lr": x}) for x in (0.1, 0.2)]
    run_study(grid[:1], tmp_path / "out")
    first = (tmp_path / "out/records" / grid[0].key / "record.json").stat().st_mtime_ns
    run_study(grid, tmp_path / "out")
    run_study(grid, tmp_path / "out")
    assert len(list(marks.iterdir())) == 2
    assert (tmp_path / "out/records" / grid[0].key / "record.json").stat().st_mtime_ns == first


def test_a_poisoned_condition_is_reported_and_the_rest_finishes(tmp_path: Path) -> None:
    bad, told = Condition("study_tasks:poison", {"lr": 0.3}), []
    study = run_study(
        [bad, *LINES[:1]], tmp_path, tries=3, progress=lambda *facts: told.append(facts)
    )
    assert [r.key for r in study.failures] == [bad.key]
    assert "lr 0.3 is poison" in study.failures[0].error
    by_key = study.conditions.set_index("key")["status"]
    assert (by_key[bad.key], by_key[LINES[0].key]) == ("failed", "done")
    events = [e["event"] for e in Ledger(tmp_path).events() if e["key"] == bad.key]
    assert events.count("failed") == 3
    assert [ended for _, ended, _ in told] == sorted(ended for _, ended, _ in told)
    assert told[-1][1:] == (2, 2)


def test_a_second_attempt_may_succeed(tmp_path: Path) -> None:
    grid = [Condition("study_tasks:once_poison", {"marker": str(tmp_path / "mark")})]
    study = run_study(grid, tmp_path / "out")
    assert study.failures == ()
    assert study.conditions["status"].tolist() == ["done"]
    events = [e["event"] for e in Ledger(tmp_path / "out").events()]
    assert events == ["waiting", "failed", "waiting", "done"]


@pytest.mark.slow
def test_a_dying_process_takes_nothing_with_it(tmp_path: Path) -> None:
    bad = Condition("study_tasks:killer")
    study = run_study([bad, *LINES], tmp_path, ProcessRunner(2), tries=2)
    assert [(r.key, r.status) for r in study.failures] == [(bad.key, "died")]
    assert "code 7" in study.failures[0].error
    assert sorted(study.conditions["status"]) == ["died", "done", "done", "done"]


@pytest.mark.long
def test_workers_have_one_thread_and_are_reused() -> None:
    grid = [Condition("m:f", {"i": i}) for i in range(5)]
    found = list(ProcessRunner(2).map(study_tasks.echo, grid))
    assert {r.key for r in found} == {c.key for c in grid}
    assert 1 <= len({r.error for r in found}) <= 2
    dying = [*grid[:1], Condition("die"), *grid[1:2]]
    threads = ProcessRunner(1).map(study_tasks.echo_or_die, dying)
    assert [(r.status, r.error) for r in threads] == [
        ("done", "1"),
        ("died", "the process ended with code 3"),
        ("done", "1"),
    ]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="workers are spawned there")
def test_workers_survive_the_loss_of_the_server_that_starts_them(tmp_path: Path) -> None:
    """It ends in the middle; the worker that dies afterwards is replaced through a new one."""
    bad = Condition("study_tasks:killer")
    lost = []

    def lose(record: Record, ended: int, total: int) -> None:
        if not lost:
            lost.append(forkserver._forkserver._forkserver_pid)
            os.kill(lost[0], signal.SIGKILL)

    study = run_study([LINES[0], bad, *LINES[1:]], tmp_path, ProcessRunner(1), progress=lose)
    assert lost[0] != forkserver._forkserver._forkserver_pid
    assert sorted(study.conditions["status"]) == ["died", "done", "done", "done"]


def test_a_start_is_tried_again_when_the_server_is_killed_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner, begun = ProcessRunner(1), []

    def start(*_: object) -> str:
        begun.append(len(begun))
        if len(begun) < 3:
            raise EOFError
        return "a worker"

    monkeypatch.setattr(runner, "_start", start)
    assert runner._started(study_tasks.echo, LINES[0], 0) == "a worker"
    assert begun == [0, 1, 2]
    monkeypatch.setattr(runner, "_start", lambda *_: (_ for _ in ()).throw(EOFError))
    with pytest.raises(EOFError):
        runner._started(study_tasks.echo, LINES[0], 0)


@pytest.mark.slow
def test_workers_see_the_environment_of_the_moment_they_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server that they are forked off may have started under another one."""
    runner = ProcessRunner(1)
    for value in ("a", "b"):
        monkeypatch.setenv("WINGBEAT_SAID", value)
        (record,) = runner.map(study_tasks.echo_environment, [Condition("m:f")])
        assert record.error == value


@pytest.mark.slow
def test_a_killed_study_goes_on_and_ends_with_the_same_table(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    place = {"folder": str(marks), "seconds": 0.3}
    grid = [Condition("study_tasks:slow", {**place, "lr": x / 20}) for x in range(1, 6)]
    (tmp_path / "grid.json").write_text(json.dumps([c.to_json() for c in grid]))
    code = (
        "import json, sys; from wingbeat.study import *\n"
        "if __name__ == '__main__':\n"
        "    grid = [Condition.from_json(c) for c in json.load(open(sys.argv[1]))]\n"
        "    run_study(grid, sys.argv[2], ProcessRunner(1), pack=1)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, script, tmp_path / "grid.json", out])
    ledger, deadline = Ledger(out), time.monotonic() + 90
    while len(ledger.left(grid)) > 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1.0)  # the worker notices that its parent is gone
    done = {c.key for c in grid} - {c.key for c in ledger.left(grid)}
    assert 2 <= len(done) < 5
    built = len(list(marks.iterdir()))
    study = run_study(grid, out)
    assert len(list(marks.iterdir())) - built == 5 - len(done)
    whole = run_study(grid, tmp_path / "whole")
    pd.testing.assert_frame_equal(study.table, whole.table)
    assert (out / "table.parquet").read_bytes() == (tmp_path / "whole/table.parquet").read_bytes()


def test_a_line_cut_short_does_not_spoil_the_journal(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.note("waiting", "a")
    with ledger.journal.open("a") as journal:
        journal.write('{"event": "do')
    ledger.end(Record("a", "done", seconds=1.5))
    assert [(e["event"], e["key"]) for e in ledger.events()] == [("waiting", "a"), ("done", "a")]


def test_a_record_without_its_last_file_is_not_done(tmp_path: Path) -> None:
    run_study(LINES[:1], tmp_path)
    record = tmp_path / "records" / LINES[0].key / "record.json"
    record.unlink()
    assert not Ledger(tmp_path).is_done(LINES[0].key)
    assert run_study(LINES[:1], tmp_path).conditions["status"].tolist() == ["done"]


def test_wrong_requests(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="0 conditions"):
        run_study([], tmp_path)
    with pytest.raises(RequestError, match="tries 0"):
        run_study(LINES, tmp_path, tries=0)
    with pytest.raises(RequestError, match="workers is 0"):
        ProcessRunner(0)
    run_study(LINES[:1], tmp_path)
    (tmp_path / "records" / LINES[0].key / "table.parquet").write_bytes(b"no table")
    with pytest.raises(StoreError, match="delete the"):
        run_study(LINES[:1], tmp_path)


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    from filelock import FileLock

    Ledger(tmp_path)
    with FileLock(tmp_path / ".lock"), pytest.raises(StoreError, match="another process"):
        run_study(LINES, tmp_path)
