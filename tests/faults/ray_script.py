"""What the tests do with Ray, as a script: each test gives it a process and a time bound.

python ray_script.py conformance
python ray_script.py node_loss FOLDER SEED KILLS
"""

from __future__ import annotations

import os
import random
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

# Before Ray is imported: loopback is its address, and nothing is reported to anyone.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
sys.path[:0] = [str(Path(__file__).parents[1] / "study"), str(Path(__file__).parent)]

import pytest  # noqa: E402
import ray  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402
from study_tasks import echo  # noqa: E402

from wingbeat.errors import RequestError  # noqa: E402
from wingbeat.study.condition import Condition  # noqa: E402
from wingbeat.study.grid import cross  # noqa: E402
from wingbeat.study.ledger import Ledger  # noqa: E402
from wingbeat.study.run import run_study  # noqa: E402
from wingbeat.study.runner.ray import RayRunner  # noqa: E402
from wingbeat.testing import RunnerConformance  # noqa: E402

NODE = {
    "num_cpus": 1,
    "node_ip_address": "127.0.0.1",
    "include_dashboard": False,
    "object_store_memory": 80_000_000,
}


@contextmanager
def cluster(nodes, head_cpus=1):
    """Two or more nodes on this machine, and this process connected to them."""
    found = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": head_cpus})
    try:
        others = [found.add_node(**NODE) for _ in range(nodes - 1)]
        ray.init(address=found.address, log_to_driver=False)
        yield found, others
    finally:
        ray.shutdown()
        found.shutdown()


class Suite(RunnerConformance):
    ahead = 8

    def make_runner(self):
        return RayRunner()


def conformance():
    with cluster(1, head_cpus=2):
        for name in sorted(vars(RunnerConformance)):
            if name.startswith("test_"):
                getattr(Suite(), name)()
        resources()


def resources():
    """Unknown resources are refused; what no node has is said, and does not wait unseen."""
    one = cross(Condition("study_tasks:line"), {"seed": [0]})
    with pytest.raises(RequestError, match="num_cpu"):
        list(RayRunner(resources={"num_cpu": 1}).map(echo, one))
    with pytest.warns(UserWarning, match=r"GPU 1 \(most: 0\)"):
        RayRunner(resources={"num_gpus": 1})._sized(ray.remote(echo), one[0])
    (found,) = RayRunner(resources=lambda condition: {"num_cpus": 2}).map(echo, one)
    assert found.status == "done"


def twelve():
    """Twelve conditions that take a moment each, so that a node is lost in their middle."""
    start = Condition("study_tasks:slow_line", {"seconds": 0.4}, replicas=3, metrics=("l2",))
    return cross(start, {"arguments.lr": [0.05, 0.1, 0.2], "seed": [0, 1, 2, 3]})


def node_loss(folder, seed, kills):
    """Lose a node at random moments of a study; its table is that of a run without losses."""
    folder, draw, hits, studies = Path(folder), random.Random(int(seed)), 0, 0
    assert run_study(twelve(), folder / "whole").failures == ()
    expected = (folder / "whole" / "table.parquet").read_bytes()
    with cluster(3, head_cpus=0) as (nodes, others):
        while hits < int(kills):
            out, studies = folder / f"ray-{studies}", studies + 1
            hits += study_without_a_node(out, nodes, others, draw.uniform(0.5, 6.0))
            assert (out / "table.parquet").read_bytes() == expected
            others.append(nodes.add_node(**NODE))
            assert studies <= 2 * int(kills) + 3, "the losses do not hit"
    print(f"{hits} nodes lost in the middle of {studies} studies of 12 conditions")  # noqa: T201


def study_without_a_node(out, nodes, others, seconds):
    """Run the study and remove a node after some seconds; tell whether it was in the middle."""
    victim, left = others.pop(0), []

    def lose():
        left.extend(Ledger(out).left(twelve()))
        nodes.remove_node(victim, allow_graceful=False)

    timer = threading.Timer(seconds, lose)
    timer.start()
    found = run_study(twelve(), out, RayRunner(), tries=4)
    timer.join()
    assert found.failures == (), found.failures
    assert Ledger(out).done() == {c.key for c in twelve()}
    return bool(left)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
