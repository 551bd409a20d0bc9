"""A choice that was measured once is made again, whatever the clock says then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cases
import pytest

import wingbeat as wb
from wingbeat.replicas.drivers.cache import DriverTimings, key_of, load, store
from wingbeat.replicas.drivers.selection import DriverSelector


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WINGBEAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pretend(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> list[str]:
    """Let a step take a stated time with each driver; returns the drivers that were timed."""
    asked: list[str] = []

    def took(self: DriverSelector, driver: wb.run, *_: int) -> float:
        asked.append(driver.name)
        return seconds[driver.name]

    monkeypatch.setattr(DriverSelector, "_time", took)
    return asked


def chosen(replicas: int = 2, steps: int = 4) -> str:
    task = replace(cases.task("mlp"), steps=steps)
    done = wb.run(task, wb.Gaussian(0.01), replicas=replicas, metrics=["l2"], progress=False)
    return str(done.environment["driver"])


def test_the_first_measurement_decides_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = pretend(monkeypatch, lockstep=9.0, loop=1.0)
    assert chosen() == "loop"
    assert set(asked) == {"lockstep", "loop"}
    again = pretend(monkeypatch, lockstep=1.0, loop=9.0)
    assert chosen() == "loop"
    assert again == []
    assert chosen(replicas=3) == "lockstep", "another request is measured anew"


def test_what_another_process_kept_first_stands() -> None:
    first, second = (
        DriverTimings("loop", {"loop": 1.0}),
        DriverTimings("traced/8", {"traced/8": 0.5}),
    )
    key = key_of({"threads": 1})
    assert load(key) is None
    assert store(key, first) == first
    assert store(key, second) == first
    assert load(key) == first


@pytest.mark.parametrize("text", ['{"best": ', '{"best": "x", "timings": {"loop": 1}}', "[]"])
def test_a_damaged_file_is_measured_anew(
    text: str, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of({"threads": 1})
    store(key, DriverTimings("loop", {"loop": 1.0}))
    (own_cache / "drivers" / f"{key}.json").write_text(text)
    assert load(key) is None
    assert key in caplog.text


def test_a_cache_that_cannot_be_written_is_no_error(own_cache: Path) -> None:
    own_cache.write_text("a file stands where the folder should be")
    measured = DriverTimings("loop", {"loop": 1.0})
    assert store(key_of({}), measured) == measured
    assert chosen() in ("loop", "lockstep")
