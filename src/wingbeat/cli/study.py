"""``wingbeat study NAME``: named studies, resumed where they stopped."""

from __future__ import annotations

import typer

from wingbeat.zoo.dynamics_command import dynamics

study = typer.Typer(help="Run a named study; the same command again goes on.", no_args_is_help=True)
study.command()(dynamics)


@study.callback()
def named() -> None:
    """Run a named study; the same command again goes on where it stopped."""
