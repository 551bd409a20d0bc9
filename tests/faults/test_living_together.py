"""Nested runs, base seeds at once, readers during writing, names of modules, and permissions."""

from __future__ import annotations

import forbidden
import living_together
import pytest

FEW = {"readers": 5, "forbidden_files": 9, "module_names": 6, "full_disk_under_pages": 4}


@pytest.mark.parametrize(
    "attack", [*living_together.ATTACKS, *forbidden.ATTACKS], ids=lambda a: a.__name__
)
def test_nothing_is_lost_or_wrong(attack, monkeypatch):
    found = attack(FEW.get(attack.__name__, 1))
    assert found["tried"] >= 1
    assert found == {**found, "right": found["tried"], "silently_wrong": 0, "raw": 0, "lost": 0}


@pytest.mark.long
def test_many_readers():
    found = living_together.readers(200)
    assert (found["right"], found["silently_wrong"]) == (200, 0)
