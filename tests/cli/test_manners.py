"""A command line without surprises: collisions, interrupts, quiet, a user's own errors."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
import torch
from test_commands import TASK

import wingbeat as wb
from wingbeat.cli.overwrite import OWN
from wingbeat.cli.stopped import said_of, terminable
from wingbeat.errors import RequestError
from wingbeat.study.condition import named, perturbation

SHORT = ("--driver", "loop", "--replicas", "2", "--out", "out")
OWN_ERROR = """
def task(steps=12):
    return 1 + "a"
"""


@pytest.fixture
def call(tmp_path, monkeypatch, command):
    (tmp_path / "mine.py").write_text(TASK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    return command


def test_another_run_in_the_folder_is_kept_until_it_is_thrown_away(call, tmp_path) -> None:
    call("run", "mine.py:task", *SHORT)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    code, _, told = call("run", "mine.py:task", "--arg", "steps=6", *SHORT)
    assert code == 1
    told = " ".join(told.split())
    assert "out holds another request (factory.arguments.steps: there None, now 6)" in told
    assert "--out DIR" in told
    assert "--overwrite" in told
    assert "out=" not in told
    assert wb.load(tmp_path / "out").steps[-1] == 12
    code, _, told = call("run", "mine.py:task", "--arg", "steps=6", "--overwrite", *SHORT)
    assert (code, told) == (0, "")
    assert wb.load(tmp_path / "out").steps[-1] == 6
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "words",
    [
        ("onset", "--step", "0", "--metric", "l2", "--threshold", "1"),
        ("noise", "--source", "init"),
    ],
)
def test_what_is_in_the_folder_is_said_in_the_words_of_the_command_line(call, words) -> None:
    name, *more = words
    own = (name, "mine.py:task", *more, *SHORT, "--replicas", "5", "-q")
    call(*own)
    code, _, told = call(*own, "--arg", "lr=0.2")
    assert code == 1
    told = " ".join(told.split())
    assert "holds another" in told
    assert told.endswith("Give this one a folder of its own with --out DIR")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("report", "gone"), "gone is not there"),
        (("report", "mine.py"), "mine.py is a file"),
        (("watch", "gone"), "gone is not there"),
        (("watch", ".", "--seconds", "-1"), "--seconds is -1: use a number above 0"),
        (("study", "show", "gone"), "gone is not there"),
        (("run", "mine.py:task", "--seeds", "0"), "seeds is 0: use a whole number of at least 1"),
    ],
)
def test_a_wrong_request_ends_with_2(call, words, said) -> None:
    """Was: 1, as if something had failed; and a run of one seed where none was asked for."""
    code, out, told = call(*words)
    assert (code, out) == (2, "")
    assert said in " ".join(told.split())


def test_overwrite_removes_nothing_but_a_run(call, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    code, _, told = call("run", "mine.py:task", "--overwrite", *SHORT)
    assert code == 2
    assert "holds no run: --overwrite removes nothing else" in told
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"


def test_what_a_run_leaves_is_what_overwrite_removes(call, tmp_path) -> None:
    call("run", "mine.py:task", *SHORT)
    assert {p.name for p in (tmp_path / "out").iterdir()} - {".lock"} <= set(OWN)


def test_quiet_prints_nothing_and_does_all(call, tmp_path) -> None:
    assert call("run", "mine.py:task", "--quiet", *SHORT) == (0, "", "")
    assert (tmp_path / "out" / "report.html").exists()
    assert call("report", "out", "-q") == (0, "", "")
    code, out, err = call("run", "mine.py:tsak", "-q", *SHORT)
    assert (code, out) == (2, "")
    assert "did you mean 'task'" in err


def test_an_interrupt_says_what_is_kept_and_how_to_go_on(call, monkeypatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wingbeat.execution.verify.verify", stopped)
    assert call("verify", "mine.py:task") == (130, "", "\nInterrupted. Nothing was kept.\n")
    call("run", "mine.py:task", *SHORT)
    monkeypatch.setattr("wingbeat.execution.run.run", stopped)
    code, out, told = call("run", "mine.py:task", *SHORT)
    assert (code, out) == (130, "")
    assert "is kept in out: the same command again goes on" in told
    assert "Traceback" not in told


def test_a_file_that_goes_to_another_folder_takes_no_output_there(call, tmp_path) -> None:
    """Was: the run lay in the folder that the user's file had gone to, under the path typed."""
    (tmp_path / "data").mkdir()
    (tmp_path / "moving.py").write_text(f"import os\nos.chdir('data')\n{TASK}", encoding="utf-8")
    code, told, err = call("run", "moving.py:task", *SHORT)
    assert code == 0, told + err
    assert (tmp_path / "out" / "report.html").exists()
    assert not any((tmp_path / "data").iterdir())
    assert f"report: {tmp_path / 'out' / 'report.html'}" in told


def test_a_request_to_end_is_answered_like_ctrl_c(call, monkeypatch) -> None:
    """As of a queue, or of ``timeout``: what is under way sees it, and the code is the shell's."""
    seen = []

    def asked(*_: object, **__: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            seen.append("tidied up")

    call("run", "mine.py:task", *SHORT)
    monkeypatch.setattr("wingbeat.execution.run.run", asked)
    code, out, told = call("run", "mine.py:task", *SHORT)
    assert (code, out, seen) == (143, "", ["tidied up"])
    assert told.startswith("\nAsked to end. What was recorded is kept in out: the same command")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_process_that_a_task_forks_off_ends_on_request_as_ever() -> None:
    with terminable():
        child = os.fork()
        if not child:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


def test_a_stopped_study_names_the_folder_that_its_file_names(call, tmp_path, monkeypatch) -> None:
    """Was: nothing was kept, where the file has another name than the study."""

    def stopped(_: object, folder: Path, *__: object, **___: object) -> None:
        folder.mkdir(parents=True)
        raise KeyboardInterrupt

    (tmp_path / "grid.toml").write_text('name = "rates"\n[base]\nfactory = "mine.py:task"\n')
    monkeypatch.setattr("wingbeat.cli.study.run_study", stopped)
    code, _, told = call("study", "grid.toml", "--runner", "inline")
    assert (code, "is kept in runs/rates: the same" in told) == (130, True)


def test_the_own_error_of_a_factory_is_shown_as_it_is(call, tmp_path) -> None:
    (tmp_path / "wrong.py").write_text(OWN_ERROR)
    with pytest.raises(TypeError, match="unsupported operand"):
        call("run", "wrong.py:task", *SHORT)
    code, _, told = call("run", "wrong.py:task", "--arg", "lr=1", *SHORT)
    assert code == 2
    told = " ".join(told.split())
    assert "unexpected keyword argument 'lr'" in told
    assert "It takes (steps=12)" in told


def test_a_file_is_as_good_as_a_module_in_study_files_too(call, tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "small.py").write_text("def task():\n    return 'small'\n")
    assert named("mine.py:task").__name__ == named("mine:task").__name__ == "task"
    assert named("nets/small.py:task")() == "small"
    with pytest.raises(RequestError, match="cannot be found"):
        named("nets/none.py:task")


def test_a_file_names_perturbations_and_metrics_too(call, tmp_path, monkeypatch, request) -> None:
    monkeypatch.setattr("sys.path", [p for p in sys.path if p])
    for name in ("kicks", "own_metrics"):
        request.addfinalizer(lambda name=name: sys.modules.pop(name, None))
    (tmp_path / "kicks.py").write_text("from wingbeat.replicas.perturb import Gaussian as Kick\n")
    (tmp_path / "own_metrics.py").write_text("from wingbeat.measure.builtin.l2 import l2 as far\n")
    torch.save({"w": torch.linspace(0, 1, 20)}, "a.pt")
    words = ("nudge", "a.pt", "--replicas", "1", "--out", "o")
    code, told, err = call(*words, "--perturb", "kicks.py:Kick:0.1")
    assert code == 0, err
    assert "gaussian-0.1@0#1" in told
    assert call(*words, "--perturb", "kicks:Kick:0.1")[:2] == (code, told)
    for place, size in (("a-1", 1), ("a-2", 2), ("b-1", 2), ("b-2", 5)):
        torch.save({"w": torch.linspace(0, size, 20)}, f"{place}.pt")
    code, told, err = call("measure", "{replica}-{step}.pt", "--metric", "own_metrics.py:far")
    assert code == 0, err
    assert "measured l2\n" in told
    named_so = perturbation({"kind": "kicks.py:Kick", "scale": 0.1})
    assert named_so.label == "gaussian-0.1@0"


def test_watch_reads_the_folder_alone(call, tmp_path) -> None:
    call("run", "mine.py:task", "--perturb", "gaussian:0.01@4", *SHORT)
    (tmp_path / "out" / "summary.json").unlink()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    code, told, _ = call("watch", "out", "--once")
    assert code == 0
    assert "<b>täsk</b>: step 12 of 12" in told
    assert "100%" in told
    assert "finished" not in told
    result_of = call("run", "mine.py:task", "--perturb", "gaussian:0.01@4", "--json", *SHORT)[1]
    table = wb.load(tmp_path / "out").table
    own = table[(table.metric == "l2") & table.b.str.startswith("gaussian") & (table.layer == "")]
    assert json.loads(result_of)["folder"] == "out"
    for step in (4, 12):
        assert f"{own[own.step == step].value.median():.3g}" in told
    assert "finished: wingbeat report out" in call("watch", "out", "--once")[1]
    assert all(p.stat().st_mtime_ns == t for p, t in before.items() if p.suffix == ".safetensors")


@pytest.mark.slow
def test_watch_counts_the_conditions_of_a_study(call, tmp_path) -> None:
    (tmp_path / "s.toml").write_text(
        'name = "s"\n[base]\nfactory = "mine.py:task"\nreplicas = 2\n'
        "[axes]\narguments.steps = [4, 6]\n"
    )
    code, told, err = call("study", "s.toml", "--runner", "inline", "--out", "studied")
    assert code == 0, told + err
    assert "studied: 2 done, 0 under way or interrupted, 0 failed" in call(
        "watch", "studied", "--once"
    )[1].replace("\n", " ")


def test_several_runs_are_reported_on_one_page(call, tmp_path) -> None:
    for name, rate in (("slow", "0.05"), ("fast", "0.5")):
        own = ("--driver", "loop", "--replicas", "3", "--out", name)
        call("run", "mine.py:task", "--arg", f"lr={rate}", *own)
    code, told, _ = call("report", "slow", "fast", "--out", "both.html")
    assert code == 0
    assert "report: both.html" in told
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "<title>slow, fast: 2 runs side by side | wingbeat</title>" in page
    assert page.count('<th scope="row">slow') == 1
    assert re.search(r"<h1>\w+ ends at [\d.]+ \([\d.]+ to [\d.]+\) times its first spread; ", page)
    assert "task.optimizer.groups[0].lr" in page
    assert "<b>täsk</b>" not in page
    found = json.loads(call("report", "slow", "fast", "--json", "--out", "both.html")[1])
    assert [row["run"] for row in found["table"]] == ["slow", "fast"]
    assert found["report"] == "both.html"
    rates = next(d for d in found["differences"] if d["field"] == "factory.arguments.lr")
    assert (rates["slow"], rates["fast"]) == ("0.05", "0.5")


def test_a_study_from_a_file_gets_a_page_and_names_conditions_by_what_differs(
    call, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "s.toml").write_text(
        'name = "s"\nreplicates = 2\n[base]\nfactory = "mine.py:task"\nreplicas = 3\n'
        'perturbation = { kind = "gaussian", scale = 0.01 }\n[axes]\narguments.lr = [0.1, 0.2]\n'
    )
    code, told, err = call("study", "s.toml", "--runner", "inline", "--out", "studied")
    assert code == 0, told + err
    assert "[1/4] lr 0.1, seed 0: " in told
    assert "report: studied/report.html" in told
    page = (tmp_path / "studied" / "report.html").read_text(encoding="utf-8")
    found = wb.load_study(tmp_path / "studied").conditions["convergence_ratio"]
    assert "<h1>The convergence ratio runs from " in page
    assert f"{found.min():.3g}" in page
    assert f"{found.max():.3g}" in page
    _, told, _ = call("study", "show", "studied")
    assert max(map(len, told.splitlines())) <= 80
    assert "…" not in told


@pytest.mark.parametrize(
    ("command", "says"), [("run", "its last checkpoint"), ("fork", "under way begins anew")]
)
def test_an_interrupt_promises_what_the_same_command_does(
    command: str, says: str, tmp_path: Path
) -> None:
    assert says in said_of(KeyboardInterrupt(), command, {"out": tmp_path})
