from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from grounds import models_of, module_at, problem, renormalised, step_of, thetas, well
from torch import nn

from wingbeat.errors import RequestError
from wingbeat.landscape import Models, Probe, plane, soup


class Point(nn.Module):
    """Two parameters; the loss is a bowl around (1, 2)."""

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return x * 0 + (self.p - torch.tensor([1.0, 2.0], dtype=self.p.dtype)).square().sum()


def bowl():
    return step_of(well(model=Point, loss=lambda m, b: m(b[0]).mean()))


def test_plane_of_a_bowl():
    corners = torch.tensor([[0.0, 0.0], [3.0, 4.0], [-4.0, 3.0]], dtype=torch.float64)
    models = Models(("a", "b", "c"), corners, {})
    found = plane(Probe(bowl()), models, points=11, margin=0.1)
    np.testing.assert_allclose(found.corners, [[0, 0], [5, 0], [0, 5]], atol=1e-12)
    assert found.values["loss_train"].shape == (11, 11)
    ex, ey = np.array([0.6, 0.8]), np.array([-0.8, 0.6])
    for iy, y in enumerate(found.y):
        for ix, x in enumerate(found.x):
            point = x * ex + y * ey
            expected = ((point - [1, 2]) ** 2).sum()
            assert found.values["loss_train"][iy, ix] == pytest.approx(expected, abs=1e-10)
    assert found.x[0] == pytest.approx(-0.5)
    assert found.x[-1] == pytest.approx(5.5)


@pytest.mark.parametrize("name", ["mlp", "cnn", "transformer"])
def test_the_plane_passes_through_the_three_models(name):
    _, step = problem(name)
    models = models_of(step, 3)
    # A grid without margin of two points begins and ends at the first two models.
    probe = Probe(step, batch_size=30)
    found = plane(probe, models, points=2, margin=0.0)
    own = probe(models, np.eye(3))["train"].mean()
    here = found.values["loss_train"]
    if found.x[0] == 0.0 and found.x[-1] == pytest.approx(found.corners[1, 0]):
        assert here[0, 0] == pytest.approx(own[0], abs=1e-10)
        assert here[0, 1] == pytest.approx(own[1], abs=1e-10)
    away = models.params.double()
    apart = [float((away[i] - away[j]).norm()) for i, j in ((0, 1), (0, 2), (1, 2))]
    drawn = [
        float(np.linalg.norm(found.corners[i] - found.corners[j]))
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    assert drawn == pytest.approx(apart)


def test_planes_that_are_none_are_refused():
    probe = Probe(step_of(well()))
    with pytest.raises(RequestError, match="on one line"):
        plane(probe, thetas(0.0, 1.0, 3.0))
    with pytest.raises(RequestError, match="on one line"):
        plane(probe, thetas(1.0, 1.0, 3.0))
    with pytest.raises(RequestError, match="three of"):
        plane(probe, thetas(1.0, 2.0))
    with pytest.raises(RequestError, match="points"):
        plane(probe, thetas(0.0, 1.0, 3.0), points=1)
    with pytest.raises(RequestError, match="margin"):
        plane(probe, thetas(0.0, 1.0, 3.0), margin=-1.0)
    with pytest.raises(RequestError, match="not finite"):
        plane(probe, thetas(0.0, 1.0, float("nan")))


def test_soup_of_the_double_well():
    found = soup(Probe(step_of(well())), thetas(-1.0, 1.0), aligned=thetas(1.0, 1.0))
    assert found.members["loss_train"].tolist() == [0.0, 0.0]
    assert found.plain["loss_train"] == pytest.approx(0.25)
    assert found.aligned["loss_train"] == 0.0
    assert found.gain() == pytest.approx(-0.25)
    assert found.gain(aligned=True) == 0.0


def test_soup_of_copies_is_the_model_to_the_bit():
    _, step = problem("cnn")
    models = models_of(step, 2).take([0, 0, 0])
    found = soup(Probe(step), models)
    for key, value in found.plain.items():
        assert value == found.members[key][0]
    assert found.aligned == {}


def test_soup_of_a_network_equals_a_module_with_the_mean():
    task, step = problem("cnn")
    models = models_of(step, 3)
    row = [0.2, 0.3, 0.5]
    model = renormalised(module_at(step, models, row), task.data[0].double())
    with torch.no_grad():
        expected = float(task.loss(model, (task.data[0].double(), task.data[1])))
    found = soup(Probe(step), models, weights=row)
    assert found.plain["loss_train"] == pytest.approx(expected, abs=1e-10)


def test_permuted_copy_averages_to_the_model_only_after_alignment():
    _, step = problem("mlp")
    models = models_of(step, 1)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    named = dict(step.layout.unflatten(models.params[0]))
    named["0.weight"], named["0.bias"] = named["0.weight"][order], named["0.bias"][order]
    named["3.weight"] = named["3.weight"][:, order]
    other = step.layout.flatten(named)
    pair = Models(("a", "permuted"), torch.stack([models.params[0], other]), {})
    found = soup(Probe(step), pair, aligned=models.take([0, 0]))
    own = found.members["loss_train"]
    assert own[0] == pytest.approx(own[1], abs=1e-12)
    assert found.plain["loss_train"] != pytest.approx(own[0], abs=1e-6)
    assert found.aligned["loss_train"] == own[0]


def test_soups_that_do_not_fit_are_refused():
    probe = Probe(step_of(well()))
    with pytest.raises(RequestError, match="sum to 1"):
        soup(probe, thetas(1.0, 2.0), weights=[0.5, 0.6])
    with pytest.raises(RequestError, match="sum to 1"):
        soup(probe, thetas(1.0, 2.0), weights=[1.0])
    with pytest.raises(RequestError, match="1 aligned models for 2"):
        soup(probe, thetas(1.0, 2.0), aligned=thetas(1.0))
    with pytest.raises(RequestError, match="no value 'loss_test'"):
        soup(probe, thetas(1.0, 2.0)).gain("loss_test")
    task = replace(well(), eval_data=(torch.ones(6),))
    assert "loss_test" in soup(Probe(step_of(task)), thetas(1.0, 2.0)).plain
