"""Set-ups by what hangs on a model: hooks, masks, parametrizations, frozen parts, complex numbers.

Each accepts a refusal that names the thing: a user can then act. None accepts other numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from cases import Unused
from plain_setup import (
    CLASSES,
    EXACT,
    IMAGES,
    Setup,
    classify,
    dense,
    of,
    refused,
    squared,
)
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

HOOKS = (EXACT, refused("hook"))
STACKS = {"stacks": True}


def changed(change: Callable[[Any], Any]) -> Callable[[], nn.Module]:
    """Return a factory of dense nets that something is done to."""

    def build() -> nn.Module:
        model = dense()
        change(model)
        return model

    return build


def masked_gradient(model: Any) -> None:
    """Let one half of a matrix learn, by a hook on the parameter."""
    mask = torch.ones(10, 4)
    mask[:5] = 0
    model[0].weight.register_hook(lambda grad: grad * mask.to(grad))


def clipped_afterwards(model: Any) -> None:
    """Clip each gradient where it has been accumulated."""

    def clip(p: Tensor) -> None:
        p.grad = p.grad.clamp(-0.01, 0.01)

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(clip)


def halved_backward(model: Any) -> None:
    """Halve the gradient that flows into the first layers, by a full backward hook."""
    model[2].register_full_backward_hook(lambda module, given, grad: (given[0] * 0.5,))


def backward_pre(model: Any) -> None:
    """Halve the gradient that flows into a layer from above."""
    model[2].register_full_backward_pre_hook(lambda module, grad: (grad[0] * 0.5,))


def forward_changed(model: Any) -> None:
    """Scale what a layer returns, by a forward hook."""
    model[1].register_forward_hook(lambda module, given, out: out * 1.5)


def forward_pre(model: Any) -> None:
    """Shift what a layer is given."""
    model[2].register_forward_pre_hook(lambda module, given: (given[0] + 0.3,))


class Reversed(nn.Module):
    """Hangs a hook on an activation within its forward pass (gradient reversal)."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(4, 6), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.enter(x))
        if h.requires_grad:
            h.register_hook(lambda grad: -0.5 * grad)
        out: Tensor = self.leave(h)
        return out


class Features(nn.Module):
    """Collects an activation by a forward hook, for the loss to read."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.kept = dense(), {}
        self.net[1].register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, given: Any, out: Tensor) -> None:
        self.kept["h"] = out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


def with_features(model: nn.Module, batch: Any) -> Tensor:
    """Penalise the collected activation."""
    loss = squared(model, batch)
    return loss + 0.1 * model.kept["h"].square().mean()  # type: ignore[operator, index]


def pruned(model: Any) -> None:
    """Prune half of a matrix; the mask must hold through training."""
    prune.l1_unstructured(model[0], "weight", 0.5)


class Symmetric(nn.Module):
    """A parametrization of the user's own."""

    def forward(self, w: Tensor) -> Tensor:
        return w.triu() + w.triu(1).T


def symmetric(model: Any) -> None:
    """Keep a square matrix symmetric."""
    model[0] = nn.Linear(4, 4)
    model[2] = nn.Linear(4, 7)
    parametrize.register_parametrization(model[0], "weight", Symmetric())


def frozen_part(model: Any) -> None:
    """Freeze the first layer."""
    model[0].requires_grad_(False)


TEACHER = dense(3)
with torch.no_grad():
    for p in TEACHER.parameters():
        p.copy_(torch.linspace(-1, 1, p.numel()).reshape(p.shape))
TEACHER.requires_grad_(False)


def distilled(frozen: bool = True) -> dict[str, Any]:
    """Return a recipe whose loss asks a teacher under no_grad, its weights frozen or not."""
    teachers: dict[torch.dtype, nn.Module] = {}

    def loss(model: nn.Module, batch: Any) -> Tensor:
        x = batch[0]
        if x.dtype not in teachers:
            teachers[x.dtype] = copy.deepcopy(TEACHER).to(x.dtype).requires_grad_(not frozen)
        with torch.no_grad():
            wanted = teachers[x.dtype](x).softmax(-1)
        return F.kl_div(model(x).log_softmax(-1), wanted, reduction="batchmean")

    return classify(loss=loss)


class Student(nn.Module):
    """Holds its frozen teacher as a part of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.teacher = dense(3), copy.deepcopy(TEACHER)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


def held_teacher(model: nn.Module, batch: Any) -> Tensor:
    """Follow the teacher that the student holds."""
    with torch.no_grad():
        wanted = model.teacher(batch[0])  # type: ignore[operator]
    return F.mse_loss(model(batch[0]), wanted)


def perceptual() -> dict[str, Any]:
    """Return a recipe that compares features of a frozen network; gradients pass through it."""
    networks: dict[torch.dtype, nn.Module] = {}

    def loss(model: nn.Module, batch: Any) -> Tensor:
        x = batch[0]
        if x.dtype not in networks:
            torch.manual_seed(5)
            networks[x.dtype] = nn.Conv2d(2, 4, 3).requires_grad_(False).to(x.dtype)
        with torch.no_grad():
            wanted = networks[x.dtype](x)
        return F.mse_loss(networks[x.dtype](model(x)), wanted)

    return classify(model=lambda: nn.Conv2d(2, 2, 3, padding=1), data=(IMAGES, CLASSES), loss=loss)


class Complex(nn.Module):
    """A complex matrix and a complex bias; the output is the modulus."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, dtype=torch.complex64) * 0.5)
        self.bias = nn.Parameter(torch.full((3,), 0.5 + 0.5j, dtype=torch.complex64))
        self.head = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x.to(self.weight.dtype) @ self.weight + self.bias
        out: Tensor = self.head((h.real.square() + h.imag.square() + 1e-3).sqrt())
        return out


class Late(nn.Module):
    """Uses its second head for every batch whose first input is positive: None now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.heads = nn.Linear(4, 5), nn.ModuleList([nn.Linear(5, 1) for _ in "ab"])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.heads[int(x[0, 0] > 0)](torch.tanh(self.body(x)))
        return out


def square_dense() -> nn.Module:
    """Build a net whose hidden layer is orthogonal."""
    layer = parametrizations.orthogonal(nn.Linear(6, 6))
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), layer, nn.Tanh(), nn.Linear(6, 1))


def spectral(new: bool) -> Callable[[Any], None]:
    """Return what gives a layer spectral norm, new or old."""

    def change(model: Any) -> None:
        wrap = parametrizations.spectral_norm if new else nn.utils.spectral_norm
        model[2] = wrap(model[2])

    return change


def weight_normed(new: bool) -> Callable[[Any], None]:
    """Return what gives a layer weight norm, new or old."""

    def change(model: Any) -> None:
        wrap = parametrizations.weight_norm if new else nn.utils.weight_norm
        model[0] = wrap(model[0])

    return change


def hooked(pins: str, change: Callable[[Any], None], word: str = "hook", **options: Any) -> Setup:
    """Return a set-up whose model something is done to; a refusal must name it."""
    options.setdefault("accepts", (EXACT, refused(word)))
    return of(pins, model=changed(change), **options)


NORMS = "spectral|parametri|weight_norm|weight norm|hook"
SETUPS = {
    "parameter hook": hooked("a gradient hook on a parameter", masked_gradient),
    "accumulate hook": hooked("a hook after accumulation", clipped_afterwards),
    "full backward hook": hooked("a module's backward hook", halved_backward),
    "backward pre hook": hooked("a module's backward pre-hook", backward_pre),
    "forward hook": hooked("a forward hook that changes the output", forward_changed),
    "forward pre hook": hooked("a forward pre-hook", forward_pre),
    "activation hook": of("a hook on an activation", model=Reversed, accepts=HOOKS),
    "collected features": of("a forward hook keeps a tensor", model=Features, loss=with_features),
    "pruned": hooked("the mask of pruning holds", pruned, "prun|hook|mask"),
    "old weight norm": hooked("weight norm by a hook", weight_normed(False), NORMS),
    "weight norm": hooked("weight norm as a parametrization", weight_normed(True), NORMS),
    "old spectral norm": hooked("spectral norm by a hook", spectral(False), NORMS),
    "spectral norm": hooked("spectral norm as a parametrization", spectral(True), NORMS),
    # The matrix exponential adds many products: 1.2e-12 after 16 steps in lock step.
    "orthogonal": of("an orthogonal parametrization", model=square_dense, double=3e-12),
    "own parametrization": hooked("a parametrization of the user's", symmetric, NORMS),
    "frozen part": hooked("parameters that do not train", frozen_part, **STACKS),
    "teacher": Setup("a frozen teacher under no_grad, held by the loss", distilled),
    "teacher under no_grad": Setup(
        "a teacher whose weights require gradients, under no_grad", lambda: distilled(False)
    ),
    "held teacher": of(
        "a frozen teacher under no_grad, held by the model",
        classify,
        model=Student,
        loss=held_teacher,
        **STACKS,
    ),
    "perceptual": Setup("gradients pass through a frozen network", perceptual),
    "complex": of(
        "complex parameters keep their imaginary part",
        model=Complex,
        accepts=(EXACT, refused("complex")),
    ),
    "idle layer": of(
        "a gradient that is None: no decay, as torch's optimizers do it",
        model=Unused,
        optimizer=lambda params: torch.optim.AdamW(params, lr=1e-2, weight_decay=0.5),
    ),
    "idle now and then": of(
        "a gradient that is None in some steps: momentum rests in these", model=Late
    ),
}
