"""Digits at 16x16, by halves: the same pixels as by hand, labels from 0, rates that fall."""

from __future__ import annotations

import math

import pytest
import torch

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.tasks.data.sources import images
from wingbeat.tasks.small_mnist import half_cosine, small_mnist_task, small_net


def test_a_half_holds_the_images_of_its_digits_shrunk_by_hand():
    pixels, labels = images().test
    task = small_mnist_task("dense", (4,), digits="second")
    own, named = task.eval_data
    kept = torch.nonzero(labels >= 5).flatten()
    assert len(own) == len(kept)
    assert torch.equal(named, labels[kept] - 5)
    first = pixels[kept[0], 0]
    by_hand = [
        [first[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in range(14)] for i in range(14)
    ]
    assert torch.allclose(own[0, 0, 1:15, 1:15], torch.tensor(by_hand))
    assert float(own[:, :, 0].abs().sum() + own[:, :, :, 15].abs().sum()) == 0.0


def test_the_rate_falls_as_torch_has_it():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    for step in range(10):
        assert half_cosine(10, step) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    ("family", "shape"), [("dense", (8,)), ("cnn", (3,)), ("transformer", (4, 1))]
)
def test_every_family_trains_in_lock_step(family, shape):
    task = small_mnist_task(
        family, shape, steps=2, samples=64, batch_size=8, shifts=True, decay=True
    )
    found = wb.run(task, wb.Gaussian(0.1), replicas=2, driver="lockstep", metrics=("train_loss",))
    assert found.deterministic
    assert math.isfinite(float(found.table["value"].iloc[-1]))


@pytest.mark.parametrize(
    "wrong",
    [{"family": "mlp"}, {"digits": "third"}, {"optimizer": "rmsprop"}, {"steps": 0},
     {"family": "transformer", "shape": (4,)}, {"samples": 0}],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(wrong):
    with pytest.raises(RequestError):
        small_mnist_task(**wrong)


def test_a_head_has_as_many_scores_as_there_are_digits():
    for family, shape in (("dense", (4,)), ("cnn", (4, 4)), ("transformer", (4, 1))):
        assert small_net(family, shape, 5)(torch.zeros(2, 1, 16, 16)).shape == (2, 5)
