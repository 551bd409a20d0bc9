"""From trained copies to a result: put together, evaluated, measured, collected."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import torch

from wingbeat.execution.result import load, write_files
from wingbeat.execution.summary import collect
from wingbeat.measure import measure
from wingbeat.measure.table import TableBuilder, object_array, owners
from wingbeat.replicas.fork import NULL, REFERENCE, Member
from wingbeat.replicas.perturb import Init, Nudge, StreamChange
from wingbeat.task.batches import Streams
from wingbeat.trajectory.store import MemoryStore
from wingbeat.trajectory.trajectory import Trajectory
from wingbeat.twins.parts import evaluation_mode, in_words, put

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from wingbeat.execution.request import Request
    from wingbeat.execution.result import Result
    from wingbeat.measure import Measured
    from wingbeat.measure.reference_training import ReferenceTraining
    from wingbeat.task.task import Task
    from wingbeat.trajectory.store import Store
    from wingbeat.twins.asked import Asked, CopyPlan
    from wingbeat.twins.folder import SeedFolder

    Evaluate = Callable[[dict[str, Any]], Mapping[str, float]]
    Build = Callable[[int], dict[str, Any]]

_WITHOUT = {
    "order": "the loader gives one order whatever its and the process's generators draw. It does "
    "not shuffle, or its sampler has a seed of its own, as DistributedSampler and Accelerate's "
    "SeedableRandomSampler have",
    "augmentation": "fetching a batch draws nothing",
    "dropout": "nothing is drawn within a step",
}
"""Why a change of one source of noise changes nothing."""
_BROKE_DOWN = 10.0
"""Growth of a loss that no game between two networks makes: theirs stay of one order."""


def measured(
    asked: Asked,
    folders: Sequence[SeedFolder],
    out: Path | None,
    build: Build,
    evaluate: Evaluate | None,
) -> Result:
    """Return the result of all base seeds; written to the folder of the run where there is one."""
    parts, notes, evaluated = [], [], set()
    for folder in folders:
        store = together(asked, folder, out is not None)
        notes += _notes(asked, folder)
        part = _of_seed(asked, folder, store)
        notes += _of_nothing(asked, part[2])
        if evaluate is not None:
            rows = _evaluate(part[1], build(folder.seed), evaluate)
            evaluated |= set(rows["metric"])
            table = partial(pd.concat, [part[2].table(), rows], ignore_index=True)
            part = (part[0], part[1], replace(part[2], table=table), part[3])
        parts.append(part)
    environment = folders[0].store.read_json("environment.json")
    condition = folders[0].store.read_json("condition.json")
    names = sorted(evaluated)
    result = collect(
        cast("Any", parts),
        {**condition, **({"evaluation": dict.fromkeys(names, "own")} if names else {})},
        environment,
        list(dict.fromkeys(notes)),
        out,
        several=len(folders) > 1,
    )
    if folders[0].facts()["steps_per_epoch"] is None:  # no pass ended: there is no epoch
        kept = {k: v for k, v in result.summary.items() if not k.endswith("lyapunov_per_epoch")}
        result = replace(result, summary=kept)
    if out is None:
        return result
    write_files(result, out)
    return load(out)


def _of_seed(
    asked: Asked, folder: SeedFolder, store: Store
) -> tuple[Request, Trajectory, Measured, list[Member]]:
    facts, trajectory = folder.facts(), Trajectory(store)
    own = asked.of_seed(folder.seed, facts["steps_per_epoch"] or 1)
    found = measure(
        trajectory,
        cast("Task", own.task),
        asked.metrics,
        None,
        independent=[p.label for p in asked.perturbations if isinstance(p, Init)],
    )
    found = replace(
        found,
        noise_floor=max(found.noise_floor, facts["floor"]),
        training=_of_any_loss(found.training),
    )
    members = [
        _member(facts["members"][p.label], p, folder.seed) for p in asked.copies() if not p.checks
    ]
    return cast("Request", own), trajectory, found, members


def _of_any_loss(found: ReferenceTraining | None) -> ReferenceTraining | None:
    """Take a loss that rose for a failure only where it grew many times over.

    Nobody says that a loop hands over a loss that is to fall: a generator's, or a policy's, need
    not.
    """
    if found is None or found.change != "rose" or found.end > _BROKE_DOWN * abs(found.start):
        return found
    return replace(found, change="unclear")


def together(asked: Asked, folder: SeedFolder, keep: bool) -> Store:
    """Return the store that holds all copies as one run, put together if they are not yet."""
    store: Store = folder.store if keep else MemoryStore()
    if not folder.store.sealed:
        labels = [p.label for p in asked.copies() if not p.checks]
        folder.put_together(labels, {p.label: p.at for p in asked.copies() if p.checks}, store)
    if keep:
        folder.drop_copies()
    return store


def _member(known: Mapping[str, float], plan: CopyPlan, seed: int) -> Member:
    name = plan.perturbation.label if plan.perturbation is not None else ""
    return Member(plan.label, Streams.of(seed), name, plan.at, known["l2"], known["changed"])


def _evaluate(trajectory: Trajectory, parts: dict[str, Any], evaluate: Evaluate) -> pd.DataFrame:
    out = TableBuilder()
    for snapshot in trajectory:
        found: dict[str, list[float]] = {}
        for place in range(len(snapshot.labels)):
            put(parts, {n: t[place] for n, t in {**snapshot.params, **snapshot.buffers}.items()})
            evaluation_mode(parts)
            with torch.no_grad():
                for name, value in evaluate(parts).items():
                    found.setdefault(name, []).append(float(value))
        for name, values in found.items():
            out.add(
                name,
                values,
                step=snapshot.step,
                perturbation=owners(snapshot.labels),
                b=object_array(snapshot.labels),
            )
    return out.table()


def _notes(asked: Asked, folder: SeedFolder) -> list[str]:
    notes, facts = [], folder.facts()
    environment = folder.store.read_json("environment.json") or {}
    if environment.get("unsaved") and any(asked.forks):
        notes.append(
            f"Parts that cannot be saved ({in_words(environment['unsaved'])}): copies that fork "
            "later trained the reference's way again."
        )
    for plan in asked.copies():
        differing = facts["differing"][plan.label]
        if differing is not None and plan.perturbation is None:
            notes.append(
                f"The loader gave {plan.label} another batch than the reference, first at batch "
                f"{differing}: it keeps something from pass to pass."
            )
        if isinstance(plan.perturbation, Nudge) and facts["members"][plan.label]["l2"] == 0.0:
            notes.append(
                f"{plan.label} moved no weight: its size is below what the weights' type can hold, "
                "or all chosen weights are 0."
            )
    return [*notes, *_of_flags(facts), *_of_resumed(asked, facts)]


def _of_nothing(asked: Asked, found: Measured) -> list[str]:
    """Name changes of a source of noise that this loop does not have."""
    return [
        f"{p.label} varied nothing, its copies equal the reference: {_WITHOUT[p.kind]}."
        for p in asked.perturbations
        if isinstance(p, StreamChange) and p.kind in _WITHOUT
        if not torch.as_tensor(found.facts[p.label].distances).any()
    ]


def _of_flags(facts: Mapping[str, Any]) -> list[str]:
    names = facts.get("thawed", [])
    if not names:
        return []
    few = f"{', '.join(names[:2])}{', …' if len(names) > 2 else ''}"
    said = (
        f"{len(names)} tensors ({few}) did not "
        "train when the parts were built, and do at the end: they are neither nudged nor in the "
        "distances. Build the model with them trainable, and freeze them in the loop, to have them."
    )
    return [said]


def _of_resumed(asked: Asked, facts: Mapping[str, Any]) -> list[str]:
    """Name copies that went on from a checkpoint, where no twin shows that this leaves nothing out.

    A twin that forks from the reference's state shows it, and so does one that itself went on.
    """
    resumed = facts.get("resumed", {})
    shown = any(p.at for p in asked.copies()) or REFERENCE in resumed or NULL in resumed
    if not resumed or shown:
        return []
    said = (
        f"{', '.join(resumed)} went on from a checkpoint, and no unperturbed twin did: what the "
        "loop keeps beside the parts of build (a buffer of samples, a count of its own) would be "
        "lost there without a sign. Keep such things in build, or begin in an empty folder."
    )
    return [said]
