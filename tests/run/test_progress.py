"""Progress: bars on a terminal, one changing line in a notebook, silence elsewhere."""

from __future__ import annotations

import sys
import types

import pytest

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.execution.arguments import check_seeds, default_seeds
from wingbeat.execution.progress import Progress
from wingbeat.tasks.dense import circles_task


class Handle:
    def __init__(self, shown: list[str]) -> None:
        self.shown = shown

    def update(self, content: dict[str, str], raw: bool) -> None:
        self.shown.append(content["text/plain"])


@pytest.fixture
def notebook(monkeypatch) -> list[str]:
    """A notebook without ipywidgets: what its cell shows, in order."""
    shown: list[str] = []

    def display(content: dict[str, str], raw: bool, display_id: bool) -> Handle:
        shown.append(content["text/plain"])
        return Handle(shown)

    module = types.SimpleNamespace(display=display)
    ipython = types.SimpleNamespace(display=module, get_ipython=ZMQInteractiveShell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.setattr("wingbeat.execution.notebook_line._BETWEEN", 0.0)
    return shown


class ZMQInteractiveShell:
    """Named as the shell of a notebook's kernel is."""


def test_a_notebook_shows_one_line_that_changes(notebook, recwarn) -> None:
    wb.run(circles_task(epochs=1), wb.Gaussian(0.01), replicas=2, driver="loop")
    assert "training 4 replicas: 32 of 32" in notebook
    assert any(words.startswith("training 4 replicas: 1 of") for words in notebook)
    assert not [w for w in recwarn if "ipywidgets" in str(w.message)]


def test_a_notebook_is_silent_when_told_to_be(notebook) -> None:
    wb.run(circles_task(epochs=1), wb.Gaussian(0.01), replicas=2, driver="loop", progress=False)
    assert notebook == []


def test_nothing_is_shown_where_there_is_no_terminal(capsys) -> None:
    with Progress() as bar, bar.task("work", 3) as tick:
        tick(3)
        bar.say("something")
    assert capsys.readouterr() == ("", "")


def test_three_seeds_are_three() -> None:
    assert check_seeds(3) == default_seeds(3)
    assert len(set(default_seeds(3))) == 3
    for wrong in (0, -1, True):
        with pytest.raises(RequestError, match="seeds is"):
            check_seeds(wrong)
