"""A page of words, tables and still pictures, as HTML without scripts or as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from wingbeat.report.figures.table import Table
from wingbeat.report.pages.document import environment, page_css


class Picture(NamedTuple):
    """A picture: what it shows, where it lies (a file's name or data), and whether to embed it."""

    caption: str
    source: str
    embedded: bool


Part = str | tuple[str, ...] | Table | Picture
"""A paragraph, a list, a table or a picture."""


@dataclass(frozen=True)
class StillPage:
    """What a page shows: a title, one word on the outcome, and headings with their parts."""

    title: str
    outcome: str
    meaning: str
    sections: tuple[tuple[str, tuple[Part, ...]], ...]

    def html(self) -> str:
        """Return the page as HTML. Every value is escaped; nothing is asked of the network."""
        css = Markup(page_css())  # noqa: S704 (a file of this package)
        return environment().get_template("still_page.html").render(page=self, css=css)

    def markdown(self) -> str:
        r"""Return the page as Markdown. No value can leave its place nor be read as HTML.

        >>> print(StillPage("t", "a_b", "Why.", (("h", (("x|y",),)),)).markdown())
        # t
        <BLANKLINE>
        **a\_b**. Why.
        <BLANKLINE>
        ## h
        <BLANKLINE>
        - x\|y
        <BLANKLINE>
        """
        blocks = [f"# {self.title}", f"**{escaped(self.outcome)}**. {escaped(self.meaning)}"]
        for heading, parts in self.sections:
            blocks += [f"## {heading}", *map(_block, parts)]
        return "\n\n".join(blocks) + "\n"


def escaped(value: str) -> str:
    """Return text that cannot leave its place in Markdown nor be read as HTML."""
    text = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join("".join(f"\\{c}" if c in "\\`*_[]|#!" else c for c in text).split())


def _block(part: Part) -> str:
    if isinstance(part, str):
        return escaped(part)
    if isinstance(part, Picture):
        return f"{'!' * part.embedded}[{escaped(part.caption)}]({part.source})"
    if isinstance(part, Table):
        rows = (part.heads, ("---",) * len(part.heads), *part.rows)
        return "\n".join(f"| {' | '.join(map(escaped, row))} |" for row in rows)
    return "\n".join(f"- {escaped(item)}" for item in part)
