"""The small files of a study of dynamics that are kept here, beside the documentation.

``python docs/studies/dynamics/publish.py STUDY FOLDER`` writes them from the folder of a study,
finished or not; the same study gives the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from wingbeat.errors import RequestError, WingbeatError
from wingbeat.study.ledger import parquet
from wingbeat.trajectory.tensorfile import write_bytes

DIGITS: Final = 6
"""Significant digits of every number that is kept."""
_NOT_SHOWN: Final = "---\norphan: true\n---\n\n"


def publish(study: Path, folder: Path) -> list[Path]:
    """Write tables, summary and verdicts of a study without what only another run needs.

    Args:
        study: folder that ``wingbeat study dynamics`` wrote.
        folder: where ``results.md``, ``summary.json``, ``families.csv``, ``architectures.csv``,
            ``conditions.csv`` (one row for each
            finished net and base seed) and ``table.parquet`` (tidy, whole model only, the
            components of single copies left out) go.

    Returns:
        The files.

    Raises:
        RequestError: the folder holds no study.
    """
    copied = ("summary.json", "families.csv", "architectures.csv")
    needed = ("results.md", *copied, "conditions.parquet", "table.parquet")
    for name in needed:
        if not (study / name).is_file():
            raise RequestError(f"{study} has no {name}: run wingbeat study dynamics --out {study}")
    folder.mkdir(parents=True, exist_ok=True)
    conditions = pd.read_parquet(study / "conditions.parquet")
    done = conditions[conditions["status"] == "done"].drop(columns="factory")
    table = pd.read_parquet(study / "table.parquet")
    contents = {
        "results.md": (_NOT_SHOWN + (study / "results.md").read_text(encoding="utf-8")).encode(),
        **{name: (study / name).read_bytes() for name in copied},
        "conditions.csv": done.to_csv(index=False, float_format=f"%.{DIGITS}g").encode(),
        "table.parquet": parquet(_whole_model(table)),
    }
    for name, content in contents.items():
        write_bytes(folder / name, content)
    return [folder / name for name in contents]


def _whole_model(table: pd.DataFrame) -> pd.DataFrame:
    kept = table[(table["layer"] == "") & ~table["metric"].isin(["pc1", "pc2", "pc3"])]
    values = [float(f"{v:.{DIGITS}g}") for v in kept["value"]]
    return kept.assign(value=values).reset_index(drop=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Publish the study and the folder that the command line names."""
    given = [Path(a) for a in (sys.argv[1:] if arguments is None else arguments)]
    if len(given) != 2:
        raise SystemExit("usage: python docs/studies/dynamics/publish.py STUDY FOLDER")
    try:
        for path in publish(*given):
            sys.stdout.write(f"{path}\n")
    except WingbeatError as error:
        raise SystemExit(f"wingbeat: {error}") from None


if __name__ == "__main__":
    main()
