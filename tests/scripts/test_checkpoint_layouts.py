"""Checkpoints as scripts lay them out themselves: which are found, and what is said else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import wingbeat as wb
from wingbeat.scripts.collect import FoundNotes, collected, first_step

WEIGHTS = {"layer.weight": torch.ones(2, 2)}
LABELS = ("reference", "null", "gaussian-0.1@0#1")


def written(tmp_path: Path, files: dict[str, Any], **other: dict[str, Any]) -> FoundNotes:
    """Lay out a fork whose script wrote these files; returns what is said of it."""
    start = tmp_path / "start.pt"
    torch.save(WEIGHTS, start)
    for label in LABELS:
        for name, content in {**files, **other.get(label.partition("-")[0], {})}.items():
            path = tmp_path / "runs" / label / name.replace("{time}", f"20260203-0405{len(label)}")
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.write_text("epoch,loss")
            else:
                torch.save(content, path)
    return collected(dict.fromkeys(LABELS, start), tmp_path / "runs", tmp_path / "v", None, None)


def seen(tmp_path: Path, label: str = "reference") -> dict[str, str]:
    """Return the steps of a copy, and the file that each is read from."""
    folder = (tmp_path / "runs" / label).resolve()
    found = {p.name: p.resolve() for p in (tmp_path / "v" / label).iterdir()}
    return {n: str(p.relative_to(folder)) for n, p in found.items() if p.is_relative_to(folder)}


OPTIMIZER = torch.optim.Adam(torch.nn.Linear(2, 2).parameters()).state_dict()
FOUND = {
    "ultralytics": (["weights/epoch1.pt", "weights/epoch2.pt", "weights/best.pt"], "weights/epoch"),
    "a folder an epoch": (["epoch_1/model.pt", "epoch_2/model.pt"], "epoch_"),
    "imagenet": (["checkpoint_0001.pth.tar", "checkpoint_0002.pth.tar"], "checkpoint_000"),
    "mmdetection": (["epoch_1.pth", "epoch_2.pth", "latest.pth"], "epoch_"),
    "a tree": (["logs/a.csv", "models/net/step_1.pkl", "models/net/step_2.pkl"], "models/net/step"),
    "without ending": (["state_dict_1", "state_dict_2", "log_1.csv"], "state_dict_"),
    "with optimizers": (["m-1.pt", "m-2.pt", "optimizer-1.pt", "optimizer-2.pt"], "m-"),
}
EPOCHS = "The steps of the file names are epochs: rates by step are by epoch."
TAKEN = "Nothing in {} says what its number counts: it is taken for a step."
COUNTED = {
    **dict.fromkeys(("ultralytics", "a folder an epoch", "mmdetection"), EPOCHS),
    "without ending": TAKEN.format("state_dict_1"),
    "with optimizers": TAKEN.format("m-1.pt"),
}
"""What is said of numbers in names that do not count steps, or may not."""


@pytest.mark.parametrize("name", FOUND)
def test_a_layout_of_its_own_is_found(name: str, tmp_path: Path) -> None:
    files, begin = FOUND[name]
    content = {f: OPTIMIZER if "optim" in f else None if "csv" in f else WEIGHTS for f in files}
    warned, read = written(tmp_path, content)
    assert [*warned, *read] == [note for note in [COUNTED.get(name)] if note]
    found = seen(tmp_path)
    assert sorted(found) == ["step-1", "step-2"]
    for step in (1, 2):
        assert re.match(rf"{begin}.*{step}", found[f"step-{step}"])


def test_a_folder_that_is_called_by_the_time(tmp_path: Path) -> None:
    written(tmp_path, {f"{{time}}-net/checkpoint-{n}.pth.tar": WEIGHTS for n in (1, 2)})
    for label in LABELS:
        assert sorted(seen(tmp_path, label)) == ["step-1", "step-2"]


def test_two_kinds_are_told_with_the_words_to_add(tmp_path: Path) -> None:
    files = {f"net{kind}_epoch_{n}.pth": WEIGHTS for kind in "DG" for n in (1, 2)}
    with pytest.raises(wb.RequestError, match=r"--pattern 'netD_epoch_\{step\}.pth'"):
        written(tmp_path, files)


@pytest.mark.parametrize("last", ["checkpoint.pth.tar", "model_fold0.pth"])
def test_the_best_is_not_what_is_proposed(last: str, tmp_path: Path) -> None:
    with pytest.raises(wb.RunError, match=f"--pattern '{last}'"):
        written(tmp_path, {last: WEIGHTS, "a_best.pth": WEIGHTS})


@pytest.mark.parametrize("name", ["iter_num", "epoch", "step"])
def test_a_single_checkpoint_is_of_the_step_that_it_holds(name: str, tmp_path: Path) -> None:
    _, (said,) = written(tmp_path, {"ckpt.pt": {"model": WEIGHTS, name: 40}})
    assert "what it holds tells its step, 40" in said
    assert seen(tmp_path) == {"step-40": "ckpt.pt"}
    torch.save({name: 20}, tmp_path / "from.pt")
    assert first_step(tmp_path / "from.pt", [40]) == 20


def test_each_copys_best_is_refused(tmp_path: Path) -> None:
    # As nanoGPT does: ckpt.pt is written where the validation loss is the lowest so far.
    files = {"ckpt.pt": {"model": WEIGHTS, "iter_num": 40}}
    other = {"ckpt.pt": {"model": WEIGHTS, "iter_num": 20}}
    with pytest.raises(wb.RunError, match=r"reference is of step 40, that of gaussian.* step 20"):
        written(tmp_path, files, gaussian=other)
