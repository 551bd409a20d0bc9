"""The study: exact sizes, conditions, the claims' verdicts, and one small study end to end."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from dynamics_cases import made
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from wingbeat.cli.study import study as app
from wingbeat.errors import RequestError
from wingbeat.replicas.perturb import Gaussian
from wingbeat.report.figures.table import Table
from wingbeat.report.pages.table_text import latex, markdown
from wingbeat.studies.dynamics import STUDY
from wingbeat.studies.dynamics.claims import claims, count_verdict
from wingbeat.studies.dynamics.cost import expected_seconds
from wingbeat.studies.dynamics.estimates import DEFINITION_NAMES
from wingbeat.studies.dynamics.figures import sections
from wingbeat.studies.dynamics.found import DynamicsFindings, families_table, nets_table
from wingbeat.studies.dynamics.page import nets
from wingbeat.studies.dynamics.plan import SLOW, DynamicsPlan, conditions
from wingbeat.study.condition import named
from wingbeat.study.finished import over_seeds
from wingbeat.study.runner import InlineRunner
from wingbeat.study.verdicts import Claim
from wingbeat.tasks.architectures import ARCHITECTURES


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WINGBEAT_DATA", raising=False)
    monkeypatch.setenv("WINGBEAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WINGBEAT_OFFLINE", "1")


def test_21_architectures_in_three_families() -> None:
    count = {f: sum(a.family == f for a in ARCHITECTURES) for f in ("dense", "cnn", "transformer")}
    assert count == {"dense": 10, "cnn": 5, "transformer": 6}
    assert len({a.name for a in ARCHITECTURES}) == 21
    by_name = {a.name: a.parameters for a in ARCHITECTURES}
    assert by_name["3-layer XLarge"] == 2305
    assert by_name["5-layer Tiny"] == 51


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
def test_sizes_are_exact(architecture) -> None:
    condition = next(
        c
        for c in conditions(DynamicsPlan(names=(architecture.name,), seeds=1))
        if c.tags["seed"] == 0
    )
    with torch.device("meta"):
        model = condition.task().model()
    weights = [p for p in model.parameters() if p.requires_grad]
    assert sum(p.numel() for p in weights) == architecture.parameters
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)]
    depth = len(model.blocks) if architecture.family == "transformer" else len(layers)
    assert depth == architecture.depth


def test_conditions_are_one_a_net_and_seed() -> None:
    grid = conditions(DynamicsPlan())
    assert len({c.key for c in grid}) == len(grid) == 21 * 5
    assert {c.replicas for c in grid if c.tags["family"] == "dense"} == {7}
    assert all(
        c.perturbations == ({"kind": "gaussian", "scale": 0.01, "seed": c.tags["seed"]},)
        for c in grid
    )
    assert all(callable(named(place)) for c in grid for place in (c.factory, *c.measures))
    quick = conditions(DynamicsPlan(quick=True))
    assert {c.tags["architecture"] for c in quick} == {a.name for a in ARCHITECTURES} - set(SLOW)
    assert {c.tags["family"] for c in quick} == {"dense", "cnn", "transformer"}
    assert expected_seconds(quick) < expected_seconds(grid) / 10


def test_each_base_seed_draws_its_own_nudges() -> None:
    grid = conditions(DynamicsPlan(names=("3-layer Medium",), seeds=3))
    weights = {"w": torch.linspace(-1.0, 1.0, 400)}
    drawn = []
    for condition in grid:
        (nudge,) = condition.forks()
        assert isinstance(nudge, Gaussian)
        drawn += [nudge.delta(weights, lambda _: weights, replica)["w"] for replica in (1, 2)]
    cosine = torch.corrcoef(torch.stack(drawn))
    # six independent directions in 400 dimensions: |cosine| above 0.25 has p < 1e-6
    assert (cosine - torch.eye(6)).abs().max() < 0.25


def test_families_and_nets_add_up() -> None:
    plan = DynamicsPlan(families=("dense",), names=("GPT tiny", "BERT tiny", "3-layer Tiny"))
    names = [a.name for a in plan.architectures]
    assert len(names) == 12
    assert names[-2:] == ["GPT tiny", "BERT tiny"]
    assert len(DynamicsPlan().architectures) == 21


def test_a_condition_refuses_other_data(monkeypatch) -> None:
    found = conditions(DynamicsPlan(names=("CNN Tiny",), seeds=1))[0]
    found.arguments["digest"] = "0" * 16
    with pytest.raises(RequestError, match="WINGBEAT_DATA"):
        found.task()


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"families": ("dens",)}, "did you mean 'dense'"),
        ({"names": ("GPT tny",)}, "did you mean 'GPT tiny'"),
        ({"seeds": 0}, "seeds is 0"),
        ({"replicas": 1}, "replicas is 1"),
    ],
)
def test_wrong_plans_name_the_value(asked: dict, word: str) -> None:
    with pytest.raises(RequestError, match=word):
        DynamicsPlan(**asked)


def of(found: DynamicsFindings, ident: str, definition: str = "full") -> Claim:
    part = DEFINITION_NAMES[definition]
    return next(c for c in claims(found) if (c.ident, c.part) == (ident, part))


def ruling(found: DynamicsFindings, ident: str, definition: str = "full") -> str:
    return of(found, ident, definition).verdict


def jitter(a, seed: int) -> float:
    """Return 0.96 to 1.04; each net ranks the base seeds its own way, so that differences vary."""
    ranks = np.random.default_rng(zlib.crc32(a.name.encode())).permutation(5)
    return 1 + 0.02 * (int(ranks[seed]) - 2)


def test_claims_hold_in_a_world_that_is_as_the_article_says() -> None:
    dense = {"3-layer": 1.5, "5-layer": 3.5}

    def ratio(a, seed: int) -> float:
        level = {"dense": dense.get(a.group, 0), "cnn": 1.9, "transformer": 6.0}[a.family]
        if a.family == "cnn" and a.name == "CNN Tiny":
            level = 0.5
        if a.group == "BERT":
            level *= 1.2
        return level * jitter(a, seed) * (1.0 if a.family == "cnn" else 0.62**a.size)

    found = made(ratio)
    counts = [f.counts["full"][0] for f in found.families]
    # by hand: 1.5·0.62^k lies clearly below 1 from k = 1 on (4 nets), 3.5·0.62^k from 3 on (2)
    assert counts == [6, 1, 0]
    for ident in (
        "dense-count",
        "cnn-count",
        "transformer-count",
        "larger-dense",
        "depth",
        "bert-gpt",
        "larger-transformers",
        "transformer-lyapunov",
    ):
        assert ruling(found, ident) == "holds", ident
    # the projected ratio was made the inverse: every claim about a direction turns around
    for ident in ("larger-dense", "depth", "bert-gpt", "larger-transformers"):
        assert ruling(found, ident, "projected") == "fails", ident


def test_claims_are_open_where_seeds_disagree_or_are_few() -> None:
    wild = made(lambda a, seed: math.exp((-1) ** seed * (2 + a.size)))
    for ident in ("dense-count", "larger-dense", "depth", "bert-gpt", "transformer-lyapunov"):
        assert ruling(wild, ident) == "undetermined", ident
    single = made(lambda a, _: 2.0 + a.size, seeds=1)
    for ident in ("larger-dense", "bert-gpt", "transformer-lyapunov"):
        assert ruling(single, ident) == "undetermined", ident
    some = made(lambda *_: 2.0, skip=("GPT medium", "BERT medium"))
    claim = of(some, "transformer-count")
    assert (claim.measured, claim.verdict) == ("0 to 6", "undetermined")
    assert "2 of the 6" in claim.note


def test_claims_of_what_was_not_run_are_not_judged() -> None:
    others = tuple(a.name for a in ARCHITECTURES if a.family != "dense")
    found = made(lambda a, seed: (2.0 + a.size) * jitter(a, seed), skip=others)
    idents = ("cnn-count", "bert-gpt", "larger-transformers", "transformer-lyapunov")
    assert {ruling(found, ident) for ident in idents} == {"not run"}
    assert ruling(found, "dense-count") == "fails"


def test_numbers_are_those_of_the_definition() -> None:
    found = made(lambda a, seed: 100.0 * 2.0**seed, seeds=3)
    logs = np.log([100.0, 200.0, 400.0])
    net = found.nets[0]
    assert net.ratio["full"].value == pytest.approx(200.0, rel=1e-12)
    assert net.rate["full"].value == pytest.approx(logs.mean() / 4, rel=1e-12)
    # Student's interval of three logarithms, t(2) at 97.5 %
    half = 4.302652729696142 * logs.std(ddof=1) / math.sqrt(3)
    assert math.log(net.ratio["full"].high / 200.0) == pytest.approx(half, rel=0.05)
    assert net.accuracy.value == pytest.approx(0.9)
    assert (net.kept_first.value, net.kept_last.value) == pytest.approx((0.01, 0.1))
    dense = families_table(found).iloc[0]
    assert dense["ratio_full"] == pytest.approx(200.0)
    assert (dense["family"], dense["in_means"], dense["divergent_full"]) == ("dense", 10, 10)
    first = nets_table(found).iloc[0]
    assert first["lyapunov_two_point_full"] == pytest.approx(logs.mean() / 4, rel=1e-12)
    assert (first["seeds"], first["behavior_full"]) == (3, "divergent")


def test_a_verdict_asks_for_more_than_the_interval() -> None:
    """Three seeds of which the interval of 95 % leaves 1 out, and that of 99 % does not."""
    found = made(lambda a, seed: 4.0 * 2.0**seed, seeds=3)
    net = found.nets[0]
    assert net.ratio["full"].low > 1.0
    assert net.behavior["full"] == "undetermined"


def test_an_undefined_seed_makes_the_mean_undefined() -> None:
    found = made(lambda a, seed: math.nan if (a.name, seed) == ("CNN Tiny", 0) else 2.0)
    net = next(n for n in found.nets if n.architecture.name == "CNN Tiny")
    assert math.isnan(net.ratio["full"].value)
    assert net.ratio["full"].reason
    assert net.behavior["full"] == "undetermined"
    assert "undefined" in markdown(nets(found))
    row = nets_table(found).set_index("architecture").loc["CNN Tiny"]
    assert row["ratio_full_reason"] == net.ratio["full"].reason


@given(st.integers(0, 10), st.integers(0, 10), st.integers(0, 10))
def test_counts_are_judged_by_their_range(said: int, low: int, width: int) -> None:
    found = count_verdict(said, low, low + width)
    assert (found == "fails") == (not low <= said <= low + width)
    assert (found == "holds") == (width == 0 and said == low)


def test_one_value_has_no_interval() -> None:
    assert math.isnan(over_seeds(np.array([1.0])).low)
    assert over_seeds(np.array([])).reason == "too_few_seeds"


def test_every_figure_says_its_data_seeds_and_noise_floor() -> None:
    found = made(lambda a, seed: 2.0 + a.size + 0.1 * seed)
    figures = [f for _, _, group in sections(found) for f in group]
    assert len(figures) == 15
    for figure in figures:
        assert not figure.empty, figure.key
        for word in ("made up", "5 base seeds", "95 %", "Noise floor: exactly 0"):
            assert word in figure.caption, figure.key


def test_latex_escapes_what_latex_reads() -> None:
    table = Table(("a_b", "λ"), (("5 %", "1.2 × 10⁻⁵ & −1"),))
    text = latex(table, "c")
    assert r"a\_b & $\lambda$ \\" in text
    assert r"5 \% & 1.2 $\times$ 10$^{-5}$ \& $-$1 \\" in text


def test_the_command_names_what_was_asked() -> None:
    plan = DynamicsPlan(("dense",), True, 2, 3, 0.02, ("3-layer Tiny",))
    assert STUDY.command(plan) == (
        "wingbeat study dynamics --family dense --quick --seeds 2 --replicas 3 "
        "--scale 0.02 --net '3-layer Tiny'"
    )


@pytest.mark.slow
def test_a_small_study_end_to_end(tmp_path: Path) -> None:
    plan = DynamicsPlan(
        names=("3-layer Tiny", "CNN Tiny", "GPT tiny"), quick=True, seeds=1, replicas=2
    )
    lines: list[str] = []
    study, page, *_ = STUDY.run(plan, tmp_path, say=lines.append, runner=InlineRunner())
    assert study.conditions["status"].tolist() == ["done"] * 3
    assert (study.conditions["noise_floor"] == 0).all()
    assert "expected time" in "\n".join(
        lines[: lines.index(next(x for x in lines if "[1/3]" in x))]
    )
    names = {"conditions.parquet", "table.parquet", "summary.json", "results.md", "results.tex"}
    assert names <= {p.name for p in tmp_path.iterdir()}
    written = "".join(
        (tmp_path / n).read_text(encoding="utf-8")
        for n in ("families.csv", "summary.json", "results.md", "results.tex")
    )
    text = page.read_text(encoding="utf-8")
    body = text[: text.index('<script type="application/json"')]
    for words in (written, body):
        assert "stand-in" in words
        assert "Families" in words
        assert "MNIST" not in words
        assert "SST-2" not in words
    before = (tmp_path / "table.parquet").read_bytes()
    again: list[str] = []
    STUDY.run(plan, tmp_path, say=again.append, runner=InlineRunner())
    assert "3 of them done already" in again[0]
    assert not any("expected time" in line for line in again)
    assert (tmp_path / "table.parquet").read_bytes() == before


def test_the_command_line_reports_wrong_requests() -> None:
    found = CliRunner().invoke(app, ["dynamics", "--family", "dens"])
    assert isinstance(found.exception, RequestError)
    assert CliRunner().invoke(app, ["dynamics", "--help"]).exit_code == 0
