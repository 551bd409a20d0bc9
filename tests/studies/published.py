"""Study files of ``examples/studies``, and what is published of them: read, run small, compared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from wingbeat.study.finished import over_seeds
from wingbeat.study.named import Finding, Say
from wingbeat.study.named_file import NamedFile, read_named
from wingbeat.study.runner.inline import InlineRunner

ROOT: Final = Path(__file__).resolve().parents[2]
FILES: Final = ROOT / "examples" / "studies"
DOCS: Final = ROOT / "docs" / "studies"
NUMBER: Final = (
    r"[−-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d))(?:e[−-]?\d+| × 10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?"
)
INTERVAL: Final = re.compile(rf"({NUMBER})[^|\[\d]{{0,14}}\s\[({NUMBER})(?:,| to) ({NUMBER})\]")
_RAISED: Final = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def file_of(name: str, *, quick: bool = False) -> NamedFile:
    """Return what a study file asks for."""
    return read_named(FILES / f"{name}.toml", quick=quick)


def page_of(name: str) -> Path:
    """Return the page that a study file names in its first line."""
    first = (FILES / f"{name}.toml").read_text(encoding="utf-8").partition("\n")[0]
    return ROOT / first.removeprefix("# ").partition(":")[0]


def small_run(
    name: str, folder: Path, kept: Path | None = None, say: Say = lambda _: None
) -> Finding:
    """Run a file's small version; its tables have the columns of the published ones."""
    found = file_of(name, quick=True).run(folder, runner=InlineRunner(), say=say)
    assert not found.study.failures
    published = kept or page_of(name).with_suffix("")
    for place, table in found.tables.items():
        if (published / f"{place}.csv").is_file() and len(table):
            assert shape_of(table) == shape_of(pd.read_csv(published / f"{place}.csv")), place
    return found


def shape_of(table: pd.DataFrame) -> list[str]:
    """Return the columns of a table, those of a number of states or layers once."""
    return list(dict.fromkeys(re.sub(r"\d+$", "#", name) for name in table.columns))


def value_of(text: str) -> float:
    """Read a number as pages write it."""
    text = text.replace("−", "-").replace(",", "")
    return float(re.sub(r" × 10(.+)", lambda m: "e" + m.group(1).translate(_RAISED), text))


def step_of(text: str) -> float:
    """Return half a unit of the last digit of a number that a page writes."""
    head, _, power = re.sub(r" × 10(.+)", lambda m: "e" + m.group(1).translate(_RAISED),
                            text.replace("−", "-").replace(",", "")).partition("e")  # fmt: skip
    digits = len(head.partition(".")[2])
    if not digits and len(head.lstrip("-")) > 3:  # 35300 has three digits that say something
        digits = len(head.rstrip("0")) - len(head)
    return 0.501 * 10.0 ** (int(power or 0) - digits)


def intervals_of(folder: Path) -> np.ndarray:
    """Return every number with its interval in the tables of a folder, one a row.

    Of tables of base seeds, whose numbers have none of their own, the means over them.
    """
    rows = [np.empty((0, 3))]
    for path in sorted(folder.rglob("*.csv")):
        table = pd.read_csv(path)
        names = {name: (name, f"{name}_low", f"{name}_high") for name in table}
        names |= {f"{name}|": (name, "low", "high") for name in table.select_dtypes("number")}
        rows += [
            table[list(three)].to_numpy(dtype=float)
            for three in names.values()
            if set(three) <= set(table)
        ]
        if path.stem == "seeds":
            rows += [means_of(table)]
    for path in (*sorted(folder.rglob("*.csv")), *sorted(folder.rglob("results.md"))):
        text = path.read_text(encoding="utf-8")
        rows += [np.array([[value_of(x) for x in m]]) for m in INTERVAL.findall(text)]
    whole = np.concatenate(rows)
    return whole[np.isfinite(whole).all(axis=1)]


def means_of(seeds: pd.DataFrame) -> np.ndarray:
    """Return the mean of every column over base seeds with its interval, of each net or moment."""
    groups = [name for name in ("net", "at") if name in seeds]
    parts = [own for _, own in seeds.groupby(groups)] if groups else [seeds]
    columns = seeds.select_dtypes("number").columns.difference(["seed", *groups])
    found = [over_seeds(own[name].to_numpy()) for own in parts for name in columns]
    if len(parts) == 2:  # how far two nets lie apart, seed by seed
        one, two = (own.set_index("seed")[columns] for own in parts)
        apart = (two - one).loc[:, ((two - one).abs() <= 2).all()]  # as correlations do
        found += [over_seeds(apart[name].to_numpy(), within=(-2, 2)) for name in apart]
    return np.array([[e.value, e.low, e.high] for e in found])


def unfounded(page: str, there: np.ndarray) -> list[str]:
    """Return the numbers with intervals on a page that no table holds, in no usual unit."""
    powers = np.clip(there, -50, 50)
    forms = [there, -there[:, [0, 2, 1]], 100 * there, np.exp(powers), np.exp2(powers)]
    missing = []
    for found in INTERVAL.finditer(page):
        said = found.groups()
        wanted, steps = (np.array([f(x) for x in said]) for f in (value_of, step_of))
        if not any((np.abs(form - wanted) <= steps).all(axis=1).any() for form in forms):
            missing.append(found.group())
    return missing
