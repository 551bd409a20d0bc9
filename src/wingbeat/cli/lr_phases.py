"""``wingbeat study lr-phases MODULE:FACTORY``: one task over a sweep of learning rates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wingbeat.cli.parse import parse_arguments
from wingbeat.cli.show_study import Json, finished, quiet_or
from wingbeat.studies.lr_phases.study import PhasesPlan, study_lr_phases, usual_rates


def lr_phases(
    factory: Annotated[
        str, typer.Argument(metavar="MODULE:FACTORY", help="Function that returns a wb.Task.")
    ],
    lr: Annotated[
        list[float] | None,
        typer.Option(help="Learning rate, twice or more; default 1/4 to 16 times the factory's."),
    ] = None,
    arg: Annotated[
        list[str] | None, typer.Option("--arg", help="Argument of the factory, name=value.")
    ] = None,
    rate_name: Annotated[
        str, typer.Option(help="Name of the factory's argument for the learning rate.")
    ] = "lr",
    seeds: Annotated[int, typer.Option(help="Base seeds.")] = 3,
    replicas: Annotated[int, typer.Option(help="Nudged copies; 0 leaves the spread out.")] = 2,
    record_every: Annotated[int | None, typer.Option(help="Steps between snapshots.")] = None,
    target: Annotated[
        float | None, typer.Option(help="Accuracy to reach; default 95 % of the best.")
    ] = None,
    exponents: Annotated[
        bool, typer.Option("--exponents/--no-exponents", help="Measure the largest exponent.")
    ] = True,
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("runs/lr-phases"),
    workers: Annotated[int | None, typer.Option(help="Processes; default one a processor.")] = None,
    as_json_text: Json = False,
) -> None:
    """Where is training laminar, chaotic, divergent; which learning rate is soonest?"""
    plan = PhasesPlan(
        factory,
        tuple(sorted(lr)) if lr else usual_rates(factory, rate_name),
        parse_arguments(arg or []),
        rate_name,
        seeds,
        replicas,
        record_every,
        target,
        exponents,
    )
    found = study_lr_phases(plan, out, workers=workers, say=quiet_or(as_json_text))
    finished(found, as_json_text)
