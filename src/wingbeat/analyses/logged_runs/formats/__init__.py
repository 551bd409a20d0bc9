"""What trackers write, a file each: which files are theirs, and what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from wingbeat.analyses.logged_runs.formats import (
    csv_table,
    event_file,
    mlflow_store,
    trainer_state,
    wandb_offline,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wingbeat.analyses.logged_runs.one_run import LoggedRun


class LogFormat(Protocol):
    """What the module of a format has."""

    NAME: str
    """What it is called in `LoggedRun.tracker`."""

    def takes(self, path: Path) -> bool:
        """Tell by its name whether a file is of this format."""

    def run_of(self, path: Path) -> Path:
        """Return what the files of one run have in common."""

    def read(self, place: Path, files: Sequence[Path]) -> list[LoggedRun]:
        """Read the files of one place; ``ValueError`` where they are not what they seem."""


FORMATS: Final[tuple[LogFormat, ...]] = (
    event_file,
    wandb_offline,
    mlflow_store,
    trainer_state,
    csv_table,
)
"""All formats; a file is of the first that takes it."""
