"""``wingbeat compare`` on the command line."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from checkpoints.ck_files import sharded, state, written
from typer.testing import CliRunner

from wingbeat import metrics
from wingbeat.checkpoints.memory import resident
from wingbeat.cli.compare import RESERVE, compare, room
from wingbeat.errors import RequestError

app = typer.Typer()
app.command()(compare)


def call(*words, ok=True):
    done = CliRunner().invoke(app, [str(w) for w in words])
    if ok:
        assert done.exit_code == 0, done.output
    return done


def test_people_and_machines_read_the_same_numbers(tmp_path):
    a = written(tmp_path / "a.safetensors", state(0))
    b = sharded(tmp_path / "b", state(1))
    found = json.loads(call(a, b, "--json", "--memory", "64GiB").stdout)
    text = call(a, b, "--memory", "64GiB").output
    for name in ("l2", "relative_l2", "cosine"):
        assert f"{found[name][1]:.6g}" in text
    assert found["formats"] == ["safetensors", "sharded safetensors"]


def test_the_usual_bound_refuses_nothing_in_a_process_that_is_large_already(tmp_path, monkeypatch):
    """As after hours of a notebook, or of other tests: nobody asked for 1 GiB."""
    paths = [written(tmp_path / f"{i}.safetensors", state(i)) for i in (0, 1)]
    free = json.loads(call(*paths, "--json").stdout)
    monkeypatch.setattr("wingbeat.checkpoints.memory.resident", lambda: 3 << 30)
    assert room(None) == RESERVE
    crowded = json.loads(call(*paths, "--json").stdout)
    assert (crowded["l2"], crowded["cosine"]) == (free["l2"], free["cosine"])
    done = call(*paths, "--memory", "1GiB", ok=False)
    assert isinstance(done.exception, RequestError)
    assert "Python and torch alone take 3 GiB" in str(done.exception)


def test_names_from_outside_stay_text_on_the_terminal(tmp_path):
    odd = "w[bold]\x1b[31m"
    paths = [written(tmp_path / f"{i}.safetensors", {odd: torch.ones(2) * i}) for i in (1, 2)]
    text = call(*paths, "--memory", "64GiB").output
    assert "w[bold]" in text
    assert "\x1b" not in text


def test_files_are_written_and_a_pattern_gives_a_report(tmp_path):
    for run in (0, 1, 2):
        for step in (0, 5):
            written(tmp_path / f"{run}_{step}.safetensors", state(run + step))
    words = [f"{tmp_path}/*_*.safetensors", "--memory", "64GiB"]
    for option in ("plot", "csv", "report"):
        suffix = {"plot": "png", "csv": "csv", "report": "html"}[option]
        words += [f"--{option}", tmp_path / f"x.{suffix}"]
    text = call(*words).output
    assert "0@5" in text
    for suffix in ("png", "csv", "html"):
        assert (tmp_path / f"x.{suffix}").stat().st_size > 1000


def test_requests_that_make_no_sense_end_in_a_request_error(tmp_path):
    a = written(tmp_path / "a.safetensors", state(0))
    for words in ([a], [a, tmp_path / "none"], [a, a, "--report", tmp_path / "r.html"]):
        done = call(*words, "--memory", "64GiB", ok=False)
        assert isinstance(done.exception, RequestError)
    done = call(a, a, "--memory", "1MiB", ok=False)
    assert "Python and torch alone take" in str(done.exception)


def test_the_bound_is_on_the_whole_process():
    left = room("64GiB")
    assert 64 * 2**30 - left - RESERVE == pytest.approx(resident(), rel=0.2)


TASK = """
import torch
import wingbeat as wb

def net():
    return torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))

def good():
    torch.manual_seed(1)
    found = net().requires_grad_(False)
    for p in found.parameters():
        p.mul_(3.0)
    return found

def factory():
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    return wb.Task(
        model=net,
        loss=lambda m, b: torch.nn.functional.cross_entropy(m(b[0]), b[1]),
        data=(x, good()(x).argmax(1)),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
        batch_size=20,
        steps=3,
    )
"""


def test_cka_of_two_models_is_that_of_the_estimator(tmp_path):
    place = tmp_path / "compared_task.py"
    place.write_text(TASK)
    space: dict[str, Any] = {}
    exec(TASK, space)
    task, models = space["factory"](), [space["good"](), space["net"]()]
    paths = [written(tmp_path / f"{i}.pt", m.state_dict()) for i, m in enumerate(models)]
    words = [*paths, "--model", f"{place}:factory", "--memory", "64GiB", "--json"]
    (one,) = json.loads(call(*words).stdout)["models"]
    x = task.data[0]
    with torch.no_grad():
        for depth, layer in enumerate(one["layers"], 1):
            a, b = (model[:depth](x).double().numpy() for model in models)
            assert layer["cka"] == pytest.approx(float(metrics.cka(a, b)), rel=1e-5)
            assert layer["angular_cka"] == pytest.approx(np.arccos(layer["cka"]), rel=1e-12)
    angles = [layer["angular_cka"] for layer in one["layers"]]
    assert one["angular_cka"] == pytest.approx(np.mean(angles))
    assert one["cka_reason"] == ""


def test_a_permuted_copy_has_a_barrier_and_none_after_alignment(tmp_path):
    place = tmp_path / "compared_task.py"
    place.write_text(TASK)
    space: dict[str, Any] = {}
    exec(TASK, space)
    net = space["good"]()
    order = torch.tensor([3, 1, 0, 2, 7, 6, 5, 4])
    same = {k: v.clone() for k, v in net.state_dict().items()}
    moved = {**same, "0.weight": same["0.weight"][order], "0.bias": same["0.bias"][order]}
    moved["2.weight"] = same["2.weight"][:, order].contiguous()
    paths = [written(tmp_path / f"{i}.safetensors", s) for i, s in enumerate((same, moved))]
    words = [*paths, "--model", f"{place}:factory", "--memory", "64GiB"]
    found = json.loads(call(*words, "--json").stdout)
    (one,) = found["models"]
    assert found["l2"][1] > 1
    assert one["barrier"]["value"] > 1e-3
    assert one["aligned_l2"] == 0.0
    assert one["aligned_barrier"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert [x["name"] for x in one["layers"]] == ["0", "1", "2"]
    # CKA looks past the order of units: the same function layer by layer.
    assert all(x["cka"] == pytest.approx(1.0, abs=1e-6) for x in one["layers"])
    assert one["angular_cka"] == pytest.approx(0.0, abs=2e-3)
    text = call(*words, "--csv", tmp_path / "t.csv").output
    assert "after alignment" in text
    assert f"mean angular CKA {one['angular_cka']:.6g}" in text
    rows = pd.read_csv(tmp_path / "t.csv", keep_default_na=False).set_index(["metric", "layer"])
    assert float(rows.value["l2_aligned", ""]) == 0.0
    assert float(rows.value["barrier", ""]) == one["barrier"]["value"]
    assert float(rows.value["cka", "0"]) == pytest.approx(1.0, abs=1e-6)
    short = written(tmp_path / "s.safetensors", {k: same[k] for k in ("0.weight", "0.bias")})
    done = call(paths[0], short, *words[2:], ok=False)
    assert "does not fit the model: '2.weight' is absent" in str(done.exception)


DICTS = (
    TASK
    + """

class Tabular(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = net()
        self.norm = torch.nn.BatchNorm1d(2)

    def forward(self, x, scale):
        out = self.norm(self.body(x)) * scale
        return self.norm(out) if getattr(self, "twice", False) else out

def twice():
    made = Tabular()
    made.twice = True
    return made

def dicts(model=Tabular):
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    data = {"x": x, "scale": torch.ones(60, 1), "y": good()(x).argmax(1)}
    return wb.Task(
        model=model,
        loss=lambda m, b: torch.nn.functional.cross_entropy(m(b["x"], scale=b["scale"]), b["y"]),
        data=data,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
        batch_size=20,
        steps=3,
    )

def shared():
    return dicts(twice)
"""
)


def permuted_pair(folder, space):
    """Two files of one function, the second with its hidden units in another order."""
    net = space["Tabular"]()
    order = torch.tensor([3, 1, 0, 2, 7, 6, 5, 4])
    same = {k: v.clone() for k, v in net.state_dict().items()}
    moved = dict(same)
    for name in ("body.0.weight", "body.0.bias"):
        moved[name] = same[name][order].contiguous()
    moved["body.2.weight"] = same["body.2.weight"][:, order].contiguous()
    return [written(folder / f"{i}.safetensors", s) for i, s in enumerate((same, moved))]


def test_models_of_data_in_dicts_are_aligned_as_in_a_run(tmp_path):
    """Was: not aligned, since the data are no tuple whose first tensor is the input."""
    place = tmp_path / "dict_task.py"
    place.write_text(DICTS)
    space: dict[str, Any] = {}
    exec(DICTS, space)
    paths = permuted_pair(tmp_path, space)
    words = [*paths, "--model", f"{place}:dicts", "--memory", "64GiB", "--json"]
    (one,) = json.loads(call(*words).stdout)["models"]
    assert one["reason"] == ""
    assert one["aligned_l2"] == 0.0


def test_a_normalisation_that_runs_twice_has_no_barrier_and_a_reason(tmp_path):
    place = tmp_path / "dict_task.py"
    place.write_text(DICTS)
    space: dict[str, Any] = {}
    exec(DICTS, space)
    paths = permuted_pair(tmp_path, space)
    words = [*paths, "--model", f"{place}:shared", "--memory", "64GiB", "--json"]
    (one,) = json.loads(call(*words).stdout)["models"]
    assert one["barrier"]["value"] is None
    assert one["barrier"]["reason"] == "shared_normalisation"
    assert one["aligned_l2"] == 0.0


def test_the_key_says_which_group_is_compared(tmp_path):
    groups = [{"generator": state(i), "discriminator": state(i + 7)} for i in range(2)]
    paths = [tmp_path / f"{i}.pt" for i in range(2)]
    for path, group in zip(paths, groups, strict=True):
        torch.save(group, path)
    done = call(*paths, "--memory", "64GiB", ok=False)
    assert "say which with key=" in str(done.exception)
    found = [
        json.loads(call(*paths, "--key", name, "--memory", "64GiB", "--json").stdout)["l2"][1]
        for name in ("generator", "discriminator")
    ]
    for name, value in zip(("generator", "discriminator"), found, strict=True):
        apart = [(groups[0][name][n] - groups[1][name][n]).double() for n in groups[0][name]]
        assert value == pytest.approx(sum(float(d.square().sum()) for d in apart) ** 0.5)
