"""Every command's help and first error fit a screen of 24 lines at 80 columns."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from wingbeat.cli.main import COMMANDS, app, main
from wingbeat.study.named import STUDIES

EVERY = [
    *([name] for name in COMMANDS),
    *(["study", name] for name in ("run", "show", *STUDIES.all())),
]
SCREEN = {"COLUMNS": "80", "LINES": "24"}


@pytest.mark.parametrize("words", [[], *EVERY], ids=" ".join)
def test_help_fits_one_screen(words: list[str]) -> None:
    done = CliRunner().invoke(app, [*words, "--help"], env=SCREEN)
    assert done.exit_code == 0, done.output
    lines = done.output.rstrip("\n").split("\n")
    assert len(lines) < 24, done.output
    assert max(map(len, lines)) <= 80, done.output
    assert "╭" not in done.output


TASK = "wingbeat.tasks.full_batch:tanh_task"
WRONG = {
    "run": ["no_such:task"],
    "verify": ["wingbeat.tasks.dense:circles_tsak"],
    "report": ["no/such/folder"],
    "watch": ["no/such/folder"],
    "fork": [],
    "nudge": ["no.pt", "--perturb", "gaussian:0.1", "--out", "x"],
    "measure": ["no-{replica}-{step}.pt"],
    "compare": ["a.pt", "b.pt"],
    "onset": ["mine"],
    "noise": ["wingbeat.tasks.dense:circles_task", "--source", "odrer"],
    "study": ["no.toml"],
    "metrics": ["spraed"],
    "perturbations": ["gausian"],
    "demo": ["--uot", "x"],
    "calibrate": ["--only", "no_such"],
    "seeds": ["no/such/folder"],
    "study run": ["no.toml"],
    "study show": ["no/such/folder"],
    "study break-even": ["--batch-size", "100000"],
    "study butterfly": ["no-such-task"],
    "study danovski": ["--inits", "1"],
    "study dynamics": ["--net", "3-layer Tny"],
    "study edge": ["--lr", "-1"],
    "study lr-phases": [TASK, "--rate-name", "no_such"],
    "study phase-diagram": ["--width", "8"],
    "study phases": ["--lr", "-1"],
}
"""A first mistake of each command that is its own, beside those that all of them share."""


def first_error(words: list[str], monkeypatch, capsys) -> list[str]:
    monkeypatch.setattr("sys.argv", ["wingbeat", *words])
    for key, value in SCREEN.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(SystemExit) as ended:
        main()
    told = "".join(capsys.readouterr())
    assert ended.value.code in (1, 2), told
    assert "Traceback" not in told
    lines = told.rstrip("\n").split("\n")
    assert told.strip()
    assert len(lines) < 24, told
    assert max(map(len, lines)) <= 80, told
    return lines


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_an_unknown_option_fits_one_screen(words, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    told = first_error([*words, "--no-such-option"], monkeypatch, capsys)
    assert any("--no-such-option" in line for line in told)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [*WRONG, "study"])
def test_the_first_error_fits_one_screen(words: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    first_error([*words.split(" "), *WRONG.get(words, [])], monkeypatch, capsys)


def test_every_command_has_a_first_error_of_its_own() -> None:
    assert set(COMMANDS) - {"study"} <= set(WRONG)
    assert {"study run", "study show"} <= set(WRONG)


@pytest.mark.parametrize(("name", "some"), [("metrics", "spread"), ("perturbations", "gaussian")])
def test_a_list_has_a_line_each_and_tells_all_about_one(name: str, some: str) -> None:
    every = CliRunner().invoke(app, [name], env=SCREEN).output.splitlines()
    assert all(len(line) <= 80 for line in every)
    firsts = [line.split()[0] for line in every]
    assert some in firsts
    assert len(set(firsts)) == len(firsts)
    whole = CliRunner().invoke(app, [name, some], env=SCREEN)
    assert whole.exit_code == 0
    assert re.search(rf"^(name|kind): {some}$", whole.output, re.M)


@pytest.mark.parametrize(("typed", "offered"), [("ver", "verify"), ("watc", "watch")])
def test_the_shell_completes_commands(typed: str, offered: str) -> None:
    asked = {
        "_WINGBEAT_COMPLETE": "complete_bash",
        "COMP_WORDS": f"wingbeat {typed}",
        "COMP_CWORD": "1",
    }
    done = CliRunner().invoke(app, [], env=asked, prog_name="wingbeat")
    assert done.output.split() == [offered]


def test_the_shell_completes_options_of_a_command() -> None:
    asked = {
        "_WINGBEAT_COMPLETE": "complete_bash",
        "COMP_WORDS": "wingbeat run --ov",
        "COMP_CWORD": "2",
    }
    done = CliRunner().invoke(app, [], env=asked, prog_name="wingbeat")
    assert done.output.split() == ["--overwrite"]
