"""``wingbeat study edge``: does the sharpness rise to the threshold and stay there?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wingbeat.zoo.edge import EdgePlan, study_edge


def edge(
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("runs/edge"),
    lr: Annotated[
        list[float] | None, typer.Option(help="Learning rate of gradient descent; repeatable.")
    ] = None,
    momentum_lr: Annotated[
        list[float] | None, typer.Option(help="Learning rate with momentum 0.9; repeatable.")
    ] = None,
    data: Annotated[str, typer.Option(help="digits or cifar10.")] = "digits",
    n: Annotated[int, typer.Option(help="Training samples, all in one batch.")] = 500,
    hidden: Annotated[list[int] | None, typer.Option(help="Hidden width; repeatable.")] = None,
    steps: Annotated[int, typer.Option(help="Updates.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Base seeds.")] = 1,
    workers: Annotated[int | None, typer.Option(help="Processes; default one a processor.")] = None,
) -> None:
    """Edge of stability: sharpness against 2/lr and the thresholds of momentum."""
    usual = EdgePlan()
    plan = EdgePlan(
        tuple(lr or usual.rates),
        usual.momentum_rates if momentum_lr is None else tuple(momentum_lr),
        data,
        n,
        tuple(hidden or usual.hidden),
        steps,
        seeds,
    )
    study, _ = study_edge(plan, out, workers=workers, say=typer.echo)
    if study.failures:
        raise typer.Exit(1)
