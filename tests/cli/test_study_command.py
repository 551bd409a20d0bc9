"""``wingbeat study FILE``: beside the named studies, dry, as JSON, resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wingbeat.study.ledger import Ledger

FILE = """
[base]
factory = "study_tasks:line"
replicas = 3
metrics = ["l2"]
[axes]
arguments.lr = [0.05, 0.1]
"""


@pytest.fixture
def call(tmp_path, monkeypatch, study_command):
    """Return a function that runs the command line in a folder with a study file."""
    (tmp_path / "rates.toml").write_text(FILE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "study"))
    return study_command


def test_a_file_is_run_resumed_and_planned(call, tmp_path) -> None:
    code, out, _ = call("rates.toml", "--dry-run", "--probes", "0", "--json")
    plan = json.loads(out)
    assert (code, plan["done"], plan["left"]) == (0, 0, 2)
    assert not (tmp_path / "runs").exists()
    code, out, _ = call("rates.toml", "--runner", "inline", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["counts"] == {"done": 2}
    assert all(row["lyapunov"] < 0 for row in found["conditions"])
    assert len(Ledger(tmp_path / "runs" / "rates").done()) == 2
    code, out, _ = call("run", "rates.toml", "--runner", "inline")
    assert code == 0
    assert "2 done" in out
    code, out, _ = call("show", "runs/*", "--json")
    board = json.loads(out)["leaderboard"]
    assert [row["rank"] for row in board] == [1, 2]
    assert [row["arguments.lr"] for row in board] == [0.1, 0.05], "the larger rate contracts more"
    code, out, _ = call("show", "runs/rates", "--value", "lyapunow")
    assert code == 2
    code, out, _ = call("show", "runs/rates")
    assert "leaderboard of lyapunov" in out
    assert "correlation" not in out
    code, out, _ = call("show", "runs/rates", "--outcome", "final_l2", "--json")
    (row,) = json.loads(out)["correlation"]
    assert (row["measured"], row["outcome"], row["n"]) == ("lyapunov", "final_l2", 2)
    assert row["reason"] == "too_few_conditions"
    code, _, err = call("rates.toml", "--runner", "inline", "--resource", "num_gpus=1")
    assert (code, "belong to the runners 'ray' and" in err) == (2, True)
    code, out, _ = call("rates.toml", "--dry-run", "--probes", "0")
    assert code == 0
    assert "2 conditions, 2 done, 0 left" in out


def test_named_studies_stay_where_they_are(call) -> None:
    code, out, _ = call("dynamics", "--help")
    assert code == 0
    assert "architectures" in out


def test_a_named_study_says_what_it_would_train_and_trains_nothing(call, tmp_path) -> None:
    words = ("phases", "--seeds", "2", "--epochs", "1", "--out", str(tmp_path / "kept"))
    code, out, _ = call(*words, "--workers", "2", "--dry-run", "--probes", "0")
    assert code == 0
    for said in ("2 conditions, 0 of them done", "2 base seeds, each a training of 1 epochs",
                 "expected time with 2 process(es)", "phases: 2 conditions, 0 done, 2 left",
                 "comes on top"):  # fmt: skip
        assert said in out
    assert not (tmp_path / "kept").exists()


def test_failures_are_reported_and_exit_with_one(call, tmp_path) -> None:
    text = FILE.replace("study_tasks:line", "study_tasks:poison").replace("0.1]", "0.1]\n")
    (tmp_path / "bad.toml").write_text(text, encoding="utf-8")
    code, out, _ = call("bad.toml", "--runner", "inline", "--tries", "1")
    assert code == 1
    assert "lr 0.05 is poison" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("none.toml",), "cannot be read"),
        (("rates.toml", "--runner", "rya"), "did you mean 'ray'"),
        (("rates.toml", "--runner", "inline", "--workers", "2"), "choose 'processes'"),
        (("rates.toml", "--ray-address", "auto"), "belongs to the runner 'ray'"),
    ],
)
def test_wrong_requests(call, words, said) -> None:
    code, _, error = call(*words)
    assert code == 2
    assert said in " ".join(error.split())
