"""``wingbeat study break-even``: gradient covariance against learning rate and batch size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wingbeat.cli.show_study import Json, finished, quiet_or
from wingbeat.studies.break_even.study import BreakEvenPlan, study_break_even


def break_even(
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("runs/break-even"),
    lr: Annotated[list[float] | None, typer.Option(help="Learning rate; repeatable.")] = None,
    batch_size: Annotated[list[int] | None, typer.Option(help="Batch size; repeatable.")] = None,
    data: Annotated[str, typer.Option(help="digits or cifar10.")] = "digits",
    n: Annotated[int, typer.Option(help="Training samples.")] = 640,
    hidden: Annotated[list[int] | None, typer.Option(help="Hidden width; repeatable.")] = None,
    time: Annotated[float, typer.Option(help="Learning rate × steps of each run.")] = 30.0,
    loss: Annotated[str, typer.Option(help="cross-entropy or mse.")] = "cross-entropy",
    seeds: Annotated[int, typer.Option(help="Base seeds.")] = 3,
    workers: Annotated[int | None, typer.Option(help="Processes; default one a processor.")] = None,
    as_json_text: Json = False,
) -> None:
    """Does a larger learning rate or a smaller batch lower the variance of the gradient?"""
    usual = BreakEvenPlan()
    plan = BreakEvenPlan(
        tuple(lr or usual.rates),
        tuple(batch_size or usual.batch_sizes),
        data,
        n,
        tuple(hidden or usual.hidden),
        time,
        loss,
        seeds,
    )
    found = study_break_even(plan, out, workers=workers, say=quiet_or(as_json_text))
    finished(found, as_json_text)
