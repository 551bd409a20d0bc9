"""Steps are read off file names as people choose them, or refused; never a loss or a size."""

from __future__ import annotations

import pytest

from wingbeat.checkpoints.pattern import find_files
from wingbeat.checkpoints.step import Step, read_step
from wingbeat.errors import RequestError

# Name → step and the kind of word before it; None where no number can be a step.
NAMES = {
    "epoch=00-val_loss=0.91.ckpt": (0, "epoch"),
    "epoch=2-step=300.ckpt": (300, "step"),
    "epoch=2-step=300-v1.ckpt": (300, "step"),
    "model-epoch=02-val_loss=0.1234-v1.ckpt": (2, "epoch"),
    "step1000-tokens4B": (1000, "step"),
    "stage1-step10000-tokens84B": (10000, "step"),
    "step_20k.pt": (20_000, "step"),
    "ckpt_1.5M.pt": (1_500_000, "step"),
    "checkpoint-500": (500, "step"),
    "checkpoint_12.pt": (12, "step"),
    "global_step143000": (143_000, "step"),
    "iter_0002000": (2000, "step"),
    "mp_rank_00_model_states_step7.pt": (7, "step"),
    "resnet50_epoch_12.pt": (12, "epoch"),
    "resnet18-cifar100-ep7.pth": (7, "epoch"),
    "step-100-acc-97.pt": (100, "step"),
    "acc=97-seed3-40.pt": (40, ""),
    "model_0100.pt": (100, ""),
    "0100.pt": (100, ""),
    "a.10.pt": (10, ""),
    "run-1.0.25.pt": None,
    "100k.pt": (100_000, ""),
    "model_7B.pt": None,
    "val_loss=0.91.ckpt": None,
    "val_loss=2.ckpt": None,
    "best.pt": None,
    "v2.pt": None,
    "1234567890123456.pt": None,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_tells_its_step(name):
    wanted = NAMES[name]
    assert read_step(name) == (None if wanted is None else Step(*wanted))


@pytest.mark.parametrize(
    ("pattern", "names", "steps"),
    [
        ("step_*.pt", ["step_5k.pt", "step_20k.pt"], (5000, 20_000)),
        ("epoch=*.ckpt", ["epoch=00-loss=0.91.ckpt", "epoch=01-loss=0.33.ckpt"], (0, 1)),
        ("step*", ["step1000-tokens4B", "step2000-tokens8B"], (1000, 2000)),
        ("epoch={step}-val_loss=*.ckpt", ["epoch=3-val_loss=0.5.ckpt"], (3,)),
    ],
)
def test_a_pattern_reads_them(tmp_path, pattern, names, steps):
    for name in names:
        (tmp_path / name).touch()
    found = find_files(f"{tmp_path}/{pattern}")
    assert found.steps == steps
    assert ("epochs" in found.read) == pattern.startswith("epoch")


def test_a_loss_in_place_of_the_step_and_epochs_among_steps_are_refused(tmp_path):
    (tmp_path / "epoch=1-val_loss=0.91.ckpt").touch()
    with pytest.raises(RequestError, match=r"no checkpoint with a whole number.*\{step\}"):
        find_files(f"{tmp_path}/epoch=*-val_loss=*.ckpt")
    (tmp_path / "step=100.ckpt").touch()
    with pytest.raises(RequestError, match=r"tells an epoch and .*step=100\.ckpt a step"):
        find_files(f"{tmp_path}/*.ckpt")
