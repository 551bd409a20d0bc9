"""One self-contained HTML document: opens offline and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from wingbeat.files import write_bytes
from wingbeat.report.drawing.plotly.parts import theme_colours
from wingbeat.report.drawing.rendered import Section
from wingbeat.report.figures.style import THEMES
from wingbeat.report.pages import plotting_script

_HERE = Path(__file__).parent


def render_document(template: str, sections: Sequence[Section], **words: Any) -> str:
    """Return a page as HTML text (under 1 MB: plotly.js is in it once, compressed).

    Args:
        template: file of this package that extends ``document.html``.
        sections: the figures under their headings.
        words: what else the template names; ``version`` and ``alarms`` are always needed.
    """
    program = f"\n{_text('page.js')}\n"
    return (
        environment()
        .get_template(template)
        .render(
            # These are files of this package, never data.
            css=Markup(page_css()),  # noqa: S704
            program=Markup(program),  # noqa: S704
            plotly=plotting_script.packed_script(),
            policy=content_policy(program, plotting_script.script()),
            payload=script_json(_payload(sections)),
            sections=sections,
            **words,
        )
    )


@cache
def environment() -> Environment:
    """Return the templates of this package, compiled once; every value in them is escaped."""
    return Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_document(text: str, path: str | Path) -> Path:
    """Write a page to a file, replacing an earlier one in one step, and return its path.

    Raises:
        StoreError: the file cannot be written; an earlier one is as it was.
    """
    target = Path(path)
    # A lone surrogate (from a file name, say) cannot be written; it becomes "?".
    write_bytes(target, text.encode("utf-8", errors="replace"))
    return target


def _payload(sections: Sequence[Section]) -> dict[str, Any]:
    drawn = [panel for s in sections for f in s.figures for panel in f.panels]
    return {
        "themes": {name: theme_colours(name) for name in THEMES},
        "figures": [{"id": panel.ident, "spec": panel.spec} for panel in drawn],
    }


def script_json(value: object) -> Markup:
    r"""Return JSON that is safe inside a ``<script>`` element.

    No ``<``, ``>`` or ``&`` is left, and every non-ASCII letter is written as ``\uXXXX``.

    >>> print(script_json("</script>"))
    "\u003c/script\u003e"
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    # Escaped just above: nothing in it can end the element.
    return Markup(text)  # noqa: S704


def content_policy(*scripts: str) -> str:
    """Return a content policy: these scripts by their hash, and no request to anywhere."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'"
        for s in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def page_css() -> str:
    """Return the style sheet of every page."""
    return theme_css() + _text("page.css")


def theme_css() -> str:
    """Return the colours of both themes as custom properties; the reader's setting chooses."""

    def block(theme: str) -> str:
        return "".join(f"--c-{token[1:]}:{colour};" for token, colour in THEMES[theme].items())

    return (
        f":root{{{block('light')}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{block('dark')}}}}}\n"
    )


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
