"""Files as training scripts write them: the weights are found, and lie as far apart as known.

Layouts made here are those of the scripts that are named; each holds a real torch optimizer.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from wingbeat.checkpoints import compare, open_checkpoint
from wingbeat.errors import RequestError, StoreError

Content = Mapping[str, Any]


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2))


def trained(seed: int, kind: type[torch.optim.Optimizer] = torch.optim.AdamW) -> tuple[Any, Any]:
    """Return the weights and the state of the optimizer after a step with large moments."""
    model = net(seed)
    optimizer = kind(model.parameters(), lr=0.01)
    (1e3 * model(torch.randn(4, 5)).square().sum()).backward()
    optimizer.step()
    return model.state_dict(), optimizer.state_dict()


def distance(first: Content, second: Content) -> float:
    return float(sum((first[n].double() - second[n].double()).square().sum() for n in first) ** 0.5)


def prefixed(prefix: str, weights: Content) -> dict[str, Any]:
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


def adam(weights: Content, optim: Content, **more: Any) -> dict[str, Any]:
    return {"model": weights, "optimizer": optim, **more}


Layout = Callable[[Content, Content, int], Content]
TOLD = torch.tensor(0.25)
LAYOUTS: dict[str, Layout] = {
    "state dict": lambda w, o, s: w,
    "torch tutorial": lambda w, o, s: {
        "epoch": 3, "model_state_dict": w, "optimizer_state_dict": o, "loss": TOLD * s},
    "nanoGPT": lambda w, o, s: adam(
        w, o, model_args={"n": 1}, iter_num=9, best_val_loss=TOLD * s, config={"lr": 0.1}),
    "random states": lambda w, o, s: adam(
        w, o, rng_state=torch.get_rng_state(), cuda_rng_state=torch.get_rng_state()),
    "random states in a group": lambda w, o, s: adam(w, o, rng={"torch": torch.get_rng_state()}),
    "losses of every epoch": lambda w, o, s: adam(w, o, train_losses=torch.arange(4.0) * s),
    "torchvision": lambda w, o, s: adam(
        w, o, lr_scheduler={"last_epoch": 2}, epoch=2, scaler={"scale": TOLD * s}),
    "a lone group": lambda w, o, s: {"state": adam(w, o), "epoch": 3},
    "net and optim in a group": lambda w, o, s: {"checkpoint": {"net": w, "optim": o}, "args": {}},
    "Lightning": lambda w, o, s: {
        "epoch": 1, "global_step": 8, "pytorch-lightning_version": "2.5.0", "state_dict": w,
        "loops": {"fit_loop": {"state_dict": {}}}, "optimizer_states": [o], "lr_schedulers": [],
        "callbacks": {"ModelCheckpoint": {"best_model_score": TOLD * s}}},
    "timm": lambda w, o, s: {
        "epoch": 1, "arch": "net", "state_dict": w, "optimizer": o, "version": 2,
        "state_dict_ema": {n: t * s for n, t in w.items()}, "metric": 71.0},
    "fairseq": lambda w, o, s: {
        "model": w, "last_optimizer_state": o, "extra_state": {"best": TOLD * s},
        "optimizer_history": [{"num_updates": 4}], "args": None},
    "a name of its own": lambda w, o, s: {"generator_sd": w, "optimizer": o, "best_acc": TOLD * s},
    "optimizer under a name that says nothing": lambda w, o, s: {"weights": w, "o": o},
    "moments without groups": lambda w, o, s: {"nets": w, "adam": o["state"]},
    "arguments of argparse": lambda w, o, s: adam(w, o, args=Namespace(lr=0.1, name="x")),
    "scalars of NumPy": lambda w, o, s: adam(
        w, o, best_acc=np.float64(0.5 * s), epoch=np.int64(s), mean=np.float32(s)),
    "random states of NumPy and Python": lambda w, o, s: adam(
        w, o, numpy=np.random.RandomState(s).get_state(), losses=np.arange(4.0) * s),
    "paths and times": lambda w, o, s: adam(
        w, o, args=Namespace(out=Path("runs") / str(s)), at=datetime(2026, 1, s),
        took=timedelta(hours=s), config=SimpleNamespace(lr=0.1)),
    "DataParallel and torch.compile": lambda w, o, s: prefixed("module._orig_mod.", w),
    "torch.compile and DataParallel": lambda w, o, s: prefixed("_orig_mod.module.", w),
    "FSDP around parts": lambda w, o, s: {
        f"_fsdp_wrapped_module.{n.replace('.', '._fsdp_wrapped_module.')}": t
        for n, t in w.items()},
    "torch.compile of parts": lambda w, o, s: {
        n.replace(".", "._orig_mod."): t for n, t in w.items()},
    "activation checkpointing": lambda w, o, s: {
        n.replace(".", "._checkpoint_wrapped_module."): t for n, t in w.items()},
    "several optimizers": lambda w, o, s: {"model": w, "optimizers": {"a": o, "b": deepcopy(o)}},
}  # fmt: skip


def saved(folder: Any, layout: Layout) -> tuple[list[Any], float]:
    paths, weights = [], []
    for seed in (1, 2):
        held, optim = trained(seed)
        paths.append(folder / f"{seed}.pt")
        torch.save(layout(held, optim, seed), paths[-1])
        weights.append(held)
    return paths, distance(*weights)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_weights_are_compared_and_nothing_else(tmp_path, name):
    paths, known = saved(tmp_path, LAYOUTS[name])
    found = compare(paths)
    np.testing.assert_allclose(found.l2[1], known, rtol=1e-12)
    assert found.moments.names == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert found.left_out == ()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop])
def test_an_optimizer_alone_is_no_model(tmp_path, kind):
    _, state = trained(1, kind)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(RequestError, match="state of an optimizer and no weights"):
        open_checkpoint(tmp_path / "a.pt")


def test_what_was_taken_is_said_and_two_that_are_possible_are_refused(tmp_path):
    paths, _ = saved(tmp_path, LAYOUTS["nanoGPT"])
    (note,) = compare(paths).notes
    assert note == "Weights are those of 'model'; not read: 'best_val_loss', 'optimizer'."
    paths, _ = saved(tmp_path, LAYOUTS["a lone group"])
    assert "'state.model'" in compare(paths).notes[0]
    for names in (("generator", "discriminator"), ("model", "state_dict")):
        paths, known = saved(tmp_path, lambda w, o, s, n=names: {n[0]: w, n[1]: w, "optimizer": o})
        with pytest.raises(RequestError, match=f"'{names[0]}', '{names[1]}'.*several.*key="):
            compare(paths)
        np.testing.assert_allclose(compare(paths, key=names[1]).l2[1], known, rtol=1e-12)


@pytest.mark.parametrize(
    "names", [("step_embed", "block"), ("accumulator", "head"), ("temperature", "fc")]
)
def test_a_nested_state_dict_loses_nothing(tmp_path, names):
    """Names that a trainer also uses do not make weights its notes."""
    state: dict[str, Any] = {names[0]: torch.randn(3, 2), names[1]: {"w": torch.ones(2)}}
    torch.save(state, tmp_path / "a.pt")
    assert set(open_checkpoint(tmp_path / "a.pt").entries) == {names[0], f"{names[1]}.w"}


def test_averaged_weights_keep_their_count_beside(tmp_path):
    for seed in (1, 2):
        torch.save(AveragedModel(net(seed)).state_dict(), tmp_path / f"{seed}.pt")
    found = compare([tmp_path / "1.pt", tmp_path / "2.pt"])
    known = distance(net(1).state_dict(), net(2).state_dict())
    np.testing.assert_allclose(found.l2[1], known, rtol=1e-12)


def test_names_that_differ_by_a_prefix_only_are_aligned_and_it_is_said(tmp_path):
    (plain, _), (other, optim) = trained(1), trained(2)
    torch.save(plain, tmp_path / "plain.pt")
    lightning = {"state_dict": prefixed("model.", other), "optimizer_states": [optim]}
    torch.save(lightning, tmp_path / "lightning.ckpt")
    for order in (("plain.pt", "lightning.ckpt"), ("lightning.ckpt", "plain.pt")):
        found = compare([tmp_path / name for name in order])
        np.testing.assert_allclose(found.l2[1], distance(plain, other), rtol=1e-12)
        assert len(found.moments.names) == 4
        assert any("'model.'" in note for note in found.notes)


def test_a_prefix_that_maps_not_all_names_is_left_alone(tmp_path):
    torch.save({"a.w": torch.ones(2), "b.w": torch.ones(3)}, tmp_path / "a.pt")
    torch.save({"x.a.w": torch.ones(2), "y.b.w": torch.ones(3)}, tmp_path / "b.pt")
    with pytest.raises(RequestError, match="no floating-point tensor of one name"):
        compare([tmp_path / "a.pt", tmp_path / "b.pt"])


def shards(folder: Path, weights: Content, ending: str) -> None:
    """Two shards and their index, as transformers up to 4 wrote them with ``.bin``."""
    places = {}
    for number, names in enumerate((list(weights)[:3], list(weights)[3:]), 1):
        stem = "pytorch_model" if ending == "bin" else "model"
        file = f"{stem}-{number:05d}-of-00002.{ending}"
        part = {n: weights[n] for n in names}
        torch.save(part, folder / file) if ending == "bin" else save_file(part, folder / file)
        places |= dict.fromkeys(names, file)
    name = f"{'pytorch_model' if ending == 'bin' else 'model'}.{ending}.index.json"
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": places}))


def skorch(folder: Path, weights: Content) -> None:
    """What its callback Checkpoint writes: the net, and a criterion that may have weights too."""
    torch.save(weights, folder / "params.pt")
    torch.save({}, folder / "criterion.pt")
    torch.save({"state": {}, "param_groups": []}, folder / "optimizer.pt")
    (folder / "history.json").write_text("[]")


# Folders: what is written into them, and the format that is said.
FOLDERS: dict[str, tuple[Callable[[Path, Content], Any], str]] = {
    "sharded safetensors": (lambda f, w: shards(f, w, "safetensors"), "sharded safetensors"),
    "sharded .bin": (lambda f, w: shards(f, w, "bin"), "sharded PyTorch"),
    "PEFT adapter": (lambda f, w: save_file(w, f / "adapter_model.safetensors"), "safetensors"),
    "diffusers part": (
        lambda f, w: save_file(w, f / "diffusion_pytorch_model.safetensors"), "safetensors"),
    "Trainer": (lambda f, w: save_file(w, f / "model.safetensors"), "safetensors"),
    "pytorch_model.bin": (lambda f, w: torch.save(w, f / "pytorch_model.bin"), "PyTorch"),
    "skorch": (skorch, "PyTorch"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(tmp_path, name):
    write, kind = FOLDERS[name]
    states = [trained(seed)[0] for seed in (1, 2)]
    for seed, state in enumerate(states):
        (tmp_path / str(seed)).mkdir()
        (tmp_path / str(seed) / "config.json").write_text("{}")
        write(tmp_path / str(seed), state)
    found = compare([tmp_path / "0", tmp_path / "1"])
    np.testing.assert_allclose(found.l2[1], distance(*states), rtol=1e-12)
    assert found.formats == (kind, kind)
    assert found.left_out == ()


def test_a_folder_with_several_files_names_them(tmp_path):
    for name in ("a", "b"):
        save_file({"w": torch.ones(2)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(RequestError, match=r"several checkpoints \(a\.safetensors, b\."):
        open_checkpoint(tmp_path)


def a_pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")


OTHERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "lfs.safetensors": (a_pointer, "pointer of Git LFS.*git lfs pull"),
    "lfs.pt": (a_pointer, "pointer of Git LFS"),
    "script.pt": (lambda p: torch.jit.trace(net(0), torch.ones(1, 5)).save(str(p)), "TorchScript"),
    "arrays.npz": (lambda p: np.savez(p, a=np.ones(3)), r"NumPy archive \(\.npz\)"),
    "meta.pt": (
        lambda p: torch.save({"w": torch.empty(3, device="meta")}, p), "meta device.*no numbers"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path, name):
    write, words = OTHERS[name]
    write(tmp_path / name)
    with pytest.raises((RequestError, StoreError), match=words):
        open_checkpoint(tmp_path / name)


class Arguments(Namespace):
    """A namespace of the script's own, whose code may do anything."""

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("code of the file ran")


class _Call:
    """Asks for a call of what only data may be named as."""

    def __init__(self, what: Any, *given: Any) -> None:
        self.what, self.given = what, given

    def __reduce__(self) -> Any:
        return self.what, self.given


def test_what_stands_for_plain_data_makes_nothing(tmp_path):
    """A file that asks NumPy for an array of a huge size gets none."""
    huge = _Call(np._core.multiarray._reconstruct, np.ndarray, (2**50,), b"b")
    torch.save({"model": {"w": torch.ones(2)}, "a": huge}, tmp_path / "a.pt")
    assert set(open_checkpoint(tmp_path / "a.pt").entries) == {"w"}
    torch.save({"model": {"w": torch.ones(2)}, "a": _Call(np.save, "x", 1)}, tmp_path / "b.pt")
    with pytest.raises(StoreError, match="asks to run code"):
        open_checkpoint(tmp_path / "b.pt")


def test_a_namespace_of_another_class_is_refused(tmp_path):
    torch.save({"model": {"w": torch.ones(2)}, "args": Arguments(a=1)}, tmp_path / "a.pt")
    with pytest.raises(StoreError, match=r"asks to run code.*Arguments"):
        open_checkpoint(tmp_path / "a.pt")


NORMS = {
    "weight norm": (nn.utils.weight_norm, nn.utils.parametrizations.weight_norm),
    "spectral norm": (nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm),
}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("kind", [lambda: nn.Linear(5, 7), lambda: nn.Conv1d(5, 7, 3)])
@pytest.mark.filterwarnings("ignore:.*(weight_norm|spectral_norm)")
def test_a_norm_as_a_hook_and_as_a_parametrization_are_one(tmp_path, name, kind):
    """Was: nothing but the bias in common."""
    old, new = NORMS[name]
    torch.manual_seed(0)
    first = nn.Sequential(old(kind()), nn.ReLU())
    other = nn.Sequential(new(kind()), nn.ReLU())
    torch.save(first.state_dict(), tmp_path / "old.pt")
    state = first.state_dict()
    if name == "spectral norm":  # torch renames older weight norm itself, but not spectral norm
        for old_name, new_name in (("orig", "original"), ("u", "0._u"), ("v", "0._v")):
            state[f"0.parametrizations.weight.{new_name}"] = state.pop(f"0.weight_{old_name}")
    other.load_state_dict(state)
    torch.save(other.state_dict(), tmp_path / "new.pt")
    for order in (("old.pt", "new.pt"), ("new.pt", "old.pt")):
        found = compare([tmp_path / n for n in order])
        assert found.l2[1] == 0.0
        iterated = 2 if name == "spectral norm" else 0  # vectors that no gradient moves
        assert len(found.moments.names) == len(other.state_dict()) - iterated
        assert any("parametrizations" in note for note in found.notes)
    same = compare([tmp_path / "old.pt"] * 2)
    assert same.moments.names[0].startswith("0.bias")
    assert not any("parametrizations" in n for n in same.moments.names)


def test_names_that_only_look_like_a_norm_are_left_alone(tmp_path):
    torch.save({"a.weight_v": torch.ones(2), "a.bias": torch.ones(2)}, tmp_path / "a.pt")
    new = {"a.parametrizations.weight.original1": torch.ones(2), "a.bias": torch.zeros(2)}
    torch.save(new, tmp_path / "b.pt")
    assert compare([tmp_path / "a.pt", tmp_path / "b.pt"]).moments.names == ("a.bias",)
