"""What ``import wingbeat`` promises: few names, each one explained."""

from __future__ import annotations

import inspect

import pytest

import wingbeat

NAMES = sorted(wingbeat.__all__)


def test_few_names() -> None:
    # One call for a beginner, a start from a checkpoint, two results side by side, logs of others:
    # each is asked for beside a task, so that none of them can lie a room deeper.
    assert 0 < len(NAMES) <= 36
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_documented(name: str) -> None:
    thing = getattr(wingbeat, name)
    if isinstance(thing, str):  # __version__ and the like explain themselves
        return
    own = thing.__doc__ if not inspect.isclass(thing) else vars(thing).get("__doc__")
    assert own, f"wingbeat.{name} has no docstring"
    # dataclasses invent "Name(field, …)" where nobody wrote anything
    assert not own.startswith(f"{name}("), f"wingbeat.{name} has only a generated docstring"
    assert len(own.split()) >= 5


def test_the_package_explains_the_pipeline() -> None:
    assert wingbeat.__doc__
    assert len(wingbeat.__doc__.split()) >= 5
