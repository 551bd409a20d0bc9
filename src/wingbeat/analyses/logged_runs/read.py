"""Find the logs of runs, whichever tracker wrote them."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from wingbeat.analyses.logged_runs.formats import FORMATS
from wingbeat.analyses.logged_runs.runs import LoggedRuns
from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wingbeat.analyses.logged_runs.formats import LogFormat
    from wingbeat.analyses.logged_runs.one_run import LoggedRun


def read_runs(
    places: str | Path | Sequence[str | Path], *, tracker: str | None = None
) -> LoggedRuns:
    r"""Read what trackers logged of several seeds: curves with intervals, and two recipes compared.

    TensorBoard's event files, offline runs of Weights & Biases, MLflow's folders and databases,
    ``trainer_state.json`` of Hugging Face's Trainer and tables of comma-separated values are found
    by their names and read without these packages. All event files of a folder are one run, and so
    are all checkpoints of a Trainer's folder. The seed of a run is what its configuration calls
    ``seed``, else a part of its path such as ``seed-3``.

    Args:
        places: folders, files, or patterns such as ``"logs/**"``; folders are searched through.
        tracker: read "tensorboard", "wandb", "mlflow", "trainer" or "csv" alone, where several
            trackers logged the same runs.

    Raises:
        RequestError: nothing is there, no run is found, or no such tracker.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> for recipe, gain in (("a", 0.0), ("b", 0.1)):
        ...     for seed in range(4):
        ...         place = Path(folder.name, recipe, f"seed-{seed}")
        ...         place.mkdir(parents=True)
        ...         rows = f"step,accuracy\n10,{0.5 + gain}\n20,{0.6 + gain + seed / 100}\n"
        ...         _ = Path(place, "metrics.csv").write_text(rows)
        >>> a, b = read_runs(f"{folder.name}/a/**"), read_runs(f"{folder.name}/b/**")
        >>> a.curve("accuracy")[["step", "n", "mean"]].values.tolist()
        [[10.0, 4.0, 0.5], [20.0, 4.0, 0.615]]
        >>> print(b.against(a, "accuracy", paired=False))
        accuracy at step 20: B is better: +0.1 [0.0777, 0.122] (95 %, 4 and 4 runs, p = 3.44e-05)
        >>> folder.cleanup()
    """
    names = [f.NAME for f in FORMATS]
    if tracker is not None and tracker not in names:
        raise RequestError(f"tracker is {tracker!r}: use one of {names}")
    wanted = [f for f in FORMATS if tracker in (None, f.NAME)]
    asked = [places] if isinstance(places, str | Path) else list(places)
    groups: dict[tuple[int, Path], list[Path]] = {}
    for path in _files(asked):
        place = next((n for n, one in enumerate(wanted) if one.takes(path)), None)
        if place is not None:
            groups.setdefault((place, wanted[place].run_of(path)), []).append(path)
    runs: list[LoggedRun] = []
    notes: list[str] = []
    for (place, folder), files in groups.items():
        runs += _read(wanted[place], folder, files, notes)
    if not runs:
        told = f" ({'; '.join(notes[:3])})" if notes else ""
        kinds = "event files, .wandb, mlruns, trainer_state.json, .csv"
        raise RequestError(f"{_shown(asked)} holds no logged run{told}: looked for {kinds}")
    return LoggedRuns(_renamed(runs), tuple(notes))


def _files(places: Iterable[str | Path]) -> list[Path]:
    """Return all files, each once, in the order of their names."""
    found: dict[Path, Path] = {}
    for place in places:
        matches = [str(place)] if Path(place).exists() else _matches(str(place))
        if not matches:
            raise RequestError(f"{str(place)!r} matches no file or folder")
        for match in sorted(matches):
            for path in _below(Path(match)):
                found.setdefault(path.resolve(), path)
    return [found[place] for place in sorted(found)]


def _matches(pattern: str) -> list[str]:
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207  (a pattern may begin anywhere)
    return [match for match in found if Path(match).exists()]  # "none/**" matches "none/"


def _below(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    return sorted(Path(top, name) for top, _, names in os.walk(path) for name in names)


def _read(one: LogFormat, folder: Path, files: Sequence[Path], notes: list[str]) -> list[LoggedRun]:
    try:
        found = one.read(folder, files)
    except (ValueError, KeyError, OSError) as error:
        notes.append(f"{folder} was left out: as a log of {one.NAME}, {error}")
        return []
    return [run for run in found if run.values]


def _renamed(runs: list[LoggedRun]) -> tuple[LoggedRun, ...]:
    """Take what all names begin with off them, and number those that are alike."""
    folders = {Path(run.name).parent.as_posix() for run in runs}
    shared = os.path.commonpath(folders) if len(runs) > 1 and len(folders) > 0 else ""
    seen: dict[str, int] = {}
    for run in runs:
        own = Path(run.name)
        name = own.relative_to(shared).as_posix() if own.is_relative_to(shared) else run.name
        seen[name] = seen.get(name, 0) + 1
        run.name = name if seen[name] == 1 else f"{name} [{seen[name]}]"
    return tuple(runs)


def _shown(places: Sequence[str | Path]) -> str:
    return ", ".join(repr(str(p)) for p in places[:3]) + (" …" if len(places) > 3 else "")
