"""What a function is asked with, said as the option that was typed: ``out=`` becomes ``--out``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_GIVEN: Final = re.compile(r"""(?<![\w.'"`/=(-])([a-z_]+)=('[^'\s]*'|[\w.+-]*\w)?""")
"""An argument of a function with or without a value; within quotes or a call it is code."""
_SUBJECT: Final = re.compile(r"^([a-z_]+)(?= (?:is|holds|has) )")
"""What a message is about."""


def options_of(command: Any) -> dict[str, Any]:
    """Return the options of a command by the names of arguments; a repeatable one by its plural."""
    found = {str(one.name): one for one in command.params if one.param_type_name == "option"}
    plural = {f"{name}s": one for name, one in found.items() if getattr(one, "multiple", False)}
    return {**plural, **found}


def in_options(text: str, options: Mapping[str, Any]) -> str:
    """Return a message about arguments of functions in the words of a command line.

    Args:
        text: the message.
        options: see `options_of`; what is none of them stays as it is.
    """

    def option(match: re.Match[str]) -> str:
        """Return an argument that is given as its option, with its value."""
        one, value = options.get(match[1]), (match[2] or "").strip("'")
        if one is None:
            return match[0]
        name = max(one.opts, key=len)
        if not one.is_flag:
            return f"{name} {value}".rstrip()
        if value == "False":
            return str(one.secondary_opts[0]) if one.secondary_opts else match[0]
        return str(name)

    def subject(match: re.Match[str]) -> str:
        """Return what a message is about as its option."""
        one = options.get(match[1])
        return match[0] if one is None else str(max(one.opts, key=len))

    return _GIVEN.sub(option, _SUBJECT.sub(subject, text))
