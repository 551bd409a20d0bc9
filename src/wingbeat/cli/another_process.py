"""Run a task once more in a process of its own: what only a new process shows.

The time, the order of a set, a random generator that nobody seeds, and what a file does when it
is imported are the same for all runs of one process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wingbeat.execution.verify import Verification

_HASHES = "PYTHONHASHSEED"
_CLOCK = (
    "the time, a number of the process, or a random generator that is not seeded decides: seed it "
    "in the factory, or in what builds the model"
)


def beside_another(
    found: Verification, place: str, arguments: dict[str, Any], *, steps: int | None, every: int
) -> Verification:
    """Add to a verification what the same run in another process gives.

    Where the two differ, two processes more are asked, with hashes that are not random: do they
    agree, the order of a set or of ``hash()`` is the cause.

    Args:
        found: what this process found.
        place: ``module:factory`` of the task.
        arguments: of the factory.
        steps: as they were asked for.
        every: steps between digests.
    """
    from wingbeat.execution.verify import Break, first_break

    facts = found.environment
    order = {
        "place": place,
        "arguments": arguments,
        "steps": steps,
        "every": every,
        "driver": facts["driver"],
        "dtype": str(facts["dtype"]).removeprefix("torch."),
        "device": facts["device"],
    }
    other = _trail(order)
    if "failed" in other:
        return replace(found, process=Break(0, "none", 1), cause=f"it failed: {other['failed']}")
    if other["environment"].get("mode") != facts.get("mode"):  # chosen by a clock, nothing cached
        return replace(found, cause="another process runs it in another mode: not compared")
    differs = first_break(found.trail, other["trail"])
    if differs is None:
        return found
    return replace(found, process=differs, cause=_cause(found, other, order))


def _cause(found: Verification, other: dict[str, Any], order: dict[str, Any]) -> str:
    from wingbeat.task.describe import difference

    what = difference(_plain(found.condition), _plain(other["condition"]))
    said = f"the task itself is another one ({what}); " if what else ""
    if os.environ.get(_HASHES, "random") != "random":
        return f"{said}{_CLOCK}"
    trails = [_trail(order, {_HASHES: "0"}).get("trail") for _ in range(2)]
    if trails[0] is None or trails[0] != trails[1]:
        return f"{said}{_CLOCK}"
    return (
        f"{said}with {_HASHES}=0 it repeats itself: the order of a set or of hash() decides. Sort "
        f"it, or set {_HASHES}=0 for every run"
    )


def _plain(condition: dict[str, Any]) -> Any:
    return json.loads(json.dumps(condition))


def _trail(order: dict[str, Any], settings: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the trail that another process leaves, or why it ``failed``."""
    done = subprocess.run(
        [sys.executable, "-m", "wingbeat.cli.another_process"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(settings or {})},
    )
    if done.returncode or not done.stdout:
        return {"failed": (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Read an order from standard input, and write the trail to standard output."""
    from wingbeat.cli import parse
    from wingbeat.execution.verify import leave_trail
    from wingbeat.files import strict_json

    order, out, sys.stdout = json.load(sys.stdin), sys.stdout, sys.stderr
    task = parse.load_task(order.pop("place"), order.pop("arguments"))
    dtype = parse.parse_dtype(order.pop("dtype"))
    out.write(strict_json(leave_trail(task, dtype=dtype, **order)))


if __name__ == "__main__":
    main()
