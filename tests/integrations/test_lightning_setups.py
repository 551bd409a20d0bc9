"""Forks of Lightning against its own Trainer: each copy is the run made by hand, bit for bit."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded_ends import last, same
from safetensors.torch import load_file

import wingbeat as wb
from wingbeat.determinism import seeded
from wingbeat.errors import RequestError
from wingbeat.integrations.lightning import fork

NAMES = (
    "plateau",
    "one cycle by step",
    "gan, two optimizers",
    "L-BFGS",
    "bf16-mixed",
    "bf16-true",
    "gradients clipped by value",
    "accumulation",
    "accumulation by schedule",
    "manual, accumulating",
    "own clipping",
    "moving average",
    "stochastic weight averaging",
    "hook before a batch",
    "hook after a batch",
    "hook at the start",
    "hook after an epoch",
    "callbacks of the module",
    "data module with a generator",
    "overfit_batches",
    "limits and validation within",
    "two loaders, the shorter again",
    "two loaders, to the longer's end",
    "iterator of the loader",
    "early stopping",
    "barebones",
)
"""Of the set-ups: importing them takes seconds, which collecting tests does not."""
SLOW = (
    "gan, two optimizers",
    "moving average",
    "hook after a batch",
    "hook after an epoch",
    "callbacks of the module",
)
"""Set-ups that were wrong once; the others are tried at full length only."""
CASES = [pytest.param(n, marks=pytest.mark.slow if n in SLOW else pytest.mark.long) for n in NAMES]


@pytest.fixture
def setups() -> Any:
    pytest.importorskip("lightning")
    return importlib.import_module("lightning_setups")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("resumed", [False, True], ids=["from the start", "resumed"])
def test_copies_are_the_runs_made_by_hand(
    name: str, resumed: bool, setups: Any, tmp_path: Path
) -> None:
    setup, by_hand, at = setups.SETUPS[name], setups.by_hand, setups.AT
    if resumed and setup.options.get("barebones"):
        pytest.skip("a barebones Trainer saves nothing")
    own = tmp_path / "own"
    with seeded(0):
        first, again = (by_hand(setup, tmp_path / n, {}, None) for n in ("own", "second"))
        assert same((first.step, first.weights), again), "Lightning itself does not repeat this"
        start = next(own.glob(f"*step={at}.ckpt")) if resumed else None
        reference = by_hand(setup, tmp_path / "third", {}, start) if resumed else first
        before = sorted(tmp_path.rglob("*"))

        def make() -> tuple[Any, dict[str, Any]]:
            return setup.trainer(own), {"model": setup.module(), **setup.fit()}

        out = tmp_path / "x"
        result = fork(make, wb.Gaussian(0.05), replicas=1, at=start or at, out=out, record_every=5)
        written = [p for p in sorted(tmp_path.rglob("*")) if out not in (p, *p.parents)]
        nudged = out / "runs/gaussian-0.05@0#1"
        put = load_file(nudged / f"step-{at}.safetensors")
        moved = by_hand(setup, tmp_path / "fourth", put, start)
    assert result.noise_floor == 0.0
    assert same(last(out / "runs/reference"), reference)
    assert same(last(nudged), moved)
    assert not same(last(nudged), reference)
    assert written == before, "copies wrote into folders of the user's"
    assert any("took the place" in w for w in result.warnings) == (name in setups.REPLACED)


@pytest.mark.slow
def test_every_setup_is_tried(setups: Any) -> None:
    assert set(NAMES) == set(setups.SETUPS)


@pytest.mark.slow
@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_both_packages_save_nothing(package: str, setups: Any, tmp_path: Path) -> None:
    library = pytest.importorskip(package)
    saving = importlib.import_module(f"{package}.callbacks").ModelCheckpoint

    def make() -> tuple[Any, dict[str, Any]]:
        class Module(library.LightningModule):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.net = torch.nn.Linear(4, 1)

            def training_step(self, batch: Any, _: int) -> Any:
                return (self.net(batch[0]) - batch[1]).square().mean()

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.1)

        trainer = library.Trainer(
            max_steps=4, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[saving(tmp_path / "own")],
        )  # fmt: skip
        return trainer, {"model": Module(), "train_dataloaders": setups.loader()}

    result = fork(make, wb.Gaussian(0.1), replicas=1, out=tmp_path / "x", record_every=2)
    assert result.noise_floor == 0.0
    assert result.steps == (0, 2, 4)
    assert not (tmp_path / "own").exists()


def processes(setups: Any) -> Any:
    trainer = setups.Setup().trainer(Path())
    trainer.strategy.world_size = 2
    return trainer, {"model": setups.Plain(), "train_dataloaders": setups.loader()}


def within(setups: Any) -> Any:
    return setups.Setup().trainer(Path()), {"model": setups.Plain(), "ckpt_path": "x"}


def ended(setups: Any) -> Any:
    fit = {"model": setups.Plain(), "train_dataloaders": setups.loader()}
    return setups.Setup(options={"max_steps": 3}).trainer(Path()), fit


REFUSED = {
    "a checkpoint within": (within, "hold ckpt_path: name the checkpoint by at="),
    "several processes": (processes, "uses 2 processes, and copies train in one"),
    "nothing left": (ended, "fork at step 3, and training ends at step 3"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(
    case: str, setups: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, words = REFUSED[case]
    trained: list[int] = []
    monkeypatch.setattr(setups.Plain, "training_step", lambda *_: trained.append(1))
    with pytest.raises(RequestError, match=words):
        fork(lambda: make(setups), wb.Gaussian(0.1), at=3, out=tmp_path)
    assert not trained, "compute was spent before it was refused"


@pytest.mark.slow
def test_a_trainer_in_place_of_what_makes_it_is_refused(setups: Any, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="make is a Trainer: pass a function"):
        fork(setups.Setup().trainer(tmp_path), wb.Gaussian(0.1), out=tmp_path)
