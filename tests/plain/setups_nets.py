"""Set-ups by architecture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from plain_setup import (
    CLASSES,
    CURVE,
    IMAGES,
    LENGTHS,
    PARITY,
    POINTS,
    SERIES,
    TOKENS,
    classify,
    of,
    squared,
)
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

VALID = torch.arange(5)[None] < LENGTHS[:, None]


def convolutional(norm: str = "none", dropout: float = 0.0) -> nn.Module:
    """Build two convolutions; no bias in front of a norm (its gradient is rounding alone)."""
    norms = {
        "none": lambda c, s: nn.Identity(),
        "batch": lambda c, s: nn.BatchNorm2d(c),
        "average": lambda c, s: nn.BatchNorm2d(c, momentum=None),
        "group": lambda c, s: nn.GroupNorm(2, c),
        "layer": lambda c, s: nn.LayerNorm([c, s, s]),
        "instance": lambda c, s: nn.InstanceNorm2d(c, affine=True, track_running_stats=True),
    }
    made, bias = norms[norm], norm == "none"
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=bias),
        made(4, 5),
        nn.SiLU(),
        nn.Conv2d(4, 6, 3, stride=2, bias=bias),
        made(6, 2),
        nn.SiLU(),
        nn.Dropout2d(dropout),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(24, 3),
    )


class Residual(nn.Module):
    """A ResNet of width 4 on 7 x 7 images; its last features are 7 x 16, its head 16 x 6."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(16)])
        self.one = nn.Conv2d(4, 16, 3, stride=2, padding=1, bias=False)
        self.two = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.short = nn.Conv2d(4, 16, 1, stride=2, bias=False)
        self.head = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = F.silu(self.norms[0](self.stem(x)))
        h = self.two(F.silu(self.norms[1](self.one(h)))) + self.short(h)
        out: Tensor = self.head(F.adaptive_avg_pool2d(F.silu(h), 1).flatten(1))
        return out


class Encoder(nn.Module):
    """One encoder layer of torch over padded sequences, mean over the valid positions."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 6)
        self.layer = nn.TransformerEncoderLayer(
            6, 2, 10, dropout, F.gelu, batch_first=True, bias=False
        )
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        h = self.layer(self.embed(x), src_key_padding_mask=~valid)
        weight = valid.unsqueeze(-1).to(h.dtype)
        out: Tensor = self.head((h * weight).sum(1) / weight.sum(1))
        return out


class Causal(nn.Module):
    """Causal attention by hand, rotary-like positions, dropout on the attention weights."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(9, 8), nn.Embedding(6, 8)
        self.qkv, self.out = nn.Linear(8, 24, bias=False), nn.Linear(8, 8)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 9)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mask", torch.ones(6, 6).tril().bool())

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.embed(tokens) + self.place.weight[: tokens.shape[1]]
        q, k, v = self.qkv(self.norm(h)).chunk(3, -1)
        scores = (q @ k.transpose(1, 2) / 8**0.5).masked_fill(~self.mask, float("-inf"))
        h = h + self.out(self.dropout(scores.softmax(-1)) @ v)
        out: Tensor = self.head(h)
        return out


class Fused(nn.Module):
    """The fused attention of torch, with its own causal mask."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv = nn.Embedding(9, 8), nn.Linear(8, 24, bias=False)
        self.head = nn.Linear(8, 9)

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.qkv(self.embed(tokens)).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(*parts, is_causal=True)
        out: Tensor = self.head(h.transpose(1, 2).flatten(2))
        return out


class Recurrent(nn.Module):
    """A recurrent layer of torch and a head on its last output."""

    def __init__(self, kind: type[nn.RNNBase], packed: bool = False, **options: object) -> None:
        super().__init__()
        self.cell = kind(3, 6, batch_first=True, **options)  # type: ignore[arg-type]
        self.head, self.packed = nn.Linear(6, 3), packed

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self.packed and lengths is not None:
            sequence = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            h, _ = pad_packed_sequence(self.cell(sequence)[0], batch_first=True)
            h = h[torch.arange(len(x)), lengths - 1]
        else:
            h = self.cell(x)[0][:, -1]
        out: Tensor = self.head(h)
        return out


class Unrolled(nn.Module):
    """A GRU cell called in a Python loop."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(3, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 6)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        out: Tensor = self.head(h)
        return out


class Tied(nn.Module):
    """A language model whose output matrix is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.body = nn.Embedding(9, 7), nn.Linear(7, 7)
        self.head = nn.Linear(7, 9, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(torch.tanh(self.body(self.embed(tokens))))
        return out


class Variational(nn.Module):
    """A variational autoencoder: draws noise in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(4, 6), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.enter(x).chunk(2, -1)
        code = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return self.leave(code), mean, log_variance


def evidence(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the negative evidence bound."""
    back, mean, log_variance = model(batch[0])
    divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
    return F.mse_loss(back, batch[0]) + 0.1 * divergence


class Experts(nn.Module):
    """Each sample goes to the expert that its gate prefers."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 3)
        self.experts = nn.ModuleList([nn.Linear(4, 1) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.gate(x).softmax(-1).max(-1)
        out = x.new_zeros(len(x), 1)
        for i, expert in enumerate(self.experts):
            rows = (chosen == i).nonzero()[:, 0]
            if len(rows):
                out = out.index_add(0, rows, expert(x[rows]) * weight[rows, None])
        return out


class Skipping(nn.Module):
    """Stochastic depth as it is published: a layer is left out where a coin says so."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if not self.training or torch.rand(1).item() < 0.6:
                x = x + torch.tanh(layer(x))
        out: Tensor = self.head(x)
        return out


class Fourier(nn.Module):
    """Multiply the spectrum of the input by learned complex numbers, kept as pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 2) * 0.5)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.fft.irfft(torch.fft.rfft(x) * torch.view_as_complex(self.weight), n=4)
        out: Tensor = self.head(torch.tanh(h))
        return out


def next_token(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Predict each next token."""
    scores = model(batch[0])[:, :-1]
    return F.cross_entropy(scores.flatten(0, 1), batch[0][:, 1:].flatten())


def over_all(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Cross-entropy of a model that takes all but the last entry of a batch."""
    return F.cross_entropy(model(*batch[:-1]), batch[-1])


def images(**changes: object) -> dict[str, object]:
    """Return the recipe of an image classification."""
    return classify(data=(IMAGES, CLASSES), **changes)


def series(**changes: object) -> dict[str, object]:
    """Return the recipe of a classification of series."""
    return classify(data=(SERIES, CLASSES), **changes)


def noisy() -> nn.Module:
    """Build a dense net with dropout."""
    return nn.Sequential(nn.Linear(4, 10), nn.GELU(), nn.Dropout(0.3), nn.Linear(10, 1))


TOKEN_DATA = {"data": (TOKENS, PARITY), "loss": next_token}
STACKS = {"stacks": True}
SETUPS = {
    "mlp": of("the plainest net", **STACKS),
    "mlp dropout": of("masks are those of the plain loop", model=noisy, **STACKS),
    "batch norm 1d": of(
        "running statistics are carried as buffers",
        model=lambda: nn.Sequential(
            nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 1)
        ),
        **STACKS,
    ),
    "cnn": of("convolutions are grouped by replica", images, model=convolutional, **STACKS),
    "cnn batch norm": of(
        "buffers of convolutional norms", images, model=lambda: convolutional("batch"), **STACKS
    ),
    "cnn averaging batch norm": of(
        "momentum=None counts its batches in Python", images, model=lambda: convolutional("average")
    ),
    "cnn group norm": of(
        "group norm",
        images,
        model=lambda: convolutional("group"),
        **STACKS,
        heavy=True,
    ),
    "cnn layer norm": of(
        "layer norm",
        images,
        model=lambda: convolutional("layer"),
        **STACKS,
        heavy=True,
    ),
    "cnn instance norm": of(
        "instance norm with statistics",
        images,
        model=lambda: convolutional("instance"),
        heavy=True,
    ),
    "cnn dropout": of(
        "dropout of channels and of features",
        images,
        model=lambda: convolutional("none", 0.3),
        heavy=True,
    ),
    "resnet width 4": of(
        "odd sizes: kernels round by the address of a slice",
        images,
        model=Residual,
        batch_size=7,
        heavy=True,
    ),
    "odd products": of(
        "bmm of 7 x 16 by 16 x 6: MKL rounds rows by their address",
        classify,
        model=lambda: nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 6)),
        batch_size=7,
        **STACKS,
    ),
    "transformer padding mask": of(
        "a mask of padding in torch's encoder layer",
        classify,
        model=Encoder,
        loss=over_all,
        data=(SERIES, VALID, CLASSES),
        **STACKS,
    ),
    "transformer dropout": of(
        "dropout in torch's encoder layer draws the masks of the plain loop",
        classify,
        model=lambda: Encoder(0.2),
        loss=over_all,
        data=(SERIES, VALID, CLASSES),
        heavy=True,
    ),
    "causal attention": of("attention by hand", model=Causal, **TOKEN_DATA, **STACKS),
    "causal attention dropout": of(
        "dropout on attention weights",
        model=lambda: Causal(0.2),
        **TOKEN_DATA,
        heavy=True,
    ),
    "fused attention": of(
        "scaled_dot_product_attention",
        model=Fused,
        **TOKEN_DATA,
        **STACKS,
        heavy=True,
    ),
    "rnn": of(
        "nn.RNN",
        series,
        model=lambda: Recurrent(nn.RNN),
        heavy=True,
    ),
    "lstm": of(
        "nn.LSTM, two layers",
        series,
        model=lambda: Recurrent(nn.LSTM, num_layers=2),
        heavy=True,
    ),
    "gru": of(
        "nn.GRU",
        series,
        model=lambda: Recurrent(nn.GRU),
        heavy=True,
    ),
    "gru cell": of(
        "a cell in a Python loop",
        series,
        model=Unrolled,
        **STACKS,
        heavy=True,
    ),
    "packed lstm": of(
        "lengths are read on the host and differ from batch to batch",
        classify,
        model=lambda: Recurrent(nn.LSTM, packed=True),
        loss=over_all,
        data=(SERIES, LENGTHS, CLASSES),
    ),
    "embedding bag": of(
        "embedding bags",
        model=lambda: nn.Sequential(nn.EmbeddingBag(9, 5), nn.Tanh(), nn.Linear(5, 2)),
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        data=(TOKENS, PARITY),
    ),
    "sparse embedding": of(
        "gradients that are sparse tensors",
        model=lambda: nn.Sequential(
            nn.Embedding(9, 5, sparse=True), nn.Flatten(), nn.Linear(30, 2)
        ),
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        data=(TOKENS, PARITY),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.05),
    ),
    "renormed embedding": of(
        "max_norm writes into the weights in the forward pass",
        model=lambda: nn.Sequential(
            nn.Embedding(9, 5, max_norm=0.8), nn.Flatten(), nn.Linear(30, 2)
        ),
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        data=(TOKENS, PARITY),
    ),
    "tied weights": of("one tensor under two names", model=Tied, **TOKEN_DATA, **STACKS),
    "autoencoder": of(
        "transposed convolutions and pooling",
        images,
        model=lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1),
            nn.Tanh(),
            nn.MaxPool2d(2),
            nn.ConvTranspose2d(3, 2, 3, 2),
        ),
        loss=lambda model, batch: F.mse_loss(model(batch[0]), batch[0]),
    ),
    "variational": of("noise of the forward pass", model=Variational, loss=evidence, **STACKS),
    "experts": of("which samples an expert sees depends on the weights", model=Experts),
    "stochastic depth": of("a coin decides which layers run", model=Skipping),
    "spectral convolution": of(
        "Fourier transforms with weights stored as real numbers",
        model=Fourier,
        loss=squared,
        data=(POINTS, CURVE),
    ),
}
