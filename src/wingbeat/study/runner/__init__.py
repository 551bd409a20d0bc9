"""Runners: this process, several, a Ray cluster, Slurm, or one of somebody else's.

A runner is one file: a class with `Runner`'s ``map``, and a function under `runner` that makes it.
"""

from wingbeat.study.runner.inline import InlineRunner
from wingbeat.study.runner.processes import ProcessRunner, processors
from wingbeat.study.runner.protocol import Runner, Work
from wingbeat.study.runner.registry import RUNNERS, RunnerKind, make_runner, runner

__all__ = [
    "RUNNERS",
    "InlineRunner",
    "ProcessRunner",
    "Runner",
    "RunnerKind",
    "Work",
    "make_runner",
    "processors",
    "runner",
]
