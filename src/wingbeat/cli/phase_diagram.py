"""``wingbeat study phase-diagram``: two-layer ReLU nets in (γ, γ')."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wingbeat.cli.show_study import Json, finished, quiet_or
from wingbeat.studies.phase_diagram.study import DiagramPlan, study_phase_diagram


def phase_diagram(
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("runs/phase-diagram"),
    gamma: Annotated[list[float] | None, typer.Option(help="γ; repeatable.")] = None,
    gamma_prime: Annotated[list[float] | None, typer.Option(help="γ'; repeatable.")] = None,
    width: Annotated[list[int] | None, typer.Option(help="Width m; give two or more.")] = None,
    seeds: Annotated[int, typer.Option(help="Base seeds.")] = 3,
    time: Annotated[float, typer.Option(help="Length of training in tens of steps.")] = 100.0,
    workers: Annotated[int | None, typer.Option(help="Processes; default one a processor.")] = None,
    as_json_text: Json = False,
) -> None:
    """Do the weights move and condense as the net gets wider, or not?"""
    usual = DiagramPlan()
    plan = DiagramPlan(
        tuple(gamma or usual.gammas),
        tuple(gamma_prime or usual.gamma_primes),
        tuple(width or usual.widths),
        seeds,
        time,
    )
    found = study_phase_diagram(plan, out, workers=workers, say=quiet_or(as_json_text))
    finished(found, as_json_text)
