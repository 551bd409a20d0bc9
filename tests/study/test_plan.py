"""The dry run: what is done and left, what a probe measures, and one look at the folder."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
from study_tasks import finished

from wingbeat.study.condition import Condition
from wingbeat.study.cost import CopiesCost, line
from wingbeat.study.grid import cross
from wingbeat.study.ledger import Ledger
from wingbeat.study.plan import _times, evenly, plan_study
from wingbeat.study.probe import _best, probe, probes

HERE = Path(__file__).resolve().parent
LINES = cross(
    Condition("study_tasks:line", {"steps": 30}, replicas=3, record_every=5, metrics=("l2",)),
    {"arguments.lr": [0.05, 0.1, 0.2], "seed": [0, 1]},
)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))


def test_a_plan_writes_nothing_and_counts_what_is_done(tmp_path: Path) -> None:
    plan = plan_study(LINES, tmp_path / "none", probes=0)
    assert not (tmp_path / "none").exists()
    assert (plan.done, plan.left, plan.basis) == (0, 6, "nothing measured")
    assert math.isnan(plan.seconds)
    ledger = Ledger(tmp_path / "some")
    finished(ledger, LINES[1])
    finished(ledger, Condition("m:other"))
    plan = plan_study(LINES, tmp_path / "some", probes=0)
    assert (plan.done, plan.left) == (1, 5)
    assert plan.conditions["status"].tolist() == ["left", "done", *["left"] * 4]
    assert list(plan.conditions) == ["key", "arguments.lr", "seed", "status"]
    found = json.loads(json.dumps(plan.to_json(), allow_nan=False))
    assert found["seconds"] is None
    assert found["conditions"][1]["key"] == LINES[1].key


def test_finished_conditions_tell_the_time_of_the_rest(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for condition in LINES[:5]:
        finished(ledger, condition)  # two seconds each
    plan = plan_study(
        [*LINES, *cross(LINES[0], {"seed": [2, 3, 4]})], tmp_path, workers=2, probes=0
    )
    assert plan.left == 4
    assert plan.seconds == plan.low == plan.high == 4 * 2.0 / 2
    assert plan.basis == "the times of 5 finished conditions"
    assert plan_study(LINES[:5], tmp_path, probes=3).seconds == 0.0


def test_a_probe_adds_up() -> None:
    """The expected time is that of the parts that it measured, for all steps and snapshots."""
    found = probe(LINES[0])
    assert found.parameters == 2
    expected = found.seconds_to_start + 30 * found.seconds_per_step + 8 * found.seconds_per_snapshot
    assert found.seconds == pytest.approx(expected)
    assert found.memory > 50_000_000, "torch alone needs more"
    assert found.disk >= 8 * 5 * 2 * 4, "8 snapshots, 5 replicas, 2 parameters, 4 bytes"


def test_probes_are_spread_over_what_is_left() -> None:
    assert [c.seeds[0] for c in evenly(cross(LINES[0], {"seed": list(range(9))}), 3)] == [0, 4, 8]
    assert evenly(LINES, 1) == LINES[:1]
    assert evenly(LINES[:2], 5) == LINES[:2]
    assert evenly(LINES, 0) == []


@pytest.mark.long
def test_a_measured_plan_gives_time_memory_and_disk(tmp_path: Path) -> None:
    plan = plan_study(LINES, tmp_path, workers=2, probes=1)
    assert len(plan.probes) == 1
    assert 0 < plan.low <= plan.seconds <= plan.high
    assert plan.memory == 2 * max(p.memory for p in plan.probes)
    assert plan.basis == "the first steps of 1 conditions"


def test_a_large_grid_is_compared_with_one_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10,000 conditions, none of which is looked for by name when it is not there."""
    ledger, asked = Ledger(tmp_path), []
    grid = cross(LINES[0], {"arguments.lr": [i / 1e4 for i in range(1, 101)], "seed": range(100)})
    (ledger.place(grid[5].key)).mkdir()
    (ledger.place(grid[5].key) / "record.json").touch()
    (ledger.place(grid[6].key)).mkdir()

    def looked_for(path: str) -> bool:
        asked.append(Path(path).parent.name)
        return asked[-1] == grid[5].key

    monkeypatch.setattr(os.path, "isfile", looked_for)
    left = ledger.left(grid)
    assert len(grid) == 10_000
    assert [c.key for c in grid if c not in (grid[5],)][:4] == [c.key for c in left[:4]]
    assert len(left) == 9_999
    monkeypatch.undo()
    assert sorted(asked) == sorted([grid[5].key, grid[6].key])


def test_what_cannot_be_measured_in_time_is_scaled_up_and_named() -> None:
    """Without time for more, the fewest copies are measured, and other metrics one by one."""
    many = Condition(
        "study_tasks:line",
        {"steps": 30},
        perturbations=tuple({"kind": "gaussian", "scale": 0.01 * i} for i in range(1, 11)),
        replicas=3,
        record_every=5,
        metrics=("l2", "barrier"),
    )
    first, *_, last = probes(many, 0.0)
    assert (first.copies, first.measured_copies) == (32, 3)
    assert first.unmeasured == ("barrier",)
    assert last.unmeasured == ()
    assert last.seconds > first.seconds
    known = replace(last, key="known")
    assert _best([first, known], 2)[0] == [known]
    found, unknown = _best([first], 1)
    assert (found, unknown.rpartition(": ")[2]) == ([first], "barrier")
    assert "scaled up from 3 of 32 copies; not counted" in _times(HERE, [], found, unknown)[1]


def test_more_copies_cost_what_a_straight_line_says() -> None:
    known = [CopiesCost(3, start=2.0, step=1.0), CopiesCost(8, start=2.0, step=2.0, memory=8.0)]
    assert line(known, 8) == known[1]
    assert line(known, 18)[:3] == (18, 2.0, 4.0)
    # With one size alone, all grows with the copies besides the reference, as pairs with it do.
    assert line(known[:1], 5).step == 2.0
