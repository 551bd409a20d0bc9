"""Words of the command line: what they mean, and what is said when they mean nothing."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import wingbeat as wb
from wingbeat.cli import parse
from wingbeat.errors import RequestError

PERTURBATIONS = {
    "gaussian:0.01": wb.Gaussian(0.01),
    "gaussian:1e-4@500": wb.Gaussian(1e-4, at=500),
    "gaussian:0.1@3,relative_to=init,seed=7": wb.Gaussian(0.1, at=3, relative_to="init", seed=7),
    "gaussian:0.1,fraction=0.5,exclude=bias|norm": wb.Gaussian(
        0.1, fraction=0.5, exclude="bias|norm"
    ),
    "batchgradient:0.001@2": wb.BatchGradient(0.001, at=2),
    "singleweight:0.1": wb.SingleWeight(0.1),
    "singleweight": wb.SingleWeight(),
    "ulp": wb.Ulp(),
    "ulp:3@9": wb.Ulp(3, at=9),
    "order:4@1": wb.DataOrder(4, at=1),
    "augmentation:2": wb.Augmentation(2),
    "dropout:5@8": wb.Dropout(5, at=8),
    "init:6": wb.Init(6),
}


@pytest.mark.parametrize("line", ["get_ipython().system('ls')", "display(1)"])
def test_a_file_that_was_made_of_a_notebook_is_called_so(line, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("exported.py").write_text(f"# In[1]:\n{line}\n")
    with pytest.raises(RequestError, match="only a notebook has: take such lines out"):
        parse.load_task("exported.py:task", {})
    Path("wrong.py").write_text("misspelt\n")
    with pytest.raises(NameError, match="misspelt"):
        parse.load_task("wrong.py:task", {})


@pytest.mark.parametrize("text", PERTURBATIONS)
def test_a_perturbation_in_words_is_the_one_in_python(text: str) -> None:
    assert parse.parse_perturbation(text) == PERTURBATIONS[text]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gausian:0.1", "did you mean 'gaussian'"),
        ("gaussian", "give a size"),
        ("gaussian:0", "use a finite number above 0"),
        ("gaussian:nan", "use a finite number above 0"),
        ("gaussian:x", "use a finite number above 0"),
        ("gaussian:0.1,sale=3", "no field 'sale'"),
        ("gaussian:0.1,relative_to=nrm", "did you mean 'norm'"),
        ("gaussian:0.1,relative_to", "not of the form name=value"),
        ("gaussian:0.1@-1", "at"),
        ("gaussian:0.1@x", "at"),
        ("ulp:0", "at least 1"),
        ("init:1@5", "only differ at step 0"),
        ("", "unknown perturbation"),
    ],
)
def test_a_wrong_perturbation_names_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        parse.parse_perturbation(text)


@given(
    scale=st.floats(min_value=1e-12, max_value=1e6),
    at=st.integers(min_value=0, max_value=10**9),
    seed=st.integers(min_value=0, max_value=2**31),
)
def test_every_gaussian_survives_being_written_out(scale: float, at: int, seed: int) -> None:
    text = f"gaussian:{scale!r}@{at},seed={seed}"
    assert parse.parse_perturbation(text) == wb.Gaussian(scale, at=at, seed=seed)


@given(st.text())
def test_any_text_gives_a_perturbation_or_a_request_error(text: str) -> None:
    refused = None
    try:
        found = parse.parse_perturbation(text)
    except RequestError as error:
        refused = str(error)
    assert refused or found.kind in parse.KINDS


@given(
    st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.integers() | st.booleans())
)
def test_arguments_come_back_as_json_values(values: dict[str, object]) -> None:
    import json

    pairs = [f"{k}={json.dumps(v)}" for k, v in values.items()]
    assert parse.parse_arguments(pairs) == values


def test_values_that_are_not_json_are_text() -> None:
    assert parse.parse_value("wide net") == "wide net"
    assert math.isinf(parse.parse_value("Infinity"))


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("no_colon", "MODULE:FACTORY"),
        ("wingbeat.tasks.dense:", "MODULE:FACTORY"),
        ("no.such.module:x", "cannot be imported"),
        ("nowhere.py:x", "there is no file"),
        ("wingbeat.tasks.dense:circle_task", "did you mean 'circles_task'"),
        ("wingbeat.tasks.data.sklearn:circles", "must return a wb.Task"),
    ],
)
def test_a_wrong_place_names_what_is_wrong(place: str, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        parse.load_task(place, {})


def test_arguments_that_the_factory_lacks_are_named() -> None:
    with pytest.raises(RequestError, match="learning"):
        parse.load_task("wingbeat.tasks.dense:circles_task", {"learning": 1})


def test_a_factory_in_a_file_is_found(tmp_path) -> None:
    file = tmp_path / "mine ä.py"
    file.write_text("from wingbeat.tasks.dense import circles_task as mine\n")
    assert parse.load_task(f"{file}:mine", {"lr": 0.5}).batch_size == 32


def test_dtypes_by_name() -> None:
    assert parse.parse_dtype("bfloat16") is torch.bfloat16
    with pytest.raises(RequestError, match="float32"):
        parse.parse_dtype("float23")


TRAINS = """
import argparse, torch
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
lr = parser.parse_args().lr
model = torch.nn.Linear(2, 1)
def strict():
    parser.error("no data")
"""


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("train.py", "is not of the form"),
        ("train.py:model", "gave Linear: it must return a wb.Task"),
        ("train.py:strict", "ended with exit code 2 when it was imported or called"),
    ],
)
def test_a_script_that_trains_is_told_how_it_is_forked(
    place: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["wingbeat", "run", place])
    Path("train.py").write_text(TRAINS)
    with pytest.raises(wb.RequestError, match=words) as caught:
        parse.load_task(place, {})
    assert "wingbeat fork CHECKPOINT" in str(caught.value)
    assert "-- python train.py --resume {checkpoint} --output {out}" in str(caught.value)
    assert sys.argv == ["wingbeat", "run", place]
