"""Nudged copies of checkpoints: only weights move, by what was asked, in every format."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import wingbeat as wb
from wingbeat.scripts import nudge


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4))


def pt(folder: Path) -> Path:
    torch.save(net().state_dict(), folder / "model.pt")
    return folder / "model.pt"


def safetensors(folder: Path) -> Path:
    save_file(net().state_dict(), folder / "model.safetensors", {"format": "pt"})
    return folder / "model.safetensors"


def with_optimizer(folder: Path) -> Path:
    """A folder as a Trainer leaves it: weights, optimizer, state and a configuration."""
    own = folder / "checkpoint-500"
    own.mkdir()
    save_file(net().state_dict(), own / "model.safetensors", {"format": "pt"})
    model = net()
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 8)).sum().backward()
    optimizer.step()
    torch.save(optimizer.state_dict(), own / "optimizer.pt")
    (own / "trainer_state.json").write_text('{"global_step": 500}')
    return own


def sharded(folder: Path) -> Path:
    own, state = folder / "sharded", net().state_dict()
    own.mkdir()
    names, file = list(state), "model-0000{}-of-00002.safetensors"
    parts = {file.format(1): names[:3], file.format(2): names[3:]}
    for file, inside in parts.items():
        save_file({n: state[n] for n in inside}, own / file, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {n: f for f, inside in parts.items() for n in inside}}
    (own / "model.safetensors.index.json").write_text(json.dumps(index))
    return own


def read(path: Path) -> dict[str, torch.Tensor]:
    if path.is_dir():
        return {n: t for f in sorted(path.glob("*.safetensors")) for n, t in load_file(f).items()}
    if path.suffix == ".safetensors":
        return load_file(path)
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return found


@pytest.mark.parametrize("written", [pt, safetensors, with_optimizer, sharded])
def test_only_weights_move_and_by_what_was_asked(
    written: Callable[[Path], Path], tmp_path: Path
) -> None:
    origin = written(tmp_path)
    copies = nudge(origin, wb.Gaussian(0.01), tmp_path / "out", replicas=3)
    before = read(origin)
    assert [c.label for c in copies] == ["null", *(f"gaussian-0.01@0#{i}" for i in (1, 2, 3))]
    for name, tensor in read(copies[0].path).items():
        assert torch.equal(tensor, before[name])
    for copy in copies[1:]:
        after = read(copy.path)
        assert list(after) == list(before)
        assert torch.equal(after["1.running_var"], before["1.running_var"])
        for name in ("0.weight", "2.weight"):
            own = (after[name] - before[name]).std() / before[name].std()
            assert float(own) == pytest.approx(0.01, rel=0.35)
        moved = sum(float((after[n].double() - before[n].double()).square().sum()) for n in before)
        assert copy.l2 == pytest.approx(moved**0.5, rel=1e-12)
        if copy.path.is_dir():
            others = [p for p in origin.iterdir() if p.suffix != ".safetensors"]
            assert all((copy.path / p.name).read_bytes() == p.read_bytes() for p in others)
    facts = json.loads((tmp_path / "out/nudges.json").read_text())
    assert [f["l2"] for f in facts] == [c.l2 for c in copies]


def test_everything_but_the_numbers_stays_byte_for_byte(tmp_path: Path) -> None:
    origin = safetensors(tmp_path)
    copies = nudge(origin, wb.SingleWeight(0.5), tmp_path / "out", replicas=1)
    a, b = origin.read_bytes(), copies[1].path.read_bytes()
    assert len(a) == len(b)
    assert 1 <= sum(x != y for x, y in zip(a, b, strict=True)) <= 4  # one float32


def test_the_archive_stays_sound(tmp_path: Path) -> None:
    copy = nudge(pt(tmp_path), wb.Gaussian(0.1), tmp_path / "out", replicas=1)[1]
    with zipfile.ZipFile(copy.path) as archive:
        assert archive.testzip() is None
    origin, moved = torch.load(tmp_path / "model.pt"), torch.load(copy.path)
    assert origin["0.weight"].data_ptr() != moved["0.weight"].data_ptr()
    found = wb.compare([tmp_path / "model.pt", copy.path])
    assert found.l2[1] == pytest.approx(copy.l2, rel=1e-9)


def test_tied_weights_move_together(tmp_path: Path) -> None:
    weight = torch.randn(6, 4)
    tied = {"embed.weight": weight, "head.weight": weight}
    torch.save({**tied, "x": torch.randn(3)}, tmp_path / "t.pt")
    twice = {"embed.weight": weight, "head.weight": weight.clone()}
    save_file({**twice, "a": torch.zeros(3), "b": torch.zeros(3)}, tmp_path / "t.safetensors")
    for name in ("t.pt", "t.safetensors"):
        copy = nudge(tmp_path / name, wb.Gaussian(0.1), tmp_path / f"out-{name}", replicas=1)[1]
        after = read(copy.path)
        assert torch.equal(after["embed.weight"], after["head.weight"])
        assert not torch.equal(after["embed.weight"], weight)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_type_is_kept(tmp_path: Path, dtype: torch.dtype) -> None:
    save_file({"w": torch.randn(50, 50).to(dtype)}, tmp_path / "m.safetensors")
    copy = nudge(tmp_path / "m.safetensors", wb.Gaussian(0.05), tmp_path / "out", replicas=1)[1]
    assert load_file(copy.path)["w"].dtype == dtype
    assert copy.relative == pytest.approx(0.05, rel=0.1)


def test_rounding_may_swallow_it_and_that_is_written(tmp_path: Path) -> None:
    save_file({"w": (1 + torch.rand(50, 50) / 8).bfloat16()}, tmp_path / "m.safetensors")
    copy = nudge(tmp_path / "m.safetensors", wb.Gaussian(1e-6), tmp_path / "out", replicas=1)[1]
    assert (copy.l2, copy.changed) == (0.0, 0.0)


def test_the_same_call_gives_the_same_bytes_and_seeds_differ(tmp_path: Path) -> None:
    origin = safetensors(tmp_path)

    def of(seed: int, name: str) -> bytes:
        copies = nudge(origin, wb.Gaussian(0.1), tmp_path / name, replicas=1, seed=seed)
        return copies[1].path.read_bytes()

    assert of(0, "a") == of(0, "b") != of(1, "c")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"n": torch.arange(3)}, "no floating-point weight"),
        ({"running_mean": torch.randn(3)}, "no floating-point weight"),
    ],
)
def test_nothing_to_nudge(tmp_path: Path, content: Any, said: str) -> None:
    save_file(content, tmp_path / "m.safetensors")
    with pytest.raises(wb.RequestError, match=said):
        nudge(tmp_path / "m.safetensors", wb.Gaussian(0.1), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_zero_adapters_are_said_to_stay(tmp_path: Path) -> None:
    save_file({"lora_B.weight": torch.zeros(4, 2)}, tmp_path / "m.safetensors")
    copy = nudge(tmp_path / "m.safetensors", wb.Gaussian(0.1), tmp_path / "out", replicas=1)[1]
    assert copy.l2 == 0.0
