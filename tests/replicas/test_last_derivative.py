"""Steps of a stack take the derivatives of a plain loop, where nobody differentiates them again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from driving import CPU, flat, plain, relative, train
from torch import Tensor, nn
from torch.func import jvp

from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.fork import twin
from wingbeat.replicas.perturb import Gaussian
from wingbeat.replicas.replicas import Replicas
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.step import TrainingStep
from wingbeat.task.task import Task

DRAWN = torch.Generator().manual_seed(3)
IMAGES = torch.randn(12, 3, 6, 6, generator=DRAWN)
CLASSES = torch.arange(12) % 3


class Gated(nn.Module):
    """A feed-forward part as in language models of today: SiLU gates, root-mean-square norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.gate, self.up = nn.RMSNorm(108), nn.Linear(108, 7), nn.Linear(108, 7)
        self.down = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores ``(batch, 3)``."""
        x = self.norm(x.flatten(1))
        return self.down(F.silu(self.gate(x)) * self.up(x))


def grouped(activation: type[nn.Module] = nn.SiLU) -> nn.Module:
    """Return a convolution with group norm, as in diffusion models."""
    tail = (nn.Flatten(), nn.Linear(6 * 16, 3))
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6), activation(), *tail)


def weighted() -> nn.Module:
    """Return a net with weight norm, which torch cannot stack."""
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(108, 5))
    return nn.Sequential(nn.Flatten(), normed, nn.SiLU(), nn.Linear(5, 3))


def entropy(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def with_slope(model: nn.Module, batch: Any) -> Tensor:
    """Return a loss with a derivative inside, of inputs that a group norm takes."""
    slope = torch.func.grad(lambda x: model(x).logsumexp(1).sum())(batch[0])
    return entropy(model, batch) + 0.1 * slope.square().sum((1, 2, 3)).mean()


def task(model: Callable[[], nn.Module], loss: Any = entropy) -> Task:
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    return Task(model, loss, data=(IMAGES, CLASSES), optimizer=sgd, batch_size=4, steps=5)


def recorded(of: Task) -> tuple[Lockstep, set[str]]:
    """Return a driver after the first step of three copies, and the operations it recorded."""
    step = TrainingStep(of, torch.float32, CPU)
    driver = Lockstep(step)
    replicas = Replicas(driver, Batches(of, torch.float32, CPU), 3)
    start = step.start(of.seed).map(lambda t: t.unsqueeze(0))
    replicas.place([twin(str(i), Streams.of(0)) for i in range(3)], [start] * 3)
    replicas.advance(0)
    (program,) = driver._programs.values()
    assert program.graph is not None
    return driver, {str(node.target) for node in program.graph.graph.nodes}


KERNELS = {
    "group norm": (partial(grouped, nn.ReLU), "aten.native_group_norm_backward.default"),
    "SiLU": (Gated, "aten.silu_backward.default"),
}


@pytest.mark.parametrize("name", KERNELS)
def test_the_kernel_of_a_plain_loop_is_recorded(name: str) -> None:
    model, kernel = KERNELS[name]
    driver, operations = recorded(task(model))
    assert driver._derivative.is_last
    assert kernel in operations


@pytest.mark.parametrize(
    "model", [partial(grouped, nn.Mish), weighted], ids=["Mish", "weight norm"]
)
def test_what_torch_cannot_stack_is_not_called_copy_by_copy(model: Callable[[], nn.Module]) -> None:
    driver, operations = recorded(task(model))
    assert driver._derivative.is_last is False
    assert "aten.mish_backward.default" not in operations
    assert torch._C._functorch._is_vmap_fallback_enabled()


SETUPS = {
    "group norm and SiLU": (grouped, entropy),
    "gates": (Gated, entropy),
    "Mish": (partial(grouped, nn.Mish), entropy),
    "weight norm": (weighted, entropy),
    "a derivative inside": (grouped, with_slope),
}


@pytest.mark.parametrize("name", SETUPS)
def test_a_loop_by_hand_gives_the_same_weights(name: str) -> None:
    of = task(*SETUPS[name])
    model = plain(of).model
    expected = torch.cat([p.detach().flatten() for p in model.parameters()])
    options = {"dtype": torch.float64, "count": 2, "perturbations": [Gaussian(0.01, at=2)]}
    for driver in ("traced", "loop"):
        found = flat(train(of, driver, **options)[-1])
        assert relative(found[:1], expected[None]) < 1e-12, driver


def test_outside_of_drivers_a_step_can_still_be_differentiated() -> None:
    """Against central differences: SiLU and group norm have no forward derivative of theirs."""
    step = TrainingStep(task(grouped), torch.float64, CPU)
    batch = (IMAGES[:4].double(), CLASSES[:4])
    start = step.start(0)
    way = torch.randn(start.params.shape, generator=DRAWN, dtype=torch.float64)

    def gradient(params: Tensor) -> Tensor:
        return step.gradient(params, start.buffers, batch)[0]

    _, found = jvp(gradient, (start.params,), (way,))
    apart = gradient(start.params + 1e-6 * way) - gradient(start.params - 1e-6 * way)
    torch.testing.assert_close(found, apart / 2e-6, rtol=1e-5, atol=1e-8)
