"""Whether the reference trained: losses of every shape, and accuracies against chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats

import wingbeat as wb
from wingbeat.measure.outputs import Outputs
from wingbeat.measure.reference_training import entries, reference_training
from wingbeat.measure.verdict import training_failure


def noise(seed, steps, size=0.1):
    return size * np.random.default_rng(seed).normal(size=steps)


SHAPES = [
    ("falls", np.geomspace(2.0, 0.1, 60) + noise(0, 60), "fell", "trained"),
    ("falls at once, then stays", 0.3 + np.exp(-np.arange(100)) + noise(1, 100, 0.02), "fell",
     "trained"),
    ("stays", 1.0 + noise(2, 100), "unclear", "unproven"),
    ("rises slowly", np.linspace(1.0, 2.0, 60) + noise(3, 60), "rose", "failed"),
    ("explodes at once", np.r_[0.7, 2e5 + 1e4 * noise(4, 59)], "rose", "failed"),
    ("explodes in four steps", np.array([0.7, 3.0, 1e3, 7e5]), "rose", "failed"),
    ("is infinite in between", np.r_[1.0, np.inf, 0.5, np.full(40, 0.1)], "not finite", "failed"),
    ("falls in four steps", np.array([1.0, 0.8, 0.6, 0.4]), "unclear", "unproven"),
    ("is one step", np.array([1.0]), "unclear", "unproven"),
    ("is negative and falls", np.linspace(-1.0, -5.0, 60), "fell", "trained"),
    ("has one outlier at the end", np.r_[np.geomspace(2.0, 0.1, 60), 1e6], "fell", "trained"),
]  # fmt: skip


@pytest.mark.parametrize(("losses", "change", "state"), [s[1:] for s in SHAPES],
                         ids=[s[0] for s in SHAPES])  # fmt: skip
def test_losses_of_every_shape(losses, change, state):
    found = reference_training(0, losses)
    assert (found.change, found.state) == (change, state)


def test_losses_that_only_scatter_are_seldom_called_anything():
    found = [reference_training(0, 1.0 + noise(s, 80)).change for s in range(600)]
    # twice .005 on either side: 6 expected at most, 15 is beyond 1 in 1,000
    assert found.count("rose") <= 15
    assert found.count("fell") <= 15


def outputs(accuracy, labels):
    return Outputs({"accuracy": np.array([accuracy, accuracy])}, labels=np.asarray(labels))


@pytest.mark.parametrize(
    ("right", "labels", "above"),
    [
        (190, [0] * 100 + [1] * 100, True),
        (104, [0] * 100 + [1] * 100, False),
        (185, [0] * 180 + [1] * 20, False),  # nearly always the commonest class
        (200, [3] * 200, False),  # one class only: nothing can be above it
        (0, [0, 1] * 100, False),
    ],
)
def test_accuracy_against_the_commonest_class(right, labels, above):
    found = reference_training(0, np.geomspace(2, 0.1, 60), outputs(right / 200, labels))
    assert found.above_chance is above
    assert found.state == ("trained" if above else "unproven")
    chance = max(labels.count(c) for c in set(labels)) / 200
    test = scipy_stats.binomtest(right, 200, chance, alternative="greater")
    assert above == (test.pvalue < 0.005 and chance < 1)
    limits = scipy_stats.binomtest(right, 200).proportion_ci(0.95)
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((limits.low, limits.high))


def test_a_loss_that_rose_with_classes_that_are_right_has_not_failed():
    losses = np.linspace(0.5, 1.5, 60)
    assert reference_training(0, losses, outputs(0.95, [0, 1] * 100)).state == "unproven"
    assert reference_training(0, losses, outputs(0.5, [0, 1] * 100)).state == "failed"


def test_the_worst_of_several_base_seeds_is_told():
    good = reference_training(3, np.geomspace(2, 0.1, 60))
    bad = reference_training(7, np.linspace(0.7, 7e5, 60))
    found = entries([good, bad, None])
    assert found["training"]["value"] == "failed"
    assert found["training_failed"]["value"] == 1
    assert "in base seed 7)" in training_failure(found)
    assert "and in 1 more base seed" in training_failure(entries([bad, good, bad]))
    assert training_failure(entries([good])) == ""
    assert entries([None]) == {}
    assert training_failure({}) == ""


def linear(lr):
    x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
    return wb.Task(
        model=lambda: torch.nn.Linear(4, 2),
        loss=lambda model, batch: torch.nn.functional.cross_entropy(model(batch[0]), batch[1]),
        data=(x, (x[:, 0] + 0.5 * x[:, 1] * x[:, 2] > 0).long()),
        optimizer=lambda params: torch.optim.SGD(params, lr=lr),
        batch_size=32,
        steps=60,
        eval_data=(x, (x[:, 0] + 0.5 * x[:, 1] * x[:, 2] > 0).long()),
    )


@pytest.mark.parametrize("seeds", [None, [0, 1]])
def test_a_learning_rate_of_a_million_is_told_first(seeds):
    options = {"driver": "loop", "replicas": 3, "metrics": "l2", "seeds": seeds}
    bad = wb.run(linear(1e6), wb.Gaussian(0.01), **options)
    assert bad.warnings[0].startswith("Training itself failed: the reference's loss rose from ")
    assert str(bad).startswith("TRAINING FAILED")
    good = wb.run(linear(0.3), wb.Gaussian(0.01), **options)
    assert good.warnings == ()
    assert good.verdict().training["state"] == "trained"


def test_the_chance_is_the_share_of_the_commonest_class():
    good = wb.run(linear(0.3), wb.Gaussian(0.01), driver="loop", replicas=3, metrics="accuracy")
    # The chance is counted by hand: the labels alone.
    share = float((linear(1).data[1] == 1).double().mean())
    assert good.verdict().training["chance"] == pytest.approx(max(share, 1 - share))
