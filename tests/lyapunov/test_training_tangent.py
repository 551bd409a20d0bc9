"""The tangent step is the derivative of the engine's own step: finite differences in float64."""

from __future__ import annotations

from functools import partial
from typing import Any

import cases
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import differences
from torch import nn, optim
from training_cases import LOSSES, NORMS, normalised, with_loss

from wingbeat.errors import RequestError
from wingbeat.lyapunov.maps.orthonormal import orthonormal_rows
from wingbeat.lyapunov.training import derivative_patches as explicit
from wingbeat.lyapunov.training.self_check import check_tangent
from wingbeat.lyapunov.training.tangent import TangentStep
from wingbeat.task.step import State, TrainingStep
from wingbeat.task.task import Task

TOLERANCE = 1e-6
DECAYED = partial(optim.Adam, lr=2e-3, weight_decay=0.05)


def engine(task: Task) -> TrainingStep:
    return TrainingStep(task, torch.float64, torch.device("cpu"))


def worst(task: Task, steps: int, **options: Any) -> float:
    """Follow a run and return the largest disagreement of any step, in natural units."""
    own, plain = TangentStep(task, **options), engine(task)
    state, draw = own.start(), torch.Generator().manual_seed(1)
    found = 0.0
    state, _ = own.plain(state, 0)
    for index in range(1, steps + 1):
        v = torch.randn(own.coordinates.size, generator=draw, dtype=torch.float64)
        after, moved, _ = own(state, v[None], index)
        raw, scales = v / own.scales(state), own.scales(after)
        now = state

        def ahead(x: np.ndarray, now: State = now, index: int = index, scales: Any = scales) -> Any:
            c = [torch.tensor(n, dtype=torch.float64) for n in plain.coefficients(index)]
            torch.manual_seed(own.streams.dropout + index)
            there, _ = plain(own.coordinates.state(torch.from_numpy(x), now), own.batch(index), c)
            return (own.coordinates.flat(there) * scales).numpy()

        flat = own.coordinates.flat(state).numpy()
        assert np.allclose(ahead(flat), (own.coordinates.flat(after) * scales).numpy(), rtol=1e-9)
        expected = moved[0].numpy()
        found = max(found, differences.closest(ahead, flat, raw.numpy(), expected))
        state = after
    return found


@pytest.mark.parametrize("norm", NORMS)
def test_normalisations_with_adam_and_weight_decay(norm: str) -> None:
    assert worst(normalised(norm, DECAYED), 2, recorded=False) < TOLERANCE


@pytest.mark.parametrize(
    "optimizer", ["sgd", "nesterov", "adamw", "rmsprop", "adagrad", "nadam", "groups"]
)
def test_optimizers(optimizer: str) -> None:
    assert worst(cases.task("mlp", optimizer), 2, recorded=False) < TOLERANCE


@pytest.mark.parametrize("problem", ["transformer", "clipped", "tied", "frozen", "unused"])
def test_attention_clipping_shared_and_frozen_weights(problem: str) -> None:
    assert worst(cases.task(problem), 2, recorded=False) < TOLERANCE


@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss: str) -> None:
    assert worst(with_loss(loss), 1, recorded=False) < TOLERANCE


@pytest.mark.slow
def test_twenty_recorded_steps_of_batch_norm_with_adam() -> None:
    assert worst(normalised("batch", DECAYED), 20) < TOLERANCE


@pytest.mark.long
@pytest.mark.parametrize("optimizer", cases.OPTIMIZERS)
@pytest.mark.parametrize("problem", cases.ARCHITECTURES)
def test_every_architecture_and_optimizer(problem: str, optimizer: str) -> None:
    assert worst(cases.task(problem, optimizer), 20) < TOLERANCE


def test_whole_jacobian_with_running_buffers() -> None:
    task = cases.task(
        "mlp",
        "sgd",
        model=lambda: nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2), nn.Linear(2, 1)),
    )
    own = TangentStep(task, recorded=False)
    state, _ = own.plain(own.start(), 0)
    found = own.jacobian(state, 1).numpy()

    def ahead(x: np.ndarray) -> np.ndarray:
        there, _ = own.plain(own.coordinates.state(torch.from_numpy(x), state), 1)
        return own.coordinates.flat(there).numpy()

    expected = differences.jacobian(ahead, own.coordinates.flat(state).numpy(), 1e-6)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    buffers = slice(own.coordinates.layout.size, None)  # driven by the rest, they keep 0.9
    np.testing.assert_allclose(found[buffers, buffers], 0.9 * np.eye(4), atol=1e-12)
    assert np.abs(found[buffers, : buffers.start]).max() > 1e-3
    assert not found[: buffers.start, buffers].any()


def test_the_run_with_tangents_is_the_run_without() -> None:
    own = TangentStep(cases.task("mlp-noisy", "adam"))
    state, other = own.start(), own.start()
    v = torch.eye(own.coordinates.size, dtype=torch.float64)[:3]
    for index in range(4):
        state, v, loss = own(state, v, index)
        other, expected = own.plain(other, index)
        assert torch.equal(state.params, other.params)
        assert torch.equal(loss, expected)


@pytest.mark.slow
def test_recorded_and_eager_agree_to_the_bit() -> None:
    found = []
    for recorded in (True, False):
        own = TangentStep(cases.task("mlp", "adam"), recorded=recorded)
        state, v = own.start(), torch.eye(own.coordinates.size, dtype=torch.float64)[:3]
        for index in range(3):
            state, v, _ = own(state, v, index)
        found.append(v)
    assert torch.equal(*found)


def test_reverse_mode_gives_the_same() -> None:
    task = cases.task("cnn")
    found = []
    for forward in (True, False):
        own = TangentStep(task, recorded=False)
        own.forward = forward
        v = torch.randn(
            2, own.coordinates.size, generator=torch.Generator().manual_seed(0)
        ).double()
        found.append(own(own.start(), v, 0)[1])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


class Detached(nn.Module):
    """Its output's derivative leaves out a factor that the output has."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.line(x)
        return out * (out * out).mean().detach()


def test_a_stop_gradient_is_found_out() -> None:
    own = TangentStep(cases.task("mlp", "sgd", model=Detached), recorded=False)
    with pytest.raises(RequestError, match=r"misses its finite difference.*replica_exponent"):
        check_tangent(own, own.start(), 0)


def test_an_optimizer_without_pure_form_is_refused() -> None:
    with pytest.raises(RequestError, match=r"Adadelta: no pure form.*replica_exponent"):
        TangentStep(cases.task("mlp", partial(optim.Adadelta, lr=1.0)))


class Old(torch.autograd.Function):
    """Has neither a vectorised nor a forward form."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        return g * (ctx.saved_tensors[0] > 0)


class Custom(nn.Module):
    """Uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = Old.apply(self.line(x))
        return out


def test_a_model_without_derivative_is_refused() -> None:
    with pytest.raises(
        RequestError, match=r"cannot differentiate this training step.*replica_exponent"
    ):
        TangentStep(cases.task("mlp", "sgd", model=Custom))


def test_explicit_layers_have_torchs_values() -> None:
    x = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w, b = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([0.1, 0.2, 0.3]).double()
    for ours, theirs in (
        (explicit.batch_norm, F.batch_norm),
        (explicit.instance_norm, F.instance_norm),
    ):
        for flag in (True, False):
            running = [
                (torch.full((3,), 0.3).double(), torch.full((3,), 2.0).double()) for _ in "ab"
            ]
            found = ours(x, *running[0], w, b, flag, 0.2, 1e-3)
            expected = theirs(x, *running[1], w, b, flag, 0.2, 1e-3)
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(running[0], running[1], rtol=1e-12, atol=1e-12)
    y, z = x[0], x[1]
    for reduction in ("mean", "sum", "none"):
        for ours, theirs, extra in (
            (explicit.mse_loss, F.mse_loss, {}),
            (explicit.huber_loss, F.huber_loss, {"delta": 0.5}),
            (explicit.smooth_l1_loss, F.smooth_l1_loss, {"beta": 0.5}),
        ):
            expected = theirs(y, z, reduction=reduction, **extra)
            torch.testing.assert_close(ours(y, z, reduction=reduction, **extra), expected)


@pytest.mark.parametrize("long", [False, True])
def test_orthonormal_rows(long: bool) -> None:
    v = torch.randn(5, 50_000 if long else 40, dtype=torch.float64)
    rows, factors = orthonormal_rows(v)
    torch.testing.assert_close(rows @ rows.T, torch.eye(5).double(), rtol=0, atol=1e-12)
    expected = torch.linalg.qr(v.T).R.diagonal().abs()
    torch.testing.assert_close(factors, expected, rtol=1e-12, atol=0)
    parallel = torch.ones(2, 150_000, dtype=torch.float64)
    parallel[1, 0] += 1e-9  # too nearly parallel for a Gram matrix
    assert float(orthonormal_rows(parallel)[1][1]) == pytest.approx(1e-9, rel=1e-5)
