"""The skeleton of a named study: options of the plan, verdicts, registry, what a run leaves."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from wingbeat.cli.named_study import command_for
from wingbeat.errors import RequestError
from wingbeat.stats import Estimate
from wingbeat.studies.break_even import BreakEvenPlan
from wingbeat.studies.edge import EdgePlan
from wingbeat.studies.lr_phases import PhasesPlan
from wingbeat.studies.phase_diagram import DiagramPlan
from wingbeat.study import named
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.condition import Condition
from wingbeat.study.named import STUDIES, NamedStudy
from wingbeat.study.plan_options import argument, command_of, option, plan_from
from wingbeat.study.runner.inline import InlineRunner
from wingbeat.study.verdicts import Claim, judge

NAMES = ("break-even", "edge", "lr-phases", "phase-diagram")
TASK = "wingbeat.tasks.full_batch:tanh_task"


@dataclass(frozen=True)
class Plan:
    """A plan with one field of each kind."""

    place: str = argument("Where.", "PLACE")
    rates: tuple[float, ...] = option((0.1,), "Rate.", "lr", together="rates")
    slow_rates: tuple[float, ...] = option((0.01,), "Slow rate.", together="rates")
    arguments: dict[str, Any] = option({}, "Argument, name=value.", "arg")
    seeds: int = option(1, "Base seeds.")
    limit: float | None = option(None, "Limit.")
    data: str = option("digits", "Data.")
    fast: bool = option(False, "Fast.")
    checked: bool = option(True, "Checked.")
    times: tuple[int, ...] | None = option(
        None,
        "Times, as 1,2.",
        read=lambda text: tuple(map(int, text.split(","))),
        write=lambda times: ",".join(map(str, times)),
    )


def asked_of(words: str) -> Any:
    """The plan that the command line of words makes."""
    seen: list[Any] = []
    study = NamedStudy("try", "t", "Help?", Plan, list, dict, lambda _: None)
    object.__setattr__(study, "run", lambda plan, *_, **__: seen.append(plan) or STOP)
    app = typer.Typer()
    app.command()(command_for(study))
    ended = CliRunner().invoke(app, shlex.split(words))
    assert ended.exit_code == 0, ended.output
    return seen[0]


STOP = named.Finding(type("S", (), {"failures": ()})(), None, {})  # type: ignore[arg-type]
TEXT = st.text("ab -='\"$;é", min_size=1, max_size=8).filter(lambda t: not t.startswith("-"))
PLANS = st.builds(
    Plan,
    TEXT,
    st.lists(st.sampled_from([0.1, 0.25, 3.0, 1e-5]), max_size=3).map(tuple),
    st.lists(st.sampled_from([0.01, 0.5]), max_size=2).map(tuple),
    st.dictionaries(
        st.sampled_from(["n", "hidden"]), st.sampled_from([3, [4, 5], 0.5]), max_size=2
    ),
    st.integers(1, 9),
    st.none() | st.sampled_from([0.5, 2.0]),
    TEXT,
    st.booleans(),
    st.booleans(),
    st.none() | st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple),
).filter(lambda p: p.rates or p.slow_rates)


@given(PLANS)
def test_the_command_of_a_plan_makes_that_plan(plan: Plan) -> None:
    words = command_of("try", plan)
    assert words.startswith("wingbeat study try ")
    assert asked_of(words.removeprefix("wingbeat study try ")) == plan


def test_who_asks_for_some_of_a_group_gets_those_alone() -> None:
    assert plan_from(Plan, {"place": "x", "rates": [0.5]}).slow_rates == ()
    assert plan_from(Plan, {"place": "x", "slow_rates": [0.5]}).rates == ()
    assert plan_from(Plan, {"place": "x", "rates": None, "seeds": 3}) == Plan("x", seeds=3)
    assert command_of("try", Plan("x", slow_rates=())) == "wingbeat study try x --lr 0.1"


@pytest.mark.parametrize(
    "plan",
    [EdgePlan(), EdgePlan(rates=(0.1,), seeds=1), BreakEvenPlan(hidden=(5,)), DiagramPlan(time=2.0),
     PhasesPlan(TASK, (0.1, 0.3), {"n": 20}, record_every=3, target=0.7, exponents=False)],
)  # fmt: skip
def test_plans_of_the_studies_come_back_from_their_command(plan: Any) -> None:
    study = next(s for s in STUDIES if s.plan is type(plan))
    seen: list[Any] = []
    own = NamedStudy(study.name, "t", "h", study.plan, list, dict, lambda _: None)
    object.__setattr__(own, "run", lambda p, *_, **__: seen.append(p) or STOP)
    app = typer.Typer()
    app.command()(command_for(own))
    words = shlex.split(study.command(plan).removeprefix(f"wingbeat study {study.name}"))
    assert CliRunner().invoke(app, words).exit_code == 0
    assert seen == [plan]


def test_built_in_studies_are_found_by_name() -> None:
    assert set(NAMES) <= set(STUDIES.names())
    for name in NAMES:
        study = STUDIES.find(name)
        assert (study.name, study.help.rstrip("?.")) != ("", "")
    with pytest.raises(RequestError, match="did you mean 'edge'"):
        STUDIES.find("egde")


@given(st.floats(-5, 5), st.floats(0, 5), st.floats(-5, 5), st.booleans())
def test_a_verdict_is_that_of_the_whole_interval(
    value: float, half: float, bound: float, above: bool
) -> None:
    found = Estimate(value, value - half, value + half)
    verdict = judge(found, bound, above=above)
    inside = found.low <= bound <= found.high
    assert (verdict == "undetermined") == inside
    if not inside:
        assert (verdict == "holds") == ((value > bound) == above)


@pytest.mark.parametrize("found", [Estimate(9.0), Estimate.undefined("diverged"), None])
def test_without_an_interval_nothing_is_decided(found: Estimate | None) -> None:
    assert judge(found, 0.0, above=True) == ("not run" if found is None else "undetermined")
    low_only = Estimate(9.0, 8.0, math.nan)
    assert judge(low_only, 0.0, above=True) == "undetermined"


@dataclass(frozen=True)
class Small:
    """The plan of a study from outside the package."""

    lr: float = option(0.1, "Learning rate.")


def conditions_of(plan: Small) -> list[Condition]:
    arguments = {"epochs": 1, "lr": plan.lr}
    return [Condition("wingbeat.tasks.dense:circles_task", arguments, replicas=2, metrics=("l2",),
                      tags={"lr": plan.lr})]  # fmt: skip


def test_a_study_of_ones_own_is_one_declaration(tmp_path: Path) -> None:
    study = NamedStudy(
        name="mine",
        title="my study",
        help="Does it part?",
        plan=Small,
        conditions=conditions_of,
        tables=lambda found: {"ends": found.study.conditions[["final_l2"]]},
        claims=lambda found: (Claim("parts", "Copies <part>.", "", "1", "holds"),),
        page=lambda found: PageContent(
            f"{len(found.claims)} claim.", ("Intro.",), (("a", "1", ""),), {"word": "meaning"}
        ),
    )
    said: list[str] = []
    found = study.run(Small(lr=0.2), tmp_path, runner=InlineRunner(), say=said.append)
    assert said[0] == "1 conditions, 0 of them done already"
    assert (tmp_path / "ends.csv").is_file()
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["command"] == "wingbeat study mine --lr 0.2"
    assert summary["claims"][0]["verdict"] == "holds"
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Copies &lt;part&gt;." in text
    assert "wingbeat study mine --lr 0.2" in text
    again = study.run(Small(lr=0.2), tmp_path, runner=InlineRunner(), say=said.append)
    assert "1 conditions, 1 of them done already" in said
    assert again.claims == found.claims
    nothing = Analysis(Small(), found.study)
    assert NamedStudy("n", "t", "h", Small, conditions_of, dict, study.page).claims(nothing) == ()


def test_a_study_trains_where_it_is_told(tmp_path: Path) -> None:
    """`cpu:0` stands for another device: it is one by name, and any machine has it."""
    study = NamedStudy("mine", "t", "h", Small, conditions_of, lambda _: {},
                       lambda _: PageContent("h", (), (), {}))  # fmt: skip
    said: list[str] = []
    options: dict[str, Any] = {"runner": InlineRunner(), "say": said.append}
    here = study.run(Small(), tmp_path, **options).study
    there = study.run(Small(), tmp_path, device="cpu:0", **options).study
    assert said.count("1 conditions, 0 of them done already") == 2
    assert set(here.conditions["key"]).isdisjoint(there.conditions["key"])
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["command"] == "wingbeat study mine --device cpu:0"
    with pytest.raises(RequestError, match="use 'cpu'"):
        study.run(Small(), tmp_path, device="nowhere", **options)


@pytest.mark.slow
def test_a_study_is_compiled_where_it_is_told(tmp_path: Path) -> None:
    study = NamedStudy("mine", "t", "h", Small, conditions_of, lambda _: {},
                       lambda _: PageContent("h", (), (), {}))  # fmt: skip
    options: dict[str, Any] = {"runner": InlineRunner(), "say": lambda _: None}
    here, fast = (
        study.run(Small(), tmp_path, compiled=how, **options).study for how in (False, True)
    )
    assert fast.environments[fast.conditions["key"][0]]["mode"] == "compiled"
    ends = [float(one.conditions["final_l2"][0]) for one in (here, fast)]
    assert ends[1] == pytest.approx(ends[0], rel=1e-3)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["command"] == "wingbeat study mine --compiled"


def test_a_registered_study_takes_its_place_and_no_other_does(monkeypatch: Any) -> None:
    monkeypatch.setattr(STUDIES, "_things", STUDIES.registered())
    mine = NamedStudy("mine", "t", "h", Small, conditions_of, dict, lambda _: None)  # type: ignore[arg-type,return-value]
    assert STUDIES.add("mine", mine) is mine
    assert STUDIES.find("mine") is mine
    with pytest.raises(RequestError, match="is taken by"):
        STUDIES.add("edge", mine)
