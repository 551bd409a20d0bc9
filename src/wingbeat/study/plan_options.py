"""The fields of a study's plan as options of its command: declared once, with their help."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import MISSING, Field, field, fields
from typing import Any


def option(
    default: Any,
    help: str,  # noqa: A002
    name: str = "",
    *,
    together: str = "",
    read: Callable[[str], Any] | None = None,
    write: Callable[[Any], str] | None = None,
) -> Any:
    """Declare a field of a plan that the command line can set.

    Args:
        default: of the field; a tuple is an option that may be repeated, a dict one that takes
            ``name=value``, a bool a flag.
        help: what it is, in one sentence.
        name: of the option without its dashes; the field's own by default.
        together: a word that several fields share: who sets one of them leaves the others empty.
        read: from the text on the command line to the value, for a field that takes one text.
        write: from a value to its text on the command line.
    """
    metadata = {"help": help, "option": name, "together": together, "read": read, "write": write}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def argument(help: str, metavar: str, default: Any = MISSING) -> Any:  # noqa: A002
    """Declare a field of a plan that stands on the command line without a name."""
    return field(default=default, metadata={"help": help, "metavar": metavar, "option": None})


def option_name(one: Field[Any]) -> str:
    """Return the name of a field's option, without its dashes."""
    return str(one.metadata.get("option") or one.name.replace("_", "-"))


def default_of(one: Field[Any]) -> Any:
    """Return the default of a field; ``dataclasses.MISSING`` if it has none."""
    return MISSING if one.default_factory is MISSING else one.default_factory()


def plan_from(plan: type[Any], given: dict[str, Any]) -> Any:
    """Return a plan from what a command line gave; None and empty lists were not given.

    Raises:
        RequestError: from the plan, for values out of range, or for a text that cannot be read.
    """
    readers = {f.name: f.metadata.get("read") or _as_given for f in fields(plan)}
    said = {k: readers[k](v) for k, v in given.items() if v not in (None, [])}
    groups = {f.metadata.get("together") for f in fields(plan) if f.name in said} - {"", None}
    for one in fields(plan):
        if one.metadata.get("together") in groups:
            said.setdefault(one.name, ())
    return plan(**said)


def _as_given(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def command_of(name: str, plan: Any) -> str:
    """Return the command line that runs a plan, without what is usual.

    Args:
        name: of the study.
        plan: a dataclass whose fields are declared by ``option`` and ``argument``.
    """
    own = fields(plan)
    words = [f"wingbeat study {name}"]
    words += [shlex.quote(str(getattr(plan, f.name))) for f in own if _is_argument(f)]
    unusual = [f for f in own if not _is_argument(f) and getattr(plan, f.name) != _usual(f)]
    groups = {f.metadata.get("together") for f in unusual} - {"", None}
    for one in own:
        # Who sets one of a group sets all of it: its other values have to be said too.
        if one in unusual or (one.metadata.get("together") in groups):
            words += _words(one, getattr(plan, one.name))
    return " ".join(words)


def _is_argument(one: Field[Any]) -> bool:
    return "metavar" in one.metadata


def _usual(one: Field[Any]) -> Any:
    return one.default if one.default is not MISSING else default_of(one)


def _words(one: Field[Any], value: Any) -> list[str]:
    name, write = option_name(one), one.metadata.get("write")
    if write:
        return [f"--{name} {shlex.quote(write(value))}"]
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, dict):
        return [f"--{name} {shlex.quote(f'{k}={_plain(v)}')}" for k, v in value.items()]
    each = value if isinstance(value, tuple) else (value,)
    return [f"--{name} {_word(v)}" for v in each]


def _word(value: Any) -> str:
    if isinstance(value, float):
        return number_text(value)
    return shlex.quote(value) if isinstance(value, str) else str(value)


def number_text(value: float) -> str:
    """Return the shortest text that is read as the same number again.

    >>> number_text(1e-3), number_text(0.12345678)
    ('0.001', '0.12345678')
    """
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
