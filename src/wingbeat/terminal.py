"""The one way in which text reaches a terminal: what could command it is made visible instead.

Names of drivers, perturbations, tensors, files and messages of errors may come from strangers. A
terminal obeys escape sequences in them: it moves the cursor, erases lines, changes its title.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import sys
from contextvars import ContextVar
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final, TextIO

from rich import console as rich_console
from rich.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HARMLESS: Final = "\n\t"
_REORDERING: Final = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200F)))
"""Characters that let text stand in another order than it is read."""


def clean(text: str) -> str:
    r"""Return a text in which characters that command a terminal are written out.

    The form is that of JSON, so that a cleaned JSON document means what it meant.

    >>> clean("ratio\x1b[2J 5")
    'ratio\\u001b[2J 5'
    """
    if text.isprintable():
        return text if _REORDERING.isdisjoint(text) else "".join(map(_shown, text))
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    control = ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 or character in _REORDERING
    if control and character not in _HARMLESS:
        return f"\\u{ord(character):04x}"
    # What cannot be encoded, as half of a pair, would end the program.
    return "\ufffd" if 0xD800 <= ord(character) < 0xE000 else character


def encodable(stream: object) -> None:
    r"""Let a stream take every character: what its encoding lacks is written out, as in JSON.

    A terminal of LANG=C or Latin-1 has no minus sign; a letter less is better than no answer, and
    a JSON document means what it meant.

    Example:
        >>> import io
        >>> stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        >>> encodable(stream)
        >>> stream.write("w \u2212 1"), stream.flush(), stream.buffer.getvalue()
        (5, None, b'w \\u2212 1')
    """
    if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors=_WRITTEN_OUT)


_WRITTEN_OUT: Final = "wingbeat_written_out"


def _written_out(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(_WRITTEN_OUT, _written_out)


_DOCUMENT: Final[ContextVar[TextIO | None]] = ContextVar("document", default=None)
"""Standard output while it is kept for one document; else None."""


@contextlib.contextmanager
def only_echo() -> Iterator[None]:
    """Keep standard output for `echo`: what else is printed goes to standard error.

    Models, losses and files that are imported may print, and a document with a line of theirs
    in it is none.
    """
    token = _DOCUMENT.set(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _DOCUMENT.reset(token)


def echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Write a line of plain text.

    Args:
        text: what to write.
        err: to standard error.
        nl: whether the line ends after it.
    """
    stream = sys.stderr if err else _DOCUMENT.get() or sys.stdout
    stream.write(clean(str(text)) + "\n" * nl)
    stream.flush()


class Console(rich_console.Console):
    """Rich's console, which writes its own codes and nobody else's."""

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            Segment(clean(text), style) if not control else Segment(text, style, control)
            for text, style, control in buffer
        )
