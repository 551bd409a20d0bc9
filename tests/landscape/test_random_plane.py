"""A random plane around one model, against the published recipe written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from grounds import models_of, problem
from torch import nn

import wingbeat as wb
from wingbeat.errors import RequestError
from wingbeat.landscape import Models, Probe, line, random_plane


@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer"])
def test_every_point_is_the_model_moved_by_the_directions(name):
    _, step = problem(name)
    models = models_of(step, 2)
    probe = Probe(step, batch_size=30, statistics="interpolated")
    found = random_plane(probe, models, place=1, points=3, extent=0.5, seed=3)
    assert found.x.tolist() == found.y.tolist() == [-0.5, 0.0, 0.5]
    centre = models.params[1].double()
    for iy, y in enumerate(found.y):
        for ix, x in enumerate(found.x):
            moved = centre + x * torch.tensor(found.directions[0])
            moved = (moved + y * torch.tensor(found.directions[1])).to(models.params)
            buffers = {n: b[1:] for n, b in models.buffers.items()}
            alone = Models(("moved",), moved[None], buffers)
            want = probe(alone, np.eye(1))["train"].mean()[0]
            assert found.values["loss_train"][iy, ix] == pytest.approx(want, rel=1e-6)
    own = probe(models, np.eye(2))["train"].mean()[1]
    assert found.values["loss_train"][1, 1] == own


def test_filters_have_the_norms_of_the_model_and_biases_stay():
    """Li et al., section 4: d ← d ÷ |d_filter| · |θ_filter|; nothing for biases and norms."""
    _, step = problem("cnn")
    models = models_of(step, 1)
    found = random_plane(Probe(step, samples=60), models, points=2)
    own = step.layout.unflatten(models.params[0].double())
    for direction in found.directions:
        for name, part in step.layout.unflatten(torch.tensor(direction)).items():
            if own[name].dim() < 2:
                assert not part.any()
                continue
            for mine, theirs in zip(part, own[name], strict=True):
                assert float(mine.norm()) == pytest.approx(float(theirs.norm()), rel=1e-9)
    a, b = found.directions
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert abs(cosine) < 5 / len(a) ** 0.5


def test_what_rescaling_units_does_not_change_the_picture_does_not_show():
    """The reason for the norm by filters: relu(c w) ÷ c is the same function and picture."""
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    task = wb.Task(
        model=lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)),
        loss=lambda m, b: F.cross_entropy(m(b[0]), b[1]),
        data=(x, (x[:, 0] > 0).long()),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
        batch_size=16,
        steps=1,
    )
    probe, net = Probe.of(task, torch.float64), task.model()
    models = Models.of_modules(probe.step, {"net": net})
    with torch.no_grad():
        net[0].weight.mul_(4.0)
        net[0].bias.mul_(4.0)
        net[2].weight.div_(4.0)
    other = Models.of_modules(probe.step, {"rescaled": net})
    assert float((other.params - models.params).norm()) > 1.0
    one, two = (random_plane(probe, m, points=3, seed=1).values for m in (models, other))
    np.testing.assert_allclose(one["loss_train"], two["loss_train"], rtol=1e-12)
    assert one["loss_train"].std() > 0.01


def test_a_seed_is_a_plane():
    _, step = problem("mlp")
    models, probe = models_of(step, 2), Probe(step, samples=60)
    one, same, other = (random_plane(probe, models, points=2, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.values["loss_train"], same.values["loss_train"])
    assert not np.array_equal(one.directions, other.directions)


@pytest.mark.parametrize(
    ("asked", "words"),
    [({"points": 1}, "points is 1"), ({"extent": 0.0}, "extent is"), ({"place": 5}, "place is 5")],
)
def test_wrong_requests_are_refused(asked, words):
    _, step = problem("mlp")
    with pytest.raises(RequestError, match=words):
        random_plane(Probe(step, samples=60), models_of(step, 2), **asked)


def test_points_of_a_line_under_both_names():
    _, step = problem("mlp")
    models, probe = models_of(step, 2), Probe(step, samples=60)
    found = [
        line(probe, models, points=5),
        line(probe, models, alphas=5),
        line(probe, models, None, 5),
    ]
    for other in found[1:]:
        assert np.array_equal(found[0].curve().values, other.curve().values)
    assert len(line(probe, models).curve().alphas) == 25
    with pytest.raises(RequestError, match="two names of the same"):
        line(probe, models, points=5, alphas=5)
