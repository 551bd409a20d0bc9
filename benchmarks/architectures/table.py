"""The table of all architectures as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_HEAD = """\
# Architectures

<!-- Written by: python -m benchmarks.architectures RESULTS.jsonl --markdown PAGE.md -->

What `permutation_spec` finds with random weights: groups and the units in them; the residual, the
largest relative change of an output when all groups are permuted at random (float64; about 1e-7
where an operation of the model insists on float32); whether weight matching brings a permuted
copy back; and the seconds of processor time that the search with its check took on one thread.
"""


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the page."""
    found = [row for row in rows if row["groups"]]
    tried = [row for row in found if row.get("recovered") is not None]
    back = sum(bool(row["recovered"]) for row in tried)
    wide = [row["residual"] for row in found if row["residual"] < 1e-10]
    lines = [
        _HEAD,
        (
            f"**{len(found)} of {len(rows)} architectures have symmetries that are found** "
            f"(torch {torch.__version__.partition('+')[0]}); of their permuted copies {back} of "
            f"{len(tried)} come back. The largest residual in float64 is {max(wide):.1e}."
        ),
        "",
        "| architecture | parameters | groups | units | residual | recovered | seconds |",
        "|---|---:|---:|---:|---:|---|---:|",
    ]
    return "\n".join([*lines, *map(_line, rows), "", *_errors(rows)])


def _line(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"| {row['name']} | | | | | not measured | |"
    recovered = {True: "yes", False: "no", None: "–"}[row.get("recovered")]
    return (
        f"| {row['name']} | {row['parameters']:,} | {row['groups']} | {row['units']:,} | "
        f"{row['residual']:.0e} | {recovered} | {row['seconds']:.1f} |"
    )


def _errors(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what went wrong, by name."""
    bad = [row for row in rows if "error" in row]
    if not bad:
        return []
    words = [
        f"- `{row['name']}`: {row['error'].splitlines()[0][:200].replace('<', '&lt;')}"
        for row in bad
    ]
    return ["## Not measured", "", *words, ""]
