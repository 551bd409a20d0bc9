"""The built-in tasks: sizes worked out by hand, batches as tasks need them, learning."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from wingbeat.determinism import seeded
from wingbeat.errors import RequestError
from wingbeat.task.task import Task
from wingbeat.tasks.cnn import digits_cnn, digits_task
from wingbeat.tasks.dense import circles_task, digits_mlp_task, for_epochs, mlp, shift_by_a_pixel

FACTORIES = (circles_task, digits_task, digits_mlp_task)


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_digits_cnn_has_the_published_size() -> None:
    """Two 3x3 convolutions, two 2x2 pools, so that the dense layer reads 16 maps of 2x2."""
    first, second = 8 * 1 * 9 + 8, 16 * 8 * 9 + 16
    dense = 16 * 2 * 2 * 10 + 10
    assert (first, second, dense) == (80, 1168, 650)
    assert size(digits_cnn()) == first + second + dense == 1898
    shapes = [tuple(p.shape) for p in digits_cnn().parameters()]
    assert shapes == [(8, 1, 3, 3), (8,), (16, 8, 3, 3), (16,), (10, 64), (10,)]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((2, 64, 32, 2), 2338),
        ((2, 64, 32, 1), 2305),
        ((2, 4, 4, 2, 2, 1), 51),
        ((2, 16, 8, 2), 202),
    ],
)
def test_mlp_sizes_of_the_literature(sizes: tuple[int, ...], expected: int) -> None:
    assert size(mlp(sizes)) == expected


@pytest.mark.parametrize("stages", [(4,), (4, 8), (4, 8, 16)])
def test_digits_cnn_gives_ten_scores(stages: tuple[int, ...]) -> None:
    assert digits_cnn(stages)(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


def test_mlp_is_affine_without_an_activation() -> None:
    model = mlp((3, 5, 4, 2), "identity").double()
    x, y = torch.randn(2, 7, 3, dtype=torch.float64)
    middle = model(0.3 * x + 0.7 * y)
    torch.testing.assert_close(middle, 0.3 * model(x) + 0.7 * model(y), rtol=0, atol=1e-12)


def test_mlp_parts() -> None:
    kinds = [type(m).__name__ for m in mlp((4, 3, 2), "tanh", batch_norm=True, dropout=0.5)]
    assert kinds == ["Flatten", "Linear", "BatchNorm1d", "Tanh", "Dropout", "Linear"]


@pytest.mark.parametrize("factory", FACTORIES)
def test_tasks_learn(factory: Callable[..., Task]) -> None:
    """Ten epochs, trained here by hand, classify held-out samples far better than chance."""
    task = factory()
    assert task.steps == 10 * task.steps_per_epoch
    inputs, labels = task.data
    with seeded(0):
        model = task.model()
        optimizer = task.optimizer(model.parameters())
        for _ in range(10):
            for rows in torch.randperm(len(inputs)).split(task.batch_size):
                optimizer.zero_grad()
                loss = task.loss(model, (inputs[rows], labels[rows]))
                assert loss.shape == ()
                loss.backward()
                optimizer.step()
    test_inputs, test_labels = task.eval_data
    correct = model.eval()(test_inputs).argmax(1) == test_labels
    assert float(correct.float().mean()) > 0.9


def test_evaluation_data_are_not_the_training_data() -> None:
    for factory in FACTORIES:
        task = factory()
        seen = {tuple(row.tolist()) for row in task.data[0].flatten(1)}
        assert not any(tuple(row.tolist()) in seen for row in task.eval_data[0].flatten(1))


def shifted_slowly(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    out = torch.zeros_like(image)
    height, width = image.shape[-2:]
    for i in range(height):
        for j in range(width):
            if 0 <= i - down < height and 0 <= j - right < width:
                out[:, i, j] = image[:, i - down, j - right]
    return out


def test_shift_equals_the_slow_reference_for_all_nine_moves() -> None:
    images = torch.rand(9, 2, 5, 4, dtype=torch.float64)
    labels = torch.arange(9)
    uniforms = torch.cartesian_prod(torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.6, 0.99]))
    shifted, kept = shift_by_a_pixel((images, labels), lambda k: uniforms[:, :k].double())
    assert torch.equal(kept, labels)
    moves = torch.cartesian_prod(torch.tensor([-1, 0, 1]), torch.tensor([-1, 0, 1]))
    for image, result, (down, right) in zip(images, shifted, moves.tolist(), strict=True):
        assert torch.equal(result, shifted_slowly(image, down, right))


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (lambda: mlp((3,)), r"\(3,\)"),
        (lambda: mlp((3, 0, 2)), r"\(3, 0, 2\)"),
        (lambda: mlp(activation="rleu"), "did you mean 'relu'"),
        (lambda: mlp(dropout=1.0), "1.0"),
        (lambda: digits_cnn(()), r"\(\)"),
        (lambda: digits_cnn((1, 2, 3, 4)), r"\(1, 2, 3, 4\)"),
        (lambda: for_epochs(circles_task(), 0), "0"),
        (lambda: circles_task(batch_size=0), "batch_size is 0"),
    ],
)
def test_wrong_requests_name_the_value(call, value: str) -> None:
    with pytest.raises(RequestError, match=value):
        call()
