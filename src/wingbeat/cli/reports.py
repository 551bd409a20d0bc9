"""``wingbeat report``: the page of a finished run, or of several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wingbeat.cli import show
from wingbeat.cli.options import Json, Quiet, existing
from wingbeat.terminal import echo


def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of finished runs.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The page; default DIR/report.html, or compared.html."),
    ] = None,
    quiet: Quiet = False,
    as_json_text: Json = False,
) -> None:
    """Write the report of a finished run again, or one page of several runs side by side."""
    from wingbeat.execution.result import load

    for folder in folders:
        existing(folder)
    if len(folders) > 1:
        _compare(folders, out or Path("compared.html"), quiet=quiet, as_json_text=as_json_text)
        return
    result = load(folders[0])
    page = result.report(out or folders[0] / "report.html")
    show.answer(result, page, as_json_text=as_json_text, quiet=quiet)


def _compare(folders: list[Path], out: Path, *, quiet: bool, as_json_text: bool) -> None:
    from wingbeat.execution.compared import compare_results
    from wingbeat.files import strict_json

    found = compare_results(folders)
    page = found.report(out)
    if as_json_text:
        echo(strict_json({**found.to_json(), "report": str(page)}))
    elif not quiet:
        echo(str(found))
        echo(f"report: {page}")
