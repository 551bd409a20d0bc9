"""What the report of an analysis says: its numbers, pictures and trajectories."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from wingbeat.deep_lyapunov.config import VisualizationConfig
from wingbeat.deep_lyapunov.numbers import PlainResults
from wingbeat.errors import RequestError
from wingbeat.files import write_bytes
from wingbeat.report.figures.table import Table
from wingbeat.report.pages.still import Part, Picture, StillPage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Drawing = Callable[[Axes], Figure]

logger = logging.getLogger("deep_lyapunov.results")

_FILES = (".json", ".html", ".md", ".txt", ".png")
_MEANING = {
    "convergent": "The copies end closer together than they began: the perturbation was damped.",
    "divergent": "The copies end further apart than they began: the perturbation was amplified.",
    "undetermined": "The run does not decide whether the copies part or come together.",
}
_CAPTIONS = {
    "trajectories": "The copies in their principal components. Hollow: start, filled: end.",
    "convergence": "Spread in full weight space over the epochs, with its interval.",
    "lyapunov": "Growth of ln spread from checkpoint to checkpoint. Above 0 the copies part.",
}
_METHOD = (
    "The spread is the root of the summed variances of all trainable weights over the copies. The "
    "ratio is the last spread divided by the first; λ is its logarithm per epoch. The verdict "
    "follows from the interval of the ratio, a bootstrap over the copies of this one "
    "initialization."
)
_LEGACY = (
    "For the same weights that library gives its convergence ratio {} and its λ {}. It projects to "
    "three principal components first and averages over copies and components together, so its "
    "numbers mix in the path that all copies share."
)


def write_report(
    results: PlainResults,
    drawings: Mapping[str, Drawing],
    folder: Path,
    embed: bool,
    form: str,
    config: VisualizationConfig,
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
    pictures = tuple(_picture(name, drawings[name], folder, embed, config) for name in _CAPTIONS)
    page = _page(results, pictures)
    name, text = ("report.html", page.html()) if form == "html" else ("report.md", page.markdown())
    write_bytes(folder / name, text.encode("utf-8", errors="replace"))
    logger.info("Report written to %s", folder / name)


def _page(results: PlainResults, pictures: tuple[Picture, ...]) -> StillPage:
    meaning = _MEANING.get(results.behavior, "")
    if results.reason:
        meaning += f" Ratio and exponent are undefined: {results.reason}."
    sections: list[tuple[str, tuple[Part, ...]]] = []
    if results.notes:
        sections.append(("Before you read the numbers", (tuple(results.notes),)))
    numbers = Table(("", "value", ""), tuple(_rows(results)))
    sections += [("Numbers", (numbers, _METHOD)), ("Pictures", pictures)]
    if results.trajectory_metrics:
        sections.append(("Trajectories", (_trajectories(results),)))
    legacy = (results.legacy_convergence_ratio, results.legacy_lyapunov)
    if any(map(isfinite, legacy)):
        said = _LEGACY.format(*map(_number, legacy))
        sections.append(("For comparison: deep-lyapunov 0.1.2", (said,)))
    return StillPage("Stability Analysis Report", results.behavior, meaning, tuple(sections))


def _rows(results: PlainResults) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and remark of each number."""
    why = results.reason or results.interval_reason
    for name, value, interval in (
        ("Convergence Ratio", results.convergence_ratio, results.convergence_interval),
        ("Lyapunov Exponent (λ, per epoch)", results.lyapunov, results.lyapunov_interval),
    ):
        known = all(map(isfinite, interval))
        between = f"95 % interval {_number(interval[0])} to {_number(interval[1])}"
        yield name, _number(value), between if known else why
    yield "λ by least squares, early epochs", _number(results.lyapunov_slope), results.reason
    yield "Early/late ratio", _number(results.early_late_ratio), "above 1: it happens early"
    dimension = _number(results.effective_dimensionality)
    yield "Effective Dimensionality", dimension, "participation ratio, mean over windows"
    yield "Trajectories", str(results.n_trajectories), "number 0 is not perturbed"
    yield "Checkpoints", str(results.n_checkpoints), "the initial state included"
    yield "Parameters", f"{results.n_parameters:,}", "trainable weights"


def _trajectories(results: PlainResults) -> Table:
    names = ("final_loss", "final_accuracy", "path_length", "velocity_mean", "velocity_std")
    rows = (
        (str(one.trajectory_id), *(_number(getattr(one, name)) for name in names))
        for one in results.trajectory_metrics
    )
    return Table(("trajectory", *(name.replace("_", " ") for name in names)), tuple(rows))


def _number(value: float | None) -> str:
    return "–" if value is None or not isfinite(value) else f"{value:.4g}"


def _picture(
    name: str, drawing: Drawing, folder: Path, embed: bool, config: VisualizationConfig
) -> Picture:
    """Draw without pyplot, so that no window opens and no figure stays behind."""
    from matplotlib.figure import Figure

    kind = config.figure_format
    if embed and kind == "pdf":
        kind = "png"  # a page can show no PDF
    figure, buffer = Figure(figsize=(7.2, 4.5), layout="constrained"), io.BytesIO()
    drawing(figure.add_subplot())
    figure.savefig(buffer, format=kind, dpi=config.figure_dpi)
    if embed:
        code = base64.b64encode(buffer.getvalue()).decode("ascii")
        media = "svg+xml" if kind == "svg" else kind
        return Picture(_CAPTIONS[name], f"data:image/{media};base64,{code}", embedded=True)
    write_bytes(folder / f"{name}.{kind}", buffer.getvalue())
    return Picture(_CAPTIONS[name], f"{name}.{kind}", embedded=kind != "pdf")
