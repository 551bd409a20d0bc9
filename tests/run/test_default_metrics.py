"""What a run that asks for nothing measures, with and without evaluation data and classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console
from run import tasks
from run.tasks import noisy, plain, rows
from torch import nn

import wingbeat as wb
from wingbeat.cli import show
from wingbeat.cli.listing import metric_facts

WEIGHTS = {
    "l2", "relative_l2", "cosine", "spread", "spread_projected", "pca", "local_lyapunov",
    "path_length", "velocity", "train_loss",
}  # fmt: skip
CLASSES = ("eval_loss", "accuracy", "disagreement")


def go(task, **options):
    options = {"replicas": 2, "record_every": 2, "driver": "loop", **options}
    return wb.run(task, wb.Gaussian(0.1), **options)


def right(model, batch):
    return (model(batch[0]).argmax(-1) == batch[1]).double().mean()


def regression():
    x = tasks.points()[0]
    data = (x, x[:, 0])
    return noisy(model=tasks.line, loss=tasks.squares, data=data, eval_data=data, steps=4)


def words():
    """A model of the next of five letters: class scores of three axes, labels of two."""
    letters = torch.randint(0, 5, (40, 6), generator=torch.Generator().manual_seed(0))

    def loss(model, batch):
        return nn.functional.cross_entropy(model(batch[0]).transpose(1, 2), batch[1])

    return wb.Task(
        model=lambda: nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5)),
        loss=loss,
        data=(letters[:, :-1], letters[:, 1:]),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=8,
        steps=4,
        eval_data=(letters[:, :-1], letters[:, 1:]),
    )


def test_without_evaluation_data_no_model_is_evaluated():
    assert set(go(plain(steps=4)).metrics) == WEIGHTS


def test_with_evaluation_data_loss_accuracy_and_disagreement():
    found = go(noisy(steps=4, eval_metrics={"right": right}))
    assert set(found.metrics) == WEIGHTS | {*CLASSES, "right"}
    for name in (*CLASSES, "right"):
        assert rows(found, metric=name).value.notna().all()
        assert len(rows(found, metric=name))
    # what the task's own function says, at every step and replica
    by_hand = rows(found, metric="right").value.to_numpy()
    assert rows(found, metric="accuracy").value.to_numpy() == pytest.approx(by_hand)


@pytest.mark.parametrize("task", [regression, words])
def test_a_task_without_classes_has_no_rows_for_what_nobody_asked(task):
    found = go(task())
    assert "eval_loss" in set(found.table.metric)
    assert not {"accuracy", "disagreement"} & set(found.table.metric)
    more = go(task(), metrics="+barrier")
    assert not {"accuracy", "disagreement"} & set(more.table.metric)


@pytest.mark.parametrize("metrics", ["+accuracy", "accuracy", ["accuracy", "l2"]])
def test_what_was_asked_for_is_undefined_with_a_reason(metrics):
    found = rows(go(regression(), metrics=metrics), metric="accuracy")
    assert set(found.reason) == {"no_predictions"}


def test_what_is_measured_by_default_is_listed_and_printed(capsys):
    listed = {m["name"]: m["by_default"] for m in metric_facts()}
    assert {name for name, when in listed.items() if when == "yes"} == WEIGHTS
    assert {n for n, when in listed.items() if when == "with evaluation data"} == set(CLASSES)
    found = go(noisy(steps=2))
    show.result(Console(width=300), found, Path("report.html"))
    assert f"measured {', '.join(found.metrics)}\n" in capsys.readouterr().out
