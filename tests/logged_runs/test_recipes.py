"""Is it the recipe or the seed: against SciPy and statsmodels' formulas, and by simulation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from wingbeat.analyses.logged_runs import LoggedRuns, compare_recipes
from wingbeat.analyses.logged_runs.one_run import LoggedRun
from wingbeat.cli.main import main
from wingbeat.errors import RequestError

LEVEL = 0.95


def runs(values: list[float], *, seeds: bool = True, metric: str = "accuracy") -> LoggedRuns:
    made = [
        LoggedRun(f"run-{n}", "csv", n if seeds else None, {metric: {10: 0.0, 20: float(value)}})
        for n, value in enumerate(values)
    ]
    return LoggedRuns(tuple(made))


def drawn(seed: int, n: int, shift: float = 0.0) -> list[float]:
    return list(np.random.default_rng(seed).normal(shift, 1.0, n))


def test_unpaired_is_welchs() -> None:
    a, b = drawn(1, 4), drawn(2, 7, 2.0)
    found = compare_recipes(runs(a), runs(b))
    known = scipy.stats.ttest_ind(b, a, equal_var=False)
    low, high = known.confidence_interval(LEVEL)
    assert not found.paired
    assert (found.low, found.high, found.p) == pytest.approx((low, high, known.pvalue))
    assert found.effect == pytest.approx(np.mean(b) - np.mean(a))


def test_paired_is_students_of_the_differences() -> None:
    a, b = drawn(1, 6), drawn(2, 6, 1.0)
    found = compare_recipes(runs(a), runs(b))
    known = scipy.stats.ttest_rel(b, a)
    low, high = known.confidence_interval(LEVEL)
    assert found.paired
    assert (found.low, found.high, found.p) == pytest.approx((low, high, known.pvalue))


@pytest.mark.parametrize(("paired", "runs_each"), [(False, 64), (True, 34)])
def test_number_of_runs_is_cohens(paired: bool, runs_each: int) -> None:
    """Cohen 1988: d = 0.5, power 0.8, 5 % two-sided takes 64 of each, or 34 pairs."""
    spread = np.array([-1.0, 1.0] * 5)
    spread *= 1.0 / spread.std(ddof=1)
    a = runs(list(np.zeros(10)) if paired else list(spread))
    b = runs(list(spread))
    found = compare_recipes(a, b, paired=paired, gain=0.5)
    assert found.more == runs_each - 10
    assert found.more_high > found.more
    assert 0.0 < found.power < 0.8
    again = compare_recipes(a, b, paired=paired, gain=found.detectable)
    assert again.power == pytest.approx(0.8, abs=1e-6)
    assert again.more == 0


def test_power_of_pairs_by_simulation() -> None:
    generator = np.random.default_rng(0)
    draws = generator.normal(0.8, 1.0, (20_000, 8))
    t = draws.mean(1) / (draws.std(1, ddof=1) / np.sqrt(8))
    simulated = np.mean(np.abs(t) > scipy.stats.t.ppf(0.975, 7))
    unit = np.array([-1.0, 1.0] * 4) / np.std([-1.0, 1.0] * 4, ddof=1)
    found = compare_recipes(runs([0.0] * 8), runs(list(unit)), gain=0.8)
    assert found.power == pytest.approx(simulated, abs=0.01)


WORLDS = {
    "normal, 3 and 3": (3, 3, 1.0, False, "normal", 0.93),
    "normal, unequal spreads, 3 and 10": (3, 10, 5.0, False, "normal", 0.93),
    "normal, 10 and 10": (10, 10, 1.0, False, "normal", 0.93),
    "lognormal, 5 and 5": (5, 5, 1.0, False, "lognormal", 0.93),
    "pairs that share much, 5": (5, 5, 1.0, True, "normal", 0.93),
    "pairs of lognormals, 5": (5, 5, 1.0, True, "lognormal", 0.93),
}


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_coverage(world: str) -> None:
    """1,000 trials: the standard error of 0.95 is 0.007."""
    n, m, ratio, paired, kind, least = WORLDS[world]
    generator = np.random.default_rng(7)
    draw = getattr(generator, kind)
    covered = decided = 0
    for _ in range(1000):
        shared = generator.normal(0.0, 3.0, n) if paired else 0.0
        a = draw(0.0, 1.0, n) + shared
        b = ratio * (draw(0.0, 1.0, m)) + shared
        truth = (ratio - 1.0) * (np.exp(0.5) if kind == "lognormal" else 0.0)
        found = compare_recipes(runs(list(a)), runs(list(b)), paired=paired)
        covered += found.low <= truth <= found.high
        decided += found.verdict != "it may be the seed"
    assert covered / 1000 >= least
    assert covered / 1000 <= 0.99
    assert decided / 1000 <= 1.0 - least  # nothing is there to be found


@pytest.mark.parametrize(
    ("metric", "better", "word"),
    [
        ("accuracy", None, "B is better"),
        ("eval/loss", None, "A is better"),
        ("eval/loss", "higher", "B is better"),
        ("sparsity", None, "A and B differ"),
    ],
)
def test_which_way_is_better(metric: str, better: str | None, word: str) -> None:
    a, b = drawn(1, 5), drawn(2, 5, 9.0)
    found = compare_recipes(runs(a, metric=metric), runs(b, metric=metric), better=better)
    assert found.verdict == word


def test_a_run_that_failed_decides_nothing() -> None:
    found = compare_recipes(runs(drawn(1, 4)), runs([*drawn(2, 3, 9.0), float("nan")]))
    assert found.verdict == "it may be the seed"
    assert found.reason == "diverged"
    assert np.isnan(found.effect)
    assert "run-3 has no finite value: 1 of 4 runs of B failed" in found.notes


def test_without_spread_there_is_no_interval() -> None:
    found = compare_recipes(runs([1.0, 1.0]), runs([2.0, 2.0]), paired=False)
    assert np.isnan([found.low, found.high]).all()
    assert found.verdict == "it may be the seed"
    assert any("same run twice" in note for note in found.notes)
    one = compare_recipes(runs([1.0]), runs([2.0]))
    assert one.reason == "too_few_replicas"
    assert str(one)


REFUSED = {
    "one of several metrics": ({}, "several metrics"),
    "no such metric": ({"metric": "acuracy"}, "accuracy"),
    "no such step": ({"metric": "loss", "at": 15}, "nearest is"),
    "at": ({"metric": "loss", "at": "best"}, "at is 'best'"),
    "level": ({"metric": "loss", "level": 95.0}, "level is 95"),
    "gain": ({"metric": "loss", "gain": 0.0}, "gain is 0"),
    "better": ({"metric": "loss", "better": "max"}, "better is 'max'"),
    "pairs": ({"metric": "loss", "paired": True}, "cannot be paired"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    options, words = REFUSED[case]
    both = LoggedRuns(
        tuple(
            LoggedRun(f"run-{n}", "csv", None, {"accuracy": {20: 1.0 * n}, "loss": {20: 2.0 * n}})
            for n in range(3)
        )
    )
    with pytest.raises(RequestError, match=words):
        compare_recipes(both, both, **options)  # type: ignore[arg-type]


def test_runs_that_ended_at_other_steps_are_refused() -> None:
    early = runs(drawn(1, 3))
    del early.runs[1].values["accuracy"][20]
    with pytest.raises(RequestError, match="run-1 logged 'accuracy' last at step 10, others at 20"):
        compare_recipes(early, runs(drawn(2, 3)))
    found = compare_recipes(early, runs(drawn(2, 3)), at=10)
    assert found.at == "step 10"
    later = runs(drawn(2, 3))
    for run in later.runs:
        run.values["accuracy"][30] = 1.0
    with pytest.raises(RequestError, match="step 20 of A and 30 of B"):
        compare_recipes(runs(drawn(1, 3)), later)


def test_the_best_of_each_run() -> None:
    made = runs([1.0, 2.0])
    for run in made.runs:
        run.values["accuracy"] |= {15: 7.0 + run.values["accuracy"][20]}
    assert made.ends("accuracy", "highest")["step"].tolist() == [15, 15]
    assert made.ends("accuracy", "lowest")["value"].tolist() == [0.0, 0.0]


def test_a_curve_is_students_at_each_step() -> None:
    values = drawn(3, 5)
    row = runs(values).curve("accuracy").iloc[-1]
    low, high = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(LEVEL)
    assert (row.low, row.high) == pytest.approx((low, high))
    half = scipy.stats.t.ppf(0.975, 4) * np.std(values, ddof=1) * np.sqrt(1 + 1 / 5)
    assert row.band_high - row["mean"] == pytest.approx(half)


def write(folder: Path, shift: float) -> None:
    for seed in range(4):
        place = folder / f"seed-{seed}"
        place.mkdir(parents=True)
        rows = f"step,accuracy\n5,0.5\n10,{0.5 + shift + 0.01 * (seed + shift * seed**2)}\n"
        (place / "metrics.csv").write_text(rows)


@pytest.mark.parametrize("expanded", [False, True], ids=["pattern", "words of a shell"])
def test_the_command(
    expanded: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "a", 0.0)
    write(tmp_path / "b", 0.2)
    words = [
        sorted(map(str, (tmp_path / name).iterdir())) if expanded else [f"{tmp_path}/{name}/**"]
        for name in "ab"
    ]
    monkeypatch.setattr("sys.argv", ["wingbeat", "seeds", *words[0], "--against", *words[1]])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 0
    assert "B is better: +0.2" in capsys.readouterr().out
    monkeypatch.setattr(
        "sys.argv", ["wingbeat", "seeds", *words[0], "--against", *words[1], "--json"]
    )
    with pytest.raises(SystemExit):
        main()
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "B is better"
    assert told["paired"] is True
    assert told["counts"] == [4, 4]


def test_the_command_with_one_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 0.0)
    monkeypatch.setattr("sys.argv", ["wingbeat", "seeds", str(tmp_path), "--json"])
    with pytest.raises(SystemExit):
        main()
    told = json.loads(capsys.readouterr().out)
    assert told["runs"] == 4
    assert told["curves"]["accuracy"][-1]["mean"] == pytest.approx(0.515)
