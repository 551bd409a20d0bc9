"""The options of the study, for ``wingbeat study dynamics``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wingbeat.studies.dynamics.plan import Plan
from wingbeat.studies.dynamics.run import study_dynamics


def dynamics(
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("runs/dynamics"),
    quick: Annotated[
        bool, typer.Option("--quick", help="All three families in a few minutes.")
    ] = False,
    family: Annotated[
        list[str] | None, typer.Option(help="dense, cnn or transformer, whole; may be repeated.")
    ] = None,
    net: Annotated[
        list[str] | None, typer.Option(help="One more architecture, by name; may be repeated.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Base seeds; default 5, with --quick 3.")
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(help="Nudged copies; default 7 for dense nets, else 5.")
    ] = None,
    perturbation: Annotated[
        float, typer.Option(help="Nudge as a share of each tensor's standard deviation.")
    ] = 0.01,
    workers: Annotated[
        int | None, typer.Option(help="Processes; default one for each processor.")
    ] = None,
    as_json_text: Annotated[
        bool, typer.Option("--json", help="Print summary.json and nothing else.")
    ] = False,
) -> None:
    """21 architectures, nudged at the start: do the copies end closer together?"""
    plan = Plan(tuple(family or ()), quick, seeds, replicas, perturbation, tuple(net or ()))
    quiet = as_json_text
    study, _ = study_dynamics(
        plan, out, workers=workers, say=(lambda _: None) if quiet else typer.echo
    )
    if as_json_text:
        found = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False))
    if study.failures:
        raise typer.Exit(1)
