"""Options as they were called before: they still work for one version, and say what to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FORMER: Final[dict[str, dict[str, str]]] = {
    "break-even": {"--n": "--samples"},
    "butterfly": {"--measures": "--metric", "--scales": "--scale"},
    "dynamics": {"--perturbation": "--scale"},
    "edge": {"--n": "--samples"},
    "fork": {"--jobs": "--workers"},
    "onset": {"--confidence": "--level"},
    "watch": {"--every": "--seconds"},
}
"""By command: what an option was called, and what it is called since 0.1.0."""


def renamed(command: str, words: Sequence[str], say: Callable[[str], object]) -> list[str]:
    """Return the words of a command line with its options as they are called today.

    Args:
        command: name of the command.
        words: what stands behind it; nothing behind a ``--`` is changed.
        say: takes a line for each that had its former name.

    >>> renamed("fork", ["a.pt", "--jobs=2", "--", "make", "--jobs"], print)
    --jobs is called --workers now; the former name goes with the next version
    ['a.pt', '--workers=2', '--', 'make', '--jobs']
    """
    return list(_renamed(FORMER.get(command, {}), words, say))


def _renamed(
    former: dict[str, str], words: Sequence[str], say: Callable[[str], object]
) -> Iterator[str]:
    own = words.index("--") if "--" in words else len(words)
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if place < own and name in former:
            now = former[name]
            say(f"{name} is called {now} now; the former name goes with the next version")
            yield f"{now}{equals}{value}"
        else:
            yield word
