"""Further layouts as people save them: the distance known by hand, or a refusal by name."""

from __future__ import annotations

import json
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from torch import nn
from torch.nn.utils import prune

import wingbeat as wb
from wingbeat.checkpoints import compare, open_checkpoint
from wingbeat.checkpoints.memory import parse_memory
from wingbeat.checkpoints.series import open_series
from wingbeat.checkpoints.torch_file import load_outline
from wingbeat.errors import RequestError, StoreError
from wingbeat.scripts import nudge

Weights = Mapping[str, torch.Tensor]


def net(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2))


def plain(seed: int) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in net(seed).state_dict().items()}


def apart(first: Weights, second: Weights) -> float:
    return float(
        sum(
            (first[n].detach().double() - second[n].detach().double()).square().sum() for n in first
        )
        ** 0.5
    )


class Tied(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.wte, self.h = nn.Embedding(6, 4), nn.Linear(4, 4)
        self.lm_head = nn.Linear(4, 6, bias=False)
        self.lm_head.weight = self.wte.weight


def pruned(seed: int) -> nn.Sequential:
    model = net(seed)
    prune.l1_unstructured(model[0], "weight", 0.5)
    prune.random_unstructured(model[2], "bias", 0.5)
    return model


def used(model: nn.Module) -> dict[str, torch.Tensor]:
    """What the layers multiply with, computed by torch's own hooks."""
    model(torch.ones(1, 5))
    return {f"{i}.{n}": getattr(model[i], n).detach() for i in (0, 2) for n in ("weight", "bias")}


class Masked(nn.Module):
    """A mask as a parametrization, as torch.ao.pruning keeps it."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        own = torch.Generator().manual_seed(seed)
        self.register_buffer("mask", (torch.rand(7, 5, generator=own) > 0.5).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mask * x


def parametrized(seed: int) -> nn.Sequential:
    model = net(seed)
    nn.utils.parametrize.register_parametrization(model[0], "weight", Masked(seed))
    return model


def spectral(seed: int) -> nn.Sequential:
    model = net(seed)
    model[0] = nn.utils.parametrizations.spectral_norm(model[0])
    return model


def originals(model: nn.Module) -> dict[str, torch.Tensor]:
    """What training moves of a model under spectral norm: not the vectors that it iterates."""
    return {name: p.detach() for name, p in model.named_parameters()}


def other_order(path: Path, seed: int) -> None:
    """Write a file as a machine of the other byte order does."""
    torch.save(plain(seed), path)
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            turned = content
            if name.endswith("byteorder"):
                turned = b"big"
            elif "/data/" in name:
                turned = np.frombuffer(content, "<f4").astype(">f4").tobytes()
            archive.writestr(name, turned)


def diffusion(seed: int) -> dict[str, Any]:
    """The state dict of a latent diffusion model: an average beside the weights."""
    average = {f"model_ema.{n.replace('.', '')}": t for n, t in plain(seed + 5).items()}
    counts = {"model_ema.decay": torch.tensor(0.99), "model_ema.num_updates": torch.tensor(seed)}
    own = {f"model.{n}": t for n, t in plain(seed).items()}
    return {"state_dict": {**own, **average, **counts}, "global_step": 3}


def zero_2(path: Path, seed: int) -> None:
    """A folder of DeepSpeed, stage 2: the weights, and the optimizer's part of a rank."""
    path.mkdir()
    torch.save({"module": plain(seed), "optimizer": None}, path / "mp_rank_00_model_states.pt")
    part = {"single_partition_of_fp32_groups": [torch.randn(9)]}
    torch.save(
        {"optimizer_state_dict": part}, path / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"
    )


def alone(path: Path, seed: int) -> None:
    """A folder with one file of torch.save, and what a trainer keeps beside."""
    path.mkdir()
    torch.save(plain(seed), path / "last.ckpt")
    torch.save({"state": {}, "param_groups": []}, path / "optimizer.pt")
    torch.save(torch.get_rng_state(), path / "rng_state_0.pth")


def unchecked(path: Path, seed: int) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(plain(seed), path)
    finally:
        torch.serialization.set_crc32_options(True)


Write = Callable[[Path, int], Any]
# Name → what writes it at a path with a seed, and the weights that count.
EXACT: dict[str, tuple[Write, Callable[[int], Weights]]] = {
    "pruned": (lambda p, s: torch.save(pruned(s).state_dict(), p), lambda s: used(pruned(s))),
    "a mask as a parametrization": (
        lambda p, s: torch.save(parametrized(s).state_dict(), p), lambda s: used(parametrized(s))),
    "spectral norm": (
        lambda p, s: torch.save(spectral(s).state_dict(), p), lambda s: originals(spectral(s))),
    "sparse": (lambda p, s: torch.save({n: t.to_sparse() for n, t in plain(s).items()}, p), plain),
    "CSR": (
        lambda p, s: torch.save({"w": plain(s)["0.weight"].to_sparse_csr()}, p),
        lambda s: {"w": plain(s)["0.weight"]}),
    "the other byte order": (other_order, plain),
    "an average in one state dict": (lambda p, s: torch.save(diffusion(s), p), plain),
    "DeepSpeed, stage 2": (zero_2, plain),
    "one file in a folder": (alone, plain),
    "no checksums": (unchecked, plain),
    "a vector of all": (
        lambda p, s: torch.save(nn.utils.parameters_to_vector(net(s).parameters()).detach(), p),
        lambda s: {"v": torch.cat([t.flatten() for t in plain(s).values()])}),
    "MosaicML Composer": (
        lambda p, s: torch.save({"state": {"model": plain(s), "timestamp": {"batch": 3}},
                                 "rng": [{"torch": torch.get_rng_state()}]}, p), plain),
}  # fmt: skip


def two(folder: Path, write: Write) -> list[Path]:
    paths = [folder / f"{seed}" for seed in (1, 2)]
    for seed, path in enumerate(paths, 1):
        write(path, seed)
    return paths


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_the_distance_is_that_of_the_weights(tmp_path, name):
    write, weights = EXACT[name]
    found = compare(two(tmp_path, write))
    np.testing.assert_allclose(found.l2[1], apart(weights(1), weights(2)), rtol=1e-12)
    assert found.parameters == sum(t.numel() for t in weights(1).values())


def test_masks_are_applied_piece_by_piece_too(tmp_path):
    """A mask of booleans, over the border of a piece, and a model that was never pruned beside."""
    torch.manual_seed(0)
    w, other, mask = torch.randn(600, 701), torch.randn(600, 701), torch.rand(600, 701) > 0.5
    save_file({"w_orig": w, "w_mask": mask}, tmp_path / "a.safetensors")
    save_file({"w": other}, tmp_path / "b.safetensors")
    for paths in (("a.safetensors", "b.safetensors"), ("b.safetensors", "a.safetensors")):
        found = compare([tmp_path / p for p in paths], parse_memory("16MiB"))
        wanted = apart({"w": w * mask}, {"w": other})
        np.testing.assert_allclose(found.l2[1], wanted, rtol=1e-12)
        assert any("original times mask" in note for note in found.notes)
    torch.save({"w_orig": w, "w_mask": mask, "w": w.clone()}, tmp_path / "c.pt")  # no pruned tensor
    assert set(compare([tmp_path / "c.pt"] * 2).moments.names) == {"w_orig", "w"}


def test_a_trajectory_of_pruned_models_holds_what_they_use(tmp_path):
    for step in (1, 2):
        torch.save(pruned(step).state_dict(), tmp_path / f"step-{step}.pt")
    series = open_series(f"{tmp_path}/step-*.pt")
    for name, wanted in used(pruned(2)).items():
        assert torch.equal(series.read_tensor(2, name)[0], wanted)
    assert any("times mask" in note for note in series.reading)


@pytest.mark.parametrize("order", [("a.pt", "b.safetensors"), ("b.safetensors", "a.pt")])
def test_a_tied_tensor_counts_once_under_whichever_name_it_is_kept(tmp_path, order):
    """safetensors keeps the head's name, torch the embedding's. Was: counted twice."""
    torch.save(Tied(1).state_dict(), tmp_path / "a.pt")
    save_model(Tied(2), str(tmp_path / "b.safetensors"))
    found = compare([tmp_path / name for name in order])
    wanted = apart(dict(Tied(1).named_parameters()), dict(Tied(2).named_parameters()))
    np.testing.assert_allclose(found.l2[1], wanted, rtol=1e-12)
    assert [x.why for x in found.left_out] == ["tied"]


def test_an_average_is_taken_by_its_prefix_and_a_module_of_that_name_is_kept(tmp_path):
    paths = two(tmp_path, lambda p, s: torch.save(diffusion(s), p))
    found = compare(paths, key="state_dict.model_ema")
    np.testing.assert_allclose(found.l2[1], apart(plain(6), plain(7)), rtol=1e-6)
    assert {x.why for x in compare(paths).left_out} == {"average"}
    own = {"ema.codes": torch.ones(3, 2), "fc.w": torch.ones(4)}
    torch.save(own, tmp_path / "own.pt")
    assert set(compare([tmp_path / "own.pt"] * 2).moments.names) == set(own)


def test_few_partners_are_said(tmp_path):
    torch.save(
        {f"module.{n}": t for n, t in plain(1).items()} | {"c": torch.ones(1)}, tmp_path / "a"
    )
    torch.save(plain(2) | {"c": torch.zeros(1)}, tmp_path / "b")
    (note,) = compare([tmp_path / "a", tmp_path / "b"]).notes
    assert note.startswith("Only 1 of the 59 numbers of a have a partner")
    assert compare([tmp_path / "b", tmp_path / "b"]).notes == ()


def test_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for step in (1, 2):
        torch.save(plain(step), tmp_path / f"step-{step}.pt")
    assert compare(["~/step-1.pt", "~/step-2.pt"]).l2[1] > 0.0
    assert open_series("~/step-*.pt").steps() == [1, 2]


def stale(path: Path) -> None:
    """An index that was left behind when the model was saved again in one file."""
    path.mkdir()
    save_file(plain(1), path / "model-00001-of-00001.safetensors")
    places = dict.fromkeys(plain(1), "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": places}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file(plain(2), path / "model.safetensors")


def zipped(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, "x" * 99)


def tarred(path: Path) -> None:
    torch.save(plain(1), path.with_suffix(".pt"))
    with tarfile.open(path, "w") as archive:
        archive.add(path.with_suffix(".pt"), "run/model.pt")


def holding(*names: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        for name in names:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(b"x")

    return write


# Name → what writes it at a path of that name, and the words that it is refused with.
REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "stale": (stale, r"several checkpoints \(model\.safetensors\.index\.json, model\.saf"),
    "model.weights.h5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n"), "an HDF5 file.*Keras"),
    "model.keras": (lambda p: zipped(p, "config.json", "model.weights.h5"), "a model of Keras"),
    "m.gguf": (lambda p: p.write_bytes(b"GGUF" + struct.pack("<I", 3)), "a GGUF file"),
    "a.npy": (lambda p: np.save(p, np.ones(3)), "a single NumPy array"),
    "flax_model.msgpack": (lambda p: p.write_bytes(b"\x81\xa6params"), "msgpack file of Flax"),
    "m.onnx": (lambda p: p.write_bytes(b"\x08\x08"), "an ONNX program"),
    "m.pt2": (lambda p: zipped(p, "m/archive_format", "m/version"), "program of torch.export"),
    "ppo.zip": (
        lambda p: zipped(p, "data", "policy.pth", "_stable_baselines3_version"),
        r"Stable-Baselines3.*policy\.pth"),
    "run.zip": (lambda p: zipped(p, "r/m.safetensors"), r"of other files \(r/m\.saf.*unpack"),
    "run.tar": (tarred, "a tar archive: unpack"),
    "m.pt.gz": (lambda p: p.write_bytes(b"\x1f\x8b\x08"), "compressed with gzip: unpack"),
    "page.pt": (lambda p: p.write_text("<!DOCTYPE html>"), "a web page"),
    "page.safetensors": (lambda p: p.write_text("<!DOCTYPE html><html>"), "a web page"),
    "empty.pt": (lambda p: p.touch(), "is empty"),
    "zeros.pt": (lambda p: p.write_bytes(bytes(99)), "nothing but zeros"),
    "m.ckpt-1.index": (lambda p: p.write_bytes(b"\0\1\2"), "a part of a TensorFlow model"),
    "tf": (holding("checkpoint", "m.ckpt-1.index"), "a model of TensorFlow"),
    "orbax": (holding("_CHECKPOINT_METADATA", "d/x"), "Orbax"),
    "zero-3": (
        holding("zero_pp_rank_0_mp_rank_00_model_states.pt",
                "zero_pp_rank_1_mp_rank_00_model_states.pt"),
        r"several checkpoints \(zero_pp_rank_0.*one rank saved.*zero_to_fp32"),
    "fsdp": (holding("model_rank0.pt", "model_rank1.pt"), "one rank saved.*a full state dict"),
    "deepspeed": (holding("latest", "global_step4/x.pt"), "one of the folders.*its file latest"),
    "megatron": (holding("mp_rank_00/model_optim_rng.pt", "mp_rank_01/model_optim_rng.pt"),
        "a checkpoint of Megatron: name the file in mp_rank_00 if it is alone"),
    "m.weights.json": (
        lambda p: p.write_text('{"weight_map": {"/layers/dense/vars": ["m_0.weights.h5"]}}'),
        "the index of a Keras model in several files"),
    "zero-optimizers": (holding("zero_pp_rank_0_mp_rank_00_optim_states.pt"), "zero_to_fp32"),
    "checkpoint-5": (
        holding("pytorch_model_fsdp_0/.metadata", "optimizer_0/.metadata", "config.json"),
        "the folders optimizer_0, pytorch_model_fsdp_0 and the files config.json"),
    "being-written.pt": (lambda p: p.write_bytes(b"PK\3\4"), "cut short or is being written"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_called_what_it_is(tmp_path, name):
    write, words = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises((RequestError, StoreError), match=words):
        open_checkpoint(tmp_path / name)


@pytest.mark.parametrize("place", ["s3://bucket/a.pt", "https://host/a.pt", "gs://b/run-*/a-*.pt"])
def test_an_address_is_refused_as_one(place):
    opened = open_series if "*" in place else open_checkpoint
    with pytest.raises(RequestError, match=f"^{place[:5]}.*is not on this machine"):
        opened(place)


def test_empty_tensors_are_those_of_stage_3(tmp_path):
    torch.save({"module": {n: torch.empty(0) for n in plain(1)}}, tmp_path / "a.pt")
    with pytest.raises(RequestError, match=r"all 4 tensors.*are empty.*zero_to_fp32"):
        compare([tmp_path / "a.pt", tmp_path / "a.pt"])


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("model-{}-of-2.safetensors", "a part of a model"),
        ("mp_rank_0{}_model.safetensors", "a part of a model"),
        ("consolidated.0{}.pth", "a part of a model"),
        ("m_rank{}.pt", "what one rank saved"),
    ],
)
def test_a_part_of_a_model_is_called_one(tmp_path, name, called):
    """Half of a model compared with half of another is not their distance."""
    for number in (1, 2):
        save_file(plain(number), tmp_path / name.format(number))
    first, second = name.format(1), name.format(2)
    (note,) = open_checkpoint(tmp_path / first).notes
    assert note == f"{first} is {called}; not read: {second}."
    (tmp_path / second).unlink()
    assert open_checkpoint(tmp_path / first).notes == ()


def test_shards_without_an_index_are_told_from_several_checkpoints(tmp_path):
    for number in (1, 2):
        save_file(plain(number), tmp_path / f"model-0000{number}-of-00002.safetensors")
    with pytest.raises(RequestError, match=r"holds shards .* without their index"):
        open_checkpoint(tmp_path)


def test_another_model_in_the_folder_is_named(tmp_path):
    for name in ("model.safetensors", "model_1.safetensors"):
        save_file(plain(1), tmp_path / name)
    assert open_checkpoint(tmp_path).notes == (
        "Not read, beside model.safetensors: model_1.safetensors.",
    )


def test_an_outline_of_the_other_byte_order_is_read(tmp_path):
    """Was: the end of the process, in torch."""
    other_order(tmp_path / "a.pt", 1)
    assert set(load_outline(tmp_path / "a.pt")) == set(plain(1))


def test_a_nudge_leaves_alone_what_is_no_weight(tmp_path):
    """Noise on a mask would undo the pruning; on a scale it would move all its weights."""
    codes = {"q.weight": torch.arange(4, dtype=torch.int8), "q.weight_scale": torch.rand(3)}
    held = {**spectral(1).state_dict(), **diffusion(1)["state_dict"], **codes}
    held |= {f"p.{name}": t for name, t in pruned(1).state_dict().items()}
    held |= {f"m.{name}": t for name, t in parametrized(1).state_dict().items()}
    save_file({n: t.clone() for n, t in held.items()}, tmp_path / "a.safetensors")
    copies = nudge(tmp_path / "a.safetensors", wb.Gaussian(0.1), tmp_path / "out", replicas=1)
    now = load_file(copies[1].path)
    still = {name for name, t in held.items() if torch.equal(now[name], t)}
    alone = ("_u", "_v", "mask", "_scale", "q.weight")
    assert still == {n for n in held if n.endswith(alone) or n.startswith("model_ema.")}
