"""One concept has one name in every command; what computes can be quiet, what finds gives JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import pytest

from wingbeat.cli.compact import rows_of
from wingbeat.cli.former_options import FORMER, renamed
from wingbeat.cli.main import COMMANDS, command

SYNONYMS = {
    "--seeds": {"--seed", "--base-seeds", "--base-seed", "--replicates", "--n-seeds"},
    "--replicas": {"--copies", "--n-replicas", "--trajectories"},
    "--perturb": {"--perturbation", "--perturbations", "--nudge", "--nudges"},
    "--scale": {"--scales", "--size", "--sizes", "--sigma", "--epsilon", "--perturbation-scale"},
    "--metric": {"--metrics", "--measure", "--measures"},
    "--arg": {"--args", "--argument", "--arguments", "--param", "--factory-arg"},
    "--out": {"--output", "--folder", "--dir", "--to"},
    "--lr": {"--rate", "--rates", "--learning-rate"},
    "--workers": {"--jobs", "--processes", "--parallel", "--n-jobs"},
    "--samples": {"--n", "--n-samples", "--train-samples"},
    "--level": {"--confidence", "--alpha", "--coverage"},
    "--data": {"--dataset"},
    "--device": {"--devices", "--gpu"},
    "--dtype": {"--precision", "--type"},
    "--record-every": {"--save-every", "--snapshot-every"},
    "--quiet": {"--silent", "--no-progress"},
    "--json": {"--as-json", "--format"},
    "--report": {"--page", "--html"},
    "--overwrite": {"--force"},
    "--quick": {"--fast", "--small"},
}
"""What a concept is called, and what it must not be called instead."""
NOTHING_TO_SILENCE = {
    "watch": "it is nothing but its display",
    "metrics": "a list",
    "perturbations": "a list",
    "seeds": "it prints what it reads, and writes nothing",
    "study show": "it prints what it reads, and writes nothing",
}
NO_DOCUMENT = {
    "watch": "a display, of files that are JSON already",
    "demo": "an account of three runs, whose folders hold their JSON",
}


def every() -> Iterator[tuple[str, Any]]:
    for name in COMMANDS:
        found = command(name)
        inner = getattr(found, "commands", None) if name == "study" else None
        yield from [(f"{name} {k}", v) for k, v in inner.items()] if inner else [(name, found)]


EVERY = dict(every())


COMMAS = {("--scale", "study butterfly")}
"""Options that take several numbers as one text, with commas."""


def kind_of(one: Any) -> str:
    """Return the type of one value of an option, of a list that of its entries; a path is text."""
    found = one.type_descriptor.annotation
    while inner := [t for t in get_args(found) if t is not NoneType]:
        found = inner[0]
    return "str" if found is Path else str(found.__name__)


def options(name: str) -> dict[str, Any]:
    shown = [p for p in EVERY[name].params if p.param_type_name == "option" and not p.hidden]
    return {word: p for p in shown for word in (*p.opts, *p.secondary_opts)}


@pytest.mark.parametrize("name", EVERY)
def test_a_concept_has_one_name(name: str) -> None:
    own = options(name)
    wrong = {w: right for right, words in SYNONYMS.items() for w in words if w in own}
    assert wrong == {}, f"what {name} calls otherwise elsewhere"


def test_an_option_takes_the_same_kind_of_value_everywhere() -> None:
    kinds: dict[str, dict[str, str]] = {}
    for name in EVERY:
        for word, one in options(name).items():
            if (word, name) not in COMMAS:
                kinds.setdefault(word, {})[name] = f"{kind_of(one)}{', flag' * one.is_flag}"
    twofold = {word: found for word, found in kinds.items() if len(set(found.values())) > 1}
    assert twofold == {}


@pytest.mark.parametrize("name", EVERY)
def test_what_takes_a_factory_takes_its_arguments(name: str) -> None:
    params = EVERY[name].params
    takes = [p for p in params if "MODULE:FACTORY" in f"{p.metavar} {p.help}"]
    if takes:
        one = options(name)["--arg"]
        assert one.multiple


@pytest.mark.parametrize("name", EVERY)
def test_what_computes_can_be_quiet(name: str) -> None:
    has = {"--quiet", "-q"} <= set(options(name))
    assert has is (name not in NOTHING_TO_SILENCE)


@pytest.mark.parametrize("name", EVERY)
def test_what_finds_something_tells_it_as_json(name: str) -> None:
    assert ("--json" in options(name)) is (name not in NO_DOCUMENT)


@pytest.mark.parametrize("name", EVERY)
def test_repeatable_options_say_so_in_the_same_word(name: str) -> None:
    for word, one in options(name).items():
        told = str(one.help)
        assert "may be repeated" not in told, word
        several = one.multiple and not str(one.metavar).endswith("...")
        commas = "," in told and name == "study butterfly"  # a list with commas
        assert not several or "repeatable" in told or commas, word


def test_there_are_commands_of_every_kind() -> None:
    assert {"run", "fork", "study run", "study butterfly", "study phases"} <= set(EVERY)


@pytest.mark.parametrize("name", FORMER)
def test_a_former_name_is_read_told_and_not_shown(name: str) -> None:
    (found,) = (c for place, c in EVERY.items() if place.rpartition(" ")[2] == name)
    context = found.make_context(name, [], resilient_parsing=True)
    shown = " ".join(left for left, _ in rows_of(found, context)).split()
    known = {word for p in found.params for word in p.opts}
    told: list[str] = []
    for before, now in FORMER[name].items():
        assert before not in known
        assert before not in shown
        assert now in known
        assert renamed(name, [before, "1", f"{before}=2"], told.append) == [now, "1", f"{now}=2"]
        assert before in told[-1]
        assert now in told[-1]


def test_what_stands_behind_a_double_dash_is_the_users_own() -> None:
    words = ["a.pt", "--workers", "2", "--", "python", "train.py", "--jobs", "3"]
    assert renamed("fork", words, pytest.fail) == words


def test_the_seed_of_a_nudge_is_that_of_its_perturbation(tmp_path, monkeypatch, capsys) -> None:
    import torch

    from wingbeat.cli.main import main

    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.linspace(0, 1, 50)}, "a.pt")
    moved = {}
    for name, perturb, more in (
        ("one", "gaussian:0.01", ()),
        ("two", "gaussian:0.01,seed=1", ()),
        ("former", "gaussian:0.01", ("--seed", "1")),
    ):
        own = ("--replicas", "1", "--out", name, "--json", *more)
        monkeypatch.setattr("sys.argv", ["wingbeat", "nudge", "a.pt", "--perturb", perturb, *own])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        moved[name] = json.loads(capsys.readouterr().out)[1]["l2"]
    assert len(set(moved.values())) == 3
