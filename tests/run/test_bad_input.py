"""What is wrong with a request is said before anything is trained, with the value."""

from __future__ import annotations

import pytest
import torch
from run import tasks
from run.tasks import noisy, plain
from torch import nn

import wingbeat as wb
from wingbeat.replicas.replicas import Replicas

X, Y = tasks.points()


@pytest.fixture(autouse=True)
def _no_training(monkeypatch):
    def trained(*_, **__):
        raise AssertionError("it trained")

    monkeypatch.setattr(Replicas, "advance", trained)


def nothing_trainable():
    model = tasks.plain_net()
    return model.requires_grad_(False)


def not_a_number():
    model = tasks.plain_net()
    nn.init.constant_(model[0].weight, float("nan"))
    return model


class Broken:
    """A data set of which one sample cannot be read."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        if index == 17:
            raise ValueError("bad picture")
        return X[index], Y[index]


TASKS = {
    "loss per sample": (
        {"loss": lambda m, b: nn.functional.cross_entropy(m(b[0]), b[1], reduction="none")},
        r"shape \(16,\).*\.mean\(\)",
    ),
    "loss a number": ({"loss": lambda m, b: 1.5}, "loss returned float: .*scalar tensor"),
    "loss none": ({"loss": lambda m, b: None}, "loss returned NoneType"),
    "nan weights": ({"model": not_a_number}, "loss of the first batch is nan"),
    "nan data": ({"data": (X * float("nan"), Y)}, "loss of the first batch is nan"),
    "infinite loss": (
        {"loss": lambda m, b: tasks.entropy(m, b) * torch.inf},
        "loss of the first batch is inf",
    ),
    "no module": ({"model": lambda: [1, 2]}, "model returned list.*nn.Module"),
    "no parameter": ({"model": nn.Tanh}, "no trainable parameter"),
    "all frozen": ({"model": nothing_trainable}, "no trainable parameter"),
    "optimizer drops one": (
        {"optimizer": lambda p: torch.optim.SGD(list(p)[:-1], lr=0.1)},
        "leaves out 1 trainable.*'2.bias'",
    ),
    "no data": ({"data": (X[:0], Y[:0])}, "data is 'empty'"),
    "empty tuple": ({"data": ()}, "data is 'empty'"),
    "lengths": ({"data": (X, Y[:-1])}, r"\[70, 69\].*leading axis"),
    "not data": ({"data": 3}, "data is 'int'.*tuple or dict"),
    "numbers": ({"data": (1, 2)}, "must hold tensors"),
    "eval lengths": ({"eval_data": (X, Y[:-1])}, r"eval_data is \[70, 69\]"),
    "batch": ({"batch_size": 71, "drop_last": True}, r"batch_size 71 is larger.*70 samples"),
    "batch zero": ({"batch_size": 0}, "batch_size is 0"),
    "batch float": ({"batch_size": 1.5}, "batch_size is 1.5"),
    "steps": ({"steps": 0}, "steps is 0"),
    "steps bool": ({"steps": True}, "steps is True"),
    "seed": ({"seed": 1.5}, "seed is 1.5"),
    "clip": ({"clip_norm": 0.0}, "clip_norm is 0.0"),
    "sampling": ({"sampling": "random"}, "sampling is 'random'.*shuffle"),
    "loss no function": ({"loss": 3}, "loss is 3: pass a function"),
    "unreadable sample": ({"data": Broken()}, "sample 17 .*ValueError: bad picture"),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_wrong_task(name, tmp_path):
    changes, message = TASKS[name]
    with pytest.raises(wb.RequestError, match=message):
        wb.run(plain(**changes), wb.Gaussian(0.01), driver="loop", out=tmp_path / "run")
    kept = [p.name for p in tmp_path.rglob("*.json")]
    assert not kept, "after mending the task, the same folder can be used"


PERTURBATIONS = {
    "zero": (lambda: wb.Gaussian(0), "scale is 0: .*above 0"),
    "negative": (lambda: wb.Gaussian(-1.0), "scale is -1.0"),
    "nan": (lambda: wb.BatchGradient(float("nan")), "scale is nan"),
    "infinite": (lambda: wb.SingleWeight(float("inf")), "scale is inf"),
    "word": (lambda: wb.Gaussian("big"), "scale is 'big'"),
    "ulp": (lambda: wb.Ulp(0), "Ulp.* is 0"),
    "late": (lambda: wb.Gaussian(0.1, at=20), "at is 20: the run has 20 steps"),
    "later": (lambda: wb.DataOrder(1, at=21), "at is 21"),
    "before": (lambda: wb.Gaussian(0.1, at=-1), "at is -1"),
    "between": (lambda: wb.Gaussian(0.1, at=1.5), "at is 1.5"),
    "regex": (lambda: wb.Gaussian(0.1, include="(["), r"include is '\(\['.*regular expression"),
    "none left": (lambda: wb.Gaussian(0.1, include="conv"), "include='conv'.*0.weight"),
    "all out": (lambda: wb.Gaussian(0.1, exclude="."), "exclude='.'.*no tensor is left"),
    "fraction": (lambda: wb.Gaussian(0.1, fraction=0), "fraction is 0"),
    "relative": (lambda: wb.Gaussian(0.1, relative_to="nrom"), "'nrom': did you mean 'norm'"),
    "init": (lambda: wb.Init(1, at=3), "at is 3"),
    "direction": (
        lambda: wb.Direction({"0.weigth": torch.ones(5, 4)}),
        "'0.weigth': did you mean '0.weight'",
    ),
    "shape": (lambda: wb.Direction({"0.weight": torch.ones(4, 5)}), r"\(4, 5\).*\(5, 4\)"),
    "hash": (lambda: wb.Gaussian(0.1, name="a#1"), "'a#1': use a name without '#'"),
    "twin": (lambda: wb.Gaussian(0.1, name="null"), "'null'"),
    "no perturbation": (lambda: "gaussian", "perturbations"),
}


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_wrong_perturbation(name):
    make, message = PERTURBATIONS[name]
    with pytest.raises(wb.RequestError, match=message):
        wb.run(plain(), [make()])


OPTIONS = {
    "driver": ({"driver": "lockstop"}, "driver is 'lockstop': did you mean 'lockstep'"),
    "device": ({"device": "nowhere"}, "device 'nowhere' cannot be used"),
    "dtype": ({"dtype": torch.int64}, "dtype is torch.int64"),
    "no dtype": ({"dtype": "float32"}, "dtype is 'float32'"),
    "replicas": ({"replicas": 0}, "replicas is 0"),
    "half a replica": ({"replicas": 2.5}, "replicas is 2.5"),
    "record": ({"record_every": 0}, "record_every is 0"),
    "metric": ({"metrics": ["spraed"]}, "'spraed': did you mean 'spread'"),
    "output metric": ({"metrics": ["l2", "accuracy"]}, "'accuracy' needs evaluation data"),
    "twice": ({"seeds": [1, 2, 1]}, r"seeds is \[1, 2, 1\]"),
    "no seeds": ({"seeds": []}, r"seeds is \[\]"),
    "seed word": ({"seeds": ["a"]}, "seeds is"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_wrong_option(name):
    options, message = OPTIONS[name]
    with pytest.raises(wb.RequestError, match=message):
        wb.run(plain(), wb.Gaussian(0.01), **options)


def test_not_a_task():
    with pytest.raises(wb.RequestError, match=r"task is 'dict': pass a wb.Task.*wb.Twins.*fit"):
        wb.run({}, wb.Gaussian(0.01))


def test_own_metrics_need_evaluation_data_too():
    task = plain(eval_metrics={"margin": tasks.entropy})
    with pytest.raises(wb.RequestError, match="'margin' needs evaluation data"):
        wb.run(task, wb.Gaussian(0.01), metrics=["margin"])
    with pytest.raises(wb.RequestError, match="did you mean 'margin'"):
        wb.run(task, wb.Gaussian(0.01), metrics=["margn"])


def test_every_error_is_a_wingbeat_error():
    for error in (wb.RequestError, wb.RunError, wb.StoreError, wb.DriverError):
        assert issubclass(error, wb.WingbeatError)
    with pytest.raises(ValueError, match="steps is 0"):
        noisy(steps=0)
