"""The files of docs/extending.md, as a package of somebody else's that is installed."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from run.tasks import plain, points, rows, value
from typer.testing import CliRunner

import wingbeat as wb
from wingbeat.checkpoints.formats import FORMATS
from wingbeat.cli.listing import (
    _OF_METRICS,
    _OF_PERTURBATIONS,
    as_markdown,
    metric_facts,
    perturbation_facts,
)
from wingbeat.cli.main import app
from wingbeat.cli.parse import parse_perturbation
from wingbeat.curvature import threshold
from wingbeat.errors import DriverError, RequestError
from wingbeat.lyapunov import training_spectrum
from wingbeat.measure.metric import METRICS
from wingbeat.replicas.drivers import DRIVERS, driver
from wingbeat.replicas.perturb import PERTURBATIONS
from wingbeat.report.pages.run import render_page
from wingbeat.study.condition import Condition
from wingbeat.study.grid import cross
from wingbeat.study.runner import RUNNERS, make_runner
from wingbeat.study.study import Study
from wingbeat.task.optimizers import OPTIMIZERS, pure_optimizer
from wingbeat.testing import OptimizerConformance

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
FILE = re.compile(r"^```python\n# file: (\S+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
POINTS = re.compile(r'^\[project\.entry-points\."(.+)"\]\n((?:["\w].*\n)+)', re.MULTILINE)
REGISTRIES = (METRICS, PERTURBATIONS, OPTIMIZERS, DRIVERS, RUNNERS, FORMATS)
FIXED = {"replicas": 3, "record_every": 10, "driver": "loop", "dtype": torch.float64}


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory):
    """Write the files of the page as a distribution with its entry points."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "mine"]:
        del sys.modules[name]  # a file of that name, which another test has loaded
    folder = tmp_path_factory.mktemp("site")
    for name, text in FILE.findall(PAGE):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    # A package, not a namespace, which would stand behind a mine.py anywhere on the path.
    (folder / "mine" / "__init__.py").touch()
    info = folder / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    points_ = "".join(
        f"[{group}]\n{lines.replace(chr(34), '')}" for group, lines in POINTS.findall(PAGE)
    )
    (info / "entry_points.txt").write_text(points_)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    known = {registry: dict(registry.registered()) for registry in REGISTRIES}
    for registry in known:
        registry._announced = None
    yield
    sys.path.remove(str(folder))
    for registry, things in known.items():
        registry._announced = None
        registry._things = things
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def test_a_metric_of_the_weights_is_found_by_name():
    assert "mine.l1" not in sys.modules, "nothing is loaded before it is asked for"
    found = wb.run(plain(), wb.Gaussian(0.1), metrics=["l2", "l1"], **FIXED)
    last = found.trajectory.at(20)
    w = torch.cat([t.flatten(1) for t in last.params.values()], dim=1).numpy()
    for i, label in enumerate(last.labels[1:], start=1):
        own = value(found, metric="l1", step=20, b=label)
        assert own == pytest.approx(np.abs(w[i] - w[0]).sum())
    assert found.summary["final_l1"]["low"] < found.summary["final_l1"]["value"]
    assert "Sum of |w" in render_page(found)


def test_a_metric_of_the_activations():
    module = importlib.import_module("mine.dead")
    found = wb.run(
        plain(eval_data=points(30, 1)), wb.Gaussian(0.1), metrics=[module.dead_units], **FIXED
    )
    own = rows(found, metric="dead-units")
    assert set(own.layer) == {"0", "1", "2"}
    assert (own.value == 0).all()


def test_a_perturbation_is_found_by_name():
    fork = parse_perturbation("shift:0.25@10")
    found = wb.run(plain(), fork, metrics=["l2"], **FIXED)
    at_fork = value(found, metric="l2", step=10, b="shift-0.25@10#1", layer="")
    assert at_fork == pytest.approx(0.25 * np.sqrt(5 + 3))
    assert found.condition["perturbations"][0]["size"] == 0.25


def test_an_optimizer_is_found_by_its_class():
    place = "mine.averaged.AveragedSGD"
    assert place in OPTIMIZERS
    assert "mine.averaged" not in sys.modules, "nothing is loaded before it is asked for"
    module = importlib.import_module("mine.averaged")
    task = plain(optimizer=lambda params: module.AveragedSGD(params, lr=0.05))
    options = {**FIXED, "metrics": ["l2"]}
    stacked = wb.run(task, wb.Gaussian(0.1), **(options | {"driver": "lockstep"}))
    alone = wb.run(task, wb.Gaussian(0.1), **options)
    assert stacked.environment["driver"].startswith("lockstep")
    own, expected = rows(stacked, metric="l2"), rows(alone, metric="l2")
    assert own.value.to_numpy() == pytest.approx(expected.value.to_numpy(), rel=1e-10, abs=1e-12)
    assert threshold(task).value == pytest.approx(3.8 / (0.1 * 0.05))
    assert np.isfinite(training_spectrum(task, k=1, steps=16).exponents).all()

    class Conformance(OptimizerConformance):
        def make_optimizer(self, parameters):
            return module.AveragedSGD(parameters, lr=0.05)

    for name in dir(Conformance):
        if name.startswith("test_"):
            getattr(Conformance(), name)()


def test_a_class_defined_anew_has_no_form():
    module = importlib.import_module("mine.averaged")
    again = type("AveragedSGD", (torch.optim.SGD,), {"__module__": "mine.averaged"})
    made = again([torch.nn.Parameter(torch.zeros(2))])
    with pytest.raises(DriverError, match="no pure form"):
        pure_optimizer(made)
    assert pure_optimizer(module.AveragedSGD([torch.nn.Parameter(torch.zeros(2))])).beta == 0.9


def test_a_driver_is_found_by_name(tmp_path):
    assert "mine.pairs" not in sys.modules, "nothing is loaded before it is asked for"
    options = {**FIXED, "metrics": ["l2"], "driver": "pairs"}
    found = wb.run(plain(), wb.Gaussian(0.1), out=tmp_path / "run", **options)
    alone = wb.run(plain(), wb.Gaussian(0.1), **{**options, "driver": "loop"})
    assert (found.environment["driver"], found.noise_floor) == ("pairs", 0.0)
    own, expected = rows(found, metric="l2"), rows(alone, metric="l2")
    assert own.value.to_numpy() == pytest.approx(expected.value.to_numpy(), rel=1e-10, abs=1e-12)
    again = wb.run(plain(), wb.Gaussian(0.1), out=tmp_path / "run", **options)
    assert again.table.equals(found.table)
    with pytest.raises(RequestError, match="driver is 'pears': did you mean 'pairs'"):
        wb.run(plain(), driver="pears")


def test_a_driver_that_trains_otherwise_is_refused():
    module = importlib.import_module("mine.pairs")

    class Wrong(module.Pairs):
        name = "wrong"

        def __call__(self, state, batch, index):
            after, losses = super().__call__(state, batch, index)
            return after.map(lambda t: t * 1.01), losses

    driver("wrong")(lambda step, mode: Wrong(step))
    with pytest.raises(DriverError, match="does not repeat the plain loop at step 1"):
        wb.run(plain(), wb.Gaussian(0.1), **{**FIXED, "driver": "wrong"})


def test_a_checkpoint_format_is_found_by_content(tmp_path):
    arrays = np.random.default_rng(0).normal(size=(2, 40, 7))
    for name, array in zip("ab", arrays, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
        (tmp_path / f"{name}.npy").rename(tmp_path / name)
    assert FORMATS.find("npy").caption == "One array of NumPy."
    found = wb.compare([tmp_path / "a", tmp_path / "b"])
    assert found.formats == ("npy", "npy")
    assert found.l2[1] == pytest.approx(np.linalg.norm(arrays[0] - arrays[1]))


def test_a_runner_is_found_by_name(tmp_path):
    assert "mine.shuffled" not in sys.modules, "nothing is loaded before it is asked for"
    quick = Condition("run.tasks:plain", replicas=3, metrics=("l2",), driver="loop")
    study = Study(cross(quick, {"seed": [0, 1, 2]}), name="three")
    found = study.run(tmp_path, "shuffled")
    assert set(found.table.seed) == {0, 1, 2}
    with pytest.raises(RequestError, match=r"workers belongs to the runners .*'inline'"):
        make_runner("shuffled", workers=2)


def test_another_training_loop(tmp_path):
    module = importlib.import_module("mine.elsewhere")
    models = [torch.nn.Linear(3, 1, bias=False) for _ in range(5)]

    def shrink(model, step):
        del step
        with torch.no_grad():
            model.weight.mul_(0.5)

    found = module.measured(tmp_path, models, 2, shrink)
    assert found.behavior == "convergent"
    own = rows(found, metric="l1", step=2)
    ends = [np.abs((m.weight - models[0].weight).detach().numpy()).sum() for m in models[1:]]
    assert own.value.tolist() == pytest.approx(ends)


def test_they_are_listed():
    told = CliRunner().invoke(app, ["metrics"])
    assert told.exit_code == 0
    assert "l1" in told.stdout
    assert CliRunner().invoke(app, ["perturbations", "--json"]).stdout.count('"kind": "shift"') == 1


@pytest.mark.parametrize(
    ("command", "facts", "shown", "name"),
    [
        ("metrics", metric_facts, _OF_METRICS, "name"),
        ("perturbations", perturbation_facts, _OF_PERTURBATIONS, "kind"),
    ],
)
def test_the_tables_are_what_is_declared(command, facts, shown, name):
    there = PAGE.partition(f"<!-- wingbeat {command} --markdown -->\n")[2]
    there = there.partition("<!-- end -->")[0]
    registry = METRICS if command == "metrics" else PERTURBATIONS
    modules = {found: registry.find(found) for found in registry.names()}
    # Not what an example in a docstring registers, if it ran before in this process.
    home = "wingbeat.measure.builtin" if command == "metrics" else "wingbeat."
    built_in = [found for found in facts() if _module(modules[found[name]]).startswith(home)]
    assert there == as_markdown(built_in, shown), f"run: wingbeat {command} --markdown"


def _module(thing):
    own = getattr(thing, "declared", None) or getattr(thing, "function", None) or thing
    return own.__module__
