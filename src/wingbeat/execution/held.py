"""What a run's folder holds already, and how measures made later join it.

Nothing that was computed is dropped unasked: a run that is measured again with other metrics keeps
the rows and scalars of those before, and a folder of base seeds keeps its base seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from wingbeat.errors import RequestError
from wingbeat.execution.result import Result, is_intact, load, write_files
from wingbeat.measure.metric import METRICS, own_codes
from wingbeat.measure.verdict import training_failure
from wingbeat.task.describe import is_same
from wingbeat.trajectory.store import FolderStore

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

Remeasure = Literal["add", "replace"]

_TRAINING = "training"


@dataclass(frozen=True)
class Held:
    """What a folder holds.

    Attributes:
        metrics: names, in the order in which they were measured.
        seeds: base seeds of its table.
        codes: digests of the code of those metrics that are not built in.
        intact: whether the table is there and belongs to the summary.
    """

    metrics: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    codes: Mapping[str, str] | None = None
    intact: bool = False

    @classmethod
    def of(cls, folder: Path | None) -> Held:
        """Read what a folder holds; nothing where it has no summary yet."""
        found = FolderStore(folder).read_json("summary.json") if folder else None
        if folder is None or not found:
            return cls()
        codes = found.get("metric_code", {})
        return cls(tuple(found["metrics"]), tuple(found["seeds"]), codes, is_intact(folder, found))

    def missing(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Return which metrics have to be measured: other code under a name is another metric."""
        if not self.intact:
            return tuple(wanted)
        now = own_codes(wanted)
        codes = self.codes or {}
        return tuple(
            name
            for name in wanted
            if name not in self.metrics or not is_same(codes.get(name), now.get(name))
        )

    def all_of(self, wanted: Sequence[str], own: Collection[str]) -> tuple[str, ...]:
        """Return what was wanted before and now, as far as it is known here.

        Args:
            wanted: now.
            own: names of the task's evaluation metrics.
        """
        before = (name for name in self.metrics if name in METRICS or name in own)
        return tuple(dict.fromkeys((*wanted, *before)))


def check_remeasure(given: str) -> None:
    """Refuse a word that is not known.

    Raises:
        RequestError: it is not.
    """
    if not isinstance(given, str) or given not in get_args(Remeasure):
        raise RequestError(
            f"remeasure is {given!r}: 'add' keeps what the folder holds, 'replace' forgets it"
        )


def kept(folder: Path | None, held: Held, new: Result) -> Result:
    """Join new measures to those that a folder holds, write them, and return all.

    Args:
        folder: of the run; None keeps nothing.
        held: what to keep of it; `Held()` if nothing.
        new: what was measured now, of the same base seeds.
    """
    if folder is None:
        return new
    measured = new.metrics
    result = _joined(load(folder), new) if held.intact else new
    codes = {k: v for k, v in (held.codes or {}).items() if k in result.metrics}
    write_files(result, folder, {**codes, **own_codes(measured)})
    return result


def _joined(old: Result, new: Result) -> Result:
    """Return the old result with the rows and scalars of the new one added or put in place."""
    import pandas as pd  # late: see `Result.table`

    rows = old.table[~old.table["metric"].isin(set(new.table["metric"].unique()))]
    tables = [table for table in (rows, new.table) if len(table)] or [new.table]
    summary = _summary(old.summary, new.summary)
    before, now = training_failure(new.summary), training_failure(summary)
    warnings = [w for w in new.warnings if w != before]
    return replace(
        new,
        table=pd.concat(tables, ignore_index=True),
        summary=summary,
        warnings=tuple([now, *warnings] if now else warnings),
        metrics=tuple(dict.fromkeys((*old.metrics, *new.metrics))),
    )


def _summary(
    old: Mapping[str, dict[str, Any]], new: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Join two summaries; what is known of classes stays where the new one has none."""
    accuracy = f"{_TRAINING}_accuracy"
    if accuracy in old and accuracy not in new:
        new = {key: entry for key, entry in new.items() if not key.startswith(_TRAINING)}
    return {**old, **new}
