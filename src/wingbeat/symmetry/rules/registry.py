"""The table of rules: operation name to rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wingbeat.symmetry.calls import Rule

RULES: Final[dict[str, Rule]] = {}
"""Rules by operation name, without overload and without the underscore of in-place forms."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter a rule under the names of the operations that it describes."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return enter
