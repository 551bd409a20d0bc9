"""Architectures over rows of numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from benchmarks.architectures.pieces import Act, Net, Table, linear, numbers, rows


def mlp(act: type[nn.Module] = Act, norm: Callable[[int], nn.Module] | None = None) -> nn.Module:
    """Return two hidden layers."""
    layers: list[nn.Module] = []
    for a, b in ((6, 16), (16, 12)):
        layers += [linear(a, b), *([norm(b)] if norm else []), act()]
    return nn.Sequential(*layers, linear(12, 4))


def parametrized(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """Return an MLP with a norm of its weights."""
    return nn.Sequential(norm(linear(6, 16)), Act(), norm(linear(16, 12)), Act(), linear(12, 4))


def residual_mlp() -> nn.Module:
    """Return two residual blocks with layer norm before them."""

    def run(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        for block in m.blocks:
            x = x + block(x)
        return m.head(x)

    blocks = nn.ModuleList(
        nn.Sequential(nn.LayerNorm(12), linear(12, 20), nn.GELU(), linear(20, 12)) for _ in range(2)
    )
    return Net(run, stem=linear(6, 12), blocks=blocks, head=linear(12, 4))


def highway() -> nn.Module:
    """Return a highway layer: a gate between a layer and its input."""

    def run(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        gate = m.gate(x).sigmoid()
        return m.head(gate * m.body(x).relu() + (1 - gate) * x)

    return Net(
        run, stem=linear(6, 12), gate=linear(12, 12), body=linear(12, 12), head=linear(12, 4)
    )


def gated() -> nn.Module:
    """Return a gated feed-forward layer, both halves in one matrix."""

    def run(m: Any, x: Tensor) -> Tensor:
        a, b = m.both(x).chunk(2, -1)
        return m.out(F.silu(a) * b)

    return Net(run, both=linear(6, 32), out=linear(16, 4))


def maxout() -> nn.Module:
    """Return a maxout layer: the largest of three pieces."""

    def run(m: Any, x: Tensor) -> Tensor:
        return m.out(m.pieces(x).unflatten(-1, (10, 3)).amax(-1))

    return Net(run, pieces=linear(6, 30), out=linear(10, 4))


def mixture_dense() -> nn.Module:
    """Return a mixture of four experts that all run."""

    def run(m: Any, x: Tensor) -> Tensor:
        weights = m.router(x).softmax(-1)
        hidden = torch.einsum("bi,eih->beh", x, m.up).relu()
        return torch.einsum("beh,eho,be->bo", hidden, m.down, weights)

    return Net(run, router=linear(6, 4), up=numbers(4, 6, 10), down=numbers(4, 10, 4, seed=1))


def mixture_top() -> nn.Module:
    """Return a mixture of four experts of which two count."""

    def run(m: Any, x: Tensor) -> Tensor:
        values, places = m.router(x).topk(2, -1)
        weights = torch.zeros(x.shape[0], 4).scatter(1, places, values.softmax(-1))
        outs = torch.stack([expert(x) for expert in m.experts], 1)
        return (weights.unsqueeze(-1) * outs).sum(1)

    experts = nn.ModuleList(nn.Sequential(linear(6, 10), Act(), linear(10, 4)) for _ in range(4))
    return Net(run, router=linear(6, 4), experts=experts)


def dense_net() -> nn.Module:
    """Return layers that each see all before them."""

    def run(m: Any, x: Tensor) -> Tensor:
        for layer in (m.a, m.b, m.c):
            x = torch.cat([x, layer(x).relu()], 1)
        return m.head(x)

    return Net(run, a=linear(6, 8), b=linear(14, 8), c=linear(22, 8), head=linear(30, 4))


def autoencoder() -> nn.Module:
    """Return an autoencoder whose decoder is the encoder's transpose."""

    def run(m: Any, x: Tensor) -> Tensor:
        return F.linear(m.encoder(x).relu(), m.encoder.weight.t(), m.bias)

    return Net(run, encoder=linear(6, 12), bias=numbers(6))


def variational() -> nn.Module:
    """Return a variational autoencoder that decodes the mean."""

    def run(m: Any, x: Tensor) -> Tensor:
        mean, log = m.encoder(x).chunk(2, -1)
        return m.decoder(mean) + 0.0 * log.sum()

    encoder = nn.Sequential(linear(6, 16), Act(), linear(16, 10))
    return Net(run, encoder=encoder, decoder=nn.Sequential(linear(5, 16), Act(), linear(16, 6)))


def field() -> nn.Module:
    """Return a radiance field: sines of the place, and a skip of the input."""

    def run(m: Any, x: Tensor) -> Tensor:
        x = torch.cat([x, (x * 2).sin(), (x * 2).cos()], -1)
        h = m.two(m.one(x).relu()).relu()
        return m.out(m.three(torch.cat([h, x], -1)).relu())

    return Net(run, one=linear(18, 16), two=linear(16, 12), three=linear(30, 12), out=linear(12, 4))


def operator() -> nn.Module:
    """Return a DeepONet: a branch and a trunk that meet in a product."""

    def run(m: Any, x: Tensor) -> Tensor:
        return (m.branch(x) * m.trunk(x)).sum(-1, keepdim=True) + m.bias

    branch, trunk = (nn.Sequential(linear(6, 16), nn.Tanh(), linear(16, 10)) for _ in range(2))
    return Net(run, branch=branch, trunk=trunk, bias=numbers(1))


def bilinear() -> nn.Module:
    """Return a bilinear layer of two encodings."""

    def run(m: Any, x: Tensor) -> Tensor:
        return m.head(m.join(m.a(x).tanh(), m.b(x).tanh()).relu())

    return Net(run, a=linear(6, 8), b=linear(6, 7), join=nn.Bilinear(8, 7, 10), head=linear(10, 4))


def prototypes() -> nn.Module:
    """Return distances to learnt prototypes."""

    def run(m: Any, x: Tensor) -> Tensor:
        return -torch.cdist(m.body(x), m.places)

    return Net(run, body=nn.Sequential(linear(6, 16), Act(), linear(16, 8)), places=numbers(4, 8))


def coupling() -> nn.Module:
    """Return an affine coupling layer of a normalising flow."""

    def run(m: Any, x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        scale, shift = m.net(a).chunk(2, -1)
        return torch.cat([a, b * scale.tanh().exp() + shift], -1)

    return Net(run, net=nn.Sequential(linear(3, 16), Act(), linear(16, 6)))


def ode() -> nn.Module:
    """Return a neural differential equation with fixed Runge-Kutta steps."""

    def run(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        for _ in range(2):
            k1 = m.field(x)
            k2 = m.field(x + 0.1 * k1)
            x = x + 0.1 * (k1 + k2)
        return m.head(x)

    field_ = nn.Sequential(linear(12, 16), nn.Tanh(), linear(16, 12))
    return Net(run, stem=linear(6, 12), field=field_, head=linear(12, 4))


def twins() -> nn.Module:
    """Return a siamese network."""

    def run(m: Any, x: Tensor) -> Tensor:
        return m.head((m.body(x) - m.body(x.flip(0))).abs())

    return Net(run, body=nn.Sequential(linear(6, 16), Act(), linear(16, 12)), head=linear(12, 4))


def dueling() -> nn.Module:
    """Return a dueling network of value and advantage."""

    def run(m: Any, x: Tensor) -> Tensor:
        h = m.body(x)
        advantage = m.advantage(h)
        return m.value(h) + advantage - advantage.mean(-1, keepdim=True)

    value = nn.Sequential(linear(16, 8), Act(), linear(8, 1))
    advantage = nn.Sequential(linear(16, 8), Act(), linear(8, 4))
    return Net(run, body=nn.Sequential(linear(6, 16), Act()), value=value, advantage=advantage)


def hand_norm() -> nn.Module:
    """Return batch norm written by hand over buffers."""

    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(16)), nn.Parameter(torch.zeros(16))
            self.register_buffer("mean", torch.zeros(16))
            self.register_buffer("var", torch.ones(16))

        def forward(self, x: Tensor) -> Tensor:
            return (x - self.mean) / (self.var + 1e-5).sqrt() * self.weight + self.bias

    return nn.Sequential(linear(6, 16), Norm(), Act(), linear(16, 4))


def kolmogorov_arnold() -> nn.Module:
    """Return learnt functions on edges, as sums of radial bases."""

    def run(m: Any, x: Tensor) -> Tensor:
        for weight in (m.one, m.two):
            bases = (-((x.unsqueeze(-1) - torch.linspace(-1, 1, 5).to(x)) ** 2)).exp()
            x = torch.einsum("bik,iko->bo", bases, weight)
        return x

    return Net(run, one=numbers(6, 5, 12), two=numbers(12, 5, 4, seed=1))


def memory() -> nn.Module:
    """Return reads from a learnt memory."""

    def run(m: Any, x: Tensor) -> Tensor:
        weights = (m.query(x) @ m.keys.t()).softmax(-1)
        return m.head((weights @ m.values).relu())

    return Net(
        run, query=linear(6, 8), keys=numbers(10, 8), values=numbers(10, 12), head=linear(12, 4)
    )


def low_rank() -> nn.Module:
    """Return a layer with a low-rank adapter beside it."""

    def run(m: Any, x: Tensor) -> Tensor:
        h = (m.base(x) + m.b(m.a(x))).relu()
        return m.head(h)

    return Net(
        run,
        base=linear(6, 16),
        a=linear(6, 3, bias=False),
        b=linear(3, 16, bias=False),
        head=linear(16, 4),
    )


TABLE: Table = {
    "mlp": (mlp, rows),
    "mlp, tanh": (partial(mlp, nn.Tanh), rows),
    "mlp, batch norm": (partial(mlp, Act, nn.BatchNorm1d), rows),
    "mlp, layer norm": (partial(mlp, nn.GELU, nn.LayerNorm), rows),
    "mlp, RMS norm": (partial(mlp, nn.SiLU, nn.RMSNorm), rows),
    "mlp, weight norm": (partial(parametrized, parametrizations.weight_norm), rows),
    "mlp, spectral norm": (partial(parametrized, parametrizations.spectral_norm), rows),
    "mlp, weight norm as a hook": (partial(parametrized, nn.utils.weight_norm), rows),
    "mlp, spectral norm as a hook": (partial(parametrized, nn.utils.spectral_norm), rows),
    "mlp, batch norm by hand": (hand_norm, rows),
    "residual mlp": (residual_mlp, rows),
    "highway": (highway, rows),
    "gated": (gated, rows),
    "maxout": (maxout, rows),
    "dense connections": (dense_net, rows),
    "low-rank adapter": (low_rank, rows),
    "Kolmogorov-Arnold": (kolmogorov_arnold, rows),
    "mixture of experts": (mixture_dense, rows),
    "mixture of experts, top 2": (mixture_top, rows),
    "tied autoencoder": (autoencoder, rows),
    "variational autoencoder": (variational, rows),
    "siamese": (twins, rows),
    "dueling": (dueling, rows),
    "bilinear": (bilinear, rows),
    "prototypes": (prototypes, rows),
    "memory": (memory, rows),
    "radiance field": (field, rows),
    "DeepONet": (operator, rows),
    "coupling flow": (coupling, rows),
    "neural ODE": (ode, rows),
}  # fmt: skip
