"""Slurm, by way of submitit: array jobs that go on where a time limit stopped them."""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Record
from wingbeat.study.runner.processes import processors
from wingbeat.study.runner.registry import runner

if TYPE_CHECKING:
    from wingbeat.study.runner.protocol import Work

CLUSTERS = ("slurm", "local", "debug")


@dataclass(frozen=True)
class Requeued:
    """Work that Slurm may stop at its time limit and start again.

    The state of a run is on the disk, at most some seconds old, so that there is nothing to
    save when the signal comes: the same call goes on from it.

    Args:
        work: what is done with a condition.
    """

    work: Work

    def __call__(self, condition: Condition) -> Record:
        """Do one condition."""
        return self.work(condition)

    def checkpoint(self, condition: Condition) -> Any:
        """Return the call that goes on; submitit asks for it before the time limit."""
        return _library().helpers.DelayedSubmission(self, condition)


class SlurmRunner:
    """Does conditions as Slurm jobs, many in one array; needs a disk that all nodes share.

    Args:
        folder: where job files and logs go, on that disk. They are submitit's own (pickled) and
            hold no results; the folder may be deleted after the study.
        cluster: "slurm"; "local" runs each job in a process of this machine and "debug" in this
            process, both for trying things out. None takes Slurm where it is there, else "local".
        workers: conditions at a time; None leaves it to Slurm.
        array: jobs in one array; clusters allow 1001 by default.
        restarts: how often a job may run into its time limit and go on.
        poll: seconds between looks at the jobs.
        options: of ``submitit.AutoExecutor.update_parameters``, such as ``{"timeout_min": 240,
            "slurm_partition": "gpu", "gpus_per_node": 1, "mem_gb": 8}``.

    Raises:
        RequestError: submitit is not installed, or an argument is out of range.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        cluster: str | None = None,
        workers: int | None = None,
        array: int = 1000,
        restarts: int = 20,
        poll: float = 1.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        for name, value in (("workers", workers), ("array", array)):
            if value is not None and value < 1:
                raise RequestError(f"{name} is {value!r}: use a whole number of at least 1")
        if cluster not in (None, *CLUSTERS):
            raise RequestError(f"cluster is {cluster!r}: use one of {', '.join(CLUSTERS)}")
        self.folder, self.cluster, self.workers = Path(folder), cluster, workers
        self.array, self.restarts, self.poll = array, restarts, poll
        self.options = dict(options or {})
        self._submitit = _library()

    def map(self, work: Work, conditions: Iterable[Condition]) -> Iterator[Record]:
        """Yield the records as they come; jobs are cancelled when the iteration ends early."""
        executor, waiting = self._executor(), iter(conditions)
        on_slurm = executor.cluster == "slurm"
        # Slurm queues; elsewhere every job is a process that starts at once.
        room = float("inf") if on_slurm else self.workers or processors()
        running = dict[Any, tuple[Condition, float]]()
        try:
            while True:
                while len(running) < room:
                    batch = list(itertools.islice(waiting, self.array if on_slurm else 1))
                    if not batch:
                        break
                    # Work that cannot go on is not begun again at its time limit: it would
                    # meet it again.
                    again = Requeued(work) if getattr(work, "goes_on", True) else work
                    jobs = executor.map_array(again, batch)
                    since = time.monotonic()
                    running |= {j: (c, since) for j, c in zip(jobs, batch, strict=True)}
                if not running:
                    return
                ended = [job for job in running if job.done()]
                for job in ended:
                    yield self._received(job, *running.pop(job))
                if not ended:
                    time.sleep(self.poll)
        finally:
            for job in running:
                job.cancel(check=False)

    def _executor(self) -> Any:
        executor = self._submitit.AutoExecutor(
            self.folder,
            cluster=self.cluster,
            slurm_max_num_timeout=self.restarts,
            local_max_num_timeout=self.restarts,
        )
        own: dict[str, Any] = {"name": "wingbeat", "cpus_per_task": 1, "timeout_min": 60}
        if executor.cluster == "slurm" and self.workers is not None:
            own["slurm_array_parallelism"] = self.workers
        try:
            executor.update_parameters(**{**own, **self.options})
        except (NameError, TypeError, ValueError) as error:
            msg = f"options {self.options}: submitit does not take them ({error})"
            raise RequestError(msg) from error
        return executor

    def _received(self, job: Any, condition: Condition, since: float) -> Record:
        errors = self._submitit.core.utils
        try:
            record: Record = job.result()
        except (errors.FailedJobError, errors.UncompletedJobError, OSError) as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            words = f"the job {job.job_id} ended ({job.state}): {lines[0] if lines else ''}"
            return Record(condition.key, "died", words, time.monotonic() - since)
        return record


def _library() -> Any:
    try:
        return importlib.import_module("submitit")
    except ImportError as error:
        msg = "the runner 'slurm' needs submitit: pip install 'wingbeat[slurm]'"
        raise RequestError(msg) from error


@runner(
    "slurm", takes=("workers", "resources", "folder"), caption="Array jobs of Slurm, by submitit."
)
def make_slurm(
    workers: int | None = None,
    resources: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> SlurmRunner:
    """Return the runner of Slurm, with its job files in a folder that all nodes see."""
    return SlurmRunner(folder or Path("jobs"), workers=workers, options=resources)
