"""Studies: many conditions, each plain JSON with a content key, run once and never again.

A ``Condition`` is one cell, a ``Study`` is many of them, the ``Ledger`` remembers what is done, a
``Runner`` maps the work over what is left, and ``run_study`` puts the three together.
"""

from wingbeat.study.condition import Condition
from wingbeat.study.grid import cross, unique
from wingbeat.study.ledger import Ledger, Record
from wingbeat.study.outcome import StudyResult
from wingbeat.study.run import run_study
from wingbeat.study.runner import InlineRunner, ProcessRunner, Runner, make_runner
from wingbeat.study.study import Study

__all__ = [
    "Condition",
    "InlineRunner",
    "Ledger",
    "ProcessRunner",
    "Record",
    "Runner",
    "Study",
    "StudyResult",
    "cross",
    "make_runner",
    "run_study",
    "unique",
]
