"""The tangent kernel against the explicit Jacobian of PyTorch, closed forms and one update."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from math import pi

import numpy as np
import pytest
import torch
from torch import nn

import wingbeat as wb
from wingbeat.curvature.linearised import TangentModel, linearised
from wingbeat.curvature.tangent import TangentKernel
from wingbeat.errors import RequestError, UndefinedError
from wingbeat.metrics.kernel import (
    elasticity,
    kernel_distance,
)

CLASSES = 3


def made(net, *, n=12, classes=CLASSES, **changes):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=generator)
    y = torch.randint(0, classes, (n,), generator=generator)
    task = wb.Task(
        model=net,
        loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        data=(x, y),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
        batch_size=n,
        steps=2,
    )
    return replace(task, **changes)


def normalised():
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, CLASSES)
    )


class Unvectorised(nn.Module):
    """vmap has no rule for .item()."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.net(x) * (1.0 if x.detach().sum().item() > -1e9 else 0.0)


def jacobian(task, state, layout):
    """Row by row, with a backward pass of the module itself for each sample and output."""
    model = task.model().double().eval()
    named = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in layout.unflatten(state.params).items():
            named[name].copy_(value)
    out = model(task.data[0].double())
    rows = [torch.autograd.grad(o, list(named.values()), retain_graph=True) for o in out.flatten()]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows]).numpy()


@pytest.mark.parametrize("net", [normalised, Unvectorised])
@pytest.mark.parametrize("memory", [1 << 20, 2000])
def test_all_kinds_are_those_of_the_jacobian(net, memory, monkeypatch):
    monkeypatch.setattr("wingbeat.curvature.tangent.MEMORY", memory)
    task = made(net)
    for kind in ("full", "trace", "logit_sum"):
        kernel = TangentKernel(task, None, kind)
        state = kernel.step.start(0)
        j = jacobian(task, state, kernel.step.layout)
        full = j @ j.T
        four = full.reshape(12, CLASSES, 12, CLASSES)
        expected = {
            "full": full,
            "trace": np.einsum("nkmk->nm", four) / CLASSES,
            "logit_sum": four.sum(axis=(1, 3)) / CLASSES,
        }[kind]
        found = kernel.matrix(state.params, state.buffers)
        assert found == pytest.approx(expected, abs=1e-11)
        assert np.linalg.eigvalsh(found).min() > -1e-10
        if net is normalised:
            products = kernel.at(state.params, state.buffers).dense()[0].numpy()
            assert products == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("memory", [1 << 20, 2000])
def test_parts_of_tensors_are_those_of_their_columns_of_the_jacobian(memory, monkeypatch):
    """Blocks as memory has them cut tensors in two, and hold several."""
    monkeypatch.setattr("wingbeat.curvature.tangent.MEMORY", memory)
    task = made(normalised)
    for kind in ("full", "trace", "logit_sum"):
        kernel = TangentKernel(task, None, kind)
        state = kernel.step.start(0)
        j = jacobian(task, state, kernel.step.layout).reshape(12, CLASSES, -1)
        found = kernel.by_layer(state.params, state.buffers)
        assert list(found) == [n for n, _ in task.model().named_parameters()]
        for name, part in found.items():
            own = j[..., kernel.step.layout.slices[name]]
            expected = {
                "full": np.einsum("nkp,mlp->nkml", own, own).reshape(12 * CLASSES, -1),
                "trace": np.einsum("nkp,mkp->nm", own, own) / CLASSES,
                "logit_sum": np.einsum("nkp,mlp->nm", own, own) / CLASSES,
            }[kind]
            assert part == pytest.approx(expected, abs=1e-12)
            products = kernel.at(state.params, state.buffers, name).dense()[0].numpy()
            assert products == pytest.approx(expected, abs=1e-11)
        whole = kernel.matrix(state.params, state.buffers)
        assert sum(found.values()) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("kind", ["full", "trace", "logit_sum"])
def test_a_model_linear_in_its_weights_keeps_its_kernel(kind):
    kernel = TangentKernel(made(lambda: nn.Linear(4, CLASSES)), None, kind)
    first, other = (kernel.step.start(s) for s in (0, 1))
    a, b = (kernel.matrix(s.params, {}) for s in (first, other))
    assert kernel_distance(a, b) == 0.0
    x = kernel.batch[0].numpy()
    one = x @ x.T + 1
    assert a == pytest.approx(np.kron(one, np.eye(CLASSES)) if kind == "full" else one, abs=1e-12)


def test_the_trace_of_the_kernel_is_the_size_of_the_jacobian():
    task = made(normalised)
    full, trace = (TangentKernel(task, None, kind) for kind in ("full", "trace"))
    state = full.step.start(0)
    size = (jacobian(task, state, full.step.layout) ** 2).sum()
    assert np.trace(full.matrix(state.params, state.buffers)) == pytest.approx(size, rel=1e-12)
    own = np.trace(trace.matrix(state.params, state.buffers))
    assert own == pytest.approx(size / CLASSES, rel=1e-12)


def test_a_catapult_changes_the_kernels_size_and_not_its_direction():
    """u·v x/√m: the kernel is (|u|² + |v|²)/m · xxᵀ; above 2/η it shrinks until it is below."""

    class Bilinear(nn.Module):
        def __init__(self):
            super().__init__()
            self.u, self.v = nn.Parameter(torch.randn(64)), nn.Parameter(torch.randn(64))

        def forward(self, x):
            return (self.u @ self.v) * x / 64**0.5

    x = torch.tensor([[1.0], [-0.5]])
    task = made(Bilinear, data=(x, x * 0), loss=lambda m, b: 0.5 * (m(b[0]) ** 2).mean(), n=2)
    kernel = TangentKernel(task, None)
    flat = kernel.step.start(1).params.double()
    curvature = lambda k: np.linalg.eigvalsh(k).max() / 2  # noqa: E731 (of the mean over two)
    start = kernel.matrix(flat, {})
    eta, norms = 3 / curvature(start), [np.linalg.norm(start)]
    for _ in range(200):
        pull = torch.func.grad(lambda p: 0.5 * (kernel._function(kernel.batch, {})(p) ** 2).mean())
        flat = flat - eta * pull(flat)
        now = kernel.matrix(flat, {})
        assert kernel_distance(now, start) < 1e-15
        norms.append(np.linalg.norm(now))
    assert norms[-1] < 0.7 * norms[0]
    assert curvature(now) < 2 / eta < curvature(start)


def test_cross_entropy_never_moves_the_sum_of_the_last_layers_rows():
    """Along it the softmax does not change, and it is all that "logit_sum" looks at."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, CLASSES)).double()
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.arange(20) % CLASSES
    before = model[2].weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    moved = model[2].weight.detach() - before
    assert float(moved.norm()) > 0.5
    assert float(moved.sum(dim=0).abs().max()) < 1e-13


@pytest.mark.parametrize(("width", "error"), [(1024, 0.1), (16_384, 0.03)])
def test_a_wide_layer_has_the_kernel_of_infinite_width(width, error):
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.a = nn.Parameter(torch.randn(width, 4)), nn.Parameter(torch.randn(width))

        def forward(self, x):
            return torch.relu(x @ self.w.T) @ self.a[:, None] / width**0.5

    task = made(Wide, loss=lambda m, b: m(b[0]).mean(), n=8)
    kernel = TangentKernel(task, None)
    found = kernel.matrix(kernel.step.start(3).params, {})
    x = kernel.batch[0].numpy()
    norm = np.linalg.norm(x, axis=1)
    theta = np.arccos(np.clip(x @ x.T / np.outer(norm, norm), -1, 1))
    expected = np.outer(norm, norm) / (2 * pi) * (np.sin(theta) + 2 * (pi - theta) * np.cos(theta))
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < error
    assert np.diag(expected) == pytest.approx(norm**2)


def test_one_step_moves_the_outputs_as_the_kernel_says_to_first_order():
    kernel = TangentKernel(made(normalised), None, "full")
    state = kernel.step.start(0)
    out = kernel.outputs(state.params, state.buffers)
    slope = torch.softmax(out, 1) - nn.functional.one_hot(kernel.batch[1], CLASSES)
    pull = torch.from_numpy(jacobian(kernel.task, state, kernel.step.layout))
    g = pull.T @ slope.flatten()
    theta = torch.from_numpy(kernel.matrix(state.params, state.buffers))
    left = [
        (kernel.outputs(state.params - eta * g, state.buffers) - out).flatten()
        + eta * theta @ slope.flatten()
        for eta in (1e-3, 5e-4, 2.5e-4)
    ]
    ratios = [float(a.norm() / b.norm()) for a, b in pairwise(left)]
    assert ratios == pytest.approx([4, 4], abs=0.1)


def test_elasticity_is_the_effect_of_an_update_to_first_order():
    """One output: ‖f(x'; w⁺) − f(x')‖ ÷ ‖f(x; w⁺) − f(x)‖ tends to |Θ(x', x)|/Θ(x, x)."""
    net = lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))  # noqa: E731
    kernel = TangentKernel(made(net, loss=lambda m, b: m(b[0]).mean()), None)
    state = kernel.step.start(0)
    rows = torch.from_numpy(jacobian(kernel.task, state, kernel.step.layout))
    expected = elasticity(kernel.matrix(state.params, {}))
    before, worst = kernel.outputs(state.params, {}), []
    for eta in (1e-2, 1e-3, 1e-4):
        found = np.empty((12, 12))
        for j in range(12):
            moved = (kernel.outputs(state.params - eta * rows[j], {}) - before).abs()[:, 0]
            found[:, j] = (moved / moved[j]).numpy()
        worst.append(np.abs(found - expected).max())
    assert worst[0] / worst[1] == pytest.approx(10, abs=0.6)
    assert worst[1] / worst[2] == pytest.approx(10, abs=0.5)


def test_the_cosine_of_two_kernels_from_products():
    kernel = TangentKernel(made(normalised), None)
    first, other = (kernel.step.start(s) for s in (0, 1))
    a, b = (kernel.matrix(s.params, first.buffers) for s in (first, other))
    found = 1 - kernel.cosine(first.params, other.params, first.buffers, probes=100)
    assert found == pytest.approx(kernel_distance(a, b), abs=0.06)
    assert kernel.cosine(first.params, first.params, first.buffers, 5) == pytest.approx(1.0)


def test_what_cannot_be_is_refused():
    with pytest.raises(RequestError, match="logit_sum"):
        TangentKernel(made(normalised), kind="ntk")
    kernel = TangentKernel(made(normalised), 4)
    state = kernel.step.start(0)
    with pytest.raises(RequestError, match=r"no '0\.weigth'.*0\.weight"):
        kernel.at(state.params, state.buffers, "0.weigth")
    deep = made(lambda: nn.Sequential(nn.Linear(4, 4), nn.Unflatten(1, (2, 2))))
    kernel = TangentKernel(deep, 4)
    with pytest.raises(UndefinedError, match=r"Task\.predict"):
        kernel.matrix(kernel.step.start(0).params, {})


# linearised training


def regression(net, **changes):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(10, 4, generator=generator)
    task = made(
        net,
        n=10,
        data=(x, torch.sin(x.sum(1, keepdim=True))),
        loss=lambda m, b: 0.5 * ((m(b[0]) - b[1]) ** 2).mean(),
    )
    return replace(task, **changes)


def tanh_net():
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


@pytest.mark.slow
def test_linearised_descent_is_that_of_its_kernel():
    """Mean squared error: r_T = (I − ηΘ/N)^T r_0."""
    task = regression(tanh_net, steps=200, optimizer=lambda p: torch.optim.SGD(p, lr=0.3))
    kernel = TangentKernel(task, None)
    state = kernel.step.start(0)
    theta = kernel.matrix(state.params, {})
    first = wb.run(task, replicas=1, metrics="l2", dtype=torch.float64)
    linear = linearised(task, first.trajectory.at(0))
    found = wb.run(linear, replicas=1, metrics="l2", dtype=torch.float64, record_every=200)
    x, y = (t.double() for t in task.data)
    last, model = found.trajectory.at(200), linear.model().double()
    for i, shift in enumerate(model.shifts):
        shift.data.copy_(last.params[f"shifts.{i}"][0])
    left = (model(x) - y).detach().numpy()
    start = (kernel.outputs(state.params, {}) - y).numpy()
    expected = np.linalg.matrix_power(np.eye(10) - 0.3 * theta / 10, 200) @ start
    assert left == pytest.approx(expected, abs=1e-10)


def test_the_gradient_of_a_tangent_model_is_that_of_the_outputs_at_its_weights():
    net = normalised().double()
    model = TangentModel(net)
    x = torch.randn(5, 4, dtype=torch.float64)
    for i, shift in enumerate(model.shifts):
        shift.data.copy_(0.1 * torch.randn(shift.shape, generator=torch.Generator().manual_seed(i)))
    rows = []
    for place in range(15):
        net.requires_grad_(True)
        out = net(x).flatten()[place]
        rows.append(
            torch.cat([g.flatten() for g in torch.autograd.grad(out, list(net.parameters()))])
        )
        net.requires_grad_(False)
    j = torch.stack(rows)
    delta = torch.cat([s.detach().flatten() for s in model.shifts])
    expected = net(x).flatten() + j @ delta
    model.train()
    assert model(x).flatten().detach().numpy() == pytest.approx(expected.numpy(), abs=1e-12)
    pull = torch.randn(15, dtype=torch.float64)
    (model(x).flatten() @ pull).backward()
    slope = torch.cat([s.grad.flatten() for s in model.shifts])
    assert slope.numpy() == pytest.approx((j.T @ pull).numpy(), abs=1e-12)


def test_weights_of_another_model_are_refused():
    with pytest.raises(RequestError, match="give its snapshot"):
        linearised(regression(tanh_net), nn.Linear(4, 1))


@pytest.mark.slow
def test_a_large_scale_of_the_output_makes_training_lazy():
    """f → α(f − f₀), lr/α²: the relative change of the kernel falls as 1/α (Chizat et al.)."""
    found = []
    for alpha in (4.0, 16.0, 64.0):
        torch.manual_seed(0)
        start = tanh_net().double()
        x = torch.randn(10, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        y, f0 = torch.sin(x.sum(1, keepdim=True)), start(x).detach()
        task = regression(lambda s=start: copy.deepcopy(s))
        kernel = TangentKernel(task, None)

        def flat(model):
            return torch.cat([p.detach().flatten() for p in model.parameters()])

        before = kernel.matrix(flat(start), {})
        model = copy.deepcopy(start)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2 / alpha**2)
        loss = first = None
        while loss is None or loss > first / 10:
            value = 0.5 * ((alpha * (model(x) - f0) - y) ** 2).mean()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            loss = float(value.detach())
            first = first or loss
        after = kernel.matrix(flat(model), {})
        change = np.linalg.norm(after - before) / np.linalg.norm(before)
        found.append((change, kernel_distance(after, before)))
    changes, distances = np.log(found).T
    assert np.diff(changes) / np.log(4) == pytest.approx([-1, -1], abs=0.3)
    assert np.diff(distances) / np.log(4) == pytest.approx([-2, -2], abs=0.6)
