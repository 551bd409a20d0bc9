"""The study of dynamics: the rule of the highest exponent, and which number stands where."""

from __future__ import annotations

import math

import pytest
from dynamics_cases import made

from wingbeat.report.figures.estimates import estimate_text
from wingbeat.report.figures.style import look
from wingbeat.report.prose import number
from wingbeat.studies.dynamics.claims import claims
from wingbeat.studies.dynamics.figures import (
    boxes,
    convergence_against,
    evolution,
    explained,
    families,
    kept,
    sections,
)
from wingbeat.studies.dynamics.page import master, nets

LEVELS = [
    # transformer, dense, cnn → is the transformers' exponent the highest of all?
    ((6.0, 2.0, 3.0), "holds"),
    ((6.0, 3.0, 2.0), "holds"),
    ((3.0, 2.0, 6.0), "fails"),  # above dense nets only
    ((3.0, 6.0, 2.0), "fails"),  # above CNNs only
    ((2.0, 6.0, 6.0), "fails"),
]


@pytest.mark.parametrize(("levels", "ruling"), LEVELS)
def test_the_highest_is_above_both_others(levels: tuple[float, ...], ruling: str) -> None:
    of = dict(zip(("transformer", "dense", "cnn"), levels, strict=True))
    # The lead varies over the five seeds; the mean of its logarithm is that of the levels.
    sign = {"transformer": 1, "dense": -1, "cnn": -1}
    found = made(lambda a, seed: of[a.family] * math.exp(0.01 * sign[a.family] * (seed - 2)))
    claim = next(c for c in claims(found) if c.ident == "transformer-lyapunov")
    assert (claim.part, claim.verdict) == ("full space", ruling)
    lead = math.log(levels[0] / max(levels[1:])) / 4
    assert claim.measured.split()[0] == number(lead)


def test_depth_size_and_kind_are_compared_by_name() -> None:
    """Five layers, small nets and BERT end farther apart, a little more in each base seed."""

    def ratio(a, seed: int) -> float:
        deeper, bert = a.group == "5-layer", a.group == "BERT"
        level = math.exp(2 + 0.7 * deeper + 0.4 * bert - 0.3 * a.size)
        return level * math.exp(0.01 * seed * (1 + a.size + deeper + 2 * bert))

    verdicts = {c.ident: c.verdict for c in claims(made(ratio)) if c.part == "full space"}
    turned = {c.ident: c.verdict for c in claims(made(ratio)) if c.part == "projected"}
    for ident in ("depth", "bert-gpt", "larger-dense", "larger-transformers"):
        assert (verdicts[ident], turned[ident]) == ("holds", "fails"), ident


def distinct():
    """A study in which no two scalars of a net are equal."""
    return made(lambda a, seed: 2.0 + a.size + 0.1 * seed)


def test_columns_of_the_tables_hold_what_their_heads_say() -> None:
    found = distinct()
    table, net = nets(found), found.nets[0]
    row = dict(zip(table.heads, table.rows[0], strict=True))
    assert row["λ per epoch"] == estimate_text(net.fitted)
    assert row["ratio"] == f"{estimate_text(net.ratio['full'])}, {net.behavior['full']}"
    assert row["early ÷ late"] == estimate_text(net.early_late)
    assert row["accuracy"] == estimate_text(net.accuracy)
    assert row["seeds"] == "5"
    assert len({row[h] for h in ("λ per epoch", "ratio", "early ÷ late", "accuracy")}) == 4
    family = found.families[0]
    head = dict(zip(master(found).heads, master(found).rows[0], strict=True))
    assert head["λ per epoch"] == estimate_text(family.fitted)
    assert head["mean ratio"] == estimate_text(family.ratio["full"])
    assert head["accuracy"] == estimate_text(family.accuracy)


def test_the_fitted_exponent_is_the_scalar_per_epoch() -> None:
    found = distinct()
    for net in found.nets:
        own = found.done[found.done["architecture"] == net.architecture.name]
        assert net.fitted.value == pytest.approx(own["lyapunov_per_epoch"].mean())
    dense = found.families[0]
    rows = found.done[found.done["family"] == dense.family]
    assert dense.fitted.value == pytest.approx(rows["lyapunov_per_epoch"].mean())


def test_figures_hold_the_number_of_their_label() -> None:
    found = distinct()
    figures = {f.key: f for _, _, group in sections(found) for f in group}
    reads = {
        "ratio": lambda n: n.ratio["full"],
        "rate": lambda n: n.fitted,
        "accuracy": lambda n: n.accuracy,
        "early-late": lambda n: n.early_late,
    }
    for key, value in reads.items():
        shown = [(d.place, d.value, d.low, d.high) for d in figures[key].dots]
        wanted = [(float(k), value(n).value, value(n).low, value(n).high)
                  for k, n in enumerate(found.nets)]  # fmt: skip
        assert shown == wanted, key
        assert figures[key].rows == tuple(n.architecture.name for n in found.nets)


def test_places_are_size_and_depth() -> None:
    found = distinct()
    size = convergence_against(found, "parameters")
    assert [d.place for d in size.dots] == [float(n.architecture.parameters) for n in found.nets]
    depth = convergence_against(found, "depth")
    assert [round(d.place) for d in depth.dots] == [n.architecture.depth for n in found.nets]
    for figure in (size, depth):
        assert [d.value for d in figure.dots] == [n.ratio["full"].value for n in found.nets]


def test_shares_kept_and_explained_stand_by_name() -> None:
    found = distinct()
    of = {(d.group, round(d.place)): d.value for d in kept(found).dots}
    assert of[("at the start", 0)] == pytest.approx(0.01)
    assert of[("at the end", 0)] == pytest.approx(0.1)
    of = {(d.group, round(d.place)): d.value for d in explained(found).dots}
    assert of[("first component", 0)] == pytest.approx(0.5)
    assert of[("first three", 0)] == pytest.approx(0.5 + 0.25 + 0.5 / 3)


def test_spread_runs_over_epochs_from_one() -> None:
    line = evolution(distinct(), "dense").lines[0]
    assert line.x == (0.0, 4.0)
    assert line.y[0] == pytest.approx(1.0)
    assert line.y[1] == pytest.approx(distinct().nets[0].ratio["full"].value)


def test_every_line_looks_its_own_way() -> None:
    for family in ("dense", "cnn", "transformer"):
        lines = evolution(distinct(), family).lines
        assert len({(look(x.style).dash, look(x.style).marker) for x in lines}) == len(lines)


def test_families_and_boxes_hold_each_definition() -> None:
    found = distinct()
    full = [d.value for d in families(found).dots if d.group == "full space"]
    assert full == [f.ratio["full"].value for f in found.families]
    for definition, column in (("full", "convergence_ratio"),
                               ("projected", "convergence_ratio_projected")):  # fmt: skip
        values = boxes(found, definition).boxes[0].values
        assert list(values) == found.done[found.done["family"] == "dense"][column].tolist()
