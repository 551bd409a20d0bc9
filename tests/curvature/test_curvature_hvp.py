"""Hessian-vector products against finite differences, a library and each other, in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import curvlinops
import pytest
import torch
from cases import ARCHITECTURES, IMAGES, NOISY, task
from curvature.curvature_cases import Normalised, OldStyle, Reading
from torch import Tensor

from wingbeat.curvature import Hessian, Operator
from wingbeat.curvature.products import STACK_FROM
from wingbeat.errors import RequestError

DIFFERENCE = 1e-5


def points(hessian: Hessian, count: int) -> tuple[Tensor, dict[str, Tensor]]:
    """A few different points near the start."""
    params, buffers = hessian.start(0)
    noise = torch.randn(
        count, params.shape[1], generator=torch.Generator().manual_seed(5), dtype=params.dtype
    )
    return params + 0.02 * noise, {k: b.expand(count, *b.shape[1:]) for k, b in buffers.items()}


def differences(hessian: Hessian, where: Any, vectors: Tensor) -> Tensor:
    """Central differences of the gradient along each vector."""
    params, buffers = where
    columns = []
    for v in vectors.unbind(1):
        ahead = hessian.gradient((params + DIFFERENCE * v, buffers))[1]
        behind = hessian.gradient((params - DIFFERENCE * v, buffers))[1]
        columns.append((ahead - behind) / (2 * DIFFERENCE))
    return torch.stack(columns, dim=1)


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    "name", [*ARCHITECTURES, *NOISY, "tied", "frozen", "unused", "groups", "dict"]
)
def test_products_equal_finite_differences(name: str, mode: Any) -> None:
    hessian = Hessian(task(name), mode=mode)
    where = points(hessian, 2)
    operator = hessian.at(where)
    vectors = operator.random(2, seed=1)
    assert relative(operator(vectors), differences(hessian, where, vectors)) < 1e-6


@pytest.mark.parametrize("count", [1, STACK_FROM])
def test_every_normalisation(count: int) -> None:
    """For one replica and for a stack: the derivative of a mapped gradient is wrong in torch."""
    hessian = Hessian(task("cnn", model=Normalised), samples=12)
    where = points(hessian, count)
    operator = hessian.at(where)
    vectors = operator.random(2, seed=1)
    assert relative(operator(vectors), differences(hessian, where, vectors)) < 1e-6


@pytest.mark.parametrize("name", [*ARCHITECTURES, *NOISY])
def test_a_stack_gives_what_single_replicas_give(name: str) -> None:
    hessian = Hessian(task(name), samples=20)
    params, buffers = points(hessian, STACK_FROM)
    stacked = hessian.at((params, buffers))
    vectors = stacked.random(2, seed=1)
    found = stacked(vectors)
    for i in (0, STACK_FROM - 1):
        alone = hessian.at((params[i : i + 1], {k: b[i : i + 1] for k, b in buffers.items()}))
        assert relative(found[i : i + 1], alone(vectors[i : i + 1])) < 1e-11


def test_the_hessian_is_symmetric() -> None:
    matrix_of = Hessian(task("cnn"), samples=12)
    operator = matrix_of.at(points(matrix_of, 1))
    unit = torch.eye(operator.size, dtype=torch.float64)
    matrix = operator(unit.unsqueeze(0))[0]
    assert relative(matrix, matrix.T) < 1e-10


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_the_order_of_the_samples_does_not_matter(name: str) -> None:
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3)).tolist()
    plain, mixed = Hessian(task(name)), Hessian(task(name), samples=order)
    where = points(plain, 1)
    vectors = plain.at(where).random(2, seed=1)
    assert relative(mixed.at(where)(vectors), plain.at(where)(vectors)) < 1e-10


def test_chunks_average_to_the_whole() -> None:
    whole, chunked = Hessian(task("mlp")), Hessian(task("mlp"), batch_size=17)
    where = points(whole, 2)
    vectors = whole.at(where).random(3, seed=1)
    assert relative(chunked.at(where)(vectors), whole.at(where)(vectors)) < 1e-12
    assert torch.allclose(chunked.gradient(where)[1], whole.gradient(where)[1], atol=1e-14)


def test_a_layer_is_its_diagonal_block() -> None:
    hessian = Hessian(task("cnn"), samples=12)
    where = points(hessian, 2)
    whole = hessian.at(where).dense()
    for name, place in hessian.layers.items():
        block = hessian.at(where, name).dense()
        assert relative(block, whole[:, place, place]) < 1e-12
    assert sum(p.stop - p.start for p in hessian.layers.values()) == hessian.layout.size


def test_a_subset_is_the_hessian_of_its_samples() -> None:
    full = Hessian(task("mlp"))
    where = points(full, 1)
    vectors = full.at(where).random(1, seed=1)
    halves = [Hessian(task("mlp"), samples=range(a, a + 30)).at(where)(vectors) for a in (0, 30)]
    assert relative((halves[0] + halves[1]) / 2, full.at(where)(vectors)) < 1e-12


def test_another_loss() -> None:
    doubled = Hessian(task("mlp"), loss=lambda m, b: 2 * ((m(b[0]) - b[1]) ** 2).mean())
    plain = Hessian(task("mlp"))
    where = points(plain, 1)
    vectors = plain.at(where).random(1, seed=1)
    assert relative(doubled.at(where)(vectors), 2 * plain.at(where)(vectors)) < 1e-12


@pytest.mark.parametrize(
    ("model", "count", "way"),
    [(OldStyle, 2, "module"), (Reading, 2, "kept"), (Reading, STACK_FROM, "kept")],
)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_models_that_torch_cannot_transform(model: Any, count: int, way: str, mode: Any) -> None:
    hessian = Hessian(task("mlp", model=model), mode=mode)
    where = points(hessian, count)
    operator = hessian.at(where)
    vectors = operator.random(2, seed=1)
    assert relative(operator(vectors), differences(hessian, where, vectors)) < 1e-6
    assert operator.apply.way == way  # type: ignore[attr-defined]


def test_products_equal_those_of_curvlinops() -> None:
    problem = task("mlp")
    hessian = Hessian(problem, mode="train")
    params, _ = hessian.start(3)
    model = hessian.step.build(3)
    x, y = (t.double() for t in problem.data)
    oracle = curvlinops.HessianLinearOperator(
        model, torch.nn.MSELoss(), list(model.parameters()), [(x, y)]
    )
    operator = hessian.at(params)
    vectors = operator.random(3, seed=1)
    found = operator(vectors)[0]
    expected = torch.stack([torch.as_tensor(oracle @ v.clone()) for v in vectors[0]])
    assert relative(found, expected) < 1e-11


class Once(torch.autograd.Function):
    """A square whose gradient may not be differentiated, though it could be."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.square()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * grad


def test_an_operation_that_torch_takes_for_a_constant_is_refused() -> None:
    """torch.func and torch.autograd.grad both leave out a term there, without a word."""
    problem = task("mlp")
    hessian = Hessian(problem, loss=lambda model, batch: Once.apply(problem.loss(model, batch)))
    operator = hessian.at(hessian.start(0))
    with pytest.raises(RequestError, match="Once is marked once_differentiable"):
        operator(operator.random(1, seed=0))


def test_a_data_set_and_a_tuple_give_the_same() -> None:
    class Set(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 20

        def __getitem__(self, i: int) -> Any:
            return IMAGES[i], int(i % 3)

    one = Hessian(replace(task("cnn"), data=Set()))
    labels = torch.arange(20) % 3
    other = Hessian(replace(task("cnn"), data=(IMAGES[:20], labels)))
    where = points(one, 1)
    vectors = one.at(where).random(1, seed=1)
    assert relative(one.at(where)(vectors), other.at(where)(vectors)) < 1e-12


def test_points_by_snapshot_by_name_and_flat_are_the_same() -> None:
    hessian = Hessian(task("mlp"))
    params, _ = hessian.start(0)
    named = hessian.layout.unflatten(params[0])
    vectors = hessian.at(params).random(1, seed=1)
    for where in (params, params[0], named, {k: t.unsqueeze(0) for k, t in named.items()}):
        assert torch.equal(hessian.at(where)(vectors), hessian.at(params)(vectors))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda: Hessian(task("mlp"), mode="trian"), "did you mean 'train'"),  # type: ignore[arg-type]
        (lambda: Hessian(task("mlp"), samples=61), "from 1 to 60"),
        (lambda: Hessian(task("mlp"), samples=(0, 60)), "holds 60"),
        (lambda: Hessian(task("mlp"), samples=()), "is empty"),
        (lambda: Hessian(task("mlp"), batch_size=0), "batch_size is 0"),
        (lambda: Hessian(task("mlp")).at(torch.zeros(3)), "the model has 135"),
        (lambda: Hessian(task("mlp")).at(torch.zeros(135), "6"), "no layer '6'"),
        (lambda: Operator.of(torch.zeros(2, 3)), "must be square"),
        (lambda: Operator.of(torch.eye(2))(torch.ones(2)), "give \\(replicas, vectors, size\\)"),
        (lambda: Operator.of(torch.eye(2)).scaled(torch.zeros(2)), "must be positive"),
        (lambda: Operator.of(torch.eye(3)).dense(most=2), "too large"),
    ],
)
def test_bad_input_is_refused(bad: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        bad()
