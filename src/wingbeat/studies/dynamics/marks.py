"""What the figures of the study share: styles, captions, and a value with its interval."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pandas as pd

from wingbeat.report.figures.records import Guide
from wingbeat.report.prose import floor_text
from wingbeat.studies.dynamics.found import DynamicsFindings
from wingbeat.tasks.architectures import FAMILY_NAMES

FAMILY_STYLE: Final = {"dense": 0, "cnn": 1, "transformer": 2}
GROUP_STYLE: Final = {"3-layer": 0, "5-layer": 5, "CNN": 1, "GPT": 2, "BERT": 3}
SAME: Final = Guide("as far apart as at the start", 1.0)
RATIO_LABEL: Final = "final ÷ initial spread"


def footing(found: DynamicsFindings, families_: Iterable[str]) -> str:
    """Return what every caption ends with: data, seeds, copies and noise floor."""
    rows = found.done[found.done["family"].isin(list(families_))]
    data = "; ".join(dict.fromkeys(str(label) for label in rows["data"]))
    seeds = rows.groupby("architecture")["seed"].nunique()
    copies = rows["replicas"]
    return (
        f"Data: {data}. {_range(seeds)} base seeds a net, {_range(copies)} copies each; intervals "
        f"of 95 % over base seeds (over copies where there is one seed). "
        f"{floor_text(float(rows['noise_floor'].max())).capitalize()}."
    )


def present(found: DynamicsFindings) -> list[str]:
    """Return the families of a study that have finished conditions."""
    return [f.family for f in found.families]


def family_name(family: str) -> str:
    """Return a family as it is shown."""
    return FAMILY_NAMES[family]


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"
