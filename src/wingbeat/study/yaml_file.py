"""YAML of study files: no code, scalars of YAML 1.2, names that are text and given once.

What YAML 1.1 reads as a number and 1.2 does not, as ``1:30`` (90) or ``017`` (15), stays text.
``yes``, ``no``, ``on`` and ``off``, which were truth values and are text now, are refused unless
quoted: as text "no" would count as true.

Source: YAML 1.2.2, section 10.3 (core schema), without whole numbers that begin with 0.
"""

from __future__ import annotations

import importlib
import re
from typing import Any, Final

from wingbeat.arguments import shown
from wingbeat.errors import RequestError

_TAG: Final = "tag:yaml.org,2002:"
_SCALARS: Final = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN)",
        list("-+0123456789."),
    ),
)
_FORMER: Final = re.compile(r"(?i)yes|no|on|off|y|n")


def read_yaml(text: str) -> Any:
    r"""Read YAML without running code.

    Raises:
        ValueError: it is none, a name is given twice or is no text, or a word has meant a truth
            value before.
        RequestError: PyYAML is not installed.

    >>> read_yaml("a: 1:30\nb: 017\nc: 1e-4\nd: [0x10, true, ~]")
    {'a': '1:30', 'b': '017', 'c': 0.0001, 'd': [16, True, None]}
    """
    try:
        yaml = importlib.import_module("yaml")
    except ImportError as error:
        raise RequestError("YAML needs PyYAML: pip install pyyaml, or write TOML") from error
    try:
        return yaml.load(text, _loader(yaml))
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _loader(yaml: Any) -> Any:
    """Return a SafeLoader of scalars as above."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (its own, not its base's)

    for name, pattern, first in _SCALARS:
        Loader.add_implicit_resolver(f"{_TAG}{name}", re.compile(f"^(?:{pattern})$"), first)
    Loader.add_constructor(f"{_TAG}map", _mapping)
    Loader.add_constructor(f"{_TAG}str", _text)
    return Loader


def _text(loader: Any, node: Any) -> str:
    """Read text, and refuse an unquoted word that YAML 1.1 took for true or false."""
    if node.style is None and _FORMER.fullmatch(node.value) and len(node.value) > 1:
        raise ValueError(
            f"{node.value!r} is text in YAML 1.2 and was a truth value before: write true or "
            f"false, or put it in quotes"
        )
    text: str = loader.construct_scalar(node)
    return text


def _mapping(loader: Any, node: Any) -> dict[str, Any]:
    """Read a mapping, and refuse a name that is no text or is given twice."""
    found: dict[str, Any] = {}
    for key, value in node.value:
        name = loader.construct_object(key, deep=True)
        if not isinstance(name, str):
            raise ValueError(f"the name {shown(name)} is no text: put it in quotes")
        if name in found:
            raise ValueError(f"{name!r} is given twice")
        found[name] = loader.construct_object(value, deep=True)
    return found
