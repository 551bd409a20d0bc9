"""The small files of a study of dynamics that are kept here, beside the documentation.

``python docs/studies/dynamics/publish.py STUDY FOLDER`` writes them from the folder of a study,
finished or not; the same study gives the same bytes. With ``FOLDER`` alone the conditions that are
kept there are judged anew, as the present version judges them; nothing is trained.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from wingbeat.errors import RequestError, WingbeatError
from wingbeat.studies.dynamics import STUDY, DynamicsPlan
from wingbeat.study.ledger import parquet
from wingbeat.study.outcome import StudyResult
from wingbeat.tasks.architectures import FAMILIES
from wingbeat.trajectory.tensorfile import write_bytes

DIGITS: Final = 6
"""Significant digits of every number that is kept."""
COPIED: Final = ("summary.json", "families.csv", "architectures.csv")
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
    needed = ("results.md", *COPIED, "conditions.parquet", "table.parquet")
    for name in needed:
        if not (study / name).is_file():
            raise RequestError(f"{study} has no {name}: run wingbeat study dynamics --out {study}")
    folder.mkdir(parents=True, exist_ok=True)
    conditions = pd.read_parquet(study / "conditions.parquet")
    done = conditions[conditions["status"] == "done"].drop(columns="factory")
    table = pd.read_parquet(study / "table.parquet")
    contents = {
        "results.md": (_NOT_SHOWN + (study / "results.md").read_text(encoding="utf-8")).encode(),
        **{name: (study / name).read_bytes() for name in COPIED},
        "conditions.csv": done.to_csv(index=False, float_format=f"%.{DIGITS}g").encode(),
        "table.parquet": parquet(_whole_model(table)),
    }
    for name, content in contents.items():
        write_bytes(folder / name, content)
    return [folder / name for name in contents]


def judge_again(folder: Path) -> list[Path]:
    """Judge the conditions that are kept in a folder, and write what follows from them anew.

    Args:
        folder: what `publish` wrote.

    Returns:
        The files that were written.
    """
    if not (folder / "conditions.csv").is_file():
        raise RequestError(f"{folder} has no conditions.csv: publish a study there first")
    conditions = pd.read_csv(folder / "conditions.csv")
    whole = [f for f in FAMILIES if f in set(conditions["family"]) - {"transformer"}]
    nets = dict.fromkeys(conditions.loc[~conditions["family"].isin(whole), "architecture"])
    table = pd.read_parquet(folder / "table.parquet")
    with tempfile.TemporaryDirectory() as fresh:
        study = StudyResult(Path(fresh), conditions, table, (), {})
        STUDY.judge(DynamicsPlan(families=tuple(whole), names=tuple(nets)), study)
        contents = {name: (Path(fresh) / name).read_bytes() for name in COPIED}
        text = (Path(fresh) / "results.md").read_text(encoding="utf-8")
    contents["results.md"] = (_NOT_SHOWN + text).encode()
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
    if len(given) not in (1, 2):
        raise SystemExit("usage: python docs/studies/dynamics/publish.py [STUDY] FOLDER")
    try:
        for path in publish(*given) if len(given) == 2 else judge_again(*given):
            sys.stdout.write(f"{path}\n")
    except WingbeatError as error:
        raise SystemExit(f"wingbeat: {error}") from None


if __name__ == "__main__":
    main()
