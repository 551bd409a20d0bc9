"""The small files of a study of topology that are kept here, beside the documentation.

``python docs/studies/topology/publish.py STUDY… FOLDER`` writes them from the folders of studies,
finished or not, each of other nets. With ``FOLDER`` alone the conditions that are kept there are
judged anew; nothing is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from wingbeat.errors import RequestError
from wingbeat.files import write_bytes
from wingbeat.studies.publishing import run_script
from wingbeat.studies.topology.claims import claims
from wingbeat.studies.topology.found import TopologyFindings, tables
from wingbeat.study.analysis import Analysis
from wingbeat.study.outcome import StudyResult

DIGITS: Final = 6
"""Significant digits of every number that is kept."""
ASKED: Final = (
    "key", "status", "family", "architecture", "parameters", "seed", "data", "stand_in",
    "replicas", "device", "steps", "steps_per_epoch", "processor_seconds", "convergence_ratio",
    "lyapunov_per_epoch", "behavior", "noise_floor", "training_accuracy",
)  # fmt: skip
MEASURED: Final = ("expansion_", "size_", "h0_", "h1_", "radius_")
"""Beginnings of the columns that the study adds."""


def publish(studies: Sequence[Path], folder: Path) -> list[Path]:
    """Write conditions, tables and claims of studies.

    Args:
        studies: folders that ``wingbeat study topology`` wrote, each of other nets.
        folder: where ``conditions.csv``, the study's tables and ``claims.csv`` go.

    Returns:
        The files.

    Raises:
        RequestError: a folder holds no study.
    """
    parts = []
    for study in studies:
        if not (study / "conditions.parquet").is_file():
            msg = f"{study} has no conditions.parquet: run wingbeat study topology --out {study}"
            raise RequestError(msg)
        parts.append(pd.read_parquet(study / "conditions.parquet"))
    whole = pd.concat(parts).sort_values("key")
    kept = [c for c in whole if c in ASKED or str(c).startswith(MEASURED)]
    rows = whole[whole["status"] == "done"]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "conditions.csv", rows[kept])
    return [folder / "conditions.csv", *judge_again(folder)]


def judge_again(folder: Path) -> list[Path]:
    """Judge the conditions that are kept in a folder, and write what follows from them anew."""
    if not (folder / "conditions.csv").is_file():
        raise RequestError(f"{folder} has no conditions.csv: publish a study there first")
    conditions = pd.read_csv(folder / "conditions.csv")
    study = StudyResult(folder, conditions, pd.DataFrame(), (), {})
    own = TopologyFindings(None, study)
    found = Analysis(None, study, tables(Analysis(None, study, own=own)), own=own)
    said = [
        {
            "ident": c.ident,
            "claim": c.text,
            "part": c.part,
            "published": c.published,
            "measured": c.measured,
            "verdict": c.verdict,
            "note": c.note,
        }
        for c in claims(found)
    ]
    every = {**found.tables, "claims": pd.DataFrame(said)}
    for name, table in every.items():
        _write(folder / f"{name}.csv", table)
    return [folder / f"{name}.csv" for name in every]


def _write(path: Path, table: pd.DataFrame) -> None:
    write_bytes(path, table.to_csv(index=False, float_format=f"%.{DIGITS}g").encode())


def main(arguments: Sequence[str] | None = None) -> None:
    """Publish the studies in the folder that the command line names last."""
    run_script("docs/studies/topology/publish.py", publish, judge_again, arguments)


if __name__ == "__main__":
    main()
