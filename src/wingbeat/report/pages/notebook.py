"""The summary that a notebook shows for a result: a small piece of HTML without scripts."""

from __future__ import annotations

from html import escape

from wingbeat.report.prose import floor_text, interval, number, reason
from wingbeat.report.result_access import ResultLike, entry, names
from wingbeat.report.verdict_text import alarms, copies, headline, read, reference, verdict

_BOX = (
    "font-family:system-ui,sans-serif;font-size:14px;line-height:1.45;max-width:46em;"
    "border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:12px 16px"
)
_ALARM = "border-left:3px solid #d05a00;padding:2px 0 2px 10px;margin:0 0 10px"
_CELL = "padding:3px 14px 3px 0;text-align:left;vertical-align:top"


def notebook_html(result: ResultLike) -> str:
    """Return a self-contained HTML card: warnings, verdict, and one row per perturbation.

    Args:
        result: what to show.

    Returns:
        HTML with inline styles only; every string of the result is escaped. It takes the
        colours of the page around it, so it fits light and dark notebooks.
    """
    parts = [f'<div style="{_BOX}">']
    parts += [f'<p style="{_ALARM}">{escape(text)}</p>' for text in alarms(result)]
    parts.append(f'<p style="margin:0 0 8px;font-weight:600">{escape(headline(result))}</p>')
    if read(result).training:
        told = ": ".join(reference(read(result)))
        parts.append(f'<p style="margin:0 0 8px">{escape(f"Reference {told}")}</p>')
    heads = ("perturbation", "verdict", "convergence ratio", "grew", "λ per step", "replicas")
    cells = "".join(f'<th style="{_CELL};opacity:.7">{escape(h)}</th>' for h in heads)
    rows = "".join(_row(result, name) for name in names(result))
    parts.append(
        f'<div style="overflow-x:auto"><table style="border-collapse:collapse;font-size:inherit">'
        f"<tr>{cells}</tr>{rows}</table></div>"
    )
    steps = f"{len(result.steps)} snapshots up to step {max(result.steps, default=0):,}"
    last = f"{floor_text(result.noise_floor)} · {steps}"
    parts.append(f'<p style="margin:8px 0 0;opacity:.7">{escape(last)}</p></div>')
    return "".join(parts)


def _row(result: ResultLike, name: str) -> str:
    count = next((p.get("replicas", "") for p in result.perturbations if p.get("name") == name), "")
    cells = (
        name,
        verdict(result, name),
        value_text(result, "convergence_ratio", name),
        copies(read(result, name))[0],
        rate_text(result, name),
        str(count),
    )
    return "<tr>" + "".join(f'<td style="{_CELL}">{escape(c)}</td>' for c in cells) + "</tr>"


def rate_text(result: ResultLike, name: str) -> str:
    """Return the exponent, or that there is no one exponent and the R² that says so."""
    found = read(result, name)
    if not found.poor_fit:
        return value_text(result, "lyapunov", name)
    return f"none (R² {number(found.r2)})"


def value_text(result: ResultLike, key: str, perturbation: str | None = None) -> str:
    """Return a scalar with its interval, or why it is undefined, as one piece of text."""
    found = entry(result, key, perturbation)
    if not found.defined:
        why = reason(found)
        return f"{number(found.value)} ({why})" if why else number(found.value)
    return (
        f"{number(found.value)} [{interval(found)}]" if found.has_interval else number(found.value)
    )
