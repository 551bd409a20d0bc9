"""``wingbeat noise``: which source of noise makes runs differ, and how many seeds that asks for."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

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
    from wingbeat.analyses.noise_sources import NoiseSources, SeedPlan

SOURCES: Final = ("init", "order", "augmentation", "dropout", "ulp", "hardware", "all")
"""Names in the help, which is written before torch is there; a test holds them to the analysis."""


def noise(
    factory: Place,
    arg: Arguments = None,
    source: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(SOURCES)}; repeatable; default most.")
    ] = None,
    replicas: Annotated[int, typer.Option(help="Runs for each source.")] = 10,
    gain: Annotated[
        float | None, typer.Option(help="Say how many seeds detect a gain in accuracy of this.")
    ] = None,
    power: Annotated[float, typer.Option(help="Chance to detect it.")] = 0.8,
    driver: Driver = "auto",
    dtype: Dtype = "float32",
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder; default runs/noise-<factory>.")] = None,
    quiet: Quiet = False,
    as_json_text: Json = False,
) -> None:
    """Compare how much each source of noise alone makes runs differ at the end."""
    from wingbeat.analyses.noise_sources import noise_sources
    from wingbeat.analyses.noise_sources.compare import SOURCES_BY_DEFAULT
    from wingbeat.files import strict_json

    arguments, began = parse.parse_arguments(arg or []), Path.cwd()
    task = parse.load_task(factory, arguments)
    with collisions(overwrite=False):
        found = noise_sources(
            task,
            source or SOURCES_BY_DEFAULT,
            replicas=replicas,
            driver=driver,
            dtype=parse.parse_dtype(dtype),
            device=device,
            out=typed(out or folder_for(factory, "noise"), began),
            progress=False if as_json_text or quiet else None,
            factory={"place": factory, "arguments": arguments},
        )
    seeds = {} if gain is None else _seeds(found, gain, power)
    if as_json_text:
        plans = {name: plan.to_json() for name, plan in seeds.items()}
        content: dict[str, Any] = {**found.to_json(), "seeds_needed": plans}
        echo(strict_json(content, indent=None))
    elif not quiet:
        _show(found, seeds)


def _show(found: NoiseSources, seeds: dict[str, SeedPlan]) -> None:
    for warning in found.warnings:
        echo(f"warning: {warning}")
    columns = ["source", "quantity", "n", "mean", "sd", "variance", "low", "high", "share"]
    shown = found.table[[*columns, "statement"]]
    echo(shown.to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    for name, plan in seeds.items():
        echo(f"{name}, accuracy: {plan.sentence()}")


def _seeds(found: NoiseSources, gain: float, power: float) -> dict[str, SeedPlan]:
    """Return the seeds to plan by source, for those that make accuracy differ at all."""
    rows = found.table[(found.table.quantity == "accuracy") & (found.table.sd > 0)]
    spreads = zip(rows.source, rows.sd, strict=True)
    names = [str(name) for name, sd in spreads if isfinite(sd)]
    return {name: found.seeds_needed(gain, name, power=power) for name in names}
