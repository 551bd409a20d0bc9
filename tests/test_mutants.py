"""The list of planted faults is about the source as it is; `tests.mutants` runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the folder of the tests has a package of that name

from tests.mutants.__main__ import FAULTS  # noqa: E402
from tests.mutants.faults import Fault  # noqa: E402


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_a_fault_has_its_place_and_its_tests(fault: Fault) -> None:
    text = (ROOT / "src" / "wingbeat" / fault.file).read_text(encoding="utf-8")
    assert text.count(fault.old) == 1
    assert fault.old != fault.new
    assert all((ROOT / "tests" / name).is_file() for name in fault.tests)


def test_there_are_forty_and_each_has_a_name() -> None:
    assert len({f.name for f in FAULTS}) == len(FAULTS) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("word", ["highest", "λ per epoch", "the edge ratio"])
def test_the_faults_that_once_survived_are_noticed(word: str) -> None:
    """One process a fault; ``make mutants`` plants them all."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.mutants", word], cwd=ROOT, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stdout.decode()
