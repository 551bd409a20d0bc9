"""What all plotly specifications share: colour tokens, texts, numbers, axes and layout.

Colours are tokens ("@ink", "@0", …) which the page, when it is shown,
replaces by those of the light or the dark theme. Band colours are "@0-band" and so on.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable
from typing import Any

from wingbeat.report.figures.style import THEMES, translucent

Spec = dict[str, Any]

_LONGEST_NAME = 26


def theme_colours(theme: str) -> dict[str, str]:
    """Return every token of a theme with its colour, the translucent bands included."""
    plain = THEMES[theme]
    return plain | {f"{token}-band": translucent(c, 0.18) for token, c in plain.items()}


_SHORT = (1e-3, 1e4)
"""Between these, numbers on an axis are written in full."""


def label(text: str) -> str:
    """Return text for plotly, which reads a subset of HTML: markup characters as entities.

    >>> label("a <b> & c")
    'a &lt;b&gt; &amp; c'
    """
    text = re.sub(r"\s+", " ", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A zero-width space keeps "%{…}" from being read as a hover template.
    return text.replace("%{", "%\u200b{")


def shortened(text: str, most: int = _LONGEST_NAME) -> str:
    """Shorten a name in its middle, for tick labels.

    >>> shortened("layers.0.attention.weight", 13)
    'layers….weight'
    """
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}…{text[len(text) - half - most % 2 :]}"


def in_lines(text: str, most: int = _LONGEST_NAME) -> tuple[str, ...]:
    """Return a name in one or two lines, for tick labels; what is longer still is shortened.

    >>> in_lines("lr 0.01, hidden [64, 32], seed 0")
    ('lr 0.01, hidden [64, 32],', 'seed 0')
    >>> in_lines("layers.0.attention.weight", 13)
    ('layers….weight',)
    """
    first, *rest = textwrap.wrap(text, most, break_long_words=False) or [text]
    return tuple(shortened(line, most) for line in (first, " ".join(rest)) if line)


def numbers(values: tuple[float, ...]) -> list[float | None]:
    """Return values for JSON: what is not finite becomes null, which plotly leaves out."""
    return [v if math.isfinite(v) else None for v in values]


def trace_group(style: int, dash: str) -> str:
    """Return the name under which a key's entry hides and shows its traces."""
    return f"{style}{dash}"


def axis(title: str) -> Spec:
    """Return an axis with its title, in the colours of the theme."""
    return {
        "title": {"text": label(title), "standoff": 8},
        "gridcolor": "@grid",
        "linecolor": "@axis",
        "tickcolor": "@axis",
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "separatethousands": True,
        "exponentformat": "power",  # plotly writes 600µ otherwise
        "ticklabeloverflow": "allow",
    }


def base_layout(height: int) -> Spec:
    """Return what the layouts of all figures share."""
    return {
        "height": height,
        "showlegend": False,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "@ink", "size": 13},
        "margin": {"l": 16, "r": 28, "t": 12, "b": 16},
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "@paper",
            "bordercolor": "@axis",
            "font": {"color": "@ink"},
            "namelength": -1,
        },
    }


def log_ticks(values: Iterable[float]) -> Spec:
    """Return ticks for a logarithmic axis over values, those above 0 at least, that do not collide.

    One a decade where there are several; 1, 2, 5 and 10 within about one, written in full where
    that is short (plotly would write 5 for 0.5); else plotly's choice.

    >>> log_ticks([1.0, 1e4]), log_ticks([2e-9, 2e-8]), log_ticks([1.0, 2.0]), log_ticks([])
    ({'dtick': 1}, {'dtick': 'D2'}, {'nticks': 6}, {})
    >>> log_ticks([0.2, 2.0])["ticktext"]
    ['0.1', '0.2', '0.5', '1', '2', '5', '10']
    """
    found = [v for v in values if math.isfinite(v) and v > 0]
    if not found:
        return {}
    decades = math.log10(max(found) / min(found))
    if decades >= 2:
        return {"dtick": math.ceil(decades / 6)}
    if decades <= 0.7:
        return {"nticks": 6}
    if min(found) < _SHORT[0] or max(found) > _SHORT[1]:
        return {"dtick": "D2"}
    ends = math.floor(math.log10(min(found))), math.ceil(math.log10(max(found)))
    places = [m * 10.0**e for e in range(*ends) for m in (1, 2, 5)] + [10.0 ** ends[1]]
    names = [f"{v:g}" for v in places]
    return {"tickmode": "array", "tickvals": [float(n) for n in names], "ticktext": names}


def colour_bar(words: str) -> Spec:
    """Return the bar above a figure that says which colour is which value.

    >>> colour_bar("ratio")["title"]["text"]
    'ratio'
    """
    return {
        "orientation": "h",
        "y": 1,
        "yanchor": "bottom",
        "thickness": 10,
        "len": 0.7,
        "outlinewidth": 0,
        "nticks": 5,
        "title": {"text": label(words), "side": "top", "font": {"size": 12}},
    }
