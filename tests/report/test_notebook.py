"""What an interpreter and a notebook meet: short representations, scalars by name, any figure."""

from __future__ import annotations

import math
from functools import partial

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.report.figures.any_metric import OWN, available
from wingbeat.tasks.dense import circles_task


@pytest.fixture(scope="module")
def result():
    return wb.run(
        circles_task(epochs=1),
        [wb.Gaussian(0.01), wb.Ulp(1, at=8)],
        replicas=3,
        record_every=8,
        metrics=["+barrier", "+cka", "+path_length"],
        progress=False,
    )


DATA = "1,000 samples of (2,) float32, () int64"


def test_a_task_is_five_lines() -> None:
    lines = repr(circles_task()).splitlines()
    assert lines == [
        "Task 'circles, dense net'",
        "  model      mlp((2, 64, 32, 2), 'relu')",
        f"  data       {DATA}; {DATA} to evaluate",
        "  optimizer  Adam(lr=0.01)",
        "  training   320 steps, batches of 32, 32 to a pass, seed 0",
    ]


class Pairs(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int):
        return torch.zeros(2), 0


def test_a_task_of_lambdas_and_a_data_set_is_told_too() -> None:
    task = wb.Task(
        model=lambda: nn.Linear(2, 2),
        loss=lambda model, batch: model(batch[0]).mean(),
        data=Pairs(),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        batch_size=4,
        steps=3,
    )
    text = repr(task)
    assert text.startswith("Task without a name\n  model      lambda in ")
    assert "12 samples of Pairs\n" in text
    assert len(text.splitlines()) == 5


def test_scalars_of_a_perturbation_by_its_name(result) -> None:
    found = result["gaussian-0.01@0"]
    assert found["convergence_ratio"] == result.convergence_ratio
    assert found["behavior"] == result.behavior
    assert found["copies"] == 3
    assert list(result) == ["gaussian-0.01@0", "ulp-1@8"]
    assert "ulp-1@8" in result
    with pytest.raises(KeyError, match=r"did you mean 'gaussian-0\.01@0'"):
        result["gaussian-0.1@0"]


def test_an_undefined_scalar_is_nan() -> None:
    one = wb.run(circles_task(epochs=1), wb.Gaussian(0.01), replicas=1, progress=False)
    assert math.isnan(one["gaussian-0.01@0"]["convergence_ratio"])


def test_every_metric_that_was_measured_is_drawn_on_given_axes(result) -> None:
    known = available(result)
    assert {"barrier", "cka", "accuracy", "path_length", "spread", "l2", "pca"} <= set(known)
    for name in known:
        figure, ax = plt.subplots()
        assert result.plot(name, ax) is ax
        assert ax.get_title(loc="left")
        assert ax.lines or ax.collections
        plt.close(figure)


@pytest.mark.parametrize("method", ["plot_barrier", "plot_accuracy", "plot_cka"])
def test_short_methods_draw_the_same(result, method: str) -> None:
    figure, (a, b) = plt.subplots(1, 2)
    getattr(result, method)(a)
    result.plot(method.removeprefix("plot_"), b)
    assert [tuple(x.get_ydata()) for x in a.lines] == [tuple(x.get_ydata()) for x in b.lines]
    plt.close(figure)


def test_what_was_not_measured_is_named(result) -> None:
    for name in ("sharpness", *(set(OWN) - set(available(result)))):
        with pytest.raises(RequestError, match="nothing to draw of"):
            result.plot(name)


def test_only_public_names_are_listed() -> None:
    assert set(dir(wb)) == {*wb.__all__, "__version__"}
    assert not [name for name in dir(wb) if name.startswith("_") and name != "__version__"]
