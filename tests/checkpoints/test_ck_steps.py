"""Steps are read off file names as people choose them, or refused; never a loss or a size."""

from __future__ import annotations

import pytest

from wingbeat.checkpoints.pattern import find_files, pattern_for
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
    "cv3.pt": None,
    "member_3.pt": None,
    "split-3.pt": None,
    "v2.pt": None,
    "1234567890123456.pt": None,
    "step_1e5.pt": (100_000, "step"),
    "ckpt_2.5e3.pt": (2500, "step"),
    "1e-3.pt": None,
    "lr_1e-4.pt": None,
    "wd0.1_lr3e-4_step200.pt": (200, "step"),
    "100steps.pt": (100, "step"),
    "5epochs.pt": (5, "epoch"),
    "unet_3d.pt": None,
    "unet_3d_200.pt": (200, ""),
    "ep1-ba100-rank0.pt": (100, "step"),
    "2024-05-01_12-30-05.pt": None,
    "20240501_123005.pt": None,
    "CKPT+2024-05-01+12-30-05+00": None,
    "2024-05-01_step_100.pt": (100, "step"),
    "2024-05-01_1000.pt": (1000, ""),
    "607a30d783dfa663caf39e06633721c8d4cfcd7e": None,
    "3f2a9c1e-12ab-4f1d-9abc-0123456789ab.pt": None,
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
        ("step-1*.pt", ["step-10.pt", "step-12.pt", "step-150.pt"], (10, 12, 150)),
        ("step-*00.pt", ["step-100.pt", "step-1200.pt"], (100, 1200)),
        ("run1-step-1*0", ["run1-step-10", "run1-step-120"], (10, 120)),
    ],
)
def test_a_pattern_reads_them(tmp_path, pattern, names, steps):
    for name in names:
        (tmp_path / name).touch()
    found = find_files(f"{tmp_path}/{pattern}")
    assert found.steps == steps
    assert ("epochs" in found.read) == pattern.startswith("epoch")


def test_a_date_is_a_step_only_where_it_is_said_to_be_one(tmp_path):
    for name in ("20240501.pt", "20240503.pt"):
        (tmp_path / name).touch()
    with pytest.raises(RequestError, match="no checkpoint with a whole number"):
        find_files(f"{tmp_path}/*.pt")
    assert find_files(f"{tmp_path}/{{step}}.pt").steps == (20240501, 20240503)


@pytest.mark.parametrize("shape", ["run-[12]/*.pt", "run-?/*.pt", "{a,b}/*.pt", "gone/*.pt"])
def test_a_pattern_of_a_shell_is_called_what_it_is(tmp_path, shape):
    with pytest.raises(RequestError, match="nor any other file or folder") as refused:
        find_files(f"{tmp_path}/{shape}")
    assert ("only * stands for something" in str(refused.value)) == (shape != "gone/*.pt")


def test_two_files_of_one_step_are_both_named(tmp_path):
    for name in ("epoch=3-step=400.ckpt", "epoch=3-step=400-v1.ckpt"):
        (tmp_path / name).touch()
    with pytest.raises(RequestError, match=r"both step 400: narrow the pattern"):
        find_files(f"{tmp_path}/*.ckpt")


def test_the_pattern_of_a_folder_is_told(tmp_path):
    for name in ("step_5.pt", "step_010.pt", "step_100.pt", "last.pt"):
        (tmp_path / name).touch()
    told = pattern_for(tmp_path)
    assert told == f"those of the folder as '{tmp_path}/step_{{step}}.pt'"
    assert find_files(told.split("'")[1]).steps == (5, 10, 100)
    assert pattern_for(tmp_path / "gone") == ""


def test_a_loss_in_place_of_the_step_and_epochs_among_steps_are_refused(tmp_path):
    (tmp_path / "epoch=1-val_loss=0.91.ckpt").touch()
    with pytest.raises(RequestError, match=r"no checkpoint with a whole number.*\{step\}"):
        find_files(f"{tmp_path}/epoch=*-val_loss=*.ckpt")
    (tmp_path / "step=100.ckpt").touch()
    with pytest.raises(RequestError, match=r"tells an epoch and .*step=100\.ckpt a step"):
        find_files(f"{tmp_path}/*.ckpt")
