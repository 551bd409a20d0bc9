"""A Ray cluster, by Ray core alone: a task for each condition.

Records are a few words; tables and weights go to the study's folder or to its store, never
through Ray's object store or the memory of the driver.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingbeat.errors import RequestError, RunError
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Record
from wingbeat.study.runner.processes import processors
from wingbeat.study.runner.registry import runner

if TYPE_CHECKING:
    from wingbeat.study.runner.protocol import Work

Resources = Mapping[str, Any] | Callable[[Condition], Mapping[str, Any]]
LOOPBACK = "127.0.0.1"
AHEAD = 2
"""Tasks handed to Ray for each processor of the cluster: enough to keep every node busy."""

COUNTED = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
"""Names of the options of ``ray.remote``, and of the resources that they take."""
CANCEL_SECONDS = 30
"""How long we wait for tasks that were cancelled."""


@dataclass
class _Task:
    """A condition that Ray works on."""

    condition: Condition
    since: float
    losses: int = 0


class RayRunner:
    """Does conditions as tasks of a Ray cluster.

    A task whose worker process dies gives a record with status "died". A task whose node is
    lost is handed out again, which does not count as an attempt, up to ``losses`` times.

    Args:
        address: of a running cluster, as ``ray.init`` takes it ("auto", "host:6379",
            "ray://host:10001"). None uses the cluster that this process is connected to, or else
            starts one on this machine, on loopback only.
        workers: conditions at a time; None takes what the cluster has room for.
        resources: options of ``ray.remote`` for a task, such as ``{"num_cpus": 1,
            "num_gpus": 0.5, "memory": 2e9}``, or a function that gives them for a condition. The
            default is one processor, and one GPU where the condition's device is "cuda".
        losses: how often a condition may lose its node.
        runtime_env: handed to ``ray.init``, for instance ``{"working_dir": "."}``.

    Raises:
        RequestError: Ray is not installed, an argument is out of range, or Ray refuses the
            resources.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | None = None,
        resources: Resources | None = None,
        losses: int = 3,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise RequestError(f"workers is {workers!r}: use a whole number of at least 1")
        if losses < 0:
            raise RequestError(f"losses is {losses!r}: use 0 or more")
        self.address, self.workers, self.losses = address, workers, losses
        self.resources = default_resources if resources is None else resources
        self.runtime_env = dict(runtime_env or {})
        self._ray = _library(local=address is None)

    def map(self, work: Work, conditions: Iterable[Condition]) -> Iterator[Record]:
        """Yield the records as they come; tasks under way are cancelled when the iteration ends."""
        with self._connected():
            yield from self._map(work, conditions)

    def _map(self, work: Work, conditions: Iterable[Condition]) -> Iterator[Record]:
        ray, waiting = self._ray, iter(conditions)
        task, running = ray.remote(max_retries=0)(remotely), dict[Any, _Task]()

        def start(condition: Condition, losses: int = 0) -> None:
            payload = pickle.dumps((work, condition))
            handle = self._sized(task, condition).remote(sys.path, payload)
            running[handle] = _Task(condition, time.monotonic(), losses)

        try:
            while True:
                while len(running) < self._room():
                    if (condition := next(waiting, None)) is None:
                        break
                    start(condition)
                if not running:
                    return
                ready, _ = ray.wait(list(running), num_returns=1, timeout=10)
                for handle in ready:
                    there = running.pop(handle)
                    record = self._received(handle, there)
                    if record is None:
                        start(there.condition, there.losses + 1)
                    else:
                        yield record
        finally:
            for handle in running:
                ray.cancel(handle, force=True)
            if running:  # cancelling only asks: nothing may still write when we return
                ray.wait(list(running), num_returns=len(running), timeout=CANCEL_SECONDS)

    def _received(self, handle: Any, task: _Task) -> Record | None:
        """Return what a task gave; None where its node was lost and it may go again."""
        errors, seconds = self._ray.exceptions, time.monotonic() - task.since
        key = task.condition.key
        try:
            record: Record = self._ray.get(handle)
        except (errors.NodeDiedError, errors.ObjectLostError) as error:
            if task.losses < self.losses:
                return None
            return Record(key, "died", f"lost its node: {_first_line(error)}", seconds)
        except errors.RayTaskError as error:
            return Record(key, "failed", str(error).strip().splitlines()[-1], seconds)
        except errors.RayError as error:
            return Record(key, "died", _first_line(error), seconds)
        return record

    def _sized(self, task: Any, condition: Condition) -> Any:
        """Return the task with what the condition needs; warn where no node has as much."""
        given = self.resources(condition) if callable(self.resources) else self.resources
        options = {"num_cpus": 1, **given}
        try:
            sized = task.options(**options)
        except (TypeError, ValueError) as error:
            msg = f"resources {options}: Ray does not take them ({_first_line(error)})"
            raise RequestError(msg) from error
        if lacking := self._lacking(options):
            warnings.warn(
                f"no node of the cluster has {lacking}: conditions wait until one joins",
                stacklevel=2,
            )
        return sized

    def _lacking(self, options: Mapping[str, Any]) -> str:
        """Return what no node that is alive has enough of, or an empty text."""
        wanted = {ours: options.get(theirs, 0) for theirs, ours in COUNTED.items()}
        wanted |= options.get("resources") or {}
        most: dict[str, float] = {}
        for node in self._ray.nodes():
            for name, amount in node["Resources"].items() if node["Alive"] else ():
                most[name] = max(amount, most.get(name, 0.0))
        return ", ".join(
            f"{name} {amount:g} (most: {most.get(name, 0.0):g})"
            for name, amount in wanted.items()
            if amount > most.get(name, 0.0)
        )

    def _room(self) -> int:
        if self.workers is not None:
            return self.workers
        # Asked each time: a cluster grows and shrinks.
        return AHEAD * max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Connect to the cluster; leave it as it was found."""
        if self._ray.is_initialized():
            yield
            return
        options: dict[str, Any] = {"log_to_driver": False, "runtime_env": self.runtime_env or None}
        if self.address is None:
            count = self.workers or processors()
            options |= {"num_cpus": count, "include_dashboard": False}
            options["_node_ip_address"] = LOOPBACK
        else:
            options["address"] = self.address
        try:
            self._ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            msg = f"Ray cannot be reached at {self.address or LOOPBACK}: {_first_line(error)}"
            raise RunError(msg) from error
        try:
            yield
        finally:
            self._ray.shutdown()


def default_resources(condition: Condition) -> dict[str, Any]:
    """Return one processor, and one GPU for a condition on "cuda".

    Example:
        >>> default_resources(Condition("m:f", device="cuda"))
        {'num_cpus': 1, 'num_gpus': 1}
    """
    gpu = {"num_gpus": 1} if condition.device.startswith("cuda") else {}
    return {"num_cpus": 1, **gpu}


def remotely(paths: list[str], payload: bytes) -> Record:
    """Do one condition on a node; the driver's import paths that exist there are added."""
    sys.path += [p for p in paths if p not in sys.path and Path(p).exists()]
    work, condition = pickle.loads(payload)  # noqa: S301  (our own, from the driver)
    record: Record = work(condition)
    return record


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _library(*, local: bool) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if local:  # without it, a cluster on loopback waits for another address
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        msg = "the runner 'ray' needs Ray: pip install 'wingbeat[ray]'"
        raise RequestError(msg) from error


@runner(
    "ray",
    takes=("workers", "ray_address", "resources"),
    caption="Tasks of a Ray cluster, or of Ray on this machine.",
)
def make_ray(
    workers: int | None = None,
    ray_address: str | None = None,
    resources: Mapping[str, Any] | None = None,
) -> RayRunner:
    """Return the runner of a Ray cluster; None as address starts one on this machine."""
    return RayRunner(ray_address, workers=workers, resources=resources)
