"""What the calibration compares, what it finds here, and that it notices what is wrong."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from wingbeat.calibration import CHECKS, ClosedForm, calibrate, check
from wingbeat.calibration.checks import exponents, sharpness, thresholds
from wingbeat.cli.main import app
from wingbeat.errors import RequestError
from wingbeat.plugins import origin

PAGE = (Path(__file__).parents[2] / "docs" / "calibration.md").read_text(encoding="utf-8")
OURS = [n for n in CHECKS.names() if origin(CHECKS.find(n)).startswith("wingbeat.")]
CHEAP = [name for name in OURS if name not in ("coverage", "twin", "exponents")]


@pytest.fixture(scope="module")
def found():
    return calibrate(OURS)


@pytest.mark.slow
def test_everything_agrees_here(found):
    wrong = found.table[found.table.verdict != "agrees"]
    assert wrong.empty, wrong.to_string()
    assert found.agrees
    assert set(found.table.check) == set(found.seconds) == set(OURS)
    assert len(found.table) >= 50


@pytest.mark.slow
def test_ten_systems_and_more_have_exponents(found):
    quantities = found.table[found.table.check == "exponents"].quantity
    systems = {re.split(r", (?:λ|sum|ln)|[,] ", q)[0] for q in quantities}
    assert len(systems) >= 12


def test_the_page_names_every_check():
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.M)
    assert sorted(rows) == sorted(OURS)


@pytest.mark.parametrize("name", CHEAP)
def test_single_precision_agrees_too(name):
    found = calibrate([name], dtype=torch.float32)
    assert found.agrees, found.table.to_string()
    assert found.environment["dtype"] == "float32"


@pytest.mark.parametrize(
    ("value", "tolerance", "verdict"),
    [
        (1.0, 0.0, "agrees"),
        (1.0 + 1e-9, 1e-8, "agrees"),
        (1.0 + 1e-7, 1e-8, "differs"),
        (math.nan, 1.0, "differs"),
        (math.inf, math.inf, "differs"),
    ],
)
def test_a_verdict_is_within_its_tolerance(value, tolerance, verdict):
    assert ClosedForm("one", 1.0, value, tolerance).verdict == verdict


def test_a_wrong_exponent_is_noticed(monkeypatch):
    monkeypatch.setattr(
        exponents, "_henon", lambda s, _: torch.stack([1 - 1.4 * s[0] ** 2 + s[1], 0.31 * s[0]])
    )
    table = calibrate(["exponents"]).table.set_index("quantity")
    assert table.verdict["Hénon map, λ1 + λ2 = ln .3"] == "differs"
    assert table.verdict["Ikeda map, λ1 + λ2 = 2 ln .9"] == "agrees"


def test_a_wrong_curvature_is_noticed(monkeypatch):
    right = sharpness.eigenpairs

    def low(operator, **options):  # as products that lose .1 % would
        pairs = right(operator, **options)
        pairs.values.mul_(0.999)
        return pairs

    monkeypatch.setattr(sharpness, "eigenpairs", low)
    assert set(calibrate(["sharpness"]).table.verdict) == {"differs"}


def test_a_wrong_threshold_is_noticed(monkeypatch):
    right = thresholds.threshold
    monkeypatch.setattr(
        thresholds, "threshold", lambda task: type(right(task))(right(task).value * 1.02, "", "")
    )
    assert "agrees" not in set(calibrate(["thresholds"]).table.verdict)


@pytest.fixture
def broken():
    @check("broken", "a check that cannot run")
    def one(place):
        yield ClosedForm("first", 1.0, 1.0, 0.0)
        raise RuntimeError("no kernel for this")

    yield one
    del CHECKS._things["broken"]


def test_a_check_that_fails_is_a_row_that_differs(broken):
    found = calibrate(["broken", "barriers"])
    failed = found.table[found.table.check == "broken"].iloc[-1]
    assert (failed.verdict, failed.why) == ("differs", "RuntimeError: no kernel for this")
    assert set(found.table[found.table.check == "barriers"].verdict) == {"agrees"}
    assert not found.agrees


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"only": ["exponent"]}, "exponents"),
        ({"dtype": torch.bfloat16}, "float64 or float32"),
        ({"device": "nowhere"}, "nowhere"),
    ],
)
def test_wrong_requests_are_refused_by_name(options, said):
    with pytest.raises(RequestError, match=said):
        calibrate(**options)


def test_the_command_line():
    done = CliRunner().invoke(app, ["calibrate", "--only", "barriers", "--only", "cka"])
    assert done.exit_code == 0, done.output
    assert "8 of 8 agree (cpu, float64" in done.output
    told = CliRunner().invoke(app, ["calibrate", "--only", "barriers", "--json"])
    document = json.loads(told.output)
    assert document["agrees"]
    assert document["environment"]["device"] == "cpu"
    assert document["table"][0]["expected"] == 0.25


def test_the_command_line_ends_in_1_where_something_differs(broken):
    done = CliRunner().invoke(app, ["calibrate", "--only", "broken"])
    assert done.exit_code == 1
    assert "DIFFERS (RuntimeError" in done.output
    document = json.loads(
        CliRunner().invoke(app, ["calibrate", "--only", "broken", "--json"]).output
    )
    assert document["table"][-1]["found"] is None


def test_the_pages_own_check():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names = {}
    try:
        exec(compile(code, "calibration.md", "exec"), names)
        assert names["found"].agrees, names["found"].table.to_string()
    finally:
        CHECKS._things.pop("tent", None)
