"""What a result is about, in words: what was trained, on which data, and when."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from wingbeat.report.prose import number, plural
from wingbeat.report.result_access import ResultLike, base_seeds

_LONGEST: Final = 120
"""Letters of a name that a heading can take."""
_SAMPLES: Final = re.compile(r"(\d+) samples(?: of (\S+))?")


class Subject(NamedTuple):
    """What a result is about.

    Attributes:
        name: of what was trained.
        facts: model, data and training, a few words each.
        when: the day and time at which it was started, "" where that is not recorded.
        day: the day alone.
    """

    name: str
    facts: tuple[str, ...]
    when: str
    day: str


def subject(result: ResultLike) -> Subject:
    """Return what a result is about."""
    condition = result.condition
    task = _mapping(condition.get("task"))
    when = _moment(result.environment.get("started"))
    return Subject(
        name=_shortened(_name(condition, task)),
        facts=tuple(filter(None, (_forked(result), *_of_task(result, task)))),
        when=f"{when:%-d %B %Y, %H:%M} UTC" if when else "",
        day=f"{when:%-d %b %Y}" if when else "",
    )


def _name(condition: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    """Return the first name that somebody gave: task, factory, checkpoints, model."""
    model = task.get("model")
    found = (
        task.get("name"),
        _mapping(condition.get("factory")).get("place"),
        _script(condition),
        _function(condition),
        condition.get("checkpoints"),
        _code(model if isinstance(model, str) else _mapping(model).get("builder")),
        _code(condition.get("build")),
    )
    return next((str(one) for one in found if one), "a run without a name")


def _script(condition: Mapping[str, Any]) -> str:
    """Return the name of a script that was forked, and of the checkpoint it was run from."""
    run = _mapping(condition.get("fork"))
    return f"{run['script']}, forked from {run['from']}" if run else ""


def _function(condition: Mapping[str, Any]) -> str:
    """Return the name of a training that is a function."""
    if "train" not in condition:
        return ""
    return _code(condition["train"]) or "copies of a training"


def _forked(result: ResultLike) -> str:
    if "fork" not in result.condition:
        return ""
    copies = sum(int(p.get("replicas", 0)) for p in result.perturbations)
    return (
        "the script run from the checkpoint, from an untouched copy and from "
        f"{plural(copies, 'nudged one')}"
    )


def _of_task(result: ResultLike, task: Mapping[str, Any]) -> tuple[str, ...]:
    return _model(task), _data(result.condition, task), _training(result, task)


def _code(digest: object) -> str:
    """Return the readable part of a function's digest.

    >>> _code("mine:net#0123456789abcdef"), _code("functools:partial#0123"), _code(None)
    ('mine:net', '', '')
    """
    place = str(digest or "").partition("#")[0]
    place = place.removeprefix("__main__:").replace(".<locals>", "")
    return "" if place == "functools:partial" or "<lambda>" in place else place


def _model(task: Mapping[str, Any]) -> str:
    count = _mapping(task.get("model")).get("parameters")
    return plural(count, "weight") if isinstance(count, int) else ""


def _data(condition: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    trained, held_out = (_samples(d) for d in (task.get("data"), condition.get("eval_data")))
    if not trained:
        return ""
    return f"trained on {trained}" + (f", evaluated on {held_out}" if held_out else "")


def _samples(digest: object) -> str:
    """Return the size and kind of data out of their digest.

    >>> _samples("50000 samples of CIFAR10 #0123"), _samples("1000 samples #0123"), _samples(None)
    ('50,000 samples of CIFAR10', '1,000 samples', '')
    """
    found = _SAMPLES.match(str(digest or ""))
    if found is None:
        return ""
    kind = f" of {found[2]}" if found[2] and not found[2].startswith("#") else ""
    return f"{plural(int(found[1]), 'sample')}{kind}"


def _training(result: ResultLike, task: Mapping[str, Any]) -> str:
    optimizer = _mapping(task.get("optimizer"))
    group: dict[str, Any] = next(iter(optimizer.get("groups") or ()), {})
    rate = _mapping(group).get("lr")
    steps, batch = task.get("steps", result.condition.get("steps")), task.get("batch_size")
    said = [
        str(optimizer.get("class") or ""),
        f"learning rate {number(rate)}" if isinstance(rate, int | float) else "",
        plural(steps, "step") if isinstance(steps, int) else "",
        f"batches of {batch}" if batch else "",
        f"{len(base_seeds(result))} base seeds" if len(base_seeds(result)) > 1 else "",
    ]
    return ", ".join(filter(None, said))


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC) if text else None
    except ValueError:
        return None


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
