"""``wb.Start``: a training that goes on from a checkpoint is the one that was never interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from torch import nn, optim

import wingbeat as wb
from wingbeat.determinism import derive
from wingbeat.task.batches import Batches, Streams

BEFORE, AFTER = 7, 6
DTYPE = torch.float64
X = torch.randn(23, 4, generator=torch.Generator().manual_seed(1), dtype=DTYPE)
Y = X[:, :1].sin()


def build() -> nn.Module:
    layers = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1)
    return nn.Sequential(*layers)


def adam(params: Any) -> optim.Optimizer:
    return optim.AdamW(params, lr=1e-2)


def one_cycle(optimizer: Any) -> Any:
    return optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=20, cycle_momentum=False)


def loss(model: nn.Module, batch: Any) -> torch.Tensor:
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def task(steps: int, **more: Any) -> wb.Task:
    own = {"model": build, "loss": loss, "data": (X, Y), "optimizer": adam, "batch_size": 8}
    return wb.Task(**{**own, "schedule": one_cycle, "steps": steps, **more})


class Script:
    """The uninterrupted training, by hand; ``saved`` is what it writes on the way."""

    def __init__(self) -> None:
        self.tensors: list[dict[str, torch.Tensor]] = []
        torch.manual_seed(0)
        model = build().to(DTYPE)
        optimizer = adam(model.parameters())
        scheduler = one_cycle(optimizer)
        source, streams = Batches(task(20), DTYPE, torch.device("cpu")), Streams.of(0)
        for step in range(BEFORE + AFTER):
            if step == BEFORE:
                self.saved = {
                    "model": {k: v.clone() for k, v in model.state_dict().items()},
                    "optimizer": _copied(optimizer.state_dict()),
                    "epoch": 2,
                }
            batch = source.batch(streams, step)
            torch.manual_seed(derive(streams.dropout, step))
            optimizer.zero_grad()
            loss(model, batch).backward()
            optimizer.step()
            scheduler.step()
            self.tensors.append({k: v.clone() for k, v in model.state_dict().items()})


def _copied(state: Any) -> Any:
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {k: _copied(v) for k, v in state.items()}
    return [_copied(v) for v in state] if isinstance(state, list) else state


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


def one_file(folder: Path, saved: dict[str, Any]) -> wb.Start:
    torch.save(saved, folder / "ckpt.pt")
    return wb.Start(folder / "ckpt.pt", optimizer=folder / "ckpt.pt", step=BEFORE)


def trainer_folder(folder: Path, saved: dict[str, Any]) -> wb.Start:
    save_file(saved["model"], folder / "model.safetensors")
    torch.save(saved["optimizer"], folder / "optimizer.pt")
    return wb.Start(folder, optimizer=folder / "optimizer.pt", step=BEFORE)


def in_memory(folder: Path, saved: dict[str, Any]) -> wb.Start:
    return wb.Start(saved["model"], optimizer=saved["optimizer"], step=BEFORE)


def compiled_names(folder: Path, saved: dict[str, Any]) -> wb.Start:
    named = {f"_orig_mod.{k}": v for k, v in saved["model"].items()}
    torch.save({"state_dict": named, "optimizer": saved["optimizer"]}, folder / "a.pt")
    return wb.Start(folder / "a.pt", optimizer=folder / "a.pt", step=BEFORE)


def distributed(folder: Path, saved: dict[str, Any]) -> wb.Start:
    dcp.save({"model": saved["model"]}, checkpoint_id=folder / "dcp", no_dist=True)
    torch.save(saved["optimizer"], folder / "optimizer.pt")
    return wb.Start(folder / "dcp", optimizer=folder / "optimizer.pt", step=BEFORE)


def framework_names(folder: Path, saved: dict[str, Any]) -> wb.Start:
    named = {f"net.{k}": v for k, v in saved["model"].items()}
    torch.save({"state_dict": named, "optimizer_states": [saved["optimizer"]]}, folder / "a.ckpt")
    return wb.Start(folder / "a.ckpt", optimizer=folder / "a.ckpt", step=BEFORE)


WRITTEN = [one_file, trainer_folder, in_memory, compiled_names, distributed, framework_names]


@pytest.mark.parametrize("write", WRITTEN)
def test_it_goes_on_as_if_it_had_never_stopped(script: Script, write: Any, tmp_path: Path) -> None:
    start = write(tmp_path, script.saved)
    found = wb.run(
        task(AFTER, start=start),
        wb.Gaussian(0.01),
        replicas=1,
        record_every=1,
        driver="loop",
        dtype=DTYPE,
        metrics=["l2"],
    )
    assert found.noise_floor == 0.0
    for snapshot in list(found.trajectory)[1:]:
        plain = script.tensors[BEFORE + snapshot.step - 1]
        for name, tensor in {**snapshot.params, **snapshot.buffers}.items():
            assert torch.equal(tensor[0], plain[name]), (name, snapshot.step)


def test_in_lock_step(script: Script, tmp_path: Path) -> None:
    start = one_file(tmp_path, script.saved)
    found = wb.run(
        task(AFTER, start=start),
        wb.Gaussian(0.01),
        replicas=2,
        driver="lockstep",
        dtype=DTYPE,
        metrics=["l2"],
    )
    last = found.trajectory.at(AFTER)
    for name, tensor in last.params.items():
        # Adam divides the rounding in the gradient of a bias before a normalisation by itself.
        torch.testing.assert_close(tensor[0], script.tensors[-1][name], rtol=1e-8, atol=1e-9)
    assert found.noise_floor == 0.0


def refusals(folder: Path, saved: dict[str, Any]) -> dict[str, tuple[dict[str, Any], str]]:
    """Return wrong starts, with what must be said about each."""
    torch.save(saved, folder / "ckpt.pt")
    torch.save({"weights": saved["model"]}, folder / "bare.pt")
    model, path = saved["model"], folder / "ckpt.pt"
    without = {k: v for k, v in model.items() if k != "4.bias"}
    wide = {**model, "4.bias": torch.zeros(2)}
    fewer = _copied(saved["optimizer"])
    fewer["param_groups"][0]["params"].pop()
    shaped = _copied(saved["optimizer"])
    shaped["state"][0]["exp_avg"] = torch.zeros(3)
    return {
        "lacks a tensor": ({"model": without}, "lacks '?4.bias"),
        "has one more": ({"model": {**model, "head.weight": torch.zeros(1)}}, "head.weight"),
        "another shape": ({"model": wide}, r"shape \(2,\), and the model of \(1,\)"),
        "no optimizer": ({"model": path, "optimizer": folder / "bare.pt"}, "no optimizer's state"),
        "fewer": ({"model": path, "optimizer": fewer}, r"groups of \[5\] parameters.*of \[6\]"),
        "moments": ({"model": path, "optimizer": shaped}, "'exp_avg' of shape"),
        "no file": ({"model": folder / "gone.pt"}, "gone.pt"),
        "no number": ({"model": model, "step": -1}, "Start.step is -1"),
    }


def go_on(given: dict[str, Any]) -> None:
    """Begin a run from a start."""
    wb.run(task(AFTER, start=wb.Start(**given)), wb.Gaussian(0.01), replicas=1, dtype=DTYPE)


def test_a_wrong_start_is_refused(script: Script, tmp_path: Path) -> None:
    for given, words in refusals(tmp_path, script.saved).values():
        with pytest.raises(wb.RequestError, match=words):
            go_on(given)


def test_another_initialization_of_a_checkpoint_is_refused(script: Script) -> None:
    start = wb.Start(script.saved["model"])
    with pytest.raises(wb.RequestError, match=r"Init\(\) would vary nothing"):
        wb.run(task(AFTER, start=start), wb.Init(), replicas=1, dtype=DTYPE)
