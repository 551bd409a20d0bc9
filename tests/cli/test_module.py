"""The package itself can be run where its script is not on the path."""

from __future__ import annotations

import runpy

import pytest


def test_python_m_wingbeat_is_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["wingbeat", "study", "dynamics", "--nonsense"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("wingbeat", run_name="__main__")
    assert ended.value.code == 2
    assert "--nonsense" in capsys.readouterr().err
