"""``wingbeat onset``: from which step on a perturbation no longer leads to another basin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from wingbeat.cli import parse
from wingbeat.cli.options import (
    Arguments,
    Device,
    Driver,
    Dtype,
    Json,
    Place,
    Quiet,
    folder_for,
    typed,
)
from wingbeat.cli.overwrite import collisions
from wingbeat.terminal import echo

if TYPE_CHECKING:
    from wingbeat.analyses.onset import Onset

METRICS: Final = (
    "barrier", "barrier_error", "barrier_test", "barrier_error_test", "l2", "disagreement",
)  # fmt: skip
"""Names in the help, which is written before torch is there; a test holds them to the analysis."""


def onset(
    factory: Place,
    arg: Arguments = None,
    metric: Annotated[str, typer.Option(help=", ".join(METRICS))] = "barrier_error",
    threshold: Annotated[
        float | None, typer.Option(help="Above it a replica has left; default .02 for errors.")
    ] = None,
    perturb: Annotated[
        str, typer.Option(metavar="KIND", help="kind[:size][,field=value]…")
    ] = "gaussian:0.01",
    replicas: Annotated[int, typer.Option(help="Replicas at each step tried.")] = 5,
    level: Annotated[float, typer.Option(help="Of the interval that judges each step.")] = 0.95,
    share: Annotated[float, typer.Option(help="Unstable if more than this share leaves.")] = 0.5,
    step: Annotated[list[int] | None, typer.Option(help="Candidate step; repeatable.")] = None,
    tolerance: Annotated[int | None, typer.Option(help="Steps between candidates.")] = None,
    driver: Driver = "auto",
    dtype: Dtype = "float32",
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder; default runs/onset-<factory>.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it costs, and stop.")] = False,
    quiet: Quiet = False,
    as_json_text: Json = False,
) -> None:
    """Find the first step from which a perturbation no longer leads to another basin."""
    from wingbeat.analyses.onset import find_onset, onset_cost
    from wingbeat.files import strict_json

    arguments, began = parse.parse_arguments(arg or []), Path.cwd()
    task = parse.load_task(factory, arguments)
    planned = onset_cost(task, replicas=replicas, steps=step, tolerance=tolerance)
    if plan or not (as_json_text or quiet):
        echo(json.dumps(vars(planned)) if as_json_text else planned.sentence())
    if plan:
        return
    with collisions(overwrite=False):
        found = find_onset(
            task,
            metric,
            threshold=threshold,
            perturbation=parse.parse_perturbation(perturb),
            replicas=replicas,
            confidence=level,
            share=share,
            steps=step,
            tolerance=tolerance,
            driver=driver,
            dtype=parse.parse_dtype(dtype),
            device=device,
            out=typed(out or folder_for(factory, "onset"), began),
            progress=False if as_json_text or quiet else None,
            factory={"place": factory, "arguments": arguments},
        )
    if as_json_text:
        echo(strict_json(found.to_json(), indent=None))
    elif not quiet:
        echo(_words(found))


def _words(found: Onset) -> str:
    columns = ["step", "left", "counted", "low", "high", "verdict", "median"]
    table = found.table[columns].to_string(index=False, float_format=lambda x: f"{x:.3g}")
    return "\n".join([*(f"warning: {w}" for w in found.warnings), table, str(found)])
