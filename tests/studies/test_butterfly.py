"""The spawn-and-perturb study: its grid, one pass, tables, claims, page and command."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from butterfly_values import made
from hypothesis import given
from hypothesis import strategies as st

import wingbeat as wb
from wingbeat.cli.main import main as command_line
from wingbeat.errors import RequestError
from wingbeat.replicas.replicas import Replicas
from wingbeat.stats import bootstrap
from wingbeat.studies.butterfly import STUDY
from wingbeat.studies.butterfly.announce import announcement, replica_steps
from wingbeat.studies.butterfly.figures import growth, maps
from wingbeat.studies.butterfly.found import (
    GAINS,
    SHARES,
    ButterflyFindings,
    limits,
    summarised,
)
from wingbeat.studies.butterfly.grid import (
    KINDS,
    Cell,
    GridKind,
    check_steps,
    grid_cells,
    parse_kinds,
)
from wingbeat.studies.butterfly.page import main_table
from wingbeat.studies.butterfly.plan import (
    MEASURES,
    ButterflyPlan,
    begun,
    check_task,
    conditions,
)
from wingbeat.studies.butterfly.published import PUBLISHED, PUBLISHED_SIZES, beside_published
from wingbeat.study.ledger import Ledger, Record
from wingbeat.study.ranges import kept
from wingbeat.study.runner.inline import InlineRunner

QUIET: Any = {"runner": InlineRunner(), "say": lambda _: None}
TINY = {"hidden": [8], "samples": 192, "batch_size": 32, "epochs": 10}
STEPS = 60
PLAN = ButterflyPlan(
    "mnist-mlp",
    TINY,
    times=(0.0, 0.1, 0.5),
    sizes=(0.01, 0.1),
    kinds=parse_kinds("gaussian,single:0.5@0"),
    replicas=2,
    seeds=2,
    eval_samples=100,
)


SMALL = ButterflyPlan(
    "butterfly_small:small",
    times=(0.0, 0.5),
    sizes=(0.1,),
    kinds=parse_kinds("batch,gaussian"),
    replicas=2,
    seeds=2,
    exclude="",
    measures=(),
)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> ButterflyFindings:
    """The tiny study, run once."""
    study, *_ = STUDY.run(PLAN, tmp_path_factory.mktemp("butterfly"), **QUIET)
    return ButterflyFindings(PLAN, study)


def test_the_grid_has_every_cell_once() -> None:
    grid = conditions(PLAN)
    assert len(PLAN.cells) == 3 * 2 + 1
    assert len(grid) == len({c.key for c in grid}) == 2
    for condition, seed in zip(grid, PLAN.base_seeds, strict=True):
        assert condition.seeds == (seed,)
        assert {p["seed"] for p in condition.perturbations} == {seed}
        assert [p["at"] for p in condition.perturbations] == [0, 0, 6, 6, 30, 30, 0]
        assert {p["exclude"] for p in condition.perturbations} == {"norm|bias"}


def test_every_kind_becomes_its_perturbation() -> None:
    plan = replace(PLAN, kinds=parse_kinds("batch,gaussian,single,fraction,ulp:3"), times=(0.5,))
    first = conditions(plan)[0]
    described = [(p["kind"], p.get("scale"), p.get("n")) for p in first.perturbations]
    assert described == [
        ("batchgradient", 0.01, None),
        ("batchgradient", 0.1, None),
        ("gaussian", 0.01, None),
        ("gaussian", 0.1, None),
        ("singleweight", 0.01, None),
        ("singleweight", 0.1, None),
        ("gaussian", 0.01, None),
        ("gaussian", 0.1, None),
        ("ulp", None, 3),
    ]
    share = first.perturbations[6]
    assert share["fraction"] == plan.fraction
    assert [f.label for f in first.forks()] == [p["name"] for p in first.perturbations]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([k for k in KINDS if k != "ulp"]),
            st.lists(st.floats(1e-6, 10.0).map(lambda x: float(f"{x:g}")), max_size=3),
            st.lists(st.floats(0.0, 0.99).map(lambda x: float(f"{x:g}")), max_size=3),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_kinds_survive_the_command_line(found: list[tuple[str, list[float], list[float]]]) -> None:
    kinds = tuple(GridKind(name, tuple(sizes), tuple(times)) for name, sizes, times in found)
    assert parse_kinds(",".join(str(kind) for kind in kinds)) == kinds


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"times": (0.0, 0.001)}, "times 0 and 0.001 of 60 steps are both step 0"),
        ({"times": (0.999,)}, "step 60, beyond the last"),
        ({"interventions": ("long warm-up",)}, "takes no intervention"),
        ({"budget": 0.1}, "takes no budget"),
        ({"arguments": {"hiden": [8]}}, "hiden"),
        ({"exclude": "."}, "no tensor is left"),
        ({"kinds": parse_kinds("gaussian,gaussian:0.01@0")}, "more than once"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(RequestError, match=re.escape(word)):
        conditions(replace(PLAN, **change))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"times": (1.0,)}, "time 1.0"),
        ({"times": (-0.1,)}, "time -0.1"),
        ({"times": (float("nan"),)}, "time nan"),
        ({"times": ()}, "need one value"),
        ({"sizes": (0.0,)}, "size 0.0"),
        ({"sizes": (float("inf"),)}, "size inf"),
        ({"replicas": 0}, "replicas is 0"),
        ({"fraction": 0.0}, "fraction is 0.0"),
        ({"task": "cifar-resnt"}, "cifar-resnet"),
        ({"interventions": ("standard", "standard")}, "once"),
    ],
)
def test_a_value_out_of_range_is_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(RequestError, match=re.escape(word)):
        replace(PLAN, **change)


@pytest.mark.parametrize("text", ["", "gausian", "gaussian:x", "gaussian@2", "ulp:0.5"])
def test_unreadable_kinds_are_refused(text: str) -> None:
    with pytest.raises(RequestError):
        parse_kinds(text)


def test_steps_that_collide_are_named() -> None:
    with pytest.raises(RequestError, match=r"times 0.1 and 0.11 of 10 steps are both step 1"):
        check_steps(grid_cells([GridKind("ulp")], (), (0.0, 0.1, 0.11)), 10)


def test_interventions_change_the_task_and_nothing_else() -> None:
    plan = replace(SMALL, interventions=("standard", "slow"), budget=1.0, measures=MEASURES)
    grid = conditions(plan)
    assert [c.tags["intervention"] for c in grid] == ["standard"] * 2 + ["slow"] * 2
    usual, slow = grid[0].arguments["arguments"], grid[2].arguments["arguments"]
    assert (usual, slow) == ({"budget": 1.0}, {"budget": 1.0, "intervention": "slow"})
    assert [c.tags["length"] for c in grid] == [40] * 4
    assert grid[0].metrics == ("l2", "train_loss", "barrier", *MEASURES[1:])
    assert grid[0].perturbations == grid[2].perturbations


def test_other_interventions_may_have_a_smaller_grid() -> None:
    small = parse_kinds("gaussian:0.1@0")
    plan = replace(SMALL, interventions=("standard", "slow"), intervention_kinds=small)
    usual, _, slow, _ = conditions(plan)
    assert slow.perturbations == tuple(p for p in usual.perturbations if p in slow.perturbations)
    assert [p["name"] for p in slow.perturbations] == ["gaussian-0.1@0"]
    assert plan.every_cell == plan.cells
    other = replace(plan, intervention_kinds=parse_kinds("ulp:3@0"))
    assert {c.name for c in other.every_cell} - {c.name for c in other.cells} == {"ulp-3@0"}
    assert "each: 4/1 cells" in announcement(plan, conditions(plan), [])[0]


def test_a_task_of_the_users_with_interventions(tmp_path: Path) -> None:
    plan = replace(
        SMALL,
        interventions=("standard", "slow"),
        kinds=parse_kinds("gaussian"),
        replicas=1,
        seeds=1,
        driver="loop",
    )
    study, page, *_ = STUDY.run(plan, tmp_path, **QUIET)
    found = ButterflyFindings(plan, study)
    assert set(found.cells["intervention"]) == {"standard", "slow"}
    assert not (found.cells["quantity"] == "disagreement").any()
    assert "Interventions side by side" in page.read_text(encoding="utf-8")


def test_the_reference_trains_once(done: ButterflyFindings) -> None:
    """One pass: as many losses as updates, and no more updates than the closed form says."""
    grid = conditions(PLAN)
    # 2 twins of 60 updates; of each cell 2 replicas from their fork: 3 x 60, 2 x 54, 2 x 30.
    assert replica_steps(grid[0])[0] == 2 * STEPS + 2 * (3 * 60 + 2 * 54 + 2 * 30)
    assert replica_steps(grid[0])[1] == 2 * (3 * 120 + 2 * 114 + 2 * 90)
    said = announcement(PLAN, grid, grid)
    assert f"{2 * replica_steps(grid[0])[0]:,} replica-steps" in said[-1]
    assert set(done.study.conditions["length"]) == {STEPS}


def test_one_pass_counts_as_many_updates_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted where the updates are made: the members of every stack that is advanced."""
    counted = 0
    advance = Replicas.advance

    def counting(self: Replicas, index: int, **more: Any) -> None:
        nonlocal counted
        counted += len(self.members)
        advance(self, index, **more)

    condition = conditions(SMALL)[0]
    task = condition.task()
    monkeypatch.setattr(Replicas, "advance", counting)
    wb.run(task, condition.forks(), replicas=2, record_every=20, metrics=("l2",), driver="loop")
    assert counted == replica_steps(condition)[0]


@pytest.mark.slow
def test_a_second_call_trains_nothing(
    done: ButterflyFindings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a finished condition was run again")

    monkeypatch.setattr("wingbeat.study.work._asked", refuse)
    again = STUDY.run(PLAN, done.study.folder, **QUIET).study
    pd.testing.assert_frame_equal(again.table, done.study.table)


class Idle:
    """A runner that gets to nothing."""

    def map(self, work: Any, conditions: Any) -> Iterator[Record]:
        """Do no work."""
        yield from ()


def test_a_study_of_which_nothing_is_done_has_a_page(tmp_path: Path) -> None:
    _, page, *_ = STUDY.run(SMALL, tmp_path, runner=Idle(), say=lambda _: None)
    text = page.read_text(encoding="utf-8")
    assert "2 conditions are not done: run the same command again." in text
    assert "Nothing is finished yet." in text


def test_results_on_other_data_are_not_taken_for_these(tmp_path: Path) -> None:
    """A folder that was begun on a stand-in is refused once the data are there."""
    grid, ledger = conditions(SMALL), Ledger(tmp_path)
    other = replace(grid[0], tags={**grid[0].tags, "task": "a stand-in"})
    ledger.finish(other, pd.DataFrame({"value": [0.0]}), {})
    with pytest.raises(RequestError, match=r"results of 'a stand-in'.*WINGBEAT_DATA"):
        STUDY.run(SMALL, tmp_path, runner=Idle(), say=lambda _: None)
    ledger.finish(grid[0], pd.DataFrame({"value": [0.0]}), {})
    check_task(grid[:1], ledger)
    assert begun(SMALL, tmp_path) == SMALL


@pytest.mark.slow
def test_an_unfinished_study_goes_on(tmp_path: Path, done: ButterflyFindings) -> None:
    """One of two base seeds is missing: only that is trained, to the same bits."""
    folder = tmp_path / "part"
    shutil.copytree(done.study.folder, folder)
    first, second = (folder / "records" / c.key / "record.json" for c in conditions(PLAN))
    shutil.rmtree(second.parent)
    before = first.stat().st_mtime_ns
    whole = STUDY.run(PLAN, folder, **QUIET).study
    assert first.stat().st_mtime_ns == before
    assert second.is_file()
    pd.testing.assert_frame_equal(whole.table, done.study.table)


@pytest.mark.slow
def test_values_are_those_of_a_direct_run(done: ButterflyFindings) -> None:
    """The same perturbations through ``wb.run``: equal values of every replica."""
    condition = conditions(PLAN)[1]
    seed = condition.seeds[0]
    result = wb.run(
        replace(condition.task(), seed=seed),
        condition.forks(),
        replicas=2,
        record_every=15,
        metrics=("l2", "disagreement", "barrier"),
        driver="lockstep",
        compiled=False,
        progress=False,
    )
    end = result.table[(result.table["step"] == STEPS) & (result.table["layer"] == "")]
    for cell in PLAN.cells:
        for name in ("l2", "disagreement", "barrier_train", "barrier_error_test"):
            direct = end[(end["a"] == "reference") & (end["perturbation"] == cell.name)]
            direct = direct[direct["metric"] == name]["value"]
            own = done.values[(done.values["seed"] == seed) & (done.values["quantity"] == name)]
            own = own[(own["kind"] == cell.kind) & (own["size"] == cell.size)]
            own = own[own["time"] == cell.time].sort_values("replica")
            assert own["value"].tolist() == direct.tolist()
            assert len(direct) == 2


def test_cells_are_means_over_replicas_nested_in_seeds(done: ButterflyFindings) -> None:
    place = ["kind", "size", "time", "quantity"]
    for key, own in done.values.groupby(place):
        values, seeds = own["value"].to_numpy(), own["seed"].tolist()
        row = done.cells.set_index(place).loc[key]
        direct = bootstrap(lambda w, x=values: w @ x / w.sum(axis=1), len(own), groups=seeds)
        assert row["value"] == pytest.approx(np.mean(values))
        inside = kept(direct, limits(str(key[-1])))
        assert np.allclose([row["low"], row["high"]], [inside.low, inside.high], equal_nan=True)
        assert not row["low"] < (-np.inf if key[-1] in GAINS else 0.0)
        assert not row["high"] > (1.0 if key[-1] in SHARES else np.inf)
        assert row["sd"] == pytest.approx(np.std(values, ddof=1))
        assert (row["n"], row["seeds"], row["noise_floor"]) == (len(own), 2, 0.0)


def test_the_size_of_a_gaussian_is_its_norm_over_the_expected_one(done: ButterflyFindings) -> None:
    """E = sqrt(2/d * 8 d + 2/8 * 80) = 6 for d - 8 - 10, whatever d is."""
    start = done.values[done.values["quantity"] == "l2_start"]
    start = start[start["kind"] == "gaussian"]
    assert len(start) == 2 * 2 * 6
    assert np.allclose(start["value"], 6 * start["size"], rtol=1e-4)


def test_the_published_numbers_stand_beside_ours() -> None:
    table = beside_published(summarised(made({0.0: 1.5, 0.02: 0.15})))
    rows = {row[0]: row[1:] for row in table.rows}
    assert all(len(known) == len(PUBLISHED_SIZES) for known in PUBLISHED.values())
    assert rows["0 %, gaussian, 0.001"][0] == "1.40 ± 1.48"
    assert rows["0 %, gaussian, 0.001"][1].startswith("1.53 ±")
    assert rows["2 %, batch, 0.01"] == ("0.69 ± 0.26", "–", "–")
    assert rows["0 %, gaussian, 0.1"][0] == "–"


def test_a_map_has_the_values_in_its_cells(done: ButterflyFindings) -> None:
    barrier = next(f for f in maps(done.cells) if f.key == "map_barrier_train")
    assert (barrier.columns, barrier.rows) == (("0 %", "10 %", "50 %"), ("0.01", "0.1"))
    own = done.cells[(done.cells["quantity"] == "barrier_train") & (done.cells["time"] == 0.5)]
    assert barrier.values[1][2] == own[own["size"] == 0.1]["value"].iloc[0]
    assert "step 30" in barrier.hovers[1][2]
    dots = growth(done.cells)[1].dots
    assert len(dots) == len(PLAN.cells)


def test_the_page_and_the_tables_are_whole(done: ButterflyFindings) -> None:
    folder = done.study.folder
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "Content-Security-Policy" in text
    words = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r'(src|href)="https?:', words)
    for part in ("1.82 ± 1.26", "A single weight", "Between the ends", "in the same basin?"):
        assert part in words
    markdown = (folder / "results.md").read_text(encoding="utf-8")
    assert len(main_table(done.cells, "standard").rows) == len(PLAN.cells)
    assert "## Cells: standard" in markdown
    content = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert content["command"] == STUDY.command(PLAN)
    assert content["noise_floor"] == 0.0
    assert content["tables"] == ["cells.csv", "values.csv", "growth.csv"]
    kept = pd.read_csv(
        folder / "cells.csv", keep_default_na=False, na_values={"low": "", "high": "", "value": ""}
    )
    pd.testing.assert_frame_equal(kept, done.cells, check_dtype=False)
    values = pd.read_csv(folder / "values.csv")
    # 2 base seeds x 7 cells x 2 replicas x (4 barriers, 2 distances, disagreement), and one
    # barrier between the two replicas of each cell; aligned L2, share that stays, 4 aligned
    # barriers, angle and diversity of each, and two gains of their ensemble.
    assert len(values) == 2 * 7 * (2 * 7 + 1 + 2 * 8 + 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mnist-mlp", "--times", "0,0.0001"], "both step 0"),
        (["mnist-mlp", "--kinds", "gausian"], "did you mean 'gaussian'"),
        (["mnist-mlp", "--driver", "auto"], "use lockstep or loop"),
        (["mnist-mlp", "--intervention", "AdamW"], "takes no intervention"),
        (["cifar-resnet", "--intervention", "warm-up"], "unknown intervention"),
        (["nothing"], "no built-in one"),
        (["nowhere:task"], "nowhere"),
        (["mnist-mlp", "--arg", "lr"], "name=value"),
    ],
)
def test_the_command_refuses_in_words(
    words: list[str], said: str, tmp_path: Path, call: Any
) -> None:
    code, _, error = call(*words, "--out", str(tmp_path / "study"))
    assert code == 2
    assert said in error
    assert not (tmp_path / "study").exists()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs ``wingbeat study butterfly`` in this process."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["wingbeat", "study", "butterfly", *words])
        with pytest.raises(SystemExit) as caught:
            command_line()
        out = capsys.readouterr()
        return int(caught.value.code or 0), out.out, " ".join(out.err.split())

    return run


def test_the_command_prints_what_it_found(done: ButterflyFindings, call: Any) -> None:
    """The line that the page shows asks for the same conditions: nothing is trained again."""
    line = STUDY.command(PLAN)
    assert line.startswith("wingbeat study butterfly mnist-mlp --arg 'hidden=[8]'")
    words = shlex.split(line)[3:]
    code, out, _ = call(*words, "--out", str(done.study.folder), "--json", "--workers", "1")
    assert code == 0
    assert len(json.loads(out)["findings"]["cells"]) == len(done.cells)


@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        SMALL,
        ButterflyPlan(quick=True, budget=0.05, seeds=1),
        ButterflyPlan("a:b", kinds=parse_kinds("ulp:1/3@0.5"), where=("head",), driver="loop"),
        ButterflyPlan(eval_samples=0, measures=(), interventions=("standard", "long warm-up")),
        ButterflyPlan(quick=True, intervention_kinds=parse_kinds("gaussian:0.01@0/0.02")),
    ],
)  # fmt: skip
def test_a_plan_comes_back_from_its_command(
    plan: ButterflyPlan, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(type(STUDY), "run", lambda _, plan, *__, **___: seen.append(plan) or STOP)
    assert call(*shlex.split(STUDY.command(plan))[3:])[0] == 0
    assert seen == [plan]


STOP: Any = SimpleNamespace(study=SimpleNamespace(failures=()))


def test_the_flags_of_the_documentation_are_read(
    call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(type(STUDY), "run", lambda _, plan, *__, **___: seen.append(plan) or STOP)
    line = (
        "cifar-resnet --budget 0.05 --arg depth=8 --times 0,0.1 --scale 1e-2,1e-1 --kinds "
        "gaussian,single:0.5@0 --replicas 2 --intervention standard --intervention 'long warm-up' "
        "--where body,head --metric ensemble,cka --eval-samples 0 --keep-weights"
    )
    assert call(*shlex.split(line))[0] == 0
    (plan,) = seen
    assert (plan.times, plan.sizes, plan.budget) == ((0.0, 0.1), (0.01, 0.1), 0.05)
    assert plan.arguments == {"depth": 8}
    assert [str(k) for k in plan.kinds] == ["gaussian", "single:0.5@0"]
    assert {c.kind for c in plan.cells} == {
        "gaussian.body", "gaussian.head", "single.body", "single.head",
    }  # fmt: skip
    assert (plan.measures, plan.eval_samples) == (("ensemble", "cka"), 0)
    assert plan.interventions == ("standard", "long warm-up")


def test_names_and_steps_of_cells() -> None:
    assert Cell("gaussian", 0.1, 0.5).name == "gaussian-0.1@0.5"
    assert Cell("gaussian", 0.1, 0.005).at(1000) == 5
    assert len(ButterflyPlan(quick=True).cells) == 5
