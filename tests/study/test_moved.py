"""Modules that moved: old names import with a warning, and folders of then are still theirs."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

import pytest

import wingbeat as wb
from wingbeat.moved import MOVED, first_name, first_names
from wingbeat.studies.break_even.plan import BreakEvenPlan
from wingbeat.studies.break_even.plan import conditions as break_even
from wingbeat.studies.butterfly import plan as butterfly
from wingbeat.studies.danovski import plan as danovski
from wingbeat.studies.dynamics import plan as dynamics
from wingbeat.studies.edge.plan import EdgePlan
from wingbeat.studies.edge.plan import conditions as edge
from wingbeat.studies.lr_phases.plan import PhasesPlan
from wingbeat.studies.lr_phases.plan import conditions as lr_phases
from wingbeat.studies.phase_diagram.plan import DiagramPlan
from wingbeat.studies.phase_diagram.plan import conditions as phase_diagram
from wingbeat.study.condition import Condition, named
from wingbeat.task.describe import code_digest
from wingbeat.tasks.data.sources import DataSource
from wingbeat.tasks.dense import circles_task, cross_entropy

OLD = "wingbeat.zoo.dense"
PHASES = PhasesPlan("wingbeat.tasks.dense:circles_task", (0.1, 0.2))
# Digest of the keys of a plan's conditions, and their number, as of the commit before the move.
KEYS = {
    "edge": (edge(EdgePlan()), "a995ad77c096ffcb", 15),
    "break-even": (break_even(BreakEvenPlan()), "0862c4473f2fab27", 18),
    "phase diagram": (phase_diagram(DiagramPlan()), "d8ab96500eceb353", 72),
    "lr phases": (
        lr_phases(PHASES),
        "8948a9402def895f",
        6,
    ),
    "danovski": (danovski.conditions(danovski.DanovskiPlan(quick=True)), "5ca91399150329ae", 19),
}
DATA = {
    "dense": DataSource("circles", "", stand_in=False, digest="circles"),
    "cnn": DataSource("mnist", "", stand_in=False, digest="cb6314219fcbfaf9"),
    "transformer": DataSource("sst2", "", stand_in=False, digest="6a79ff884555e933"),
}
"""Data of each family, by name and digest, on the machine of then."""


@pytest.mark.parametrize("name", KEYS)
def test_conditions_keep_the_keys_they_had(name: str) -> None:
    conditions, digest, count = KEYS[name]
    assert (digest_of(conditions), len(conditions)) == (digest, count)


def test_conditions_that_name_their_data_keep_the_keys_they_had(monkeypatch) -> None:
    """Whatever data this machine has: the keys hold the digest of the data."""
    monkeypatch.setattr(dynamics, "source_of", DATA.__getitem__)
    conditions = dynamics.conditions(dynamics.DynamicsPlan(quick=True))
    assert (digest_of(conditions), len(conditions)) == ("aa4cf00ac7e3ed1c", 45)


def digest_of(conditions: Sequence[Condition]) -> str:
    keys = "".join(c.key for c in conditions)
    return hashlib.blake2b(keys.encode(), digest_size=8).hexdigest()


def test_places_inside_arguments_keep_the_key_too() -> None:
    quick = butterfly.conditions(butterfly.ButterflyPlan(quick=True))
    inner = [c.arguments["factory"] for c in quick]
    assert all(place.startswith("wingbeat.tasks.") for place in inner)
    former = [first_names(c.to_json()) for c in quick]
    assert [Condition.from_json(c).key for c in former] == [c.key for c in quick]


FUNCTIONS_NOW = {f"wingbeat.{name}" for name in wb.__all__} & MOVED.keys()
"""Former modules whose name is a function of the package."""


@pytest.mark.parametrize("old", sorted(MOVED.keys() - FUNCTIONS_NOW))
def test_every_old_module_gives_what_it_held_with_a_warning(old: str) -> None:
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match="import it from there"):
        module = importlib.import_module(old)
    _holds_what_it_held(old, module)


@pytest.mark.parametrize("old", sorted(FUNCTIONS_NOW))
def test_a_former_module_does_not_take_the_place_of_a_function(old: str) -> None:
    module = importlib.import_module(old)
    with pytest.warns(DeprecationWarning, match="import it from there"):
        _holds_what_it_held(old, module)
    assert callable(getattr(wb, old.removeprefix("wingbeat.")))


def _holds_what_it_held(old: str, module: ModuleType) -> None:
    for place in MOVED[old]:
        new = vars(importlib.import_module(place))
        own = {k for k, v in new.items() if getattr(v, "__module__", "") == place}
        own |= set(new.get("__all__", ()))
        assert all(getattr(module, name) is new[name] for name in own)


def test_the_warning_points_at_who_imports() -> None:
    sys.modules.pop(OLD, None)
    with pytest.warns(DeprecationWarning, match=r"wingbeat\.tasks\.dense") as caught:
        import wingbeat.zoo.dense  # noqa: F401
    assert caught[0].filename == __file__


def test_a_condition_of_then_is_the_condition_of_now() -> None:
    then, now = (Condition(f"{m}:circles_task", {"lr": 0.1}) for m in (OLD, "wingbeat.tasks.dense"))
    assert then.key == now.key
    sys.modules.pop(OLD, None)
    with pytest.warns(DeprecationWarning, match="has moved"):
        assert named(then.factory) is circles_task


def test_a_run_folder_of_then_is_recognised() -> None:
    # The digest of the loss starts with the name of its module: that of the first publication.
    assert code_digest(cross_entropy).startswith(f"{OLD}:cross_entropy#")


def test_what_never_moved_keeps_its_name() -> None:
    assert first_name("mine.tasks:one") == "mine.tasks:one"
    assert first_names([1, None, "a:b", {"wingbeat.tasks.dense": 2}]) == [
        1, None, "a:b", {"wingbeat.tasks.dense": 2},
    ]  # fmt: skip
