"""``wingbeat seeds``: what trackers logged of several seeds, and two recipes compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from wingbeat.cli.options import Json
from wingbeat.terminal import echo

if TYPE_CHECKING:
    from wingbeat.analyses.logged_runs import LoggedRuns


def seeds(
    places: Annotated[
        list[str], typer.Argument(metavar="A...", help="Folders, files or patterns of recipe A.")
    ],
    against: Annotated[
        list[str] | None, typer.Option(metavar="B...", help="Those of recipe B.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which; default the only one.")
    ] = None,
    at: Annotated[str, typer.Option(help="last, a step, lowest or highest.")] = "last",
    paired: Annotated[
        bool | None,
        typer.Option("--paired/--unpaired", help="By seed; default where seeds are the same."),
    ] = None,
    gain: Annotated[
        float | None, typer.Option(help="Smallest difference worth finding, for the power.")
    ] = None,
    better: Annotated[
        str | None, typer.Option(help="lower or higher; default by the metric's name.")
    ] = None,
    tracker: Annotated[
        str | None, typer.Option(help="tensorboard, wandb, mlflow, trainer or csv alone.")
    ] = None,
    level: Annotated[float, typer.Option(help="Nominal coverage of intervals.")] = 0.95,
    as_json_text: Json = False,
) -> None:
    """Read logged runs: mean and interval over seeds; is recipe B better than A, or is it the seed?

    TensorBoard, offline W&B, MLflow, Trainer states and CSV are read.
    """
    from wingbeat.analyses.logged_runs import compare_recipes, read_runs
    from wingbeat.files import strict_json

    a = read_runs(places, tracker=tracker)
    if not against:
        _show(a, metric, level, as_json_text)
        return
    found = compare_recipes(
        a,
        read_runs(against, tracker=tracker),
        metric,
        at=int(at) if at.lstrip("-").isdigit() else at,
        paired=paired,
        gain=gain,
        better=better,
        level=level,
    )
    echo(strict_json(found.to_json()) if as_json_text else str(found))


def _show(runs: LoggedRuns, metric: str | None, level: float, as_json_text: bool) -> None:
    """Print the last row of each metric's curve, or the whole curve of the one asked for."""
    from wingbeat.files import json_safe, strict_json

    names = [metric] if metric else list(runs.metrics)
    curves = {name: runs.curve(name, level=level) for name in names}
    if as_json_text:
        told: dict[str, Any] = {name: c.to_dict("records") for name, c in curves.items()}
        content = {"runs": len(runs), "notes": list(runs.notes), "curves": told}
        echo(strict_json(json_safe(content)))
        return
    echo(f"{len(runs)} runs: {', '.join(run.name for run in runs.runs[:6])}")
    for note in runs.notes:
        echo(f"note: {note}")
    for name, curve in curves.items():
        shown = curve if metric else curve.tail(1)
        echo(f"\n{name}")
        echo(shown.to_string(index=False, float_format=lambda x: f"{x:.4g}"))
