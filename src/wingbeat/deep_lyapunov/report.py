"""The report of an analysis: one HTML page or Markdown, with pictures inside or beside."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Iterator
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from wingbeat.deep_lyapunov.config import VisualizationConfig
from wingbeat.errors import RequestError
from wingbeat.report.figures.style import THEMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from wingbeat.deep_lyapunov.results import AnalysisResults

logger = logging.getLogger("deep_lyapunov.results")

_FILES = (".json", ".html", ".md", ".txt", ".png")
_TYPES = {"png": "image/png", "svg": "image/svg+xml"}
_MEANING = {
    "convergent": "The copies end closer together than they began: the perturbation was damped.",
    "divergent": "The copies end further apart than they began: the perturbation was amplified.",
    "undetermined": "The run does not decide whether the copies part or come together.",
}


class Picture(NamedTuple):
    """A picture of the report: file stem, what it shows, where it lies (a name or data)."""

    name: str
    text: str
    source: str
    embedded: bool


def write_report(
    results: AnalysisResults, folder: Path, embed: bool, form: str, config: VisualizationConfig
) -> None:
    """Write report, ``metrics.json`` and, unless embedded, the pictures.

    Raises:
        RequestError: the path ends like a file, or an unknown format.
    """
    if form not in ("html", "markdown"):
        raise RequestError(f"format is {form!r}; use 'html' or 'markdown'")
    if folder.suffix.lower() in _FILES:
        raise RequestError(
            f"output_dir {str(folder)!r} looks like a file path (it ends in {folder.suffix!r}); "
            "give a folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    results.to_json(folder / "metrics.json")
    pictures = list(_pictures(results, folder, embed, config))
    name, template = ("report.html", "page.html") if form == "html" else ("report.md", "page.md")
    page = render(results, pictures, template)
    (folder / name).write_text(page, encoding="utf-8", errors="replace")
    logger.info("Report written to %s", folder / name)


def render(results: AnalysisResults, pictures: list[Picture], template: str) -> str:
    """Return the text of a report. Every value is escaped; nothing is asked of the network."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        # Markdown has a filter of its own.
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, cell=_cell)
    return environment.get_template(template).render(
        results=results,
        meaning=_MEANING.get(results.behavior, ""),
        pictures=pictures,
        rows=list(_rows(results)),
        legacy=list(_legacy(results)),
        theme=THEMES["light"],
        dark=THEMES["dark"],
    )


def _rows(results: AnalysisResults) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and remark of each number."""
    why = results.reason or results.interval_reason
    yield (
        "Convergence Ratio",
        _number(results.convergence_ratio),
        _between(results.convergence_interval, why),
    )
    yield (
        "Lyapunov Exponent (λ, per epoch)",
        _number(results.lyapunov),
        _between(results.lyapunov_interval, why),
    )
    yield "λ by least squares, early epochs", _number(results.lyapunov_slope), results.reason
    yield "Early/late ratio", _number(results.early_late_ratio), "above 1: it happens early"
    dimension = _number(results.effective_dimensionality)
    yield "Effective Dimensionality", dimension, "participation ratio, mean over windows"
    yield "Trajectories", str(results.n_trajectories), "number 0 is not perturbed"
    yield "Checkpoints", str(results.n_checkpoints), "the initial state included"
    yield "Parameters", f"{results.n_parameters:,}", "trainable weights"


def _legacy(results: AnalysisResults) -> Iterator[tuple[str, str]]:
    if isfinite(results.legacy_convergence_ratio) or isfinite(results.legacy_lyapunov):
        yield "its convergence ratio", _number(results.legacy_convergence_ratio)
        yield "its λ", _number(results.legacy_lyapunov)


def _between(interval: tuple[float, float], why: str) -> str:
    if not all(isfinite(x) for x in interval):
        return why
    return f"95 % interval {_number(interval[0])} to {_number(interval[1])}"


def _number(value: float | None) -> str:
    return "–" if value is None or not isfinite(value) else f"{value:.4g}"


def _cell(value: object) -> str:
    """Return text that cannot leave its place in Markdown nor be read as HTML."""
    text = str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join("".join(f"\\{c}" if c in "\\`*_[]|#!" else c for c in text).split())


def _pictures(
    results: AnalysisResults, folder: Path, embed: bool, config: VisualizationConfig
) -> Iterator[Picture]:
    band = config.show_confidence_bands
    plan: tuple[tuple[str, str, Callable[[Axes], Figure]], ...] = (
        (
            "trajectories",
            "The copies in their principal components. Hollow: start, filled: end.",
            lambda ax: results.plot_trajectories(ax, colormap=config.colormap),
        ),
        (
            "convergence",
            "Spread in full weight space over the epochs, with its interval.",
            lambda ax: results.plot_convergence(ax, show_confidence_bands=band),
        ),
        (
            "lyapunov",
            "Growth of ln spread from checkpoint to checkpoint. Above 0 the copies part.",
            results.plot_lyapunov,
        ),
    )
    kind = config.figure_format
    inside = "svg" if kind == "svg" else "png"
    for name, text, draw in plan:
        data = _drawn(draw, inside if embed else kind, config.figure_dpi)
        if embed:
            code = base64.b64encode(data).decode("ascii")
            yield Picture(name, text, f"data:{_TYPES[inside]};base64,{code}", True)
        else:
            (folder / f"{name}.{kind}").write_bytes(data)
            yield Picture(name, text, f"{name}.{kind}", kind != "pdf")


def _drawn(draw: Callable[[Any], Figure], kind: str, dpi: int) -> bytes:
    """Draw without pyplot, so that no window opens and no figure stays behind."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    draw(figure.add_subplot())
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=dpi)
    return buffer.getvalue()
