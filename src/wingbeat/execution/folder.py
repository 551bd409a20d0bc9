"""A run's folder belongs to one request and one way to execute it: agree on both, or refuse."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wingbeat.errors import StoreError
from wingbeat.fingerprint import differing_field
from wingbeat.task.describe import difference

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from wingbeat.replicas.drivers.execution_plan import ExecutionPlan
    from wingbeat.replicas.drivers.selection import DriverName, DriverSelector
    from wingbeat.trajectory.store import FolderStore, Store


def agree(
    store: FolderStore,
    condition: dict[str, Any],
    what: str = "request",
    ignored: Sequence[str] = (),
) -> None:
    """Refuse a folder that holds another request, or another ``what``, but for some fields.

    Raises:
        StoreError: it does; the message names the field that differs.
    """
    there = store.read_json("condition.json")
    if there is None:
        _refuse_lost(store, "condition.json")
    if there is not None:
        there = {key: value for key, value in there.items() if key not in ignored}
    found = None if there is None else difference(there, condition)
    if found:
        raise StoreError(
            f"{store.folder} holds another {what} ({found}): give this one a folder of its own "
            "with out=, or ask for what the folder holds"
        )


def freeze(
    store: FolderStore | None,
    selector: DriverSelector,
    now: dict[str, Any],
    driver: DriverName,
    compiled: bool | None = None,
) -> tuple[ExecutionPlan, dict[str, Any]]:
    """Choose how to execute and write it down, or keep what an earlier start of this run chose.

    Args:
        store: the run's folder, or None where nothing is kept.
        selector: chooses, or brings back what was chosen.
        now: fingerprint of this process.
        driver: asked for.
        compiled: likewise.

    Returns:
        The plan, and the environment that stands in the folder.

    Raises:
        StoreError: the folder was begun in another way, and the run is not complete.
    """
    there = store.read_json("environment.json") if store else None
    if store is not None and there is None:
        _refuse_lost(store, "environment.json")
    if store is None or there is None:
        plan = selector.choose(driver, compiled)
        began = datetime.now(UTC).isoformat(timespec="seconds")
        environment = {**now, **plan.facts(), "warnings": list(plan.warnings), "started": began}
        if store:
            store.write_json("environment.json", environment)
        return plan, environment
    check_driver(store, there, driver)
    plan = replace(selector.frozen(there), warnings=tuple(there.get("warnings", ())))
    if not store.sealed:
        same_execution(store, there, {**now, **plan.facts()})
    return plan, there


def _refuse_lost(store: FolderStore, name: str) -> None:
    """Refuse a folder with recorded moments and without the file that says what they are of.

    Raises:
        StoreError: it is one.
    """
    if store.sealed or store.holds_moments():
        raise StoreError(
            f"{store.folder} holds recorded moments, but {name} is missing, which says what they "
            "are of: restore it from a copy, or start in another folder"
        )


def missing_before(store: Store, wanted: Collection[int], step: int) -> list[int]:
    """Return the steps up to one that a request records and a store does not hold."""
    return sorted(t for t in set(wanted) - set(store.steps()) if t <= step)


def complete(store: Store, wanted: Collection[int]) -> None:
    """Refuse to seal a run of which a recorded moment is gone.

    Args:
        store: of the run.
        wanted: steps that the request records.

    Raises:
        StoreError: a snapshot that was written is not there any more.
    """
    missing = sorted(set(wanted) - set(store.steps()))
    if missing:
        raise StoreError(
            f"the snapshot of step {missing[0]} was recorded and is gone ({len(missing)} in all): "
            "something deleted it, or a power cut lost it. The run is not complete. Run the same "
            "command again: it trains what is missing anew, to the same bits"
        )


def same_execution(store: FolderStore, there: dict[str, Any], here: dict[str, Any]) -> None:
    """Refuse to go on in another way than a folder was begun.

    Raises:
        StoreError: it was; the message names the first field that differs.
    """
    field = differing_field(there, here)
    if field:
        raise StoreError(
            f"{store.folder} was begun with {field} = {there[field]!r}, and this process has "
            f"{here.get(field)!r}: going on would mix two executions, which is a perturbation of "
            "its own. Restore that setting, or start in another folder"
        )


def check_driver(store: FolderStore, there: dict[str, Any], driver: DriverName) -> None:
    """Refuse another driver than the folder was begun with, unless that one was given up.

    Raises:
        StoreError: it is another one.
    """
    if driver not in ("auto", there["driver"]) and not there.get("gave_up"):
        raise StoreError(
            f"{store.folder} was begun with driver = {there['driver']!r}, and {driver!r} was "
            "asked for"
        )
