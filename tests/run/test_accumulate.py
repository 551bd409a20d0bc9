"""Measures gather in a folder: nothing that was computed is dropped without being asked."""

from __future__ import annotations

import json
from math import inf

import pytest
from run import tasks
from run.tasks import contents, noisy, rows

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.measure import measure as measure_all
from wingbeat.measure import metric
from wingbeat.replicas.replicas import Replicas

FIRST, MORE = ("l2", "spread", "accuracy"), ("spread", "velocity", "disagreement")


def go(out=None, **options):
    options = {"replicas": 3, "record_every": 3, "driver": "loop", **options}
    return wb.run(noisy(steps=6), tasks.two_forks(at=3), out=out, **options)


@pytest.fixture
def measured(monkeypatch):
    """What is measured from now on, one entry each time; training is refused."""
    seen = []

    def remembered(trajectory, task, wanted, *rest):
        seen.append(tuple(wanted))
        return measure_all(trajectory, task, wanted, *rest)

    monkeypatch.setattr("wingbeat.execution.session.measure", remembered)
    return seen


def no_training(monkeypatch):
    monkeypatch.setattr(Replicas, "advance", None)


def same_rows(a, b):
    columns = [c for c in a.columns if c not in ("value", "reason")]
    order = [t.sort_values(columns, kind="stable").reset_index(drop=True) for t in (a, b)]
    return order[0].equals(order[1])


@pytest.mark.parametrize("seeds", [None, [0, 1, 2]])
def test_fewer_and_other_metrics_keep_the_rows_of_before(tmp_path, monkeypatch, measured, seeds):
    first = go(tmp_path, metrics=FIRST, seeds=seeds)
    whole = go(metrics=[*FIRST, "velocity", "disagreement"], seeds=seeds)
    no_training(monkeypatch)
    measured.clear()
    again = go(tmp_path, metrics=MORE, seeds=seeds)
    assert set(measured) == {("velocity", "disagreement")}  # only what was missing
    assert again.metrics == ("l2", "spread", "accuracy", "velocity", "disagreement")
    for name in FIRST:
        assert same_rows(rows(again, metric=name), rows(first, metric=name))
    assert same_rows(again.table, whole.table)
    assert again.summary == whole.summary
    assert again.warnings == whole.warnings
    there = wb.load(tmp_path)
    assert there.table.equals(again.table)
    assert (there.summary, there.metrics) == (again.summary, again.metrics)


@pytest.mark.parametrize("seeds", [None, [0, 1]])
def test_fewer_metrics_compute_nothing(tmp_path, monkeypatch, measured, seeds):
    first = go(tmp_path, metrics=FIRST, seeds=seeds)
    no_training(monkeypatch)
    measured.clear()
    before = contents(tmp_path)
    fewer = go(tmp_path, metrics="l2", seeds=seeds)
    assert measured == []
    assert fewer.table.equals(wb.load(tmp_path).table)
    assert fewer.summary == first.summary
    assert contents(tmp_path) == before


@pytest.mark.parametrize("seeds", [None, [0, 1]])
def test_replace_forgets_what_is_not_asked(tmp_path, monkeypatch, measured, seeds):
    go(tmp_path, metrics=FIRST, seeds=seeds)
    alone = go(metrics="l2", seeds=seeds)
    no_training(monkeypatch)
    again = go(tmp_path, metrics="l2", seeds=seeds, remeasure="replace")
    assert set(again.table.metric) == {"l2"}
    assert wb.load(tmp_path).metrics == ("l2",)
    measured.clear()
    go(tmp_path, metrics="l2", seeds=seeds, remeasure="replace")
    assert measured == []
    assert alone.summary == again.summary


def test_what_the_classes_say_of_training_is_kept(tmp_path):
    first = go(tmp_path, metrics=FIRST)
    again = go(tmp_path, metrics="velocity")
    assert "training_accuracy" in first.summary
    assert again.summary["training_accuracy"] == first.summary["training_accuracy"]
    assert again.summary["training"] == first.summary["training"]
    later = go(tmp_path / "other", metrics="l2")
    assert "training_accuracy" not in later.summary
    later = go(tmp_path / "other", metrics="accuracy")
    assert later.summary["training_accuracy"] == first.summary["training_accuracy"]


def test_a_scalar_that_was_not_measured_now_is_not_undefined(tmp_path):
    """The projected ratio needs components, which the second call does not compute."""
    first = go(tmp_path, metrics="spread_projected")
    assert first.summary["convergence_ratio_projected"]["value"] is not None
    again = go(tmp_path, metrics="l2")
    key = "convergence_ratio_projected"
    assert again.summary[key] == first.summary[key]
    assert key not in go(metrics="l2").summary


def test_a_damaged_table_brings_back_all_that_was_measured(tmp_path, monkeypatch):
    first = go(tmp_path, metrics=FIRST)
    no_training(monkeypatch)
    (tmp_path / "table.parquet").write_bytes(b"nothing")
    again = go(tmp_path, metrics="velocity")
    assert set(again.metrics) == {*FIRST, "velocity"}
    assert same_rows(rows(again, metric="l2"), rows(first, metric="l2"))


def test_other_code_under_a_name_is_measured_anew_and_the_rest_kept(tmp_path, measured):
    def declared(power):
        @metric("power_here", needs="weights", unit="1", range=(0, inf), direction="0", caption="x")
        def power_of(view):
            return sum((block**2).sum(axis=1) for _, block in view.blocks()) ** power

        return power_of

    first = go(tmp_path, metrics=["l2", declared(1)])
    measured.clear()
    again = go(tmp_path, metrics=[declared(2)])
    assert measured == [("power_here",)]
    once, twice = (rows(r, metric="power_here").value for r in (first, again))
    assert twice.to_numpy() == pytest.approx(once.to_numpy() ** 2)
    assert same_rows(rows(again, metric="l2"), rows(first, metric="l2"))
    measured.clear()
    go(tmp_path, metrics=["velocity"])
    assert measured == [("velocity",)]
    measured.clear()
    go(tmp_path, metrics=[declared(2)])
    assert measured == []


def test_base_seeds_gather_too(tmp_path, monkeypatch, measured):
    go(tmp_path, metrics=("l2", "velocity"), seeds=[0, 1])
    more = go(tmp_path, metrics="l2", seeds=[1, 2])
    assert list(more.trajectories) == [0, 1, 2]
    assert set(more.table.metric) == {"l2", "velocity"}
    assert sorted(rows(more, metric="velocity").seed.unique()) == [0, 1, 2]
    assert "also holds the base seeds 0:" in more.warnings[-1]
    no_training(monkeypatch)
    measured.clear()
    fewer = go(tmp_path, metrics="l2", seeds=[0])
    assert measured == []
    assert fewer.summary == more.summary
    assert "also holds the base seeds 1, 2:" in fewer.warnings[-1]
    assert not any("also holds" in w for w in wb.load(tmp_path).warnings)
    alone = go(tmp_path, metrics="l2", seeds=[0], remeasure="replace")
    assert list(alone.trajectories) == [0]
    assert json.loads((tmp_path / "condition.json").read_text())["seeds"] == [0]


def test_an_unknown_word_is_refused(tmp_path):
    with pytest.raises(RequestError, match="remeasure is 'again': 'add' keeps"):
        go(tmp_path, metrics="l2", remeasure="again")
