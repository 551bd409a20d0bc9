"""``wingbeat study edge``: does the sharpness rise to the threshold and stay there?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wingbeat.cli.show_study import Json, finished, quiet_or
from wingbeat.studies.edge.study import EdgePlan, study_edge


def edge(
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("runs/edge"),
    lr: Annotated[
        list[float] | None, typer.Option(help="Learning rate of gradient descent; repeatable.")
    ] = None,
    polyak_lr: Annotated[
        list[float] | None,
        typer.Option(help="Learning rate with Polyak's momentum 0.9; repeatable."),
    ] = None,
    nesterov_lr: Annotated[
        list[float] | None,
        typer.Option(help="Learning rate with Nesterov's momentum 0.9; repeatable."),
    ] = None,
    data: Annotated[str, typer.Option(help="digits or cifar10.")] = "digits",
    n: Annotated[int, typer.Option(help="Training samples, all in one batch.")] = 500,
    hidden: Annotated[list[int] | None, typer.Option(help="Hidden width; repeatable.")] = None,
    steps: Annotated[int, typer.Option(help="Updates.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Base seeds.")] = 3,
    workers: Annotated[int | None, typer.Option(help="Processes; default one a processor.")] = None,
    as_json_text: Json = False,
) -> None:
    """Edge of stability: sharpness against 2/lr and the thresholds of momentum."""
    usual = EdgePlan()
    asked = lr or polyak_lr or nesterov_lr  # who asks for some gets those alone
    plan = EdgePlan(
        tuple(lr or ()) if asked else usual.rates,
        tuple(polyak_lr or ()) if asked else usual.polyak_rates,
        tuple(nesterov_lr or ()) if asked else usual.nesterov_rates,
        data,
        n,
        tuple(hidden or usual.hidden),
        steps,
        seeds,
    )
    found = study_edge(plan, out, workers=workers, say=quiet_or(as_json_text))
    finished(found, as_json_text)
