"""Pure optimizers against torch.optim: the same weights after 100 steps, and no coupling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import cos
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, optim
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim.lr_scheduler import LambdaLR

from wingbeat.task.optimizers import PureOptimizer, pure_optimizer, root

SIZE = 37  # a 4-6-1 net; odd, so that vector lanes leave a scalar tail
# Learning rates are calm: on an unstable run any two roundings part, whoever is right.
CASES: list[tuple[type[optim.Optimizer], dict[str, Any]]] = [
    (optim.SGD, {"lr": 0.1}),
    (optim.SGD, {"lr": 0.1, "weight_decay": 0.05}),
    (optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    (optim.SGD, {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}),
    (optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (optim.SGD, {"lr": 0.01, "momentum": 0.5, "maximize": True, "weight_decay": 0.1}),
    (optim.Adam, {"lr": 0.001}),
    (optim.Adam, {"lr": 0.002, "betas": (0.5, 0.9), "eps": 1e-3}),
    (optim.Adam, {"lr": 0.002, "betas": (0.0, 0.0), "eps": 1e-2}),
    (optim.Adam, {"lr": 0.001, "weight_decay": 0.1}),
    (optim.Adam, {"lr": 0.001, "amsgrad": True, "betas": (0.9, 0.6)}),
    (optim.Adam, {"lr": 0.001, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (optim.Adam, {"lr": 0.001, "maximize": True, "weight_decay": 0.2}),
    (optim.AdamW, {"lr": 0.001}),
    (optim.AdamW, {"lr": 0.005, "weight_decay": 0.5, "amsgrad": True}),
    (optim.AdamW, {"lr": 0.001, "weight_decay": 0.0, "maximize": True}),
    (optim.RMSprop, {"lr": 0.001}),
    (optim.RMSprop, {"lr": 0.0005, "alpha": 0.95, "weight_decay": 0.1}),
    (optim.RMSprop, {"lr": 0.0005, "momentum": 0.9}),
    (optim.RMSprop, {"lr": 0.0005, "centered": True, "eps": 1e-3}),
    (optim.RMSprop, {"lr": 0.0005, "centered": True, "momentum": 0.8, "eps": 1e-2}),
    (optim.RMSprop, {"lr": 0.0005, "alpha": 0.0, "eps": 1e-2, "maximize": True}),
    (optim.Adagrad, {"lr": 0.01}),
    (optim.Adagrad, {"lr": 0.02, "lr_decay": 0.02, "weight_decay": 0.1}),
    (optim.Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.3, "eps": 1e-3}),
    (optim.Adagrad, {"lr": 0.01, "maximize": True}),
    (optim.NAdam, {"lr": 0.001}),
    (optim.NAdam, {"lr": 0.001, "momentum_decay": 0.05, "weight_decay": 0.1}),
    (optim.NAdam, {"lr": 0.001, "weight_decay": 0.2, "decoupled_weight_decay": True}),
    (optim.NAdam, {"lr": 0.001, "betas": (0.8, 0.95), "maximize": True}),
    (optim.RAdam, {"lr": 0.001}),
    (optim.RAdam, {"lr": 0.001, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    (optim.RAdam, {"lr": 0.001, "weight_decay": 0.2, "decoupled_weight_decay": True}),
    (optim.RAdam, {"lr": 0.001, "betas": (0.9, 0.5), "maximize": True}),  # never rectified
]
every_case = pytest.mark.parametrize(
    ("kind", "options"), CASES, ids=[f"{k.__name__}-{i}" for i, (k, _) in enumerate(CASES)]
)


# After 100 steps in float64; NAdam's largest difference is 1.5e-12 with AVX2 kernels.
ROUNDING = 2e-12
POINTS = torch.randn(40, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
TARGET = torch.sin(2 * POINTS[:, 0]) + POINTS[:, 1] * POINTS[:, 2]


def loss(flat: Tensor) -> Tensor:
    """Mean squared error of a tanh net on fixed data: not convex, no unit saturates."""
    hidden = torch.tanh(POINTS @ flat[:24].reshape(4, 6) + flat[24:30])
    return ((hidden @ flat[30:36] + flat[36] - TARGET) ** 2).mean()


def gradient(flat: Tensor) -> Tensor:
    leaf = flat.detach().requires_grad_()
    return torch.autograd.grad(loss(leaf), leaf)[0]


def weights(dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SIZE, generator=generator, dtype=torch.float64).mul(0.5).to(dtype)


def numbers(rule: PureOptimizer, step: int, factor: float = 1.0) -> list[Tensor]:
    return [torch.tensor(x, dtype=torch.float64) for x in rule.coefficients(step, factor)]


def run_pure(
    rule: PureOptimizer,
    params: Tensor,
    steps: int = 100,
    factor: Callable[[int], float] = lambda _: 1.0,
    slope: Callable[[Tensor], Tensor] = gradient,
) -> Tensor:
    state = rule.start(params)
    for step in range(steps):
        params, state = rule.update(slope(params), state, params, numbers(rule, step, factor(step)))
    return params


def run_torch(
    optimizer: optim.Optimizer,
    pieces: list[Tensor],
    steps: int = 100,
    factor: Callable[[int], float] | None = None,
) -> Tensor:
    schedule = LambdaLR(optimizer, factor) if factor else None
    sizes = [piece.numel() for piece in pieces]
    for _ in range(steps):
        slopes = gradient(torch.cat([p.detach() for p in pieces])).split(sizes)
        for piece, slope in zip(pieces, slopes, strict=True):
            piece.grad = slope.clone()
        optimizer.step()
        if schedule:
            schedule.step()
    return torch.cat([p.detach() for p in pieces])


def difference(a: Tensor, b: Tensor) -> float:
    assert torch.isfinite(b).all()
    return float((a - b).abs().max() / b.abs().max())


def parameter(values: Tensor) -> torch.nn.Parameter:
    return torch.nn.Parameter(values.clone())


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def changing(step: int) -> float:
    """A factor that is another one at each step, and 0 at the first, as in a warm-up."""
    return min(1.0, step / 10) * (0.6 + 0.4 * cos(step / 7))


@every_case
@pytest.mark.parametrize("factor", [None, changing], ids=["constant", "schedule"])
def test_equals_torch(
    kind: Any, options: dict[str, Any], factor: Callable[[int], float] | None
) -> None:
    theirs = parameter(weights())
    optimizer = kind([theirs], **options)
    rule = pure_optimizer(optimizer)
    expected = run_torch(optimizer, [theirs], factor=factor)
    ours = run_pure(rule, weights(), factor=factor or (lambda _: 1.0))
    assert difference(expected, weights()) > 1e-3  # it moved
    assert difference(ours, expected) < ROUNDING


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nadam_schedule_follows_the_default_dtype(dtype: torch.dtype) -> None:
    with default_dtype(dtype):
        theirs = parameter(weights())
        optimizer = optim.NAdam([theirs], lr=0.01)
        rule = pure_optimizer(optimizer)
        expected = run_torch(optimizer, [theirs])
    assert difference(run_pure(rule, weights()), expected) < ROUNDING


def test_nadam_coefficients_do_not_depend_on_where_one_starts() -> None:
    rule = pure_optimizer(optim.NAdam([parameter(weights())], betas=(0.9999, 0.999)))
    far = rule.coefficients(5000, 1.0)
    product = 1.0
    for step in range(1, 5002):
        product *= 0.9999 * (1 - 0.5 * 0.96 ** (step * 4e-3))
    mu = 0.9999 * (1 - 0.5 * 0.96 ** (5001 * 4e-3))
    scale = ((1 - 0.999**5001) / 0.001) ** 0.5
    assert far[0] == pytest.approx(-2e-3 * scale * (1 - mu) / (1 - product), rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        (optim.SGD, {"lr": 0.1, "momentum": 0.9}, {"lr": 0.02, "weight_decay": 0.1}),
        (optim.AdamW, {"lr": 0.01, "weight_decay": 0.0}, {"lr": 0.03, "weight_decay": 0.3}),
        (optim.Adam, {"lr": 0.01, "betas": (0.8, 0.9)}, {"lr": 0.03, "amsgrad": True}),
        (
            optim.Adagrad,
            {"lr": 0.02, "lr_decay": 0.1},
            {"lr": 0.05, "initial_accumulator_value": 3},
        ),
        (optim.RMSprop, {"lr": 0.01, "momentum": 0.9}, {"lr": 0.01, "centered": True, "eps": 0.1}),
        (optim.NAdam, {"lr": 0.01}, {"lr": 0.01, "momentum_decay": 0.1}),
        (optim.RAdam, {"lr": 0.01, "betas": (0.8, 0.9)}, {"lr": 0.02, "weight_decay": 0.1}),
    ],
)
def test_groups_equal_torch(kind: Any, first: dict[str, Any], second: dict[str, Any]) -> None:
    pieces = [parameter(piece) for piece in weights().split([6, 18, 13])]
    optimizer = kind([{"params": pieces[:2], **first}, {"params": pieces[2:], **second}])
    rule = pure_optimizer(optimizer, [slice(0, 24), slice(24, 37)])
    assert rule == pure_optimizer(optimizer)
    ours = run_pure(rule, weights(), factor=changing)
    assert difference(ours, run_torch(optimizer, pieces, factor=changing)) < ROUNDING


def test_groups_may_lie_in_another_order() -> None:
    head, tail = (parameter(piece) for piece in weights().split([24, 13]))
    optimizer = optim.SGD([{"params": [tail], "lr": 0.01}, {"params": [head], "lr": 0.1}])
    rule = pure_optimizer(optimizer, [slice(24, 37), slice(0, 24)])
    assert difference(run_pure(rule, weights()), run_torch(optimizer, [head, tail])) < ROUNDING


def grouped() -> PureOptimizer:
    parts = [parameter(piece) for piece in weights().split([5, 32])]
    groups = [{"params": parts[:1], "amsgrad": True}, {"params": parts[1:], "lr": 0.02}]
    return pure_optimizer(optim.AdamW(groups, lr=0.01))


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_replicas_are_single_runs_bit_for_bit(
    kind: Any, options: dict[str, Any], dtype: torch.dtype
) -> None:
    assert_no_coupling(pure_optimizer(kind([parameter(weights())], **options)), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_groups_do_not_couple_replicas(dtype: torch.dtype) -> None:
    assert_no_coupling(grouped(), dtype)


def assert_no_coupling(rule: PureOptimizer, dtype: torch.dtype) -> None:
    """Step 5 replicas together and alone, with the same gradients by construction."""
    stack = torch.stack([weights(dtype, seed) for seed in range(5)])
    state, alone = rule.start(stack), [(row, rule.start(row)) for row in stack]
    together = torch.func.vmap(rule.update, in_dims=(0, 0, 0, None))
    for step in range(8):
        c = numbers(rule, step, changing(step + 1))
        slopes = torch.sin(3 * stack) * 10.0 ** -torch.arange(SIZE).remainder(9).to(dtype)
        stack, state = together(slopes, state, stack, c)
        alone = [rule.update(g, s, p, c) for g, (p, s) in zip(slopes, alone, strict=True)]
    assert stack.dtype == dtype
    for i, (params, own) in enumerate(alone):
        assert torch.equal(stack[i], params)
        assert all(torch.equal(state[slot][i], own[slot]) for slot in rule.slots())


@every_case
def test_one_traced_graph_serves_every_step(kind: Any, options: dict[str, Any]) -> None:
    rule = pure_optimizer(kind([parameter(weights())], **options))
    params, state = weights(), rule.start(weights())

    def update(*given: Any) -> Any:  # make_fx miscounts the arguments of a bound method
        return rule.update(*given)

    graph = make_fx(update)(gradient(params), state, params, numbers(rule, 0))
    fused = {"lerp", "addcmul", "addcdiv"}
    assert not [n for n in graph.graph.nodes if any(f in str(n.target) for f in fused)]
    assert not [n for n in graph.graph.nodes if "alpha" in n.kwargs]
    for step in range(12):
        c, slope = numbers(rule, step, changing(step)), gradient(params)
        expected, _ = rule.update(slope, state, params, c)
        params, state = graph(slope, state, params, c)
        assert torch.equal(params, expected)


@every_case
def test_smooth_keeps_the_value_and_has_a_derivative(kind: Any, options: dict[str, Any]) -> None:
    """A weight whose gradient is exactly 0, as behind a dead unit."""
    optimizer = kind([parameter(weights())], **options)
    plain, smooth = pure_optimizer(optimizer), pure_optimizer(optimizer, smooth=True)
    functional = torch.func.grad(loss)
    dead = torch.ones(SIZE, dtype=torch.float64)
    dead[3] = 0

    def step(params: Tensor, rule: PureOptimizer) -> Tensor:
        return run_pure(rule, params, steps=7, slope=lambda p: functional(p) * dead)

    at, along = weights(), weights(seed=1)
    at[3] = 0.0  # so that weight decay adds nothing either
    along[3] = 0.0
    assert torch.equal(step(at, plain), step(at, smooth))
    tangent = torch.func.jvp(lambda p: step(p, smooth), (at,), (along,))[1]
    assert torch.isfinite(tangent).all()
    h = 1e-6
    slope = (step(at + h * along, smooth) - step(at - h * along, smooth)) / (2 * h)
    assert difference(tangent, slope) < 1e-4


def test_root_hides_nothing() -> None:
    x = torch.tensor([-1.0, 0.0, 4.0, float("inf"), float("nan")])
    assert torch.equal(root(x).nan_to_num(7.0), root(x, smooth=True).nan_to_num(7.0))
    assert root(x, smooth=True).isnan().tolist() == [True, False, False, False, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("added", [1e-3, 1e-8, 1e-11])
def test_a_root_beside_epsilon_keeps_the_bits_of_the_sum(dtype: torch.dtype, added: float) -> None:
    least = torch.finfo(dtype).tiny
    below = least * 2.0 ** -torch.arange(0, 60, dtype=dtype)  # down to 0
    near = torch.tensor([1.0, 1.5, 2.0, 1e3, 1e9]) * least
    rest = torch.tensor([-1.0, -0.0, 0.0, 1e-20, 1.0, torch.inf, torch.nan])
    x = torch.cat([below, near.to(dtype), rest.to(dtype), torch.rand(99).to(dtype)])
    x = x[~(x < 0)]  # no sum of squares is
    for scale in (1.0, 1.7, 31.6):
        found = root(x, added=added) + added * scale
        torch.testing.assert_close(found, x.sqrt() + added * scale, rtol=0, atol=0, equal_nan=True)


def test_a_root_beside_no_epsilon_is_the_root() -> None:
    x = torch.tensor([-1.0, 0.0, 1e-42, 4.0])
    assert torch.equal(root(x, added=1e-12).nan_to_num(7.0), x.sqrt().nan_to_num(7.0))


def test_epsilons_that_swallow_no_roots_take_another_step() -> None:
    keys = {
        repr(pure_optimizer(optim.Adam([parameter(weights())], eps=eps)).without_rates())
        for eps in (1e-8, 1e-3, 0.0, 1e-12)
    }
    assert len(keys) == 2


@every_case
def test_start(kind: Any, options: dict[str, Any]) -> None:
    rule = pure_optimizer(kind([parameter(weights())], **options))
    stack = weights().expand(3, SIZE).to(torch.float32)
    state = rule.start(stack)
    assert tuple(state) == rule.slots()
    value = options.get("initial_accumulator_value", 0.0)
    for vector in state.values():
        assert torch.equal(vector, torch.full_like(stack, value))


rates = st.floats(0.0, 0.99)
shared = {
    "lr": st.floats(1e-6, 0.1),
    "weight_decay": st.floats(0.0, 1.0),
    "maximize": st.booleans(),
}


@settings(max_examples=40, deadline=None)
@given(options=st.fixed_dictionaries({**shared, "momentum": rates, "dampening": rates}))
def test_any_sgd(options: dict[str, Any]) -> None:
    assert_equal_for_ten_steps(optim.SGD, options)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from([optim.Adam, optim.AdamW]),
    options=st.fixed_dictionaries(
        {
            **shared,
            "betas": st.tuples(rates, rates),
            "eps": st.floats(1e-4, 0.1),
            "amsgrad": st.booleans(),
        }
    ),
)
def test_any_adam(kind: Any, options: dict[str, Any]) -> None:
    assert_equal_for_ten_steps(kind, options)


def assert_equal_for_ten_steps(kind: Any, options: dict[str, Any]) -> None:
    """Compare each step from torch's own weights, because any run may be unstable."""
    theirs = parameter(weights())
    optimizer = kind([theirs], **options)
    rule = pure_optimizer(optimizer)
    state = rule.start(weights())
    for step in range(10):
        before = theirs.detach().clone()
        theirs.grad = gradient(before)
        ours, state = rule.update(theirs.grad.clone(), state, before, numbers(rule, step))
        optimizer.step()
        assert difference(ours, theirs.detach()) < ROUNDING
