"""The small files of a study of dynamics that are kept here, beside the documentation.

``python docs/studies/dynamics/publish.py STUDY… FOLDER`` writes them from the folders of studies,
finished or not: of dynamics, or of topology with ``--trained``, which measures the same and more.
The same studies give the same bytes. With ``FOLDER`` alone the conditions that are kept there are
judged anew, as the present version judges them; nothing is trained.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pandas as pd

from wingbeat.errors import RequestError
from wingbeat.studies.dynamics import STUDY, DynamicsPlan
from wingbeat.studies.dynamics.plan import REPLICAS
from wingbeat.studies.publishing import run_script
from wingbeat.study.ledger import parquet
from wingbeat.study.outcome import StudyResult
from wingbeat.tasks.architectures import ARCHITECTURES, FAMILIES
from wingbeat.trajectory.tensorfile import write_bytes

DIGITS: Final = 6
"""Significant digits of every number that is kept."""
WRITTEN: Final = ("results.md", "summary.json", "families.csv", "architectures.csv")
"""What follows from the conditions."""
USUAL_SEEDS: Final = len(DynamicsPlan().base_seeds)
"""So many are asked for where no number is named; with fewer, time ended before they were done."""
ASKED: Final = ("family", "architecture", "seed", "replicas", "trained")
"""What a command says, beside the device."""
OTHERS: Final = ("expansion_", "size_", "growth_", "h0_", "h1_", "radius_")
"""Beginnings of the columns that a study of topology adds."""
_NOT_SHOWN: Final = "---\norphan: true\n---\n\n"


def publish(studies: Sequence[Path], folder: Path) -> list[Path]:
    """Write tables, summary and verdicts of studies without what only another run needs.

    Args:
        studies: folders that ``wingbeat study dynamics`` wrote, each of other nets.
        folder: where ``results.md``, ``summary.json``, ``families.csv``, ``architectures.csv``,
            ``conditions.csv`` (one row for each
            finished net and base seed) and ``table.parquet`` (tidy, whole model only, the
            components of single copies left out) go.

    Returns:
        The files.

    Raises:
        RequestError: a folder holds no study.
    """
    for study in studies:
        for name in ("conditions.parquet", "table.parquet"):
            if not (study / name).is_file():
                msg = f"{study} has no {name}: run wingbeat study dynamics --out {study}"
                raise RequestError(msg)
    parts = [pd.read_parquet(study / "conditions.parquet") for study in studies]
    conditions = pd.concat(parts).sort_values("key")
    done = conditions[conditions["status"] == "done"].drop(columns="factory")
    done = done[[c for c in done if not str(c).startswith(OTHERS)]]
    table = pd.concat([pd.read_parquet(study / "table.parquet") for study in studies])
    table = table.sort_values("key", kind="stable")
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(
        folder / "conditions.csv", done.to_csv(index=False, float_format=f"%.{DIGITS}g").encode()
    )
    write_bytes(folder / "table.parquet", parquet(_whole_model(table)))
    return [*judge_again(folder), folder / "conditions.csv", folder / "table.parquet"]


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
    table = pd.read_parquet(folder / "table.parquet")
    with tempfile.TemporaryDirectory() as fresh:
        study = StudyResult(Path(fresh), conditions, table, (), {})
        plan = replace(plan_of(conditions), seeds=conditions["seed"].nunique())
        STUDY.judge(plan, study, command=command_of(conditions))
        contents = {name: (Path(fresh) / name).read_bytes() for name in WRITTEN}
    contents["results.md"] = _NOT_SHOWN.encode() + contents["results.md"]
    for name, content in contents.items():
        write_bytes(folder / name, content)
    return [folder / name for name in contents]


def command_of(conditions: pd.DataFrame) -> str:
    """Return the command that trains the conditions of a table, or one for each way it was asked.

    Nets are asked for together that were trained on one device, with as many copies, and with as
    many base seeds where these are more than the usual.
    """
    rows = conditions[[c for c in ASKED if c in conditions]]
    rows = rows.assign(device=_column(conditions, "device", "cpu"))
    rows["copies"] = [
        0 if count == REPLICAS[family] else int(count)
        for family, count in zip(rows["family"], rows["replicas"], strict=True)
    ]
    count = rows.groupby("architecture")["seed"].transform("nunique")
    rows["base_seeds"] = count.where(count > USUAL_SEEDS, 0)
    commands = [
        STUDY.command(
            replace(plan_of(own), seeds=int(seeds) or None, replicas=int(copies) or None),
            str(device),
        )
        for (device, copies, seeds), own in rows.groupby(["device", "copies", "base_seeds"])
    ]
    return "; ".join(commands)


def plan_of(conditions: pd.DataFrame) -> DynamicsPlan:
    """Return the plan that asks for the nets of a table."""
    there = set(conditions["architecture"])
    whole = [f for f in FAMILIES if {a.name for a in ARCHITECTURES if a.family == f} <= there]
    rest = conditions.loc[~conditions["family"].isin(whole), "architecture"]
    return DynamicsPlan(
        families=() if len(whole) == len(FAMILIES) else tuple(whole),
        names=tuple(dict.fromkeys(rest)),
        trained=bool(conditions["trained"].all()) if "trained" in conditions else False,
    )


def _column(rows: pd.DataFrame, name: str, missing: str) -> pd.Series:
    return rows.get(name, pd.Series(index=rows.index, dtype=str)).fillna(missing)


def _whole_model(table: pd.DataFrame) -> pd.DataFrame:
    kept = table[(table["layer"] == "") & ~table["metric"].isin(["pc1", "pc2", "pc3"])]
    values = [float(f"{v:.{DIGITS}g}") for v in kept["value"]]
    return kept.assign(value=values).reset_index(drop=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Publish the studies in the folder that the command line names last."""
    run_script("docs/studies/dynamics/publish.py", publish, judge_again, arguments)


if __name__ == "__main__":
    main()
