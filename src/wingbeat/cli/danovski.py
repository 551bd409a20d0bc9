"""``wingbeat study danovski``: chaos of gradient descent on iris, held against the paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from wingbeat.studies.danovski.plan import Plan
from wingbeat.studies.danovski.run import study_danovski


def danovski(
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("runs/danovski"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Few initialisations, in under two minutes.")
    ] = False,
    inits: Annotated[
        int | None,
        typer.Option(help="Initialisations of each nMLE; default 200, with --quick 60."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; default one for each processor.")
    ] = None,
    as_json_text: Annotated[
        bool, typer.Option("--json", help="Print summary.json and nothing else.")
    ] = False,
) -> None:
    """Is gradient descent on iris chaotic? The nMLE of arXiv 2404.05782, and what it hides."""
    plan = Plan(quick=quick, inits=inits)
    say = (lambda _: None) if as_json_text else typer.echo
    study, _ = study_danovski(plan, out, workers=workers, say=say)
    if as_json_text:
        found = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False))
    if study.failures:
        raise typer.Exit(1)
