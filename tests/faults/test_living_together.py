"""Nested runs, base seeds at once, readers during writing, names of modules, and permissions."""

from __future__ import annotations

import sys
from pathlib import Path

import forbidden
import living_together
import pytest

import wingbeat as wb

FEW = {"readers": 5, "forbidden_files": 9, "module_names": 6, "full_disk_under_pages": 4}


def anybody_may_read(*places: Path | str) -> bool:
    """Tell whether every folder above these places may be entered by anybody."""
    above = [folder for place in places for folder in (Path(place), *Path(place).parents)]
    return all(folder.stat().st_mode & 0o005 for folder in above)


@pytest.mark.parametrize(
    "attack", [*living_together.ATTACKS, *forbidden.ATTACKS], ids=lambda a: a.__name__
)
def test_nothing_is_lost_or_wrong(attack, monkeypatch):
    if attack is forbidden.forbidden_files and not anybody_may_read(Path(wb.__file__), sys.prefix):
        pytest.skip("the user without rights could not even import the package")
    found = attack(FEW.get(attack.__name__, 1))
    assert found["tried"] >= 1
    assert found == {**found, "right": found["tried"], "silently_wrong": 0, "raw": 0, "lost": 0}


@pytest.mark.long
def test_many_readers():
    found = living_together.readers(200)
    assert (found["right"], found["silently_wrong"]) == (200, 0)
