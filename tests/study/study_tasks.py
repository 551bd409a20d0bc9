"""Tiny tasks and workers for the studies in these tests; imported by spawned processes too."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Ledger, Record
from wingbeat.task.task import Task


def squares(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return ((model(batch[0]) - batch[1]) ** 2).mean()


def line(lr: float = 0.1, steps: int = 8, width: int = 1) -> Task:
    x = torch.linspace(-1, 1, 32).unsqueeze(1)
    return Task(
        model=partial(nn.Linear, 1, width),
        loss=squares,
        data=(x, 2 * x.expand(-1, width)),
        optimizer=partial(torch.optim.SGD, lr=lr),
        batch_size=8,
        steps=steps,
    )


def poison(lr: float = 0.1) -> Task:
    raise RequestError(f"lr {lr} is poison")


def once_poison(marker: str) -> Task:
    """Fail the first time, work the second."""
    if not Path(marker).exists():
        Path(marker).touch()
        raise RuntimeError("the first attempt fails")
    return line()


def killer(lr: float = 0.1) -> Task:
    """End the process as a crash in native code would."""
    os._exit(7)


def counted(folder: str, lr: float = 0.1) -> Task:
    """Leave a file for every time this task is built."""
    (Path(folder) / f"{lr}-{time.monotonic_ns()}").touch()
    return line(lr=lr)


def slow(folder: str, seconds: float, lr: float = 0.1) -> Task:
    time.sleep(seconds)
    return counted(folder, lr)


def echo(condition: Condition) -> Record:
    return Record(condition.key, "done", str(os.getpid()))


def echo_environment(condition: Condition) -> Record:
    return Record(condition.key, "done", os.environ.get("WINGBEAT_SAID", ""))


def echo_or_die(condition: Condition) -> Record:
    if condition.factory == "die":
        os._exit(3)
    return Record(condition.key, "done", str(torch.get_num_threads()))


def slow_line(seconds: float, lr: float = 0.1) -> Task:
    time.sleep(seconds)
    return line(lr=lr)


def finished(ledger: Ledger, condition: Condition, rows: int = 3, **values: float) -> None:
    """Write the record of a condition without training it."""
    table = pd.DataFrame(
        {"metric": "l2", "step": range(rows), "value": [float(v) for v in range(rows)]}
    )
    estimates = {
        name: {"value": value, "low": None, "high": None, "reason": ""}
        if value == value
        else {"value": None, "low": None, "high": None, "reason": "diverged"}
        for name, value in values.items()
    }
    facts = {
        "summary": estimates,
        "noise_floor": 0.0,
        "warnings": [],
        "steps": rows,
        "steps_per_epoch": 1,
        "environment": {},
        "seconds": 2.0,
        "processor_seconds": 1.5,
    }
    ledger.finish(condition, table, facts)


def hang_once(condition: Condition) -> Record:
    """Never end the first time, so that a time limit comes; end at once the second time."""
    folder = Path(condition.arguments["folder"])
    starts = len(list(folder.iterdir()))
    (folder / str(starts)).touch()
    while starts == 0:
        time.sleep(0.1)
    return Record(condition.key, "done", f"start {starts + 1}")


def end_process(condition: Condition) -> Record:
    os._exit(9)
