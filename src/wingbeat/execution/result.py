"""The result of a run: its table, its summary, its trajectories, and ways to look at them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingbeat.errors import StoreError, nearest
from wingbeat.execution.late_field import Late
from wingbeat.execution.no_run import said_of
from wingbeat.files import from_parquet, is_there, parquet, read_file, strict_json, write_bytes
from wingbeat.locks import holding, read_steadily
from wingbeat.measure.metric import own_codes
from wingbeat.measure.verdict import Verdict, of_all
from wingbeat.trajectory.store import FolderStore, MemoryStore, make_folder
from wingbeat.trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Result:
    """What a run measured.

    Attributes:
        table: tidy rows: metric, step, perturbation, a, b, layer, value, reason (and ``seed``
            where several base seeds were asked for).
        summary: scalars by name, JSON-safe, each ``{value, low, high, reason}``; those without
            a prefix are of the first perturbation, ``<perturbation>/<name>`` exist for all.
        condition: what was asked.
        environment: how it was executed.
        perturbations: what each fork did: magnitude asked and realised.
        trajectories: the recorded runs by base seed.
        warnings: what to read before any number.
        metrics: names that were measured.
        folder: where it lies on disk, or None.
    """

    if TYPE_CHECKING:
        table: pd.DataFrame
    else:
        table: Any = Late()
    summary: dict[str, dict[str, Any]]
    condition: dict[str, Any]
    environment: dict[str, Any]
    perturbations: list[dict[str, Any]]
    trajectories: dict[int, Trajectory] = field(repr=False)
    warnings: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    folder: Path | None = None

    def __repr__(self) -> str:
        return str(self)

    @property
    def trajectory(self) -> Trajectory:
        """The recorded run of the first base seed."""
        return next(iter(self.trajectories.values()))

    @property
    def labels(self) -> tuple[str, ...]:
        """Replica labels: "reference", "null", then the perturbed ones."""
        return self.trajectory.labels

    @property
    def steps(self) -> tuple[int, ...]:
        """Recorded steps, ascending."""
        return self.trajectory.steps

    @property
    def noise_floor(self) -> float:
        """The null twin's largest distance from the reference; 0 where execution repeats."""
        return _number(self.summary["noise_floor"])

    @property
    def deterministic(self) -> bool:
        """Whether the null twin stayed exactly equal to the reference."""
        return self.noise_floor == 0.0

    @property
    def convergence_ratio(self) -> float:
        """Final ÷ initial spread of the first perturbation, in full weight space; else NaN."""
        return _number(self.summary.get("convergence_ratio"))

    @property
    def lyapunov(self) -> float:
        """Finite-time exponent of the first perturbation, 1/step; > 0 = parting."""
        return _number(self.summary.get("lyapunov"))

    @property
    def lyapunov_per_epoch(self) -> float:
        """Finite-time exponent of the first perturbation, 1/epoch; > 0 = parting."""
        return _number(self.summary.get("lyapunov_per_epoch"))

    @property
    def behavior(self) -> str:
        """The verdict: "convergent", "divergent" or "undetermined" (the interval holds 1)."""
        return str(self.summary["behavior"]["value"])

    def verdict(self, perturbation: str | None = None) -> Verdict:
        """Return the verdict with what must be known to read it: see `Verdict`.

        Args:
            perturbation: its name; None means the first.
        """
        return Verdict.of(self.summary, perturbation)

    def __getitem__(self, perturbation: str) -> dict[str, float | str]:
        """Return the scalars of one perturbation by name; NaN where one is undefined.

        Args:
            perturbation: its name, as "gaussian-0.01@0".

        Raises:
            KeyError: there is no such perturbation; the message suggests the nearest.
        """
        prefix = f"{perturbation}/"
        known = [str(p["name"]) for p in self.perturbations]
        if perturbation not in known:
            raise KeyError(f"no perturbation {perturbation!r}: {nearest(str(perturbation), known)}")
        own = {k.removeprefix(prefix): v for k, v in self.summary.items() if k.startswith(prefix)}
        return {name: _plain(entry["value"]) for name, entry in own.items()}

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the perturbations."""
        return iter([str(p["name"]) for p in self.perturbations])

    def save(self, folder: str | Path) -> Path:
        """Write the result, its snapshots included, as a run folder that ``wb.load`` reads."""
        target = Path(folder)
        make_folder(target)
        with holding(target):
            self._write(target)
        return target

    def _write(self, target: Path) -> None:
        single = len(self.trajectories) == 1
        for seed, trajectory in self.trajectories.items():
            store = FolderStore(target if single else target / f"seed-{seed}", create=True)
            _refuse_others(store, trajectory.steps)
            for snapshot in trajectory:
                store.append(snapshot)
            store.seal()
            store.write_json("environment.json", self.environment)
        write_files(self, target)

    def report(self, path: str | Path) -> Path:
        """Write the report: one HTML page that opens offline."""
        from wingbeat.report import write_page

        return write_page(self, Path(path))

    def to_xarray(self, *, checks: bool = False) -> Any:
        """Return metrics of one copy each as an xarray data set: chain = copy, draw = step.

        Args:
            checks: include the reference and the unperturbed twin.

        Raises:
            RequestError: xarray is not installed, or no metric is of one copy.
        """
        from wingbeat.execution.chains import as_dataset

        return as_dataset(self.table, checks=checks)

    def plot_spread(self, ax: Axes | None = None) -> Axes:
        """Draw the spread over training on a log axis, with the noise floor."""
        return self._draw("plot_spread", ax)

    def plot_distance(self, ax: Axes | None = None) -> Axes:
        """Draw each replica's distance to the reference on a log axis."""
        return self._draw("plot_distance", ax)

    def plot_local_lyapunov(self, ax: Axes | None = None) -> Axes:
        """Draw the local growth rate of the spread."""
        return self._draw("plot_local_lyapunov", ax)

    def plot_trajectories(
        self, ax: Axes | None = None, components: tuple[int, ...] = (0, 1)
    ) -> Axes:
        """Draw all replicas' paths in two leading principal components."""
        return self._draw("plot_trajectories", ax, components=components)

    def plot_losses(self, ax: Axes | None = None, metric: str = "train_loss") -> Axes:
        """Draw the training loss, or another metric of each replica."""
        return self._draw("plot_losses", ax, metric=metric)

    def plot_layers(self, ax: Axes | None = None, perturbation: str | None = None) -> Axes:
        """Draw how far every layer is from the reference over training, as a heat map."""
        return self._draw("plot_layers", ax, perturbation=perturbation)

    def plot(
        self,
        metric: str,
        ax: Axes | None = None,
        *,
        perturbation: str | None = None,
        components: tuple[int, ...] = (0, 1),
    ) -> Axes:
        """Draw any metric that was measured, as the report does.

        Args:
            metric: its name, as "barrier", "accuracy", "cka" or one of your own; also "layers".
            ax: where; None opens a new pyplot figure.
            perturbation: of "layers": whose map; None means the first.
            components: of "pca": which.

        Raises:
            RequestError: the result holds no such metric; the message names those that it holds.
        """
        options = {"perturbation": perturbation, "components": components}
        return self._draw("plot_metric", ax, metric=metric, **options)

    def plot_barrier(self, ax: Axes | None = None) -> Axes:
        """Draw the loss barrier between each replica and the reference over training."""
        return self._draw("plot_metric", ax, metric="barrier")

    def plot_accuracy(self, ax: Axes | None = None) -> Axes:
        """Draw the accuracy of every replica on the evaluation data."""
        return self._draw("plot_metric", ax, metric="accuracy")

    def plot_cka(self, ax: Axes | None = None) -> Axes:
        """Draw how alike the activations of replicas and reference are over training."""
        return self._draw("plot_metric", ax, metric="cka")

    def _draw(self, name: str, ax: Axes | None, **options: Any) -> Axes:
        from wingbeat import report

        axes: Axes = getattr(report, name)(self, ax=ax, **options)
        return axes

    def _repr_html_(self) -> str:
        from wingbeat.report import notebook_html

        return notebook_html(self)

    def __str__(self) -> str:
        ratio, floor = self.summary.get("convergence_ratio", {}), self.noise_floor
        value = ratio.get("value")
        shown = f"{value:.3g}" if value is not None else f"undefined ({ratio.get('reason')})"
        if ratio.get("low") is not None:
            shown += f" [{ratio['low']:.3g}, {ratio['high']:.3g}]"
        found = self.verdict()
        first = "TRAINING FAILED; " if found.training_failed else ""
        grown = f", {found.grown} of {found.copies} copies grew" if found.copies else ""
        text = f"{self.behavior}: convergence ratio {shown}{grown}, noise floor {floor:.3g}"
        return f"{first}{text}"


def _refuse_others(store: FolderStore, steps: tuple[int, ...]) -> None:
    """Refuse to mix the snapshots of two runs in one folder."""
    others = sorted(set(store.steps()) - set(steps))
    if others:
        msg = f"{store.folder} holds snapshots of another run (step {others[0]}): save elsewhere"
        raise StoreError(msg)


def write_files(result: Result, folder: Path, codes: dict[str, str] | None = None) -> None:
    """Write table, summary and description of a result, each file all or nothing.

    Args:
        result: what to write.
        folder: where.
        codes: digests of the metrics that are not built in; by default of their code as it is.
    """
    codes = own_codes(result.metrics) if codes is None else codes
    store = FolderStore(folder, create=False)
    folder.mkdir(parents=True, exist_ok=True)
    table = parquet(result.table)
    write_bytes(folder / "table.parquet", table)
    store.write_json("condition.json", result.condition)
    store.write_json("environment.json", result.environment)
    store.write_json(
        "summary.json",
        {
            "summary": result.summary,
            "perturbations": result.perturbations,
            "warnings": list(result.warnings),
            "seeds": list(result.trajectories),
            "metrics": list(result.metrics),
            **({"metric_code": codes} if codes else {}),
            "table": hashlib.sha256(table).hexdigest(),
        },
    )


def is_intact(folder: Path, found: dict[str, Any]) -> bool:
    """Tell whether a folder has the table that belongs to its summary."""
    return _table_bytes(folder, found) is not None


def _table_bytes(folder: Path, found: dict[str, Any]) -> bytes | None:
    path = folder / "table.parquet"
    content = read_file(path) if is_there(path) else b""
    return content if hashlib.sha256(content).hexdigest() == found["table"] else None


def load(folder: str | Path) -> Result:
    """Read a finished run back from its folder.

    Raises:
        StoreError: the folder holds no finished run, or a file is damaged; the message names it.
    """
    place = Path(folder)
    return read_steadily(place, lambda: _loaded(place))


def _loaded(folder: Path) -> Result:
    store = FolderStore(folder)
    found = store.read_json("summary.json")
    if found is None:
        raise StoreError(said_of(folder))
    from wingbeat.execution.summary_file import WITHOUT_DIGESTS, checked  # late: pydantic

    summary = checked(found, folder / "summary.json")
    condition, environment = (_object(store, name) for name in ("condition", "environment"))
    return Result(
        table=_read_table(folder, found),
        summary=summary.summary,
        condition=condition,
        environment=environment,
        perturbations=found["perturbations"],
        trajectories=_trajectories(folder, condition, summary.seeds),
        warnings=(*summary.warnings, *([] if store.digested else [WITHOUT_DIGESTS])),
        metrics=tuple(summary.metrics),
        folder=folder,
    )


def _object(store: FolderStore, name: str) -> dict[str, Any]:
    found = store.read_json(f"{name}.json")
    if not isinstance(found, dict):
        what = "is missing" if found is None else f"holds a {type(found).__name__}, no object"
        raise StoreError(f"{store.folder / name}.json {what}: restore it from a copy")
    return found


def _trajectories(
    folder: Path, condition: dict[str, Any], seeds: Sequence[int]
) -> dict[int, Trajectory]:
    """Return the recorded runs: snapshots of ours, or the checkpoints of a script."""
    if "checkpoints" in condition:
        reference, null = condition.get("reference"), condition.get("null")
        pattern = condition["checkpoints"]
        found = Trajectory.from_checkpoints(pattern, reference=reference, null=null, check=False)
        return {0: found}
    single = (folder / "snapshots").is_dir()
    folders = {seed: folder if single else folder / f"seed-{seed}" for seed in seeds}
    return {
        seed: Trajectory(FolderStore(path).of_a_finished_run()) for seed, path in folders.items()
    }


def _read_table(folder: Path, found: dict[str, Any]) -> pd.DataFrame:
    content = _table_bytes(folder, found)  # once: another process may replace it at any moment
    if content is None:
        raise StoreError(
            f"{folder / 'table.parquet'} is missing or was altered: run the same command again; "
            "the table is made anew from the snapshots"
        )
    return from_parquet(content)


def _plain(value: Any) -> float | str:
    return value if isinstance(value, str) else float("nan") if value is None else float(value)


def _number(entry: dict[str, Any] | None) -> float:
    value = None if entry is None else entry["value"]
    return float("nan") if value is None else float(value)


def as_json(result: Result) -> str:
    """Return the summary as one JSON text, for machines."""
    return strict_json(
        {
            "behavior": result.behavior,
            "verdicts": {k: v.to_json() for k, v in of_all(result.summary).items()},
            "summary": result.summary,
            "perturbations": result.perturbations,
            "warnings": list(result.warnings),
            "folder": None if result.folder is None else str(result.folder),
        },
        sort_keys=True,
    )


__all__ = ["MemoryStore", "Result", "as_json", "load", "write_files"]
