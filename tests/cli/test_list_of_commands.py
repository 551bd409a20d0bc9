"""The list of commands costs no torch, and says of each what the command says of itself."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

import wingbeat
from wingbeat.cli.main import COMMANDS, app
from wingbeat.cli.study import study
from wingbeat.cli.study_names import RUN, SHOW, declared
from wingbeat.study.named import STUDIES


def test_help_loads_nothing_heavy() -> None:
    """Of no command, nor the list of studies."""
    told = (
        "import sys; from wingbeat.cli.main import COMMANDS, app\n"
        "for words in ([], *([name] for name in COMMANDS)):\n"
        "    try: app([*words, '--help'])\n"
        "    except SystemExit as ended: assert not ended.code, words\n"
        "print(*[m for m in ('torch', 'scipy', 'pandas') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_fits_its_line(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0, done.output
    file, line = COMMANDS[name]
    found = getattr(import_module(f"wingbeat.cli.{file}"), name)
    said = found.info.help if name == "study" else inspect.getdoc(found)
    words = {w.strip(".,:;()").lower() for w in said.split()}
    own = [w.strip(".,:;()").lower() for w in line.split()]
    assert sum(w in words for w in own) >= len(own) / 2, "the list says something else"
    assert len(line) <= 80


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_short_and_long_help(option: str) -> None:
    assert CliRunner().invoke(app, [option]).exit_code == 0


def test_the_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"wingbeat {wingbeat.__version__}\n"


def test_help_says_where_the_step_goes() -> None:
    said = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "160"}).output
    assert "[@step]" in said


def test_an_unknown_command() -> None:
    done = CliRunner().invoke(app, ["rnu"])
    assert done.exit_code == 2
    assert "No such command 'rnu': did you mean 'run'?" in done.output


@pytest.mark.parametrize("words", [("--replicas", "many"), ("--replicas=many",)])
def test_a_value_that_is_none_is_named(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, ["run", "mine:task", *words], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert "'--replicas': 'many': " in done.output


def test_a_narrow_terminal_gets_no_line_that_it_must_break() -> None:
    for words in (["run"], ["fork"], []):
        said = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "40"}).output
        assert max(map(len, said.splitlines())) <= 40, words
    assert COMMANDS["seeds"][1].rstrip(".") in " ".join(said.split())


def test_the_list_of_studies_is_that_of_the_studies() -> None:
    """It is read off their declarations, without importing what they compute with."""
    every = sorted(STUDIES.all().values(), key=lambda one: one.name)
    own = [one for one in every if one.conditions.__module__.startswith("wingbeat.studies.")]
    assert declared() == {one.name: one.help for one in own}
    lines = {c.name: inspect.getdoc(c.callback) for c in study.registered_commands}
    assert (lines["run"], lines["show"]) == (RUN, SHOW)


def script(words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a shell of its own."""
    return subprocess.run(
        ["bash", "-c", words.replace("wingbeat", f"{sys.executable} -m wingbeat")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_what_a_terminal_cannot_show_is_written_out() -> None:
    """Was: a traceback where the terminal's encoding has no minus sign."""
    told = "from wingbeat.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", told, "metrics", "l2"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"Distance |w \u2212 w_ref|" in done.stdout


def test_a_path_in_an_error_is_not_broken_over_lines() -> None:
    place = f"no/{'long/' * 40}folder"
    done = script(f"wingbeat watch {place}", COLUMNS="80")
    assert place in done.stderr
    assert all(len(line) <= 80 or line == place for line in done.stderr.splitlines())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_said() -> None:
    done = script("wingbeat --help > /dev/full")
    assert done.returncode == 1
    assert "the output cannot be written (No space left on device)" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_completion_is_of_the_script() -> None:
    """`python -m wingbeat` is no name that a shell completes. Was: a script that is no script."""
    told = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # else of the parent's shell
    done = script("wingbeat --show-completion bash", **told)
    assert "_WINGBEAT_COMPLETE=complete_bash" in done.stdout
