"""Nets, data and recipe of the spawn-and-perturb tasks."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import wingbeat as wb
from wingbeat.errors import RequestError, StoreError
from wingbeat.replicas.perturb.magnitude import expected_init_norm
from wingbeat.tasks import from_scratch as butterfly_tasks
from wingbeat.tasks.data import cifar10 as cifar
from wingbeat.tasks.data import sources
from wingbeat.tasks.data.shakespeare import characters, windows
from wingbeat.tasks.data.sklearn import evenly_spaced
from wingbeat.tasks.models.character_gpt import CharacterGPT
from wingbeat.tasks.models.resnet import ChannelNorm, ResNet
from wingbeat.tasks.recipe import FULL_STEPS, INTERVENTIONS, Recipe, Triangle, flip_and_rotate

SMALL = {
    "cifar-resnet": {"depth": 8, "width": 4, "samples": 64, "budget": 4e-4, "batch_size": 16},
    "cifar-vit": {"width": 8, "layers": 1, "samples": 64, "budget": 4e-4, "batch_size": 16},
    "digits-resnet": {"width": 4, "budget": 4e-4, "batch_size": 16},
    "mnist-mlp": {"hidden": (8,), "samples": 64, "epochs": 2, "batch_size": 16},
    "shakespeare-gpt": {
        "width": 8,
        "layers": 1,
        "length": 8,
        "samples": 64,
        "budget": 4e-4,
        "batch_size": 16,
    },
}


@pytest.mark.parametrize(
    ("depth", "width", "total", "perturbed", "norm"),
    [(20, 32, 1_084_586, 1_081_440, 56.18), (8, 64, 1_227_594, 1_224_896, 52.04)],
)
def test_sizes_are_those_of_the_paper(depth, width, total, perturbed, norm) -> None:
    named = {name: p.detach() for name, p in ResNet(depth, width).named_parameters()}
    chosen = {name: p for name, p in named.items() if not re.search("norm|bias", name)}
    assert sum(p.numel() for p in named.values()) == total
    assert sum(p.numel() for p in chosen.values()) == perturbed
    assert expected_init_norm(named, chosen) == pytest.approx(norm, abs=0.005)
    if depth == 20:
        assert (len(named), len(chosen)) == (65, 22)


def test_channel_norm_equals_its_formula() -> None:
    torch.manual_seed(0)
    layer = ChannelNorm(6).double()
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 6, 3, 5, dtype=torch.float64, requires_grad=True)
    mean, std = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True).sqrt()
    scale, shift = (t[None, :, None, None] for t in (layer.weight, layer.bias))
    torch.testing.assert_close(layer(x), (x - mean) / std * scale + shift, rtol=1e-10, atol=1e-10)
    (slope,) = torch.autograd.grad(layer(torch.zeros_like(x) + 0 * x).sum(), x)
    assert torch.isfinite(slope).all()  # all channels equal


@pytest.mark.parametrize("norm", ["layer", "batch", "group"])
@pytest.mark.parametrize("name", ["8", "34"])
def test_every_norm_trains(name: str, norm: str) -> None:
    net = ResNet(int(name), 8, norm)
    scores = net(torch.randn(2, 3, 32, 32))
    assert scores.shape == (2, 10)
    scores.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def test_triangle_has_its_corners() -> None:
    factor = Triangle(1000, 0.02)
    assert [factor(t) for t in (0, 10, 20, 510)] == [0.0, 0.5, 1.0, 0.5]
    assert min(factor(t) for t in range(1, 1000)) > 0
    assert Triangle(10, 0.001)(1) == 1.0  # never a division by zero


def test_a_residual_net_of_digits_is_stacked_and_sees_shifted_images() -> None:
    """With one channel an image lies two ways in memory at once, of which one cannot be stacked."""
    task = butterfly_tasks.digits_resnet(width=4, budget=2e-4, between=False, along=False)
    result = wb.run(task, wb.Gaussian(0.1), replicas=2, driver="lockstep", progress=False)
    assert result.environment["driver"] == "lockstep"
    assert result.noise_floor == 0.0
    images, labels = task.data[0][:3], task.data[1][:3]
    right = torch.full((3, 2), 0.5)
    right[:, 1] = 0.9
    assert task.augment is not None
    moved, same = task.augment((images, labels), lambda k: right[:, :k])
    assert torch.equal(moved[..., 1:], images[..., :-1])
    assert not moved[..., 0].any()
    assert torch.equal(same, labels)
    assert moved.stride() == (64, 64, 8, 1)


def test_an_intervention_changes_one_thing() -> None:
    recipe = {"budget": 0.01, "samples": 256}
    plain = butterfly_tasks.cifar_resnet(20, 4, **recipe)
    changed = {
        name: butterfly_tasks.cifar_resnet(20, 4, intervention=name, **recipe)
        for name in INTERVENTIONS
        if name != "larger batch"
    }
    larger = butterfly_tasks.cifar_resnet(20, 4, intervention="larger batch", budget=0.01)
    assert plain.steps == FULL_STEPS // 100
    assert changed["long warm-up"].factor(20) == pytest.approx(0.5)
    assert plain.factor(4) == 1.0
    wide, narrow = (
        sum(p.numel() for p in t.model().parameters()) for t in (changed["wide and shallow"], plain)
    )
    assert wide > narrow
    assert (larger.batch_size, larger.steps) == (512, 150)
    smaller = butterfly_tasks.cifar_resnet(8, 4, "layer", "larger batch", 512, batch_size=16)
    assert smaller.batch_size == 64
    of = {name: t.optimizer(t.model().parameters()) for name, t in changed.items()}
    assert type(of["AdamW"]) is torch.optim.AdamW
    assert of["no weight decay"].defaults["weight_decay"] == 0
    assert of["standard"].defaults["momentum"] == 0.9


@pytest.mark.parametrize("name", list(SMALL))
def test_every_task_runs_under_the_engine(name: str) -> None:
    function = getattr(butterfly_tasks, butterfly_tasks.FACTORIES[name].split(":")[1])
    task = function(**SMALL[name])
    task = replace(task, eval_data=evenly_spaced(task.eval_data, 32))
    result = wb.run(
        task,
        [wb.Gaussian(0.1, at=2)],
        replicas=2,
        metrics=("l2", "accuracy", "disagreement"),
        record_every=4,
        driver="loop",
        progress=False,
    )
    assert result.noise_floor == 0.0
    table = result.table
    end = table[(table.step == task.steps) & (table.metric == "l2") & (table.perturbation != "")]
    assert (end.value > 0).any()
    assert table[table.metric == "accuracy"].value.between(0, 1).all()


def test_flip_and_rotate() -> None:
    images = torch.randn(3, 2, 9, 9, dtype=torch.float64)

    def drawn(mirror: float, turn: float):
        return lambda k: torch.tensor([[mirror, turn]] * 3)

    same, _ = flip_and_rotate((images, None), drawn(0.9, 0.5))
    mirrored, _ = flip_and_rotate((images, None), drawn(0.1, 0.5))
    turned, _ = flip_and_rotate((images, None), drawn(0.9, 1.0))
    torch.testing.assert_close(same, images)
    torch.testing.assert_close(mirrored, images.flip(-1))
    back, _ = flip_and_rotate((turned, None), drawn(0.9, 0.0))
    centre = (slice(None), slice(None), slice(4, 5), slice(4, 5))
    torch.testing.assert_close(turned[centre], images[centre])  # the middle stays
    assert float((turned - images).abs().max()) > 0.05
    smooth = torch.linspace(-1, 1, 9, dtype=torch.float64).expand(3, 2, 9, 9).contiguous()
    there, _ = flip_and_rotate((smooth, None), drawn(0.9, 1.0))
    slope = (there[0, 0, 5, 4] - there[0, 0, 3, 4]) / 2
    assert float(slope.abs()) == pytest.approx(0.25 * np.sin(np.radians(10)), rel=1e-6)
    assert back.shape == images.shape


@given(st.integers(2, 200), st.integers(1, 30))
def test_windows_cover_the_text_in_order(count: int, length: int) -> None:
    numbers = torch.arange(count)
    if count <= length:
        with pytest.raises(RequestError, match="length"):
            windows(numbers, length)
        return
    now, after = windows(numbers, length)
    assert torch.equal(now.flatten(), numbers[: now.numel()])
    assert torch.equal(after, now + 1)
    assert count - 1 - now.numel() < length


def test_the_transformer_does_not_look_ahead() -> None:
    torch.manual_seed(0)
    net = CharacterGPT(11, 8, 2, 12).double()
    text = torch.randint(0, 11, (1, 12))
    other = text.clone()
    other[0, 7:] = (other[0, 7:] + 1) % 11
    assert torch.equal(net(text)[:, :7], net(other)[:, :7])
    assert not torch.equal(net(text)[:, 7:], net(other)[:, 7:])


class TestCifarFiles:
    @pytest.fixture(autouse=True)
    def _nowhere(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("WINGBEAT_DATA", raising=False)
        monkeypatch.setenv("WINGBEAT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("WINGBEAT_OFFLINE", "1")
        sources.fetched.cache_clear()

    def write(self, folder: Path) -> np.ndarray:
        folder.mkdir(parents=True)
        records = np.random.default_rng(0).integers(0, 256, (12, cifar.RECORD)).astype(np.uint8)
        records[:, 0] = np.arange(12) % 10
        (folder / "data_batch_1.bin").write_bytes(records[:8].tobytes())
        (folder / "test_batch.bin").write_bytes(records[8:].tobytes())
        return records

    def test_the_official_format(self, monkeypatch, tmp_path: Path) -> None:
        records = self.write(tmp_path / "cifar-10-batches-bin")
        monkeypatch.setenv("WINGBEAT_DATA", str(tmp_path))
        found = cifar.photos()
        assert (found.source.name, found.source.stand_in) == ("cifar10", False)
        assert "subset (8 / 4 images)" in found.source.label
        assert found.train[1].tolist() == list(range(8))
        raw = records[:8, 1:].reshape(8, 3, 32, 32) / 255.0
        mean, std = raw.mean((0, 2, 3)), raw.std((0, 2, 3), ddof=1)
        expected = (raw - mean[:, None, None]) / std[:, None, None]
        np.testing.assert_allclose(found.train[0].numpy(), expected, atol=1e-5)

    def test_without_data_a_stand_in_says_so(self) -> None:
        assert cifar.photos().source.stand_in
        assert "CIFAR" not in cifar.photos().source.label
        assert characters(16).source.stand_in
        assert "shakespeare" not in characters(16).source.label

    @pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff" * cifar.RECORD])
    def test_a_damaged_file_is_named(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "data_batch_1.bin"
        path.write_bytes(content)
        with pytest.raises(StoreError, match="data_batch_1"):
            cifar.read_records(path)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: Recipe(budget=0), "budget"),
        (lambda: Recipe(warmup=1.5), "warmup"),
        (lambda: Recipe(optimizer="sdg"), "did you mean 'sgd'"),
        (lambda: ResNet(19), "depth"),
        (lambda: ResNet(8, 12, "group"), "groups"),
        (lambda: ResNet(8, 8, "none"), "norm"),
        (lambda: butterfly_tasks.cifar_resnet(intervention="longer"), "intervention"),
        (lambda: butterfly_tasks.cifar_vit(intervention="wide and shallow"), "residual"),
        (lambda: butterfly_tasks.mnist_mlp(samples=10**9), "samples"),
        (lambda: CharacterGPT(5, 8, heads=3), "heads"),
    ],
)
def test_bad_values_are_named(call, word: str) -> None:
    with pytest.raises(RequestError, match=word):
        call()


def test_a_part_of_sorted_data_has_every_class() -> None:
    images, labels = torch.zeros(100, 1), torch.arange(100) // 10
    for samples in (10, 37, 50, 100):
        counts = evenly_spaced((images, labels), samples)[1].bincount(minlength=10)
        assert counts.sum() == samples
        assert counts.max() - counts.min() <= 1
    assert evenly_spaced((images, labels), None)[1] is labels
