"""``wingbeat nudge``, ``fork`` and ``measure``: checkpoints and scripts as they are."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from wingbeat.cli import parse, show
from wingbeat.cli.options import Arguments, Json, Quiet, RayAddress, Resources
from wingbeat.cli.overwrite import collisions
from wingbeat.terminal import echo

Checkpoint = Annotated[
    Path, typer.Argument(help="File or folder: safetensors (also sharded), .pt, .bin, .ckpt.")
]
Perturb = Annotated[
    list[str],
    typer.Option(
        "--perturb",
        metavar="KIND",
        help="kind:size[,field=value]…, as gaussian:0.01,seed=2; repeatable.",
    ),
]
Replicas = Annotated[int, typer.Option(help="Nudged copies for each perturbation.")]
Seed = Annotated[int, typer.Option(hidden=True, help="Base seed; give --perturb its seed=.")]
"""Until the next version: a perturbation's own seed draws other nudges, here as in `run`."""
Key = Annotated[
    str | None, typer.Option(help="Where the tensors are inside .pt files that hold more.")
]
Out = Annotated[Path, typer.Option(help="Folder of the copies and of what they become.")]
Report = Annotated[Path | None, typer.Option(help="Where to write the report page.")]


def nudge(
    checkpoint: Checkpoint,
    perturb: Perturb,
    out: Out,
    replicas: Replicas = 5,
    seed: Seed = 0,
    key: Key = None,
    quiet: Quiet = False,
    as_json_text: Json = False,
) -> None:
    """Copy a checkpoint and nudge the weights of the copies; all else stays byte for byte."""
    from wingbeat.scripts import nudge as nudge_checkpoint

    given = [parse.parse_perturbation(text) for text in perturb]
    copies = nudge_checkpoint(checkpoint, given, out, replicas=replicas, seed=seed, key=key)
    if as_json_text:
        facts = [{**asdict(c), "path": str(c.path)} for c in copies]
        echo(json.dumps(facts, indent=1, ensure_ascii=False))
    elif not quiet:
        for copy in copies:
            echo(f"{copy.path}  moved by {100 * copy.relative:.3g} %")


def fork(
    checkpoint: Checkpoint,
    command: Annotated[
        list[str],
        typer.Argument(metavar="-- COMMAND...", help="Your script, with {checkpoint} and {out}."),
    ],
    perturb: Perturb,
    out: Out,
    replicas: Replicas = 3,
    seed: Seed = 0,
    pattern: Annotated[
        str | None, typer.Option(help="Names of its checkpoints, as checkpoint-{step}.")
    ] = None,
    key: Key = None,
    workers: Annotated[
        int | None, typer.Option(help="Copies side by side; default one, or what a cluster takes.")
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="CUDA device for the workers in turn; repeatable."),
    ] = None,
    runner: Annotated[
        str | None, typer.Option(help="inline, processes, ray, slurm, or one of a package.")
    ] = None,
    ray_address: RayAddress = None,
    resource: Resources = None,
    report: Report = None,
    quiet: Quiet = False,
    as_json_text: Json = False,
) -> None:
    """Run your unchanged script from nudged copies of a checkpoint, and measure how they part."""
    from wingbeat.scripts import fork as fork_script

    with collisions(overwrite=False):
        result = fork_script(
            checkpoint,
            [parse.parse_perturbation(text) for text in perturb],
            command,
            out,
            replicas=replicas,
            seed=seed,
            pattern=pattern,
            key=key,
            jobs=workers,
            devices=device or (),
            runner=runner,
            ray_address=ray_address,
            resources=parse.parse_arguments(resource or ()),
            progress=False if as_json_text or quiet else None,
        )
    page = result.report(report or out / "report.html")
    show.answer(result, page, as_json_text=as_json_text, quiet=quiet)


def measure(
    pattern: Annotated[str, typer.Argument(help="As 'runs/{replica}/step-{step}'.")],
    reference: Annotated[
        str | None, typer.Option(help="Replica to measure from; default the first.")
    ] = None,
    null: Annotated[
        str | None, typer.Option(help="Replica that is an unperturbed twin, if there is one.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="See `wingbeat metrics`; repeatable.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FACTORY", help="wb.Task: barriers, predictions, …, too."),
    ] = None,
    arg: Arguments = None,
    key: Key = None,
    report: Report = None,
    quiet: Quiet = False,
    as_json_text: Json = False,
) -> None:
    """Measure checkpoints that any script wrote: distances, spread, exponents, floor."""
    from wingbeat.execution.external import measure_checkpoints
    from wingbeat.execution.progress import Progress
    from wingbeat.trajectory.trajectory import Trajectory

    with Progress(False if as_json_text or quiet else None) as bar:
        trajectory = Trajectory.from_checkpoints(pattern, reference=reference, null=null, key=key)
        task = parse.load_task(model, parse.parse_arguments(arg or [])) if model else None
        result = measure_checkpoints(
            trajectory, parse.parse_metrics(metric), task=task, tick=bar.say
        )
    page = result.report(report or Path("report.html"))
    show.answer(result, page, as_json_text=as_json_text, quiet=quiet)
