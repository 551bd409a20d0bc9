"""One self-contained HTML page for a result: opens offline and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from wingbeat.report import curves, maps
from wingbeat.report.contents import texts
from wingbeat.report.draw_plotly import spec, theme_colours
from wingbeat.report.figures import MOST_FAMILIES, Figure, Group, LineFigure, groups
from wingbeat.report.losses import losses, replica_metrics
from wingbeat.report.reading import ResultLike, names
from wingbeat.report.style import GUIDE_STYLE, THEMES, look

_HERE = Path(__file__).parent
_COMPONENTS = ((0, 1), (0, 1, 2))

_DASH_ARRAYS = {
    "solid": "",
    "dash": "6 4",
    "dashdot": "7 3 2 3",
    "longdash": "11 5",
    "dot": "2 3",
}
_MARKER_SHAPES = {
    "circle": "M17 8a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z",
    "square": "M17 5h6v6h-6z",
    "diamond": "M20 4l4 4l-4 4l-4 -4z",
    "triangle-up": "M20 4l4 7h-8z",
    "triangle-down": "M20 12l4 -7h-8z",
    "cross": "M18.7 4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
    "x": "M17.5 4l2.5 2.5l2.5 -2.5l1.5 1.5l-2.5 2.5l2.5 2.5l-1.5 1.5l-2.5 -2.5l-2.5 2.5"
    "l-1.5 -1.5l2.5 -2.5l-2.5 -2.5z",
}


class KeyEntry(NamedTuple):
    """One entry of a figure's key: its text, the traces it stands for and its swatch."""

    text: str
    group: str
    colour: str
    dashes: str
    marker: str


class Shown(NamedTuple):
    """A figure as the page shows it; ``spec`` is None where there is nothing to draw."""

    ident: str
    title: str
    caption: str
    note: str
    key: tuple[KeyEntry, ...]
    spec: dict[str, Any] | None
    three: bool


class Section(NamedTuple):
    """A group of figures under one heading."""

    ident: str
    title: str
    figures: tuple[Shown, ...]


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


def write_page(result: ResultLike, path: str | Path) -> Path:
    """Write the page of a result to a file and return its path.

    Args:
        result: what to show.
        path: the file, usually ``report.html``; its folder must exist. An existing
            file is replaced in one step.

    Raises:
        OSError: the file cannot be written.
    """
    target = Path(path)
    beside = target.with_name(f".{target.name}.part")
    # A lone surrogate (from a file name, say) cannot be written; it becomes "?".
    beside.write_bytes(render_page(result).encode("utf-8", errors="replace"))
    return beside.replace(target)


def render_page(result: ResultLike) -> str:
    """Return the page of a result as HTML text (about 5 MB: plotly.js is inlined once)."""
    from plotly.offline import get_plotlyjs

    plotly = f"\n{get_plotlyjs()}\n"
    program = f"\n{_text('page.js')}"
    sections = tuple(s for s in _sections(result) if s.figures)
    shown = [f for s in sections for f in s.figures if f.spec is not None]
    payload = {
        "themes": {name: theme_colours(name) for name in THEMES},
        "figures": [{"id": f.ident, "three": f.three, "spec": f.spec} for f in shown],
    }
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        # These three are files of this package and of plotly, never data of the run.
        css=Markup(_theme_css() + _text("page.css")),  # noqa: S704
        plotly=Markup(plotly),  # noqa: S704
        program=Markup(program),  # noqa: S704
        policy=_policy(plotly, program),
        payload=script_json(payload),
        sections=sections,
        **texts(result),
    )


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    """Return a content policy: these scripts by their hash, and no request to anywhere."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'"
        for s in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _theme_css() -> str:
    def block(theme: str) -> str:
        return "".join(f"--c-{token[1:]}:{colour};" for token, colour in THEMES[theme].items())

    return (
        f":root{{{block('light')}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{block('dark')}}}}}\n"
    )


def _sections(result: ResultLike) -> Iterator[Section]:
    chosen = names(result)[:MOST_FAMILIES]
    maps_ = [maps.layers(result, name) for name in chosen]
    plan: tuple[tuple[str, str, tuple[Figure | None, ...]], ...] = (
        ("apart", "How far apart", (curves.spread(result), curves.distance(result))),
        ("when", "When they part", (curves.local_lyapunov(result),)),
        ("where", "Where they go", tuple(maps.trajectories(result, c) for c in _COMPONENTS)),
        ("function", "What they do", tuple(losses(result, m) for m in replica_metrics(result))),
        ("layers", "Layer by layer", tuple(maps_)),
        (
            "projection",
            "Full space and projection",
            (curves.projected_ratio(result), curves.projected_share(result)),
        ),
    )
    for ident, title, found in plan:
        kept = [f for f in found if f is not None]
        yield Section(ident, title, tuple(_show(f, f"{ident}-{i + 1}") for i, f in enumerate(kept)))


def _show(figure: Figure, ident: str) -> Shown:
    return Shown(
        ident=f"fig-{ident}",
        title=figure.title,
        caption=figure.caption,
        note=figure.note if isinstance(figure, LineFigure) else "",
        key=tuple(_key_entry(group) for group in groups(figure)),
        spec=None if figure.empty else spec(figure),
        three=figure.key == "trajectories_3d",
    )


def _key_entry(entry: Group) -> KeyEntry:
    shape = look(entry.style)
    return KeyEntry(
        text=entry.text,
        group="" if entry.style == GUIDE_STYLE else f"{entry.style}{entry.dash}",
        colour=f"var(--c-{shape.colour[1:]})",
        dashes=_DASH_ARRAYS[entry.dash or shape.dash],
        marker=_MARKER_SHAPES[shape.marker] if entry.marked else "",
    )
