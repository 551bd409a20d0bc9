"""What an import costs is what is used: names are looked up when they are first asked for."""

from __future__ import annotations

import ast
import gc
import subprocess
import sys
from pathlib import Path

import pytest
import scipy.special

import wingbeat
from wingbeat import garbage, special

HEAVY = (
    *("torch", "scipy", "scipy.stats", "pandas", "plotly", "matplotlib", "sklearn", "pydantic"),
    *("filelock", "numpy.f2py", "numpy.f2py.crackfortran", "numpy.testing"),
)


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
    assert loaded_by("import wingbeat as wb; wb.run") == {"torch"}


def test_a_quantile_loads_no_translator_of_fortran() -> None:
    program = """
from wingbeat import special
assert special.ndtri(0.5) == 0.0
"""
    assert "numpy.f2py.crackfortran" not in loaded_by(program)
    used = f"{program}import numpy\nassert numpy.f2py.__version__ and numpy.f2py.get_include()"
    assert {"scipy", "numpy.f2py.crackfortran"} <= loaded_by(used)


def test_a_special_function_is_scipys() -> None:
    assert {name: getattr(special, name) for name in special.__all__} == {
        name: getattr(scipy.special, name) for name in special.__all__
    }
    with pytest.raises(AttributeError, match="nonsense"):
        _ = special.nonsense


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_searched_for_afterwards_as_before(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with garbage.not_searched_for(), garbage.not_searched_for():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
        with pytest.raises(ValueError, match="broken"), garbage.not_searched_for():
            raise ValueError("broken")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_garbage_is_searched_for_after_an_import() -> None:
    program = """
import gc, wingbeat as wb
wb.RequestError
assert gc.isenabled()
gc.disable()
wb.StoreError
assert not gc.isenabled()
"""
    assert loaded_by(program) == set()


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
