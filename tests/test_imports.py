"""What an import costs is what is used: names are looked up when they are first asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import wingbeat

HEAVY = ("torch", "scipy", "scipy.stats", "pandas", "plotly", "matplotlib", "sklearn", "pydantic")


def loaded_by(program: str) -> set[str]:
    """Return which heavy libraries a program of its own process has loaded at its end."""
    told = f"{program}\nimport sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    command = [sys.executable, "-c", told]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_alone_loads_nothing_heavy() -> None:
    assert loaded_by("import wingbeat") == set()


def test_a_task_loads_torch_alone() -> None:
    assert loaded_by("import wingbeat as wb; wb.Task; wb.Gaussian") == {"torch"}


@pytest.mark.slow
def test_a_run_draws_nothing() -> None:
    assert loaded_by("import wingbeat as wb; wb.run") == {"torch", "scipy"}


def test_every_name_is_where_type_checkers_look_for_it() -> None:
    seen = {}
    for node in ast.walk(ast.parse(Path(wingbeat.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            seen |= {alias.name: node.module for alias in node.names}
    typed = {name: seen[name] for name in wingbeat.__all__ if seen[name] != "wingbeat"}
    assert typed == wingbeat._PLACE_OF
    assert {n for n in wingbeat.__all__ if seen[n] == "wingbeat"} == set(wingbeat._ROOMS)


@pytest.mark.parametrize("name", wingbeat.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(wingbeat, name) is getattr(wingbeat, name)
    assert name in dir(wingbeat)


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = wingbeat.nonsense
