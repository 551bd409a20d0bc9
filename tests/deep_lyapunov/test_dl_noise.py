"""All copies under the same noise, and no trace of it left behind."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
import torch
from dl_jobs import analyzer, circles, loader, net, train, weights
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    WeightedRandomSampler,
)

from wingbeat.deep_lyapunov import replay
from wingbeat.deep_lyapunov.loaders import moved, prepared

VANISHING = 1e-12
"""A perturbation that is lost in float32: all copies start equal."""


class Augmented(Dataset):
    """Jitters its points with a generator of its own, or NumPy's or Python's global one."""

    def __init__(self, source):
        self.inner, self.source = circles(), source
        self.own = np.random.default_rng(3)

    def __len__(self):
        return len(self.inner)

    def __getitem__(self, i):
        x, y = self.inner[i]
        draw = {
            "own": self.own.standard_normal,
            "numpy": np.random.randn,
            "python": lambda n: [random.gauss(0, 1) for _ in range(n)],
            "torch": torch.randn,
        }[self.source]
        return x + 0.1 * torch.as_tensor(np.asarray(draw(2)), dtype=torch.float32), y


def seeded(generator_seed=5):
    return torch.Generator().manual_seed(generator_seed)


LOADERS = {
    "shuffle": lambda: loader(shuffle=True),
    "generator of the loader": lambda: loader(shuffle=True, generator=seeded()),
    "generator of the sampler": lambda: DataLoader(
        circles(), 16, sampler=RandomSampler(circles(), generator=seeded())
    ),
    "generator of the batch sampler": lambda: DataLoader(
        circles(),
        batch_sampler=BatchSampler(
            WeightedRandomSampler([1.0] * 96, 96, generator=seeded()), 16, False
        ),
    ),
    "own generator of the data": lambda: DataLoader(Augmented("own"), 16),
    "numpy": lambda: DataLoader(Augmented("numpy"), 16),
    "python": lambda: DataLoader(Augmented("python"), 16),
    "torch": lambda: DataLoader(Augmented("torch"), 16),
}


def ends_of_equal_copies(train_fn, batches, model=None):
    found = analyzer(model, perturbation_scale=VANISHING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The copies start with equal weights")
        found.analyze(train_fn, batches, 2)
    return [weights(m) for m in found.get_models()]


@pytest.mark.parametrize("kind", LOADERS)
def test_equal_copies_stay_equal(kind):
    """The original draws a new order for each copy: equal copies end 4.0 apart on run R."""
    first, *others = ends_of_equal_copies(train, LOADERS[kind]())
    assert all(torch.equal(first, other) for other in others)


def test_dropout_is_shared():
    """The original: at noise 1e-6 the ratio is 6.5e5 with dropout and 3.3 without."""
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2))
    first, *others = ends_of_equal_copies(train, loader(), model)
    assert all(torch.equal(first, other) for other in others)


def test_every_copy_sees_the_same_batches_and_epochs_differ():
    """The original: all 50 orders of 5 copies and 10 epochs are distinct."""
    orders = []

    def watch(model, batches, n_epochs):
        orders.append(tuple(torch.cat([x for x, _ in batches]).flatten().tolist()))
        return train(model, batches, n_epochs)

    analyzer().analyze(watch, loader(shuffle=True), 3)
    per_copy = [orders[i : i + 3] for i in range(0, 9, 3)]
    assert per_copy[0] == per_copy[1] == per_copy[2]
    assert len(set(orders)) == 3


@pytest.mark.parametrize("kind", ["numpy", "python"])
def test_the_same_seed_gives_the_same_result(kind):
    """The original never seeds NumPy: ratios 0.62, 0.84 and 0.74 from three equal runs."""
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    first = analyzer().analyze(train, LOADERS[kind](), 2)
    again = analyzer().analyze(train, LOADERS[kind](), 2)
    other = analyzer(seed=7).analyze(train, LOADERS[kind](), 2)
    np.testing.assert_array_equal(first.spread_evolution, again.spread_evolution)
    assert (first.spread_evolution != other.spread_evolution).any()


def test_no_generator_is_changed():
    """The original leaves torch's global generator overwritten."""
    own = seeded()
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())  # noqa: NPY002
    state = own.get_state()
    analyzer().analyze(train, loader(shuffle=True, generator=own), 2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert random.getstate() == before[2]
    assert torch.equal(own.get_state(), state)


def test_noise_that_cannot_be_shared_is_reported():
    """The original says nothing."""
    source = iter(torch.randn(1000, 96, 2, generator=seeded()))

    def stubborn(model, batches, n_epochs):
        noise = next(source)
        labels = torch.cat([y for _, y in batches])
        return train(model, [(noise, labels)], n_epochs)

    with pytest.warns(UserWarning, match="same inputs"):
        results = analyzer().analyze(stubborn, loader(), 2)
    assert any("same inputs" in note for note in results.notes)


def test_shared_noise_in_a_loop_of_ones_own():
    """The original has nothing of the kind; its guide shuffles anew for each copy."""
    batches, found = loader(shuffle=True), analyzer(perturbation_scale=VANISHING)
    found.start_recording()
    orders = []
    for _ in range(2):
        for model in found.get_models():
            with found.shared_noise(batches):
                orders.append(torch.cat([y for _, y in batches]).tolist())
                train(model, batches, 1)
        found.record_checkpoint()
    first, *others = [weights(m) for m in found.get_models()]
    assert all(torch.equal(first, other) for other in others)
    assert orders[0] == orders[1] == orders[2] != orders[3]


def test_a_shuffling_loop_of_ones_own_is_reported():
    """The original says nothing."""
    batches, found = loader(shuffle=True), analyzer()
    found.start_recording()
    for model in found.get_models():
        train(model, batches, 1)
    found.record_checkpoint()
    with pytest.warns(UserWarning, match="shared_noise"):
        found.compute_metrics()


def test_workers_that_outlive_an_epoch():
    batches = DataLoader(
        Augmented("torch"), 32, shuffle=True, num_workers=1, persistent_workers=True
    )
    first, *others = ends_of_equal_copies(train, batches)
    assert all(torch.equal(first, other) for other in others)


def test_generators_are_found_in_closures_and_lists():
    own, other = seeded(), random.Random(0)
    held = {"deep": [[own]]}

    def draws():
        return own, other

    assert {id(g) for g in replay.generators(held, draws)} == {id(own), id(other)}
    assert replay.generators(None, 3, "text", net(1, 1), torch, list(range(10**6))) == []


def test_batches_are_moved_to_the_device():
    """The original hands out batches on the processor, wherever the model is."""
    batch = {"x": torch.zeros(2), "y": [torch.ones(1), "text"]}
    assert moved(batch, "meta")["y"][0].device.type == "meta"
    wrapped = prepared(loader(), "meta")
    assert isinstance(wrapped, DataLoader)
    assert len(wrapped) == 6
    assert all(x.device.type == y.device.type == "meta" for x, y in wrapped)
    assert prepared(batches := [batch], "cpu") is batches


def test_the_training_function_gets_the_moved_batches(monkeypatch):
    """The original: a training function as documented should fail on CUDA."""
    from wingbeat.deep_lyapunov import training

    found = analyzer()
    asked = []

    def spy(source, device, after_pass=None):
        asked.append(device)
        return [(x.double(), y) for x, y in source]  # stands for a move

    monkeypatch.setattr(training, "prepared", spy)
    found._model.double()
    results = found.analyze(train, loader(), 1)
    assert asked == ["cpu"] * 3
    assert np.isfinite(results.spread_evolution).all()


def test_models_inside_a_transform_can_be_watched():
    def per_sample(model, batches, n_epochs):
        for x, _ in batches:
            torch.func.vmap(model)(x)
        return train(model, batches, n_epochs)

    assert analyzer().analyze(per_sample, loader(), 1).convergence_ratio > 0
