"""Study files: TOML and YAML say the same, grids are what they should be, mistakes are named."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.errors import RequestError
from wingbeat.execution.arguments import default_seeds
from wingbeat.study.file import StudyFile, read_study
from wingbeat.study.grid import matches
from wingbeat.study.study import Study

FACTORY = "wingbeat.tasks.dense:circles_task"
TOML = """
name = "both"
replicates = 2
[base]
factory = "wingbeat.tasks.dense:circles_task"
arguments = { epochs = 1 }
perturbation = { kind = "gaussian", scale = 1e-4 }
[axes]
arguments.lr = [0.01, 1e-3]
"optimizer.kind" = ["SGD", "AdamW"]
[[cells]]
arguments.hidden = [8]
optimizer = { kind = "SGD", lr = 0.1 }
[[cells]]
arguments.hidden = [16, 8]
[[only]]
arguments.lr = { max = 0.005 }
[[only]]
optimizer.kind = "SGD"
[[leave_out]]
arguments.hidden = [[8]]
seed = 0
[budget]
seconds = 60
"""
YAML = """
name: both
replicates: 2
base:
  factory: wingbeat.tasks.dense:circles_task
  arguments: {epochs: 1}
  perturbation: {kind: gaussian, scale: 1e-4}
axes:
  arguments: {lr: [0.01, 1e-3]}
  optimizer.kind: [SGD, AdamW]
cells:
  - arguments: {hidden: [8]}
    optimizer: {kind: SGD, lr: 0.1}
  - arguments.hidden: [16, 8]
only:
  - arguments.lr: {max: 0.005}
  - optimizer: {kind: SGD}
leave_out:
  - arguments.hidden: [[8]]
    seed: 0
budget: {seconds: 60}
"""


def asked(**parts: object) -> StudyFile:
    return StudyFile.model_validate({"base": {"factory": FACTORY}, **parts})


def test_toml_and_yaml_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TOML, encoding="utf-8")
    (tmp_path / "b.yaml").write_text(YAML, encoding="utf-8")
    toml, yaml = read_study(tmp_path / "a.toml"), read_study(tmp_path / "b.yaml")
    assert toml == yaml
    found = toml.conditions()
    # 2 cells x 2 rates x 2 optimizers x 2 seeds = 16; the rules keep 12, and of those
    # the 3 with hidden = [8] and seed 0 go
    assert len(found) == 9
    assert [c.key for c in yaml.conditions()] == [c.key for c in found]
    assert {c.perturbations[0]["scale"] for c in found} == {1e-4}
    assert {json.dumps(c.optimizer) for c in found if c.arguments["hidden"] == [8]} == {
        '{"kind": "SGD", "lr": 0.1}',
        '{"kind": "AdamW", "lr": 0.1}',
    }
    study = Study.from_file(tmp_path / "a.toml")
    assert (study.name, study.seconds, len(study.conditions)) == ("both", 60, 9)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(1e-6, 1, allow_nan=False), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(1, 50), min_size=1, max_size=3, unique=True),
    st.integers(1, 3),
)
def test_a_grid_is_the_product_of_its_axes(rates: list, widths: list, seeds: int) -> None:
    axes = {"arguments": {"lr": rates, "epochs": widths}}
    found = asked(axes=axes, replicates=seeds).conditions()
    expected = list(itertools.product(rates, widths, default_seeds(seeds)))
    got = [(c.arguments["lr"], c.arguments["epochs"], c.seeds[0]) for c in found]
    assert got == expected


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30))
def test_a_larger_budget_adds_to_a_smaller_one(one: int, two: int) -> None:
    axes = {"arguments.lr": [i / 100 for i in range(1, 26)]}
    small, large = (
        {c.key for c in asked(axes=axes, budget={"conditions": n}).conditions()}
        for n in sorted((one, two))
    )
    assert small <= large
    assert (len(small), len(large)) == (min(one, two, 25), min(max(one, two), 25))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(0, 9), st.integers(0, 9))
def test_rules_are_what_a_loop_over_the_cells_says(wanted: list, low: int, high: int) -> None:
    axes = {"arguments.epochs": list(range(10)), "arguments.n": [5, 6]}
    grid = asked(axes=axes).conditions()
    rules = [{"arguments.epochs": wanted}, {"arguments.epochs": {"min": low, "max": high}}]
    kept = [c for c in grid if any(matches(c, rule) for rule in rules)]
    slow = [
        c for c in grid if c.arguments["epochs"] in wanted or low <= c.arguments["epochs"] <= high
    ]
    assert kept == slow
    assert asked(axes=axes, only=rules).conditions() == slow


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"axis": {}}, "did you mean 'axes'"),
        ({"budget": {"second": 3}}, "did you mean 'seconds'"),
        ({"axes": {"arguments.lr": 3}}, "list"),
        ({"axes": {"arguments.lr": []}}, "at least one"),
        ({"axes": {"argument.lr": [1]}}, "did you mean 'arguments"),
        ({"axes": {"arguments.rate": [1]}}, "it takes|did you mean|known"),
        ({"axes": {"replicas": ["five"]}}, "replicas is 'five'"),
        ({"axes": {"dtype": ["float31"]}}, "float31"),
        ({"axes": {"optimizer.kind": ["SDG"]}}, "did you mean 'SGD'"),
        ({"axes": {"optimizer.lr": [0.1]}}, "optimizer is"),
        ({"axes": {"perturbation.kind": ["gausian"]}}, "did you mean 'gaussian'"),
        ({"replicates": 2, "axes": {"seed": [0]}}, "say the same"),
        ({"replicates": 0}, "replicates"),
        ({"only": [{"arguments.epochz": 1}]}, "did you mean 'arguments"),
        ({"only": [{}]}, "empty"),
        ({"axes": {"arguments.lr": [1]}, "leave_out": [{"arguments.lr": 1}]}, "leave none"),
        ({"axes": {n: [0] * 200 for n in ("arguments.lr", "arguments.n", "seed")}}, "8000000"),
        ({"base": {"factory": "nowhere:nothing"}}, "cannot be found"),
        ({"base": {"arguments": {}}}, "no factory"),
        ({"base": {"factory": FACTORY, "replica": 3}}, "did you mean 'replicas'"),
        ({"name": "../../escape"}, "name"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, parts: dict, words: str) -> None:
    path = tmp_path / "study.yaml"
    base = {"factory": FACTORY, "arguments": {"epochs": 1}}
    path.write_text(json.dumps({"base": base, **parts}), encoding="utf-8")
    with pytest.raises(RequestError, match=words):
        read_study(path).conditions()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "x = ", "a.toml cannot be read"),
        ("a.yaml", "x: [", "a.yaml cannot be read"),
        ("a.yaml", "base: 1\nbase: 2", "'base' is given twice"),
        ("a.yaml", "base: !!python/object/apply:os.system [true]", "cannot be read"),
        ("a.json", "{}", "must end in .toml or .yaml"),
        ("a.yaml", "3", "the file"),
        ("a.yaml", "", "the file"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=words):
        read_study(path)


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    for suffix in ("toml", "yaml"):
        path = folder / f"any.{suffix}"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RequestError):
            read_study(path).conditions()
