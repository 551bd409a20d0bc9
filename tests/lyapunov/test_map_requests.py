"""Maps and requests that cannot be treated, and orbits that leave the finite numbers."""

from __future__ import annotations

import numpy as np
import pytest
import systems
import torch
from numpy.testing import assert_allclose
from systems import DOUBLE, vector

from wingbeat.errors import RequestError
from wingbeat.lyapunov import benettin, finite_time, spectrum
from wingbeat.lyapunov.maps.states import read_state
from wingbeat.lyapunov.maps.validate_map import FlatMap, looks_at_time


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g


def by_reverse_mode(x: torch.Tensor, t: int) -> torch.Tensor:
    with torch.enable_grad():
        y = x.clone().requires_grad_()
        return x - torch.autograd.grad((y**2).sum(), y)[0]


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (lambda x, t: torch.floor(10 * x) / 10, "floor"),
        (lambda x, t: torch.round(x, decimals=1) + 0.5 * x.detach(), "round"),
        (lambda x, t: x.detach() * 2, "detach"),
        (lambda x, t: x + 3 * x.detach(), "detach"),
        (lambda x, t: x * float(x[0]), "item"),
        (lambda x, t: torch.from_numpy(np.sin(x.numpy())), "numpy"),
        (lambda x, t: torch.tensor([2 * v for v in x.tolist()], dtype=DOUBLE), "tolist"),
        (lambda x, t: (x * 10).long().double(), "another type"),
        (lambda x, t: Doubled.apply(x), "autograd.Function"),
        (by_reverse_mode, "requires_grad_"),
    ],
)
def test_a_step_without_a_derivative_is_refused(step, named: str) -> None:
    with pytest.raises(RequestError, match="benettin") as error:
        spectrum(step, vector(0.31, 0.72), 10)
    assert named in str(error.value)


def test_a_loss_without_a_forward_derivative_is_named() -> None:
    zero = torch.zeros(2, dtype=DOUBLE)
    slope = torch.func.grad(lambda x: torch.nn.functional.huber_loss(x, zero))
    with pytest.raises(RequestError, match="huber_loss_backward"):
        spectrum(lambda x, t: x - slope(x), vector(0.3, 0.7), 10)


def test_the_way_out_works() -> None:
    found = benettin(lambda x, t: torch.from_numpy(0.5 * x.numpy()), vector(1.0, 2.0), 20)
    assert found.exponent == pytest.approx(np.log(0.5), abs=1e-6)


def test_attention_is_differentiated() -> None:
    def step(x: torch.Tensor, t: int) -> torch.Tensor:
        q = x.reshape(1, 1, 3, 2)
        return torch.nn.functional.scaled_dot_product_attention(q, q, q).reshape(-1)

    x = vector(*np.linspace(-1, 1, 6))
    found = spectrum(step, x, 1)
    jacobian = np.empty((6, 6))
    for i in range(6):
        h = torch.zeros(6, dtype=DOUBLE)
        h[i] = 1e-6
        jacobian[:, i] = ((step(x + h, 0) - step(x - h, 0)) / 2e-6).numpy()
    assert found.logs.sum() == pytest.approx(np.log(abs(np.linalg.det(jacobian))), abs=1e-5)


@pytest.mark.parametrize("k", [0, 3, -1])
def test_too_many_exponents(k: int) -> None:
    with pytest.raises(RequestError, match=rf"k is {k}, but the state has 2 coordinates"):
        spectrum(systems.henon, vector(0.1, 0.1), 10, k=k)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"discard": 10}, "discard is 10 of 10 steps"),
        ({"discard": -1}, "discard is -1"),
        ({"every": 0}, "every is 0"),
    ],
)
def test_numbers_out_of_range(changed: dict[str, int], named: str) -> None:
    with pytest.raises(RequestError, match=named):
        spectrum(systems.henon, vector(0.1, 0.1), 10, **changed)
    with pytest.raises(RequestError, match=named):
        benettin(systems.henon, vector(0.1, 0.1), 10, **changed)


def test_a_kink_or_mixed_scales_are_no_reason_to_refuse() -> None:
    start = vector(1e6, 1e-6, 0.0)
    found = spectrum(lambda x, t: 0.5 * x + torch.relu(x - 1e6) * 1e-3 + 1e-9 * x**3, start, 2)
    assert found.reason == ""
    single = torch.tensor([0.3, 1e-4, -2.0])
    assert spectrum(lambda x, t: torch.tanh(3 * x), single, 2).reason == ""


def test_no_steps() -> None:
    with pytest.raises(RequestError, match="steps is 0"):
        spectrum(systems.henon, vector(0.1, 0.1), 0)


def test_a_large_state_needs_a_number_of_exponents() -> None:
    with pytest.raises(RequestError, match="2000 coordinates"):
        spectrum(lambda x, t: x, torch.zeros(2000), 10)


@pytest.mark.parametrize(
    ("state", "named"),
    [
        (torch.tensor([1, 2]), "int64"),
        ({"x": vector(1.0), "count": torch.tensor(3)}, "'count'"),
        ({"x": vector(1.0), "flag": torch.tensor(True)}, "'flag'"),
        ({"x": vector(1.0), "y": torch.ones(1)}, "mixes"),
        (vector(1.0, float("inf")), "not finite"),
        (torch.empty(0, dtype=DOUBLE), "no elements"),
        ({}, "no entries"),
        ([1.0, 2.0], "give a tensor"),
        ({"x": 1.0}, "give a tensor"),
    ],
)
def test_states_that_are_none(state, named: str) -> None:
    for estimate in (spectrum, benettin, finite_time):
        with pytest.raises(RequestError, match=named):
            estimate(lambda s, t: s, state, 10)


def test_leading_axes_must_agree() -> None:
    with pytest.raises(RequestError, match=r"lengths \[2, 3\]"):
        spectrum(lambda s, t: s, {"a": torch.ones(2, 1), "b": torch.ones(3)}, 5, batched=True)
    with pytest.raises(RequestError, match="leading axis"):
        spectrum(lambda s, t: s, torch.tensor(1.0), 5, batched=True)


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (lambda x, t: x[:1], "shape"),
        (lambda x, t: x.float(), "float32"),
        (lambda x, t: {"x": x}, "one tensor"),
        (lambda x, t: x.mul_(2), "in place"),
    ],
)
def test_a_step_must_return_a_new_state_of_the_same_form(step, named: str) -> None:
    with pytest.raises(RequestError, match=named):
        spectrum(step, vector(1.0, 2.0), 10)


def test_hidden_state_is_found() -> None:
    calls = []

    def step(x: torch.Tensor, t: int) -> torch.Tensor:
        calls.append(t)
        return x * (1 + 0.1 * len(calls))

    with pytest.raises(RequestError, match="hidden state"):
        spectrum(step, vector(1.0, 2.0), 10)


@pytest.mark.parametrize(
    "step",
    [
        lambda x, t: x * 0.5**t,
        lambda x, t: x * t,
        lambda x, t: x if t < 100 else 2 * x,
        lambda x, t: x * [1.0, 2.0][t % 2],
        lambda x, t: x + float(t),
        lambda x, t: x if t else 2 * x,
        lambda x, t: x * {0: 1.0}.get(t, 2.0),
        lambda x, t: x * len(f"{t}"),
        lambda x, t: x * torch.tensor(t),
        lambda x, t: x * 2 if isinstance(t, int) else x,
    ],
)
def test_a_look_at_the_clock_is_seen(step) -> None:
    layout, flat = read_state(vector(1.0), batched=False)
    assert looks_at_time(FlatMap(step, layout), flat[0])


def test_a_late_change_of_the_map_is_not_missed() -> None:
    found = spectrum(lambda x, t: x * (2.0 if t < 90 else 0.5), vector(1.0), 100)
    assert found.exponents[0] == pytest.approx((90 - 10) * np.log(2) / 100, abs=1e-12)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("timed", [False, True])
def test_an_orbit_that_diverges(batched: bool, timed: bool) -> None:
    def step(x: torch.Tensor, t: int) -> torch.Tensor:
        grown = 3.0 * x + x**3
        return grown * (t + 1 - t) if timed else grown

    start = torch.tensor([[1e-30], [1.0]], dtype=DOUBLE) if batched else vector(1.0)
    found = spectrum(step, start, 40, batched=batched)
    x, when = vector(1.0), 0
    while bool(torch.isfinite(3 * x + x**3)):
        x, when = 3 * x + x**3, when + 1
    assert found.reason == "diverged"
    assert int(found.diverged_at.reshape(-1)[-1]) == when
    assert np.isnan(found.exponents.reshape(-1)[-1])
    logs = found.logs.reshape(40, -1)[:, -1]
    assert np.isfinite(logs[:when]).all()
    assert np.isnan(logs[when:]).all()
    assert found.partial.reshape(-1)[-1] == pytest.approx(logs[:when].mean())
    if batched:
        assert found.diverged_at[0] == -1
        assert_allclose(found.exponents[0], np.log(3), atol=1e-9)


def test_divergence_within_an_interval_and_within_what_is_discarded() -> None:
    def step(x: torch.Tensor, t: int) -> torch.Tensor:
        return x**2

    found = spectrum(step, vector(10.0), 30, every=4)
    assert int(found.diverged_at) == 8  # 10^(2^9) is above the largest double
    assert np.isfinite(found.logs[:2]).all()
    assert np.isnan(found.logs[2:]).all()
    early = spectrum(step, vector(10.0), 30, discard=20)
    assert np.isnan(early.partial).all()
    assert early.reason == "diverged"


def test_tangents_that_overflow_are_not_called_divergence() -> None:
    found = spectrum(lambda x, t: 1e30 * torch.sin(x) + 0 * t, torch.tensor([0.5, 0.6]), 8, every=4)
    assert found.reason == "overflow"
    assert (found.diverged_at == -1).all()


def flow(state: torch.Tensor, h: float = 0.01) -> torch.Tensor:
    return state + h * torch.stack([state[1], -state[0]])


@pytest.mark.parametrize("ask", [spectrum, benettin, finite_time])
def test_a_second_argument_that_keeps_its_value_is_refused(ask) -> None:
    """``rk4(state, h=0.01)``: the index of the step would become the step size."""
    with pytest.raises(RequestError, match=r"h=0\.01"):
        ask(flow, vector(1.0, 0.0), 10)


def test_a_map_of_the_state_alone_is_a_map() -> None:
    alone = spectrum(
        lambda x: torch.stack([2 * x[0], 0.5 * x[1]]), vector(1e-9, 1.0), 60, discard=40
    )
    timed = spectrum(
        lambda x, t: torch.stack([2 * x[0], 0.5 * x[1]]), vector(1e-9, 1.0), 60, discard=40
    )
    assert_allclose(alone.exponents, np.log([2, 0.5]), atol=1e-12)
    assert_allclose(alone.exponents, timed.exponents, atol=0)
