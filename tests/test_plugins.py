"""Registries: who may hold a name, and what entry points of packages give."""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.metadata import entry_points

import pytest

from wingbeat.errors import RequestError
from wingbeat.plugins import Registry, origin

GROUP = "wingbeat.metrics"


def registry() -> Registry[type]:
    return Registry(GROUP, "color", lambda found: isinstance(found, type))


class Red:
    pass


class Other:
    pass


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install a distribution that announces three things, one of them broken."""
    (tmp_path / "paints.py").write_text("class Blue: pass\nnumber = 3\n")
    (tmp_path / "spilt.py").write_text("import paints\nraise ValueError('dried out')\n")
    info = tmp_path / "paints-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: paints\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        f"[{GROUP}]\nblue = paints:Blue\nnone = paints:number\nspilt = spilt:Blue\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert {"blue", "none", "spilt"} <= entry_points(group=GROUP).names
    yield
    for name in ("paints", "spilt"):
        sys.modules.pop(name, None)


def test_a_name_belongs_to_one_definition():
    colors = registry()
    assert colors.add("red", Red) is Red
    colors.add("red", type("Red", (), {"__module__": __name__, "__qualname__": "Red"}))
    assert colors.find("red") is not Red, "the same definition made again replaces the first"
    with pytest.raises(RequestError, match=r"color 'red' is taken by .*Red: give .*Other another"):
        colors.add("red", Other)
    for name in ("", "a#b", "a:b"):
        with pytest.raises(RequestError, match="without '#' and ':'"):
            colors.add(name, Other)


def test_an_unknown_name_is_refused_with_the_nearest():
    colors = registry()
    colors.add("crimson", Red)
    with pytest.raises(RequestError, match="unknown color 'crimsn': did you mean 'crimson'"):
        colors.find("crimsn")
    assert "crimsn" not in colors


@pytest.mark.usefixtures("package")
def test_entry_points_are_loaded_when_they_are_asked_for():
    colors = registry()
    colors.add("red", Red)
    assert colors.names() == ("red", "blue", "none", "spilt")
    assert "paints" not in sys.modules
    assert "blue" in colors
    assert "paints" not in sys.modules
    assert colors.find("blue").__name__ == "Blue"
    assert colors.find("blue") is sys.modules["paints"].Blue


@pytest.mark.usefixtures("package")
def test_a_broken_package_harms_nobody_who_does_not_use_it():
    colors = registry()
    assert colors.find("blue").__name__ == "Blue"
    with pytest.raises(RequestError, match=r"by paints as spilt:Blue .* ValueError: dried out"):
        colors.find("spilt")
    with pytest.raises(RequestError, match="paints:number is int and no color"):
        colors.find("none")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert set(colors.all()) == {"blue"}
    assert ["dried out" in str(one.message) for one in told] == [False, True]


def test_a_place_is_imported():
    assert registry().find("collections:OrderedDict").__name__ == "OrderedDict"
    for place in ("no_such_module:a", "collections:NoSuchThing"):
        with pytest.raises(RequestError, match=f"color '{place}' cannot be found"):
            registry().find(place)


def test_built_in_things_are_imported_when_first_needed(tmp_path, monkeypatch):
    folder = tmp_path / "ready_made"
    folder.mkdir()
    (folder / "__init__.py").write_text("colors = None\n")
    (folder / "green.py").write_text(
        "import ready_made\nclass Green: pass\nready_made.colors.add('green', Green)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    colors: Registry[type] = Registry(GROUP, "color", lambda _: True, "ready_made")
    importlib.import_module("ready_made").colors = colors
    assert "ready_made.green" not in sys.modules
    with pytest.raises(RequestError, match="'green' is taken"):
        colors.add("green", Other)
    assert [origin(thing) for thing in colors] == ["ready_made.green.Green"]
    for name in ("ready_made", "ready_made.green"):
        sys.modules.pop(name)
