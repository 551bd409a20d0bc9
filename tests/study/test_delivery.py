"""Records by way of an object store: whole or absent, resumed, and never out of their folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from study_tasks import finished

from wingbeat.errors import RequestError, StoreError
from wingbeat.study.condition import Condition
from wingbeat.study.delivery import Depot
from wingbeat.study.grid import cross
from wingbeat.study.ledger import Ledger
from wingbeat.study.run import run_study

PLACE = "wingbeat.testing.runners:line"
LINES = cross(Condition(PLACE, replicas=3, metrics=("l2",)), {"arguments.lr": [0.05, 0.1]})


def url(folder: Path) -> str:
    return folder.as_uri()


def test_a_study_by_way_of_a_store_has_the_same_bytes(tmp_path: Path) -> None:
    run_study(LINES, tmp_path / "plain")
    found = run_study(LINES, tmp_path / "out", store=url(tmp_path / "store"))
    assert found.failures == ()
    plain, stored = (tmp_path / n / "table.parquet" for n in ("plain", "out"))
    assert plain.read_bytes() == stored.read_bytes()
    assert Depot(url(tmp_path / "store")).keys() == {c.key for c in LINES}
    assert not list((tmp_path / "out").rglob("run"))


def test_what_was_delivered_is_fetched_not_repeated(tmp_path: Path) -> None:
    """The study's own folder is lost; the store has one of two conditions."""
    run_study(LINES[:1], tmp_path / "first", store=url(tmp_path / "store"))
    stamp = (tmp_path / "store" / LINES[0].key / "record.json").stat().st_mtime_ns
    run_study(LINES, tmp_path / "second", store=url(tmp_path / "store"))
    assert (tmp_path / "store" / LINES[0].key / "record.json").stat().st_mtime_ns == stamp
    begun = [e["key"] for e in Ledger(tmp_path / "second").events() if e["event"] == "waiting"]
    assert begun == [LINES[1].key]


def test_a_record_without_its_last_file_is_not_there(tmp_path: Path) -> None:
    ledger, depot = Ledger(tmp_path / "a"), Depot(url(tmp_path / "store"))
    finished(ledger, LINES[0])
    depot.put(ledger.place(LINES[0].key))
    assert depot.keys() == {LINES[0].key}
    (tmp_path / "store" / LINES[0].key / "record.json").unlink()
    assert depot.keys() == frozenset()


def test_a_record_that_arrives_damaged_is_named(tmp_path: Path) -> None:
    ledger, depot = Ledger(tmp_path / "a"), Depot(url(tmp_path / "store"))
    finished(ledger, LINES[0])
    depot.put(ledger.place(LINES[0].key))
    path = tmp_path / "store" / LINES[0].key / "table.parquet"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)
    with pytest.raises(StoreError, match=LINES[0].key):
        depot.fetch(Ledger(tmp_path / "b"), [LINES[0].key])


def test_a_store_that_cannot_be_written_fails_the_condition(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    found = run_study(LINES[:1], tmp_path / "out", store=url(tmp_path / "store"), tries=1)
    assert "cannot be written" in found.failures[0].error


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no address|needs a library"):
        run_study(LINES, tmp_path, store="nonsense://x")


def test_names_that_lead_out_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hostile:
        def find(self, root: str) -> list[str]:
            return [f"{root}/../../escaped"]

    monkeypatch.setattr(Depot, "_open", lambda self: (Hostile(), "bucket"))
    with pytest.raises(StoreError, match="leads out"):
        Depot("x://bucket").fetch(Ledger(tmp_path / "b"), ["0123"])
    assert not (tmp_path / "escaped").exists()
