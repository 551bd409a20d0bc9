"""``wingbeat study edge``, ``lr-phases``, ``break-even``, ``phase-diagram``: JSON, exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from wingbeat.cli.main import main
from wingbeat.study import named
from wingbeat.study.runner.inline import InlineRunner


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Return a function that runs a named study in an empty folder, in this process."""
    monkeypatch.setattr(named, "ProcessRunner", lambda workers: InlineRunner())
    monkeypatch.chdir(tmp_path)
    tasks = str(Path(__file__).parents[1] / "study")
    monkeypatch.setenv("PYTHONPATH", tasks)
    monkeypatch.setattr(sys, "path", [tasks, *sys.path])

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["wingbeat", "study", *words, "--workers", "1"])
        try:
            main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        return code, capsys.readouterr().out

    return run


SMALL = {
    "edge": ("--lr", "0.5", "--polyak-lr", "0.1", "--n", "30", "--hidden", "4", "--steps", "4",
             "--seeds", "1"),
    "break-even": ("--lr", "0.1", "--batch-size", "10", "--n", "20", "--time", "0.4",
                   "--seeds", "1"),
    "phase-diagram": ("--gamma", "0.5", "--gamma-prime", "0", "--width", "4", "--width", "8",
                      "--time", "0.2", "--seeds", "1"),
    "lr-phases": ("wingbeat.tasks.full_batch:tanh_task", "--lr", "0.1", "--lr", "0.2",
                  "--arg", "n=20", "--arg", "hidden=[3]", "--arg", "steps=12", "--seeds", "1",
                  "--no-exponents"),
}  # fmt: skip
FINDINGS = {
    "edge": {"verdicts"},
    "break-even": {"conjectures"},
    "phase-diagram": {"slopes"},
    "lr-phases": {"phases", "correlations"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_json_is_one_document_and_nothing_else(call, tmp_path, name) -> None:
    code, out = call(name, *SMALL[name], "--out", "found", "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found["findings"]) == FINDINGS[name]
    assert found["counts"] == {"done": len(found["conditions"])}
    assert not found["failures"]
    for table in found["findings"]:
        assert (tmp_path / "found" / f"{table}.csv").exists()
    code, out = call(name, *SMALL[name], "--out", "found")
    total = len(found["conditions"])
    assert code == 0
    assert f"{total} conditions, {total} of them done already" in out
    assert "report: " in out


def test_a_study_of_which_nothing_finished_exits_with_one(call, tmp_path) -> None:
    words = ("lr-phases", "study_tasks:poison", "--lr", "0.05", "--lr", "0.06", "--seeds", "1",
             "--record-every", "2")  # fmt: skip
    code, out = call(*words, "--out", "found", "--json")
    found = json.loads(out)
    assert code == 1
    assert found["findings"] == {}
    assert len(found["failures"]) == 2
    page = (tmp_path / "found" / "report.html").read_text(encoding="utf-8")
    assert "Nothing is finished yet." in page
    assert page.count("was given up (failed)") == 2
