"""``wingbeat run``, ``verify``, ``report``, ``demo``: one task, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console

from wingbeat.cli import parse, show
from wingbeat.cli.options import Arguments, Device, Driver, Dtype, Json, Place, folder_for
from wingbeat.execution.held import Remeasure
from wingbeat.execution.request import default_seeds
from wingbeat.execution.result import as_json, load
from wingbeat.execution.run import run as run_task
from wingbeat.execution.verify import verify as verify_task
from wingbeat.files import strict_json

Out = Annotated[Path | None, typer.Option(help="Folder of the run; default runs/<factory>.")]


def run(
    factory: Place,
    arg: Arguments = None,
    perturb: Annotated[
        list[str] | None,
        typer.Option(
            help="kind[:size]\\[@step][,field=value]…, as gaussian:0.01@500; may be repeated. "
            "Default gaussian:0.01."
        ),
    ] = None,
    replicas: Annotated[int, typer.Option(help="Perturbed replicas for each perturbation.")] = 5,
    record_every: Annotated[int | None, typer.Option(help="Steps between snapshots.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Metric to measure; may be repeated.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Number of base seeds; default the task's own.")
    ] = None,
    driver: Driver = "auto",
    dtype: Dtype = "float32",
    device: Device = "cpu",
    compiled: Annotated[
        bool | None,
        typer.Option("--compiled/--not-compiled", help="Compile the lock-step function."),
    ] = None,
    out: Out = None,
    remeasure: Annotated[
        str,
        typer.Option(help="add: keep what the folder holds; replace: forget what is not asked."),
    ] = "add",
    as_json_text: Json = False,
) -> None:
    """Fork a training run, measure how the copies part, and write a report."""
    arguments = parse.parse_arguments(arg or [])
    task = parse.load_task(factory, arguments)
    folder = out or folder_for(factory)
    result = run_task(
        task,
        [parse.parse_perturbation(text) for text in perturb] if perturb else None,
        replicas=replicas,
        record_every=record_every,
        metrics=metric,
        driver=driver,
        dtype=parse.parse_dtype(dtype),
        device=device,
        compiled=compiled,
        seeds=None if seeds is None else default_seeds(seeds),
        out=folder,
        remeasure=cast("Remeasure", remeasure),  # checked where it is used
        factory={"place": factory, "arguments": arguments},
        progress=False if as_json_text else None,
    )
    page = result.report(folder / "report.html")
    if as_json_text:
        typer.echo(as_json(result))
    else:
        show.result(Console(), result, page)


def verify(
    factory: Place,
    arg: Arguments = None,
    steps: Annotated[int | None, typer.Option(help="Updates to make; default at most 50.")] = None,
    every: Annotated[int, typer.Option(help="Steps between digests.")] = 1,
    driver: Driver = "auto",
    dtype: Dtype = "float32",
    device: Device = "cpu",
    write: Annotated[Path | None, typer.Option(help="Leave a trail of digests here.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Compare with a trail made elsewhere.")
    ] = None,
    as_json_text: Json = False,
) -> None:
    """Run a task twice and as twins: bit-identical or not, and where it first breaks."""
    task = parse.load_task(factory, parse.parse_arguments(arg or []))
    found = verify_task(
        task,
        steps=steps,
        every=every,
        driver=driver,
        dtype=parse.parse_dtype(dtype),
        device=device,
        against=against,
        progress=False if as_json_text else None,
    )
    if write is not None:
        found.write(write)
    if as_json_text:
        typer.echo(strict_json(found.to_json()))
    else:
        show.verification(Console(), found, write)
    if not found.identical:
        raise typer.Exit(1)


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished run.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write the page; default DIR/report.html.")
    ] = None,
    as_json_text: Json = False,
) -> None:
    """Write the report of a finished run again."""
    result = load(folder)
    page = result.report(out or folder / "report.html")
    if as_json_text:
        typer.echo(as_json(result))
    else:
        show.result(Console(), result, page)


def demo(out: Annotated[Path, typer.Option(help="Where to write.")] = Path("runs/demo")) -> None:
    """Analyse two small nets, run the quick study of dynamics, and write the reports."""
    from wingbeat.studies.demo import demo as run_demo

    run_demo(out)
