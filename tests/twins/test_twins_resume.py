"""Killed at any step and run again: the same bits; a finished folder is only read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loops import LOOPS, STEPS, train

import wingbeat as wb

PERTURBATIONS = (wb.Gaussian(0.01), wb.Gaussian(0.001, at=9), wb.DataOrder(1, at=4))


class Killed(BaseException):
    """The process is gone."""


def run(name: str, folder: Path | None, *, killed_after: int | None = None) -> Any:
    loop, made = LOOPS[name], 0
    twins = wb.Twins(
        loop.build, PERTURBATIONS, steps=STEPS, replicas=2, out=folder, checkpoint_seconds=0.0
    )

    class Counted:
        def __init__(self, copy: Any) -> None:
            self.copy = copy

        def __call__(self, loss: Any) -> None:
            nonlocal made
            self.copy.step(loss)
            made += 1
            if made == killed_after:
                raise Killed

    torch.manual_seed(1)
    loader = loop.loader() if loop.loader else None
    for copy in twins:
        source = copy.updates if loader is None else lambda c=copy: c.batches(loader)
        loop.train(copy.parts, source, Counted(copy))
    return twins.result()


QUICK = [("classifier", 40), ("reinforce", 5)]


@pytest.mark.parametrize(
    ("name", "after"),
    [
        pytest.param(name, after, marks=[] if (name, after) in QUICK else [pytest.mark.slow])
        for name in [
            "classifier",
            "autocast, scaler, average",
            "half that overflows",
            "reinforce",
            "stream",
        ]
        for after in [5, 40, 100]
    ],
)
def test_a_kill_changes_nothing(tmp_path: Path, name: str, after: int) -> None:
    whole = run(name, None)
    with pytest.raises(Killed):
        run(name, tmp_path, killed_after=after)
    again = run(name, tmp_path)
    assert again.table.equals(whole.table)
    assert again.summary == whole.summary
    assert again.noise_floor == 0.0


def test_a_finished_run_is_read_and_reported(tmp_path: Path) -> None:
    result = run("classifier", tmp_path / "run")
    assert not (tmp_path / "run" / "copies").exists()
    loaded = wb.load(tmp_path / "run")
    assert loaded.table.equals(result.table)
    assert loaded.report(tmp_path / "page.html").stat().st_size > 100_000
    loop = LOOPS["classifier"]
    twins = wb.Twins(loop.build, PERTURBATIONS, steps=STEPS, replicas=2, out=tmp_path / "run")
    assert list(twins) == []
    train(twins, loop)
    assert twins.result().table.equals(result.table)
