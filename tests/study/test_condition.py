"""Keys depend on the content and on nothing else; conditions refuse what JSON cannot hold."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from inspect import signature

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.execution.request import make_request
from wingbeat.replicas.perturb import BatchGradient, Gaussian, Ulp
from wingbeat.study.condition import Condition, named, perturbation
from wingbeat.study.grid import cross, unique
from wingbeat.tasks.dense import circles_task

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
arguments = st.dictionaries(st.text(max_size=5), plain, max_size=5)


def turned(value: object) -> object:
    """Return the same JSON with every dict's keys in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(v) for v in value] if isinstance(value, list) else value


@given(arguments)
def test_the_order_of_keys_does_not_matter(given_: dict) -> None:
    assert Condition("m:f", given_).key == Condition("m:f", turned(given_)).key


@given(arguments, arguments)
def test_different_arguments_have_different_keys(a: dict, b: dict) -> None:
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (Condition("m:f", a).key == Condition("m:f", b).key) == same


@given(arguments, st.integers(1, 9), st.lists(st.integers(0, 99), min_size=1, unique=True))
def test_json_and_back(given_: dict, replicas: int, seeds: list[int]) -> None:
    one = Condition("m:f", given_, replicas=replicas, seeds=tuple(seeds), tags={"family": "x"})
    there = Condition.from_json(json.loads(json.dumps(one.to_json())))
    assert there == one
    assert there.key == one.key


@pytest.mark.parametrize(
    "changed",
    [
        {"factory": "m:g"},
        {"perturbations": ({"kind": "gaussian", "scale": 0.02},)},
        {"replicas": 6},
        {"record_every": 3},
        {"metrics": ("l2",)},
        {"seeds": (1,)},
        {"dtype": "float64"},
        {"driver": "loop"},
        {"measures": ("m:h",)},
    ],
)
def test_every_field_but_the_tags_is_in_the_key(changed: dict) -> None:
    start = {"factory": "m:f"}
    assert Condition(**start).key != Condition(**{**start, **changed}).key
    assert Condition(**start).key == Condition(**start, tags={"family": "dense"}).key


def test_the_key_is_the_same_in_another_process() -> None:
    code = (
        "from wingbeat.study.condition import Condition as C; print(C('m:f', {'a': [1, 'é']}).key)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == Condition("m:f", {"a": [1, "é"]}).key


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), {1: 2}, [{"a": {3}}]])
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(RequestError, match=r"arguments\.x"):
        Condition("m:f", {"x": value})


@pytest.mark.parametrize(
    "kind", [Gaussian(0.01), Gaussian(0.5, at=3, relative_to="norm"), BatchGradient(0.1), Ulp(2)]
)
def test_perturbations_come_back_from_their_description(kind: object) -> None:
    again = perturbation(kind.describe())
    assert type(again) is type(kind)
    assert again.describe() == kind.describe()


def test_errors_say_what_to_do() -> None:
    with pytest.raises(RequestError, match="did you mean 'gaussian'"):
        perturbation({"kind": "gausian", "scale": 1.0})
    with pytest.raises(RequestError, match="is incomplete"):
        perturbation({"kind": "gaussian"})
    with pytest.raises(RequestError, match="module:function"):
        named("nowhere")
    with pytest.raises(RequestError, match="cannot be found"):
        named("math:nothing")
    with pytest.raises(RequestError, match="did you mean 'replicas'"):
        Condition.from_json({"factory": "m:f", "replica": 2})
    with pytest.raises(RequestError, match="float12"):
        Condition("m:f", dtype="float12")
    with pytest.raises(RequestError, match="cannot be called"):
        Condition("study_tasks:line", {"colour": 1}).task()


@given(st.integers(1, 4), st.integers(1, 4))
def test_a_grid_has_every_combination_once(a: int, b: int) -> None:
    grid = cross(
        Condition("m:f", {"kept": 1}),
        {"arguments.lr": [0.1 * i for i in range(a)], "seeds": [(i,) for i in range(b)]},
    )
    assert len(grid) == a * b == len({c.key for c in grid})
    assert {c.arguments["kept"] for c in grid} == {1}
    assert unique([*grid, *grid]) == grid


def test_a_grid_refuses_unknown_and_empty_axes() -> None:
    with pytest.raises(RequestError, match="did you mean 'seed'"):
        cross(Condition("m:f"), {"seedz": [1]})
    with pytest.raises(RequestError, match="no list of values"):
        cross(Condition("m:f"), {"seeds": []})


def test_without_a_wish_a_condition_records_what_run_does() -> None:
    condition = Condition("wingbeat.tasks.dense:circles_task", {"epochs": 3}, metrics=("l2",))
    task = condition.task()
    assert task.steps > 60
    alone = wb.run(task, condition.forks()[0], replicas=2, metrics=("l2",), progress=False)
    every = alone.steps[1] - alone.steps[0]
    assert condition.steps_between(task) == every
    assert condition.steps_between(task) != task.steps_per_epoch
    by_epoch = replace(condition, record_every="epoch")
    assert by_epoch.steps_between(task) == task.steps_per_epoch
    assert len({condition.key, by_epoch.key, replace(condition, record_every=5).key}) == 3


def test_what_was_recorded_once_an_epoch_keeps_its_key() -> None:
    """None meant one snapshot per epoch: its key, which folders hold, is now that of "epoch"."""
    content = Condition("m:f", record_every="epoch").canonical
    assert json.loads(content)["record_every"] is None
    assert json.loads(Condition("m:f").canonical)["record_every"] is not None


@pytest.mark.parametrize("steps", [1, 7, 64, 200, 1001])
def test_records_are_as_many_as_in_a_run(steps: int) -> None:
    """Neither a condition nor ``wb.run`` has a default of its own."""
    task = replace(circles_task((4,)), steps=steps)
    asked = make_request(
        task,
        Gaussian(0.1),
        replicas=2,
        record_every=None,
        metrics=None,
        dtype=torch.float32,
        device="cpu",
    )
    assert Condition("m:f").steps_between(task) == asked.record_every
    defaults = {
        name: signature(function).parameters["record_every"].default
        for name, function in (("run", wb.run), ("condition", Condition))
    }
    assert defaults == {"run": None, "condition": None}
