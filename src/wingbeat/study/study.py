"""A study as it is asked for: conditions, how often each is tried, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition
from wingbeat.study.grid import unique
from wingbeat.study.outcome import StudyResult
from wingbeat.study.plan import StudyPlan, plan_study
from wingbeat.study.run import TRIES, Progress, run_study
from wingbeat.study.runner import Runner, make_runner


class Study:
    """Many conditions that belong together.

    Args:
        conditions: each a condition or several of them, such as a grid from ``cross``; repeated
            ones count once.
        name: shown, and the name of the default folder.
        tries: attempts at each condition before it is given up.
        seconds: time after which no further condition is begun; None for no limit.

    Raises:
        RequestError: there is no condition, or something else is given.

    Example:
        >>> from wingbeat.study import cross
        >>> start = Condition("wingbeat.tasks.dense:circles_task", {"epochs": 1}, replicas=3)
        >>> study = Study(cross(start, {"arguments.lr": [0.01, 0.02], "seed": [0, 1]}))
        >>> len(study.conditions)
        4
    """

    def __init__(
        self,
        *conditions: Condition | Iterable[Condition],
        name: str = "study",
        tries: int = TRIES,
        seconds: float | None = None,
    ) -> None:
        found: list[Condition] = []
        for entry in conditions:
            found.extend([entry] if isinstance(entry, Condition) else entry)
        for condition in found:
            if not isinstance(condition, Condition):
                raise RequestError(f"{condition!r} is no condition: give wingbeat.study.Condition")
        if not found:
            raise RequestError("a study needs at least one condition")
        self.conditions = tuple(unique(found))
        self.name, self.tries, self.seconds = name, tries, seconds

    @classmethod
    def from_file(cls, path: str | Path) -> Study:
        """Read a study file, TOML or YAML; see ``wingbeat.study.file``.

        Raises:
            RequestError: the file cannot be read, or asks for something that does not exist.
        """
        from wingbeat.study.file import read_study

        asked = read_study(Path(path))
        name = asked.name or Path(path).stem
        return cls(asked.conditions(), name=name, tries=asked.tries, seconds=asked.budget.seconds)

    def plan(
        self, out: str | Path | None = None, *, workers: int = 1, probes: int = 3
    ) -> StudyPlan:
        """Return what a run would do and cost; see ``plan_study``."""
        return plan_study(self.conditions, self._folder(out), workers=workers, probes=probes)

    def run(
        self,
        out: str | Path | None = None,
        runner: Runner | str = "inline",
        *,
        workers: int | None = None,
        keep_weights: bool = False,
        progress: Progress = lambda *_: None,
        store: str | None = None,
        pack: int | None = None,
    ) -> StudyResult:
        """Do what is left of the study; see ``run_study``.

        Args:
            out: folder; None takes ``runs/<name>``.
            runner: "inline", "processes", "ray", "slurm", or an object with their ``map``.
            workers: conditions at a time, for a runner given by name.
            keep_weights: keep the snapshots of finished conditions.
            progress: called at the end of every attempt.
            store: where workers that do not see ``out`` deliver their records.
            pack: most conditions that a worker takes at once; None chooses.
        """
        folder = self._folder(out)
        if isinstance(runner, str):
            runner = make_runner(runner, workers=workers, folder=folder / "jobs")
        return run_study(
            self.conditions,
            folder,
            runner,
            tries=self.tries,
            keep_weights=keep_weights,
            progress=progress,
            seconds=self.seconds,
            store=store,
            pack=pack,
        )

    def _folder(self, out: str | Path | None) -> Path:
        return Path("runs") / self.name if out is None else Path(out)
