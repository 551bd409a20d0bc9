from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from grounds import models_of, module_at, problem, step_of, thetas, well
from reference import function_space as slow
from torch import nn

from wingbeat.errors import RequestError
from wingbeat.landscape import Models, Probe, diagonal_fisher, fisher_divergence, functions
from wingbeat.metrics.fisher import gaussian_kl


@pytest.mark.parametrize("name", ["cnn", "transformer"])
@pytest.mark.parametrize("stacked", [True, False])
def test_predictions_equal_the_modules(name, stacked):
    task, step = problem(name)
    models = models_of(step, 3)
    found = functions(Probe(step, stacked=stacked, memory=200_000, batch_size=20), models)
    x, y = task.eval_data
    x = x.double() if x.is_floating_point() else x
    for i, row in enumerate(np.eye(3)):
        with torch.no_grad():
            expected = module_at(step, models, row)(x)
        np.testing.assert_allclose(found.scores[i], expected.numpy(), atol=1e-10)
    assert found.right.tolist() == y.tolist()
    scores = found.scores.tolist()
    for i in range(3):
        for j in range(3):
            assert found.kl()[i, j] == pytest.approx(slow.kl(scores[i], scores[j]), abs=1e-12)
            assert found.js()[i, j] == pytest.approx(slow.js(scores[i], scores[j]), abs=1e-12)
    np.testing.assert_array_equal(found.js(), found.js().T)
    assert (np.diagonal(found.churn()) == 0).all()
    np.testing.assert_allclose(np.diagonal(found.logit_correlation()), 1, atol=1e-12)
    loss, accuracy, *_ = slow.ensemble(scores, y.tolist(), "probability")
    assert found.ensemble().loss == pytest.approx(loss)
    assert found.ensemble().accuracy == pytest.approx(accuracy)
    assert found.ensemble([0, 1], "logit").member_loss.shape == (2,)
    assert found.diversity().disagreement[0] == 0


def test_functions_need_classes_and_known_data():
    task, step = problem("mlp")
    with pytest.raises(RequestError, match="no class scores"):
        functions(Probe(step), models_of(step, 2))
    task, step = problem("cnn")
    with pytest.raises(RequestError, match="known are train, test"):
        functions(Probe(step), models_of(step, 2), "valid")
    unlabelled = {"data": task.data[:1], "eval_data": None, "loss": lambda m, b: m(b[0]).mean()}
    blind = step_of(replace(task, **unlabelled))
    found = functions(Probe(blind), models_of(blind, 2))
    assert found.right is None
    with pytest.raises(RequestError, match=r"Task\.targets"):
        found.ensemble()


def linear_task(loss, classes=1, outputs=1):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(50, 3, generator=generator)
    if loss == "squares":
        y = x @ torch.tensor([1.0, -2.0, 0.5]) + 0.3 * torch.randn(50, generator=generator)

        def value(model, batch):
            return 0.5 * ((model(batch[0])[:, 0] - batch[1]) ** 2).mean()
    else:
        y = (x[:, 0] > 0.2).long()

        def value(model, batch):
            return F.cross_entropy(model(batch[0]), batch[1])

    return replace(well(), model=lambda: nn.Linear(3, outputs, bias=False), loss=value, data=(x, y))


@pytest.mark.parametrize("memory", [1 << 26, 2000])
def test_fisher_of_linear_regression(memory):
    """With unit noise the gradient of a sample is −r x, so F = mean r² x²."""
    task = linear_task("squares")
    step = step_of(task)
    models = models_of(step, 2)
    found = diagonal_fisher(Probe(step, memory=memory), models)
    x, y = (t.double().numpy() for t in task.data)
    for i in range(2):
        residual = x @ models.params[i].numpy() - y
        np.testing.assert_allclose(found[i], (residual[:, None] ** 2 * x**2).mean(0), rtol=1e-10)


def test_fisher_of_logistic_regression():
    """Two classes with weights (0, w): F_model = mean p (1 − p) x² for both rows."""
    task = linear_task("classes", outputs=2)
    step = step_of(task)
    models = models_of(step, 2)
    x, y = task.data[0].double().numpy(), task.data[1].numpy()
    exact = diagonal_fisher(Probe(step), models, "model")
    empirical = diagonal_fisher(Probe(step), models)
    for i in range(2):
        w = models.params[i].numpy().reshape(2, 3)
        p = 1 / (1 + np.exp(-(x @ (w[1] - w[0]))))
        expected = ((p * (1 - p))[:, None] * x**2).mean(axis=0)
        np.testing.assert_allclose(exact[i], np.tile(expected, 2), rtol=1e-10)
        own = (((p - y) ** 2)[:, None] * x**2).mean(axis=0)
        np.testing.assert_allclose(empirical[i], np.tile(own, 2), rtol=1e-10)


def test_fisher_of_a_network_equals_a_loop_over_samples():
    task, step = problem("cnn")
    models = models_of(step, 1)
    found = diagonal_fisher(Probe(step), models)[0]
    model = module_at(step, models, [1.0])
    total = 0.0
    for x, y in zip(task.data[0].double(), task.data[1], strict=True):
        loss = task.loss(model, (x[None], y[None]))
        grads = torch.autograd.grad(loss, list(model.parameters()))
        total = (
            total
            + step.layout.flatten(
                dict(zip([n for n, _ in model.named_parameters()], grads, strict=True))
            ).square()
        )
    np.testing.assert_allclose(found, (total / 60).numpy(), rtol=1e-9, atol=1e-14)


def test_divergence_of_two_solutions_beside_the_barrier():
    step = step_of(well())
    found = fisher_divergence(Probe(step), thetas(-1.0, 1.0), prior=2.0)
    # The gradient vanishes at both minima: only the prior is left, precision 2.
    assert found.forward == found.backward == found.symmetric == pytest.approx(4.0)
    assert found.barrier == pytest.approx(0.25)
    models = thetas(0.5, 1.2)
    found = fisher_divergence(Probe(step), models, barrier=False)
    gradients = [t * (t * t - 1) for t in (0.5, 1.2)]
    sharp = [np.array([30 * g * g + 1.0]) for g in gradients]
    there, back = np.array([0.5]), np.array([1.2])
    assert found.forward == pytest.approx(float(gaussian_kl(there, sharp[0], back, sharp[1])))
    assert found.backward == pytest.approx(float(gaussian_kl(back, sharp[1], there, sharp[0])))
    assert np.isnan(found.barrier)
    same = fisher_divergence(Probe(step), thetas(0.7, 0.7))
    assert same.forward == same.backward == same.barrier == 0.0


class Reading(nn.Module):
    """Cannot be vectorised over samples."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1, bias=False)

    def forward(self, x):
        return self.layer(x) * (1.0 if float(x.detach().sum()) < 1e9 else 2.0)


def test_samples_one_by_one_where_the_model_cannot_be_vectorised():
    task = linear_task("squares")
    plain, stubborn = step_of(task), step_of(replace(task, model=Reading))
    models = models_of(plain, 1)
    other = Models(models.labels, models.params, {})
    expected = diagonal_fisher(Probe(plain), models)
    found = diagonal_fisher(Probe(stubborn), other)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_bad_requests_are_refused():
    probe = Probe(step_of(well()))
    with pytest.raises(RequestError, match="'empirical' or 'model'"):
        diagonal_fisher(probe, thetas(1.0), "exact")
    with pytest.raises(RequestError, match="no data 'valid'"):
        diagonal_fisher(probe, thetas(1.0), data="valid")
    with pytest.raises(RequestError, match="not finite"):
        diagonal_fisher(probe, thetas(float("nan")))
    with pytest.raises(RequestError, match="class scores"):
        diagonal_fisher(probe, thetas(1.0), "model")
