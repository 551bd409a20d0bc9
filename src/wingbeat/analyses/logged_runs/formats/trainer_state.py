"""``trainer_state.json`` of Hugging Face's Trainer, in the run's folder or its checkpoints."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wingbeat.analyses.logged_runs.one_run import LoggedRun, as_number, seed_of

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = "trainer"


def takes(path: Path) -> bool:
    """Tell whether a file is a Trainer's state."""
    return path.name == "trainer_state.json"


def run_of(path: Path) -> Path:
    """Return the folder of the run: checkpoints of one run are one run."""
    folder = path.parent
    return folder.parent if re.fullmatch(r"checkpoint-\d+", folder.name) else folder


def read(place: Path, files: Sequence[Path]) -> list[LoggedRun]:
    """Read the log of the state that is furthest on; each holds all that came before."""
    states = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(files)]
    newest: dict[str, Any] = max(states, key=lambda state: state["global_step"])
    run = LoggedRun(str(place), NAME, seed_of({}, [str(place)]))
    for entry in newest["log_history"]:
        for metric, value in entry.items():
            scalar = as_number(value)
            if scalar is not None and metric != "step":
                run.add(metric, int(entry["step"]), scalar)
    return [run]
