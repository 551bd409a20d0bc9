"""The values of spawn and perturb that are kept here, and the tables of its page.

``python docs/studies/butterfly/publish.py STUDY… FOLDER`` keeps the finished runs of folders of
``wingbeat study butterfly``: those whose unperturbed twin stayed equal in ``exact/``, the others
beside this script; what was kept of the same cells before is replaced. Then it writes what follows
into ``FOLDER`` and between the marks of the page beside it, with ``FOLDER`` alone only the latter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd

from wingbeat.errors import RequestError
from wingbeat.files import write_bytes
from wingbeat.report.figures.estimates import estimate_text
from wingbeat.report.figures.table import Table
from wingbeat.report.pages.table_text import markdown
from wingbeat.report.prose import number
from wingbeat.stats import Estimate
from wingbeat.studies.butterfly.announce import replica_steps
from wingbeat.studies.butterfly.claims import claims
from wingbeat.studies.butterfly.found import limits as limits_of
from wingbeat.studies.butterfly.found import mean_of, values_of
from wingbeat.studies.butterfly.grid import Cell
from wingbeat.studies.butterfly.growth import law_claims, law_table, laws_of
from wingbeat.studies.butterfly.interventions import COMPARED, accuracies, compared
from wingbeat.studies.butterfly.published import PUBLISHED, PUBLISHED_SIZES
from wingbeat.studies.publishing import run_script
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Ledger
from wingbeat.study.verdicts import NOT_RUN, UNDETERMINED, Claim

DIGITS: Final = 6
"""Significant digits of every number that is kept."""
BATCH: Final = 64
"""Samples of a batch of the standard recipe on photographs."""
TWIN: Final = Cell("twin", 0.0, 0.0)
"""The unperturbed twin as a cell of its own: what rounding alone does."""
PLACE: Final = ("intervention", "kind", "size", "time", "seed")
"""What tells kept rows of values and laws apart, besides the replica."""
RUN: Final = ("twin", "intervention", "cells", "seed")
"""What tells kept runs apart."""
WORDS: Final = ("intervention", "kind", "quantity", "reason", "law", "cells", "run")
"""Columns of words, in which nothing stands for nothing."""


def publish(studies: Sequence[Path], folder: Path) -> list[Path]:
    """Keep the finished runs of studies, and write what follows from all that are kept.

    Args:
        studies: folders that ``wingbeat study butterfly`` wrote.
        folder: where they are kept.

    Returns:
        The files.

    Raises:
        RequestError: a folder holds no finished run.
    """
    for study in studies:
        ledger = Ledger(study)
        keys = sorted(ledger.done())
        if not keys:
            raise RequestError(f"{study} holds no finished run: wingbeat study butterfly --out it")
        for key in keys:
            facts, rows = ledger.read(key)
            _keep(facts, rows.assign(key=key), folder)
    return judge_again(folder)


def _keep(facts: dict[str, Any], rows: pd.DataFrame, folder: Path) -> None:
    """Add one run to what is kept, in place of the same cells of before."""
    tags = facts["condition"]["tags"]
    cells = [_cell(str(p["name"])) for p in facts["condition"]["perturbations"]]
    exact = facts["noise_floor"] == 0
    place = folder / "exact" if exact else folder
    place.mkdir(parents=True, exist_ok=True)
    table = rows.assign(intervention=tags["intervention"])
    reached = accuracies(table)
    of_cells = [reached.assign(kind=c.kind, size=c.size, time=c.time) for c in cells]
    values = pd.concat([values_of(table, cells), *of_cells], ignore_index=True)
    _add(place / "values.csv", values, PLACE)
    _add(place / "growth.csv", laws_of(table, cells), PLACE)
    if not exact:
        twin = table.assign(perturbation=table["perturbation"].replace("null", TWIN.name))
        # Its distance is the noise floor itself, so it does not lie below it.
        floor = twin["reason"].where(twin["metric"] != "l2", "")
        _add(folder / "twins.csv", values_of(twin.assign(reason=floor), [TWIN]), PLACE)
    run = _run(facts, cells) | _parting(table)
    _add(folder / "runs.csv", pd.DataFrame([run]), RUN)


def _cell(name: str) -> Cell:
    kind, _, rest = name.partition("-")
    size, _, time = rest.partition("@")
    return Cell(kind, float(size), float(time))


def _run(facts: dict[str, Any], cells: Sequence[Cell]) -> dict[str, Any]:
    """Return one run as a row: what it was, where it ran, what it took, what it reached."""
    tags, where, summary = facts["condition"]["tags"], facts["environment"], facts["summary"]
    return {
        "twin": "exact" if facts["noise_floor"] == 0 else "rounding",
        "intervention": tags["intervention"],
        "cells": " ".join(cell.name for cell in cells) if len(cells) < 3 else f"{len(cells)} cells",
        "seed": tags["seed"],
        "updates": tags["length"],
        "batch": tags["batch"],
        "replica_steps": replica_steps(Condition.from_json(facts["condition"]))[0],
        "device": where.get("device_name") or where["processor"],
        "driver": where["driver"],
        "mode": where.get("mode") or "",
        "torch": where["torch"],
        "seconds": facts["seconds"],
        "processor_seconds": facts["processor_seconds"],
        "noise_floor": facts["noise_floor"],
        "accuracy": summary["training_accuracy"]["value"],
        "training_loss": summary["training_loss_end"]["value"],
    }


def _parting(table: pd.DataFrame) -> dict[str, str]:
    """Return between which recorded steps the unperturbed twin parted from its reference."""
    own = table[(table["perturbation"] == "null") & (table["metric"] == "l2")]
    apart = own[(own["layer"] == "") & (own["value"] > 0)]["step"]
    if not len(apart):
        return {"parted": "never"}
    return {"parted": f"{own[own['step'] < apart.min()]['step'].max()} to {apart.min()}"}


def _add(path: Path, rows: pd.DataFrame, names: Sequence[str]) -> None:
    """Add rows to a table, in place of those of the same names; sorted, so that order is none."""
    names = [name for name in names if name in rows]
    if path.is_file():
        old = read(path)
        new = set(rows[names].itertuples(index=False, name=None))
        stays = [own not in new for own in old[names].itertuples(index=False, name=None)]
        rows = pd.concat([old[stays], rows], ignore_index=True)
    further = [name for name in ("replica", "quantity") if name in rows]
    _write(path, rows.sort_values([*names, *further], kind="stable"))


def read(path: Path) -> pd.DataFrame:
    """Read a kept table; nothing stands for NaN in columns of numbers, for nothing elsewhere."""
    heads = pd.read_csv(path, nrows=0).columns
    empty = {name: "" for name in heads if name not in WORDS}
    words = dict.fromkeys(("replica",), str)
    return pd.read_csv(path, keep_default_na=False, na_values=empty, dtype=words)


def judge_again(folder: Path) -> list[Path]:
    """Write what follows from the kept values: claims, differences, and the tables of the page."""
    if not (folder / "exact" / "values.csv").is_file():
        raise RequestError(f"{folder} has no exact/values.csv: publish a study there first")
    found = Following.of(folder)
    tables = {
        "claims": claim_rows(found.claims),
        "exact/claims": claim_rows(found.exact_claims),
        "exact/interventions": found.changes,
        "rounding": found.rounding,
    }
    for name, table in tables.items():
        _write(folder / f"{name}.csv", table)
    page = folder.with_suffix(".md")
    files = [folder / f"{name}.csv" for name in tables]
    if page.is_file():
        text = filled(page.read_text(encoding="utf-8"), page_tables(folder, found))
        write_bytes(page, text.encode())
        files.append(page)
    return files


class Following(NamedTuple):
    """What follows from the kept values and is both kept and shown."""

    claims: list[Claim]
    exact_claims: list[Claim]
    changes: pd.DataFrame
    rounding: pd.DataFrame

    @classmethod
    def of(cls, folder: Path) -> Following:
        """Judge and compare what a folder keeps."""
        exact = read(folder / "exact" / "values.csv")
        parts = {
            "graph": read(folder / "values.csv"),
            "compiled": read(folder / "compiled" / "values.csv"),
        }
        return cls(
            _claims(folder),
            _claims(folder / "exact"),
            compared(exact),
            pd.concat([rounded(exact, own).assign(run=n) for n, own in parts.items()]),
        )


def _claims(folder: Path, prefix: str = "") -> list[Claim]:
    values = read(folder / f"{prefix}values.csv")
    own = [n for n in dict.fromkeys(values["intervention"]) if n != "standard"]
    laws = law_claims(read(folder / f"{prefix}growth.csv"))
    return [c for c in (*claims(values, own, BATCH), *laws) if c.verdict != NOT_RUN]


def claim_rows(found: Sequence[Claim]) -> pd.DataFrame:
    """Return claims as rows."""
    names = {"ident": "ident", "claim": "text", "measured": "measured", "verdict": "verdict"}
    rows = [{k: getattr(c, v) for k, v in names.items()} | {"needed": c.needed} for c in found]
    return pd.DataFrame(rows)


def rounded(exact: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """Return cell by cell how values of the standard recipe with rounding differ from exact ones.

    In the same base seeds; distances of the former are those after alignment, which moves no unit.
    """
    usual = exact[exact["intervention"] == "standard"]
    here = own[own["intervention"] == "standard"].assign(intervention="rounding")
    here = here[here["quantity"] != "l2"].replace({"quantity": {"l2_aligned": "l2"}})
    parts = []
    for (kind, size, time), cell in usual.groupby(["kind", "size", "time"]):
        place = {"kind": kind, "size": size, "time": time}
        there = (here["kind"] == kind) & (here["size"] == size) & (here["time"] == time)
        same = compared(pd.concat([cell, here[there]], ignore_index=True))
        for name, value in reversed(place.items()):
            same.insert(0, name, value)
        parts.append(same)
    return pd.concat(parts, ignore_index=True)


def filled(text: str, tables: Mapping[str, Table]) -> str:
    """Return a page with its tables between their marks written anew.

    Raises:
        RequestError: the page has no marks for a table.
    """
    for name, table in tables.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        if begin not in text or end not in text:
            raise RequestError(f"the page has no marks {begin} and {end}")
        inside = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
        words = f"{begin}\n\n{markdown(table)}\n\n{end}"
        text = inside.sub(lambda _, words=words: words, text)
    return text


def page_tables(folder: Path, found: Following) -> dict[str, Table]:
    """Return the tables of the page, by their marks."""
    values, exact = read(folder / "values.csv"), read(folder / "exact" / "values.csv")
    return {
        "runs": runs_table(read(folder / "runs.csv")),
        "barriers": cell_table(pd.concat([read(folder / "twins.csv"), values])),
        "claims": claim_table(found.claims),
        "laws": laws_in_order(folder),
        "rounding": rounding_table(found.rounding),
        "exact": cell_table(exact),
        "exact claims": claim_table(found.exact_claims),
        "exact laws": laws_in_order(folder / "exact"),
        "interventions": change_table(found.changes),
        "digits claims": claim_table(_claims(folder, "digits_")),
    }


def laws_in_order(folder: Path) -> Table:
    """Return the laws of growth, the standard recipe first, one weight before all, early first."""
    rows = read(folder / "growth.csv")
    order = rows.assign(
        usual=rows["intervention"] != "standard", one=rows["kind"] != "single"
    ).sort_values(["usual", "intervention", "time", "one", "size"], kind="stable")
    return law_table(order)


def runs_table(runs: pd.DataFrame) -> Table:
    """Return what was run, where, how long it took and what the references reached."""
    heads = ("recipe", "cells", "machine", "torch", "replica-steps", "seconds", "test accuracy",
             "training loss", "noise floors", "twins part at step")  # fmt: skip
    rows = []
    runs = runs.assign(usual=runs["intervention"] != "standard")
    names = ["twin", "usual", "intervention", "cells", "device"]
    runs = runs.sort_values([*names, "seed"], ascending=[False] + [True] * 5)
    for (_, _, name, cells, _), own in runs.groupby(names, sort=False):
        first = own.iloc[0]
        how = "lockstep graphed" if first["mode"] == "graphed" else str(first["driver"])
        ends = [" / ".join(number(float(v)) for v in own[c])
                for c in ("seconds", "accuracy", "training_loss", "noise_floor")]  # fmt: skip
        ends.append(" / ".join(dict.fromkeys(own["parted"])))
        where = f"{first['device']}, {how}"
        steps = f"{int(own['replica_steps'].sum()):,}"
        rows.append((_of_seeds(name, own["seed"]), str(cells), where, first["torch"], steps, *ends))
    return Table(heads, tuple(rows))


def _of_seeds(name: str, seeds: Iterable[int]) -> str:
    """Return a recipe's name, with its base seeds where they are not three."""
    known = list(seeds)
    return name if len(known) >= 3 else f"{name} (base seeds {' and '.join(map(str, known))})"


def cell_table(values: pd.DataFrame) -> Table:
    """Return the cells, one a row, with what is measured at the end and the paper's barrier."""
    heads = ("nudged at", "size", "recipe", "barrier", "paper", "disagreement",
             "L2 at the fork → end", "CKA angle", "ensemble gain, loss")  # fmt: skip
    places = ["intervention", "time", "kind", "size"]
    found = []
    for place, own in values.groupby(places, sort=False):
        name, time, kind, size = place
        first = ("–", "rounding alone (the twin)")
        if kind != TWIN.kind:
            one = "one weight, " * (kind == "single")
            first = (f"{100 * float(time):g} %", f"{one}{size:g}")
        end = _mean(own, "l2")
        if end.startswith("undefined"):
            end = _mean(own, "l2_aligned")
        start = number(_quantity(own, "l2_start")["value"].mean())
        row = (*first, str(name), _mean(own, "barrier_train"), _paper(*place),
               _mean(own, "disagreement"), f"{start} → {end}", _mean(own, "angular_cka"),
               _mean(own, "ensemble_loss_gain"))  # fmt: skip
        order = (name != "standard", kind != TWIN.kind, str(name), time, kind != "single", size)
        found.append((order, row))
    return Table(heads, tuple(row for _, row in sorted(found, key=lambda pair: pair[0])))


def _quantity(own: pd.DataFrame, name: str) -> pd.DataFrame:
    return own[own["quantity"] == name]


def _mean(own: pd.DataFrame, name: str) -> str:
    rows = _quantity(own, name)
    return estimate_text(mean_of(rows, limits_of(name))) if len(rows) else "–"


def _paper(name: str, time: float, kind: str, size: float) -> str:
    if kind == "single":
        return "large"
    known = PUBLISHED.get((time, kind))
    if name != "standard" or known is None or size not in PUBLISHED_SIZES:
        return "not 0" if (time, size, name) == (0.5, 0.1, "standard") else ""
    mean, sd = known[PUBLISHED_SIZES.index(size)]
    return f"{mean:.2f} ± {sd:.2f}"


def claim_table(found: Sequence[Claim]) -> Table:
    """Return claims with their rulings, and how many base seeds would decide the open ones."""
    heads = ("the claim", "here", "ruling", "base seeds that would decide")
    rows = []
    for c in found:
        word = c.verdict if c.verdict == UNDETERMINED else f"**{c.verdict}**"
        rows.append((c.text, c.measured, word, f"{c.needed:,}" if c.needed else "–"))
    return Table(heads, tuple(rows))


def change_table(rows: pd.DataFrame) -> Table:
    """Return what each intervention changes, whether up or down, and what would decide."""
    heads = ("intervention", "", "standard", "with it", "difference", "verdict",
             "base seeds that would decide")  # fmt: skip
    shown = [
        (
            f"{row['intervention']}" + f" ({row['seeds']} base seeds)" * (row["seeds"] < 3),
            *_change(row),
        )
        for row in rows.to_dict("records")
    ]
    return Table(heads, tuple(shown))


def rounding_table(rows: pd.DataFrame) -> Table:
    """Return cell by cell what rounding changes."""
    heads = ("nudged at", "rounded run", "", "exact twin", "rounded", "difference", "verdict",
             "base seeds that would decide")  # fmt: skip
    shown = [
        (f"{100 * row['time']:g} %", str(row["run"]), *_change(row))
        for row in rows.to_dict("records")
        if row["quantity"] in ("barrier_train", "disagreement", "l2")
    ]
    return Table(heads, tuple(shown))


def _change(row: dict[Any, Any]) -> tuple[str, ...]:
    found = Estimate(row["difference"], row["low"], row["high"])
    verdict = "**higher**" if row["low"] > 0 else "**lower**" if row["high"] < 0 else UNDETERMINED
    needed = f"{int(row['needed']):,}" if row["needed"] else "–"
    return (COMPARED[row["quantity"]], number(row["standard"]), number(row["here"]),
            estimate_text(found), verdict, needed)  # fmt: skip


def _write(path: Path, table: pd.DataFrame) -> None:
    write_bytes(path, table.to_csv(index=False, float_format=f"%.{DIGITS}g").encode())


def main(arguments: Sequence[str] | None = None) -> None:
    """Publish the studies in the folder that the command line names last."""
    run_script("docs/studies/butterfly/publish.py", publish, judge_again, arguments)


if __name__ == "__main__":
    main()
