"""Forks of the Trainer against the Trainer alone: each copy is the run made by hand, in bits."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded_ends import last, same
from safetensors.torch import load_file

import wingbeat as wb
from wingbeat.determinism import seeded
from wingbeat.errors import RequestError
from wingbeat.integrations.huggingface import fork

NAMES = (
    "label smoothing",
    "groups of equal length",
    "activation checkpointing",
    "NEFTune",
    "Adafactor",
    "accumulation with a rest",
    "warm-up and cosine",
    "compute_loss_func",
    "compute_loss",
    "masked at random",
    "callback that clamps",
    "callback after an epoch",
    "average by callback",
    "stopping by steps",
    "stopping by epochs",
    "epochs that end early",
    "distillation",
    "label_names",
    "bf16",
    "fp16",
    "gradients not clipped",
    "gradients clipped",
    "evaluation between",
    "optimizer of its own",
    "plateau",
    "a stream",
    "augmented",
    "augmented by workers",
)
"""Of the set-ups: importing them takes seconds, which collecting tests does not."""
SLOW = (
    "average by callback",
    "callback after an epoch",
    "epochs that end early",
    "stopping by epochs",
)
"""Set-ups that were wrong once; the others are tried at full length only."""
CASES = [pytest.param(n, marks=pytest.mark.slow if n in SLOW else pytest.mark.long) for n in NAMES]


@pytest.fixture
def setups() -> Any:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    return importlib.import_module("trainer_setups")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("resumed", [False, True], ids=["from the start", "resumed"])
def test_copies_are_the_runs_made_by_hand(
    name: str, resumed: bool, setups: Any, tmp_path: Path
) -> None:
    setup, by_hand = setups.SETUPS[name], setups.by_hand
    own, out = tmp_path / "own", tmp_path / "x"
    with seeded(0):
        first = by_hand(setup, own, {}, 0, None)
        start = min(own.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
        at = int(json.loads((start / "trainer_state.json").read_text())["global_step"])
        resume = start if resumed else None
        reference = by_hand(setup, tmp_path / "second", {}, 0, resume)
        before = sorted(own.rglob("*"))
        result = fork(
            lambda: setup.make(own),
            wb.Gaussian(0.05),
            replicas=1,
            at=resume or at,
            out=out,
            record_every=5,
        )
        assert sorted(own.rglob("*")) == before, "copies wrote into the user's folder"
        nudged = out / "runs/gaussian-0.05@0#1"
        put = load_file(nudged / f"step-{at}.safetensors")
        moved = by_hand(setup, tmp_path / "third", put, at, resume)
    assert result.noise_floor == 0.0
    assert same(last(out / "runs/reference"), reference)
    assert same(last(nudged), moved)
    assert not same(last(nudged), reference)
    assert any("took the place" in w for w in result.warnings) == (name in setups.REPLACED)
    assert any("different steps" in w for w in result.warnings) == (moved.step != reference.step)
    if not resumed or name not in setups.DRAWS:
        whole = (reference.step, reference.weights)
        assert same(whole, first) or name == "augmented by workers", "the Trainer itself differs"


@pytest.mark.slow
def test_every_setup_is_tried(setups: Any) -> None:
    assert set(NAMES) == set(setups.SETUPS)


@pytest.mark.slow
def test_a_checkpoint_at_the_end_is_refused_before_it_trains(setups: Any, tmp_path: Path) -> None:
    own = tmp_path / "own"
    setups.by_hand(setups.Setup({"max_steps": 4}), own, {}, 0, None)
    with pytest.raises(RequestError, match="fork at step 4, and training ends at step 4"):
        fork(
            lambda: setups.Setup({"max_steps": 4}).make(own),
            wb.Gaussian(0.1),
            at=own / "checkpoint-4",
            out=tmp_path / "x",
        )
    made = setups.Setup().make(own)
    with pytest.raises(RequestError, match="make_trainer is a Trainer: pass a function"):
        fork(made, wb.Gaussian(0.1), out=tmp_path / "y")


@pytest.mark.slow
def test_several_processes_are_refused(
    setups: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import TrainingArguments

    monkeypatch.setattr(TrainingArguments, "world_size", 2)
    with pytest.raises(RequestError, match="runs in 2 processes, and copies train in one"):
        fork(lambda: setups.Setup().make(tmp_path / "own"), wb.Gaussian(0.1), out=tmp_path / "x")
