"""What nobody asks for is the same in Python and on the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import pytest
import torch

import wingbeat as wb
from wingbeat.analyses.logged_runs import compare_recipes
from wingbeat.analyses.noise_sources import SOURCES, noise_sources
from wingbeat.analyses.noise_sources.compare import SOURCES_BY_DEFAULT
from wingbeat.analyses.onset import METRICS, find_onset
from wingbeat.calibration import calibrate
from wingbeat.checkpoints import compare
from wingbeat.cli import calibrate as cli_calibrate
from wingbeat.cli import compare as cli_compare
from wingbeat.cli import noise as cli_noise
from wingbeat.cli import onset as cli_onset
from wingbeat.cli import parse, scripts, task
from wingbeat.cli import seeds as cli_seeds
from wingbeat.cli.main import COMMANDS
from wingbeat.cli.named_study import command_for
from wingbeat.cli.study import run_file
from wingbeat.execution.external import measure_checkpoints
from wingbeat.execution.run import run
from wingbeat.execution.verify import verify
from wingbeat.scripts.fork import fork
from wingbeat.scripts.nudge import nudge
from wingbeat.study.named import STUDIES
from wingbeat.study.plan_options import default_of, plan_from
from wingbeat.study.study import Study

NAMES = {
    "perturb": "perturbations", "metric": "metrics", "step": "steps", "source": "sources",
    "device": "devices", "workers": "jobs", "level": "confidence",
}  # fmt: skip
"""Options that may be repeated have the singular of the argument's name; two have another name."""
WRITES = frozenset(("out", "report", "plot", "csv", "write", "against"))
"""Files: the command line writes into ``runs/`` what Python keeps in memory."""


@dataclass(frozen=True)
class Pair:
    """A command and the function that it stands for; ``but`` names differences on purpose."""

    command: Callable[..., Any]
    function: Callable[..., Any]
    but: dict[str, str] = field(default_factory=dict)


PAIRS = {
    "run": Pair(task.run, run),
    "verify": Pair(task.verify, verify),
    "onset": Pair(cli_onset.onset, find_onset),
    "noise": Pair(cli_noise.noise, noise_sources),
    "compare": Pair(
        cli_compare.compare,
        compare,
        {"memory": "1 GiB too, but of the whole process"},
    ),
    "nudge": Pair(scripts.nudge, nudge),
    "fork": Pair(scripts.fork, fork),
    "measure": Pair(scripts.measure, measure_checkpoints),
    "seeds": Pair(cli_seeds.seeds, compare_recipes),
    "calibrate": Pair(cli_calibrate.calibrate, calibrate, {"dtype": "a name for a torch.dtype"}),
    "study": Pair(
        run_file,
        Study.run,
        {"runner": "a script without a __main__ guard would start itself again in each process"},
    ),
}


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    return {
        name: p.default
        for name, p in inspect.signature(function).parameters.items()
        if p.default is not inspect.Parameter.empty
    }


def plain(name: str, value: Any) -> Any:
    """Return a default of either side in one form."""
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if name == "perturbation" and isinstance(value, str):
        return parse.parse_perturbation(value).describe()
    if name == "perturbation":  # None: Gaussian(0.01), as the docstring says
        return wb.Gaussian(0.01).describe()
    if name == "sources" and value == SOURCES_BY_DEFAULT:
        return None
    return None if value == () else value


WITHOUT = frozenset(("report", "watch", "metrics", "perturbations", "demo"))
"""Commands that stand for no function with defaults of its own."""


def test_every_command_is_compared() -> None:
    assert set(COMMANDS) == set(PAIRS) | WITHOUT


@pytest.mark.parametrize("name", STUDIES.all())
def test_a_named_study_without_options_is_the_plan_without_arguments(name: str) -> None:
    plan = STUDIES.find(name).plan
    said = {k: v for k, v in defaults(command_for(STUDIES.find(name))).items() if k != "out"}
    own = {f.name: said[f.name] for f in fields(plan) if f.name in said}
    asked = {
        f.name: "wingbeat.tasks.full_batch:tanh_task"
        for f in fields(plan)
        if f.metadata.get("metavar") and default_of(f) is MISSING
    }
    assert plan_from(plan, {**own, **asked}) == plan(**asked)
    run = defaults(STUDIES.find(name).run)
    assert said["workers"] == run["workers"]
    assert said["keep_weights"] == run["keep_weights"]


@pytest.mark.parametrize("name", PAIRS)
def test_the_defaults_are_the_same(name: str) -> None:
    pair = PAIRS[name]
    there, compared = defaults(pair.function), 0
    for option, value in defaults(pair.command).items():
        names = (option, NAMES.get(option, option), f"{option}ation")
        known = next((n for n in names if n in there), None)
        if known is None or option in WRITES or option in pair.but:
            continue
        assert plain(known, value) == plain(known, there[known]), option
        compared += 1
    assert compared >= (1 if name in ("measure", "calibrate") else 2)


def test_a_run_that_says_nothing_is_that_of_the_command_line() -> None:
    x = torch.linspace(-1, 1, 16).unsqueeze(1)
    own = wb.Task(
        model=lambda: torch.nn.Linear(1, 1),
        loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        data=(x, 2 * x),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=8,
        steps=4,
    )
    found = wb.run(own, driver="loop", metrics=["l2"])
    (only,) = found.condition["perturbations"]
    assert only == parse.parse_perturbation("gaussian:0.01").describe()
    assert found.condition["replicas"] == 5
    assert wb.run(own, (), driver="loop", metrics=["l2"]).condition["perturbations"] == []


def test_names_in_the_help_are_those_of_the_analyses() -> None:
    """The help is written without torch, and so without the analyses."""
    assert cli_noise.SOURCES == SOURCES
    assert cli_onset.METRICS == METRICS
