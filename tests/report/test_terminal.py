"""No text of a stranger's commands the terminal: of no result, of no error, not as markup."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_cases import full

from wingbeat.cli import main, show
from wingbeat.errors import RequestError
from wingbeat.terminal import Console, clean, echo

SOURCE = Path(__file__).parents[2] / "src" / "wingbeat"
EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m[bold red]\u202eevil\u202c\r\x08\x7f"
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200f]")


@given(st.text(max_size=60))
def test_no_command_is_left_and_the_rest_stays(text: str) -> None:
    shown = clean(text)
    assert not COMMANDS.search(shown)
    if text.isprintable() and not COMMANDS.search(text):
        assert shown == text
    shown.encode()


def test_a_cleaned_document_means_the_same() -> None:
    document = json.dumps({"name": EVIL.replace("\x1b", "")}, ensure_ascii=False)
    assert json.loads(clean(document)) == json.loads(document)


@pytest.mark.parametrize("terminal", [False, True])
def test_the_console_writes_its_own_codes_and_nobody_elses(terminal: bool) -> None:
    out = io.StringIO()
    colours = "standard" if terminal else None
    console = Console(file=out, width=200, force_terminal=terminal, color_system=colours)
    console.print(EVIL, style="bold", markup=False, highlight=False)
    found = out.getvalue()
    assert ("\x1b[1m" in found) is terminal  # bold is ours
    left = re.sub("\x1b\\[[0-9;]*m", "", found).replace("\n", "")
    assert not COMMANDS.search(left)
    assert "[bold red]" in left


def test_a_result_with_hostile_names() -> None:
    out = io.StringIO()
    result = full(names=(EVIL,)).but(metrics=("l2", "spread"), warnings=(f"mind {EVIL}",))
    facts = {"driver": EVIL, "mode": EVIL, "driver_reason": EVIL, "threads": 1}
    show.result(Console(file=out, width=300), result.but(environment=facts), Path(f"/{EVIL}.html"))
    assert not COMMANDS.search(out.getvalue().replace("\n", ""))
    assert "evil" in out.getvalue()


@pytest.mark.parametrize("stream", ["out", "err"])
def test_plain_lines(capsys: pytest.CaptureFixture[str], stream: str) -> None:
    echo(EVIL, err=stream == "err")
    assert not COMMANDS.search(getattr(capsys.readouterr(), stream).replace("\n", ""))


def test_an_error_with_a_hostile_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing() -> None:
        raise RequestError(f"unknown tensor {EVIL}")

    monkeypatch.setattr(sys.modules["wingbeat.cli.main"], "app", failing)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "unknown tensor" in said
    assert "[bold red]" in said
    assert not COMMANDS.search(said.replace("\n", ""))


def test_there_is_one_way_out() -> None:
    """No file writes to the terminal by another one."""
    other = re.compile(
        r"typer\.(echo|secho)|click\.(echo|secho)|rich\.console import .*\bConsole\b"
    )
    found = [
        f"{path.relative_to(SOURCE)}: {line.strip()}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.name != "terminal.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if other.search(line)
    ]
    assert not found
