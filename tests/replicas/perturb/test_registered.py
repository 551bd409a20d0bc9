"""A perturbation that somebody else declares is one like the built-in ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
from run.tasks import plain

import wingbeat as wb
from wingbeat.cli.parse import parse_perturbation
from wingbeat.errors import RequestError, StoreError
from wingbeat.replicas.perturb import PERTURBATIONS, Nudge, size_field
from wingbeat.study.condition import Condition, perturbation


@dataclass(frozen=True)
class Shift(Nudge):
    """Add numbers of one's own to the biases in turn."""

    kind: ClassVar[str] = "shift-by"
    sizes: tuple[float, ...] = (1.0,)

    def size_label(self):
        return "+".join(f"{size:g}" for size in self.sizes)

    def delta(self, params, gradient, replica):
        size = self.sizes[(replica - 1) % len(self.sizes)]
        biases = {k: t for k, t in self.chosen(params).items() if t.dim() == 1}
        return {k: torch.full(t.shape, size, dtype=torch.float64) for k, t in biases.items()}


def test_it_is_known_by_its_kind_everywhere():
    assert PERTURBATIONS.find("shift-by") is Shift
    assert size_field("shift-by") == "sizes"
    assert parse_perturbation("shift-by:[0.5,2]@3") == Shift([0.5, 2], at=3)
    assert parse_perturbation(f"{__name__}:Shift:[2]") == Shift([2])
    there = Shift((0.5, 2.0), at=3).describe()
    assert there["sizes"] == [0.5, 2.0]
    assert perturbation({k: v for k, v in there.items() if k != "name"}) == Shift([0.5, 2.0], at=3)
    (fork,) = Condition("m:f", perturbations=({"kind": "shift-by", "sizes": [2]},)).forks()
    assert fork == Shift([2])


def test_another_class_cannot_take_its_kind():
    with pytest.raises(RequestError, match="'gaussian' is taken by wingbeat"):

        @dataclass(frozen=True)
        class Mine(Shift):
            kind: ClassVar[str] = "gaussian"


def test_a_folder_keeps_apart_what_differs_in_a_tuple(tmp_path):
    """A field that is no plain number once was dropped: the second run got the first's result."""
    options = {"replicas": 2, "driver": "loop", "out": tmp_path}
    first = wb.run(plain(), Shift((1.1,), name="shift"), **options)
    with pytest.raises(StoreError, match=r"sizes.*1\.1.*5\.0"):
        wb.run(plain(), Shift((5.0,), name="shift"), **options)
    assert wb.run(plain(), Shift((1.1,), name="shift"), **options).table.equals(first.table)


@dataclass(frozen=True)
class Odd(Shift):
    """Has a field without JSON."""

    kind: ClassVar[str] = "odd"
    draw: Any = field(default=torch.ones(2), kw_only=True)


def test_what_cannot_be_described_is_refused_before_training():
    with pytest.raises(RequestError, match=r"Odd\.draw .* described_apart"):
        wb.run(plain(), Odd())


@dataclass(frozen=True)
class Told(Odd):
    """Says what stands for that field."""

    kind: ClassVar[str] = "told"
    described_apart: ClassVar[tuple[str, ...]] = ("draw",)

    def describe(self):
        return {**super().describe(), "draw": self.draw.tolist()}


def test_a_class_may_say_what_stands_for_a_field():
    assert Told().describe()["draw"] == [1.0, 1.0]


def test_a_direction_cannot_be_written_in_words():
    with pytest.raises(RequestError, match="a direction cannot be written in words"):
        parse_perturbation("direction:1")
