"""The list of commands costs no torch, and says of each what the command says of itself."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module

import pytest
from typer.testing import CliRunner

import wingbeat
from wingbeat.cli.main import COMMANDS, app


def test_help_loads_nothing_heavy() -> None:
    told = (
        "import sys; from wingbeat.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
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
    assert "rnu" in done.output
