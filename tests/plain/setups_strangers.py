"""Set-ups by what papers and their scripts do: diffusion, contrast, flows, physics, meta-learning.

Written as people publish them, the odd ways included: losses that update a second network, weights
outside the model, gradients changed between ``backward`` and ``step``.
"""

from __future__ import annotations

import copy
import math
import random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from plain_setup import (
    CLASSES,
    COUNT,
    CURVE,
    IMAGES,
    POINTS,
    SERIES,
    Recipe,
    Setup,
    classify,
    dense,
    of,
    recipe,
    squared,
    warned,
)
from torch import Tensor, nn, optim
from torch.utils.data import Dataset

LATE = {"heavy": True}
"""On the loop by default, and with "slow" by other drivers."""


def slow_sgd(params: Any) -> optim.Optimizer:
    """Build SGD for losses of normalised outputs, which magnify rounding."""
    return optim.SGD(params, lr=0.01)


class Denoiser(nn.Module):
    """Predicts the noise of a step of diffusion from the step's sines."""

    def __init__(self, steps: int = 20) -> None:
        super().__init__()
        self.register_buffer("kept", torch.cumprod(1 - torch.linspace(1e-3, 0.2, steps), 0))
        self.enter, self.time, self.leave = nn.Linear(4, 12), nn.Linear(8, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        rates = torch.exp(-math.log(100) * torch.arange(4) / 4)
        angle = t[:, None] * rates[None]
        embedded = torch.cat([angle.sin(), angle.cos()], -1).to(x.dtype)
        out: Tensor = self.leave(F.silu(self.enter(x) + self.time(embedded)))
        return out


def diffusion(model: Any, batch: Any) -> Tensor:
    """Draw a step for each sample, as DDPM does."""
    x = batch[0]
    t = torch.randint(0, len(model.kept), (len(x),))
    noise, kept = torch.randn_like(x), model.kept[t][:, None]
    return F.mse_loss(model(kept.sqrt() * x + (1 - kept).sqrt() * noise, t), noise)


class Bootstrap(nn.Module):
    """BYOL: a target network follows by a moving average that the loss itself makes."""

    def __init__(self) -> None:
        super().__init__()
        self.online, self.predictor = dense(5), nn.Linear(5, 5)
        self.target = copy.deepcopy(self.online).requires_grad_(False)

    @torch.no_grad()
    def follow(self) -> None:
        for fast, slow in zip(self.online.parameters(), self.target.parameters(), strict=True):
            slow.data = 0.9 * slow.data + 0.1 * fast.data


def bootstrap(model: Any, batch: Any) -> Tensor:
    """Compare two views, the target's without gradients."""
    model.follow()
    one, two = (batch[0] + 0.1 * torch.randn_like(batch[0]) for _ in "ab")
    with torch.no_grad():
        wanted = model.target(two)
    return 2 - 2 * F.cosine_similarity(model.predictor(model.online(one)), wanted, -1).mean()


class Queue(nn.Module):
    """MoCo: keys of earlier batches in a buffer with a pointer that is read in Python."""

    def __init__(self, length: int = 32) -> None:
        super().__init__()
        self.query, self.key = dense(5), dense(5)
        self.key.load_state_dict(self.query.state_dict())
        self.key.requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(length, 5), dim=1))
        self.register_buffer("place", torch.zeros(1, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        query = F.normalize(self.query(x), dim=1)
        with torch.no_grad():
            keys = F.normalize(self.key(x + 0.1 * torch.randn_like(x)), dim=1)
        scores = torch.cat([(query * keys).sum(1, keepdim=True), query @ self.queue.T.clone()], 1)
        where = (int(self.place) + torch.arange(len(x))) % len(self.queue)
        self.queue[where] = keys
        self.place[0] = (int(self.place) + len(x)) % len(self.queue)
        return F.cross_entropy(scores / 0.5, torch.zeros(len(x), dtype=torch.long))


class Codebook(nn.Module):
    """VQ-VAE: a codebook of moving averages, straight-through gradients."""

    def __init__(self, codes: int = 6) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(4, 3), nn.Linear(3, 4)
        self.register_buffer("codes", torch.randn(codes, 3))
        self.register_buffer("size", torch.ones(codes))

    def forward(self, x: Tensor) -> Tensor:
        z = self.enter(x)
        chosen = torch.cdist(z, self.codes).argmin(1)
        near = self.codes[chosen]
        if self.training:
            with torch.no_grad():
                one = F.one_hot(chosen, len(self.codes)).to(z.dtype)
                self.size.mul_(0.9).add_(one.sum(0), alpha=0.1)
                self.codes.data.lerp_(one.T @ z / one.sum(0).clamp(min=1)[:, None], 0.1)
        out: Tensor = F.mse_loss(self.leave(z + (near - z).detach()), x)
        return out + 0.25 * F.mse_loss(z, near.detach())


class Coupling(nn.Module):
    """RealNVP: affine couplings under alternating masks."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.tensor([1.0, 0.0, 1.0, 0.0]))
        self.nets = nn.ModuleList([nn.Linear(4, 8) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        volume = x.new_zeros(len(x))
        for place, net in enumerate(self.nets):
            mask = self.mask if place % 2 else 1 - self.mask
            scale, shift = net(x * mask).chunk(2, 1)
            scale = torch.tanh(scale) * (1 - mask)
            x = x * mask + (1 - mask) * (x * scale.exp() + shift)
            volume = volume + scale.sum(1)
        return (0.5 * x.square().sum(1) - volume).mean()


def burgers(model: nn.Module, batch: Any) -> Tensor:
    """Demand a differential equation at points that are drawn anew."""
    x = torch.rand(16, 4, dtype=batch[0].dtype).requires_grad_(True)
    u = model(x)
    (du,) = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)
    (dd,) = torch.autograd.grad(du[:, 0], x, torch.ones_like(du[:, 0]), create_graph=True)
    return squared(model, batch) + (du[:, 1] + u[:, 0] * du[:, 0] - 0.01 * dd[:, 0]).square().mean()


def jacobian(model: nn.Module, batch: Any) -> Tensor:
    """Penalise each sample's Jacobian, by torch.func."""
    params = dict(model.named_parameters())

    def one(x: Tensor) -> Any:
        return torch.func.functional_call(model, params, (x[None],))[0]

    slopes: Any = torch.func.vmap(torch.func.jacrev(one))(batch[0])  # type: ignore[no-untyped-call]
    return squared(model, batch) + 0.01 * slopes.square().sum((1, 2)).mean()


def adapted(model: nn.Module, batch: Any) -> Tensor:
    """MAML: one inner step on half of the batch, differentiated through."""
    (x, y), half = batch, max(1, len(batch[0]) // 2)
    fast: dict[str, Tensor] = dict(model.named_parameters())
    call = torch.func.functional_call
    inner = F.mse_loss(call(model, fast, x[:half]), y[:half])
    grads = torch.autograd.grad(inner, list(fast.values()), create_graph=True)
    fast = {name: p - 0.05 * g for (name, p), g in zip(fast.items(), grads, strict=True)}
    return F.mse_loss(call(model, fast, x[half:]), y[half:])


class Mixture(nn.Module):
    """The two best experts of four for each sample; the balance loss lies on the module."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(4, 4), nn.ModuleList([nn.Linear(4, 1) for _ in "abcd"])
        self.balance: Any = 0.0

    def forward(self, x: Tensor) -> Tensor:
        share = self.gate(x).softmax(-1)
        weight, chosen = share.topk(2, -1)
        out = x.new_zeros(len(x), 1)
        for number, expert in enumerate(self.experts):
            row, slot = torch.where(chosen == number)
            if len(row):
                out.index_add_(0, row, expert(x[row]) * weight[row, slot, None])
        self.balance = (F.one_hot(chosen[:, 0], 4).to(x.dtype).mean(0) * share.mean(0)).sum()
        return out


def transport(model: nn.Module, batch: Any) -> Tensor:
    """Sinkhorn's divergence to a random cloud."""
    x = model(batch[0])
    cost = torch.cdist(x, torch.randn_like(x)).square()
    f = g = torch.zeros(len(x), dtype=x.dtype)
    for _ in range(5):
        f = -0.5 * torch.logsumexp((g[None] - cost) / 0.5 - math.log(len(x)), 1)
        g = -0.5 * torch.logsumexp((f[:, None] - cost) / 0.5 - math.log(len(x)), 0)
    return f.mean() + g.mean()


class Sign(torch.autograd.Function):
    """The sign, with the gradient of a clipped identity: without ``setup_context``."""

    @staticmethod
    def forward(ctx: Any, w: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(w)
        return w.sign()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (w,) = ctx.saved_tensors
        return grad * (w.abs() <= 1)


class Binary(nn.Linear):
    """A layer of signs."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        out: Tensor = F.linear(x, Sign.apply(self.weight), self.bias)  # type: ignore[no-untyped-call]
        return out


EDGES = torch.randint(0, COUNT, (2, 60), generator=torch.Generator().manual_seed(1))


class Graph(nn.Module):
    """Two rounds of messages over one graph, by index_add."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave, self.drop = nn.Linear(4, 8), nn.Linear(8, 3), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.enter, self.leave):
            h = layer(self.drop(x))
            x = torch.zeros_like(h).index_add_(0, EDGES[1], torch.tanh(h[EDGES[0]]))
        return x


class Equilibrium(nn.Module):
    """Iterates to a fixed point until it is near enough, then once with gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.enter, self.leave = nn.Linear(6, 6), nn.Linear(4, 6), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            z = x.new_zeros(len(x), 6)
            for _ in range(50):
                z, before = torch.tanh(0.5 * self.inner(z) + self.enter(x)), z
                if (z - before).norm() < 1e-3:
                    break
        out: Tensor = self.leave(torch.tanh(0.5 * self.inner(z) + self.enter(x)))
        return out


class Carried(nn.Module):
    """Truncated backpropagation: the hidden state of a batch begins the next."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.leave, self.h = nn.GRUCell(4, 6), nn.Linear(6, 1), None

    def forward(self, x: Tensor) -> Tensor:
        fits = self.h is not None and len(self.h) == len(x)
        h = self.cell(x, self.h if fits else x.new_zeros(len(x), 6))
        self.h = h.detach()
        out: Tensor = self.leave(h)
        return out


class Resting(nn.Module):
    """A norm that ``train()`` leaves in evaluation mode, as detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm, self.leave = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Linear(100, 3)

    def train(self, mode: bool = True) -> Resting:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave(torch.tanh(self.norm(self.enter(x))).flatten(1))
        return out


class Shared(nn.Module):
    """One block under several names, and lists and dicts of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Linear(4, 4)
        self.blocks = nn.ModuleList([self.block] * 2)
        self.rows = nn.ParameterList([nn.Parameter(torch.randn(4, 4) * 0.3) for _ in "ab"])
        self.named = nn.ParameterDict({"scale": nn.Parameter(torch.tensor(1.0))})

    def forward(self, x: Tensor) -> Tensor:
        for block, row in zip(self.blocks, self.rows, strict=True):
            x = torch.tanh(block(x)) + x @ row
        return (x @ self.block.weight.T).sum(1, keepdim=True) * self.named["scale"]


class Forced(nn.Module):
    """Teacher forcing by a coin of Python's."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.cell, self.leave = nn.GRU(3, 6), nn.GRUCell(3, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h, said, out = self.enter(x.transpose(0, 1))[1][0], x.new_zeros(len(x), 3), []
        for place in range(x.shape[1]):
            h = self.cell(said, h)
            out.append(self.leave(h))
            said = x[:, place] if random.random() < 0.5 else out[-1]
        return torch.stack(out, 1)


def cut_and_mixed(model: nn.Module, batch: Any) -> Tensor:
    """CutMix as it is published: a box by NumPy, partners by torch."""
    x, y, share = batch[0].clone(), batch[1], np.random.beta(1, 1)  # noqa: NPY002
    partner, half = torch.randperm(len(x)), int(3.5 * np.sqrt(1 - share))
    r, c = np.random.randint(7, size=2)  # noqa: NPY002
    box = (slice(None), slice(None), slice(max(r - half, 0), r + half), slice(max(c - half, 0), c))
    x[box] = x[partner][box]
    scores = model(x)
    own, other = F.cross_entropy(scores, y), F.cross_entropy(scores, y[partner])
    return float(share) * own + (1 - float(share)) * other


def seeding(model: nn.Module, batch: Any) -> Tensor:
    """Seed within the loss, as scripts do that were made to repeat themselves."""
    torch.manual_seed(7)
    return squared(model, (batch[0] + 0.1 * torch.randn_like(batch[0]), batch[1]))


def assigned() -> Recipe:
    """Return a criterion that assigns ``.data`` of its own weights, and that nobody trains."""
    torch.manual_seed(5)
    rows = nn.Parameter(torch.randn(3, 3))

    def loss(model: nn.Module, batch: Any) -> Tensor:
        rows.data = rows.data.to(batch[0].dtype)
        return F.cross_entropy(F.normalize(model(batch[0])) @ F.normalize(rows), batch[1])

    return classify(loss=loss, optimizer=slow_sgd)


def clipped_before(params: Any) -> optim.Optimizer:
    """Clip the gradient by a hook before the step."""
    params = list(params)
    optimizer = optim.SGD(params, lr=0.05)

    def clip(*given: Any) -> None:
        nn.utils.clip_grad_norm_(params, 0.1)

    optimizer.register_step_pre_hook(clip)
    return optimizer


def clipped_around(params: Any) -> optim.Optimizer:
    """Clip the gradient in a step that is put around the optimizer's, and takes a closure too."""
    params = list(params)
    optimizer = optim.SGD(params, lr=0.05)
    inner = optimizer.step

    def step(closure: Any = None) -> Any:
        nn.utils.clip_grad_value_(params, 0.01)
        return inner(closure)

    optimizer.step = step  # type: ignore[method-assign]
    return optimizer


class Langevin(optim.Optimizer):
    """SGD that draws noise in its step."""

    def __init__(self, params: Any, lr: float = 0.01) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            p.add_(p.grad, alpha=-0.01)
            p.add_(torch.randn_like(p), alpha=1e-3)


class Kept(Dataset[Any]):
    """Augments a sample when it is first asked for, and keeps it."""

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, i: int) -> Any:
        if i not in self.kept:
            self.kept[i] = (POINTS[i] + 0.1 * torch.randn(4), CURVE[i])
        return self.kept[i]


class Opened(Kept):
    """Opens its source late and keeps what it read: nothing of it is random."""

    def __getitem__(self, i: int) -> Any:
        if not self.kept:
            self.kept[-1] = POINTS.clone(), CURVE.clone()
        x, y = self.kept[-1]
        return self.kept.setdefault(i, (x[i], y[i]))


def own(model: nn.Module, batch: Any) -> Tensor:
    """Take the loss that the model itself computes."""
    out: Tensor = model(batch[0])
    return out


PLAINLY = optim.lr_scheduler
SCHEDULES = {
    "warm restarts": lambda o: PLAINLY.CosineAnnealingWarmRestarts(o, 5, 2),
    "sequential": lambda o: PLAINLY.SequentialLR(
        o, [PLAINLY.LinearLR(o, 0.1, 1.0, 4), PLAINLY.CosineAnnealingLR(o, 12)], [4]
    ),
    "cyclic with momentum": lambda o: PLAINLY.CyclicLR(o, 0.001, 0.05, 4),
}
SETUPS = {
    "diffusion": of("a random step for each sample", model=Denoiser, loss=diffusion, **LATE),
    "byol": of("`.data` assigned in the loss", model=Bootstrap, loss=bootstrap, optimizer=slow_sgd),
    "moco": of("a queue by a pointer", model=Queue, loss=own, optimizer=slow_sgd, **LATE),
    "vq-vae": of("a codebook moved in the forward pass", model=Codebook, loss=own, **LATE),
    "flow": of("masks and volumes", model=Coupling, loss=own, optimizer=slow_sgd, **LATE),
    "physics": of("second derivatives by autograd.grad", loss=burgers, **LATE),
    "jacobian": of("torch.func in the loss", loss=jacobian, **LATE),
    "maml": of("an inner step", loss=adapted, **LATE),
    "mixture": of(
        "a loss kept on the module",
        model=Mixture,
        loss=lambda model, batch: squared(model, batch) + 0.01 * model.balance,
        **LATE,
    ),
    "transport": of("iterations of logsumexp", model=lambda: dense(3), loss=transport, **LATE),
    "binary": of(
        "an old-style autograd.Function",
        model=lambda: nn.Sequential(Binary(4, 8), nn.Tanh(), nn.Linear(8, 1)),
        **LATE,
    ),
    "graph": of(
        "messages over one graph",
        classify,
        model=Graph,
        batch_size=COUNT,
        sampling="sequential",
        **LATE,
    ),
    "equilibrium": of("iterations until a tolerance", model=Equilibrium, **LATE),
    "carried state": of("hidden state from batch to batch", model=Carried, **LATE),
    "resting norm": of(
        "train() that leaves a norm alone", classify, model=Resting, data=(IMAGES, CLASSES), **LATE
    ),
    "shared blocks": of("one block under several names", model=Shared, stacks=True, **LATE),
    "teacher forcing": of(
        "a coin of Python's at each place",
        model=Forced,
        data=(SERIES,),
        loss=lambda model, batch: F.mse_loss(model(batch[0]), batch[0]),
        **LATE,
    ),
    "cutmix": of(
        "a box by NumPy",
        classify,
        model=lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.SiLU(), nn.Flatten(), nn.Linear(75, 3)),
        data=(IMAGES, CLASSES),
        loss=cut_and_mixed,
        **LATE,
    ),
    "seeding loss": of("a seed within the loss", loss=seeding, **LATE),
    "assigned data": Setup(
        "`.data` of a criterion's weights assigned: it ended the process", assigned
    ),
    "clipped by a hook": of("a gradient changed before step(closure)", optimizer=clipped_before),
    "clipped around": of("a gradient changed in a wrapped step", optimizer=clipped_around),
    "langevin": of("noise drawn in the step", optimizer=Langevin, **LATE),
    "compiled": of(
        "torch.compile in the factory",
        model=lambda: torch.compile(dense(), backend="aot_eager"),
        **LATE,
    ),
    "kept augmentation": Setup(
        "random samples that are kept from when they were first asked for",
        lambda: recipe(data=Kept()),
        accepts=(warned("what Kept drew at random"),),
    ),
    "opened late": Setup("a cache of what is read", lambda: recipe(data=Opened()), **LATE),
    **{
        f"schedule: {name}": of(
            "a scheduler of torch",
            schedule=make,
            scheduler=lambda made, optimizer: made["schedule"](optimizer),
            **LATE,
        )
        for name, make in SCHEDULES.items()
    },
}
