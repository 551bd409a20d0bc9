"""The study of topology: what decides each verdict, and which number stands where."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from topology_cases import NETS, PLACE, made

from wingbeat.stats import Estimate
from wingbeat.studies.seedwise import seeds_to_decide
from wingbeat.studies.topology.claims import among_these as among_these_nets
from wingbeat.studies.topology.claims import claims, correlation_of, log_quotients
from wingbeat.studies.topology.figures import against, barcode, conventions, diagram, expansion
from wingbeat.studies.topology.found import (
    TopologyFindings,
    among_these,
    tables,
    within_seeds,
)
from wingbeat.studies.topology.page import headline
from wingbeat.study.analysis import Analysis
from wingbeat.study.correlation import groups_to_decide


def verdicts(found: Analysis, ident: str) -> dict[str, str]:
    return {c.part: c.verdict for c in claims(found) if c.ident == ident}


def wiggle(seed: int) -> float:
    return 1 + 0.002 * ((3 * seed) % 5)


def swapped(a, seed: int) -> float:
    """Return a net's place, some of them exchanged, others in each base seed."""
    return PLACE[a.name] + 1.5 * ((PLACE[a.name] + seed) % (3 + seed % 2) == 0)


@pytest.mark.parametrize(("sign", "word"), [(1, "holds"), (-1, "fails")])
def test_the_question_is_answered_by_the_trained_ratio_under_its_own_rule(sign, word):
    """Only the ratio by the input follows the growth of nudges; by the layer the other way."""

    def change(a, seed):
        order = swapped(a, seed)
        return {
            "expansion_input_end": math.exp(sign * 0.1 * order),
            "expansion_layer_end": math.exp(-sign * 0.1 * order),
        }

    found = made(change, whole=True)
    other = {"holds": "fails", "fails": "holds"}[word]
    given = verdicts(found, "divergent-expand")
    assert len(given) == 8
    for part, verdict in given.items():
        assert verdict == (word if "input" in part else other), part


def test_nets_count_for_nets_like_these_and_base_seeds_for_these():
    """A weak correlation that is much the same in every base seed: of these nets it is sure."""
    order = [9, 1, 5, 2, 12, 0, 16, 3, 14, 6, 4, 7, 8, 11, 15, 10, 13]

    def change(a, seed):
        place = order[PLACE[a.name]] + 0.6 * ((seed + PLACE[a.name]) % (3 + seed % 2))
        return {"expansion_input_end": 1 + place, "convergence_ratio": 2.0 + PLACE[a.name]}

    found = made(change, whole=True)
    wide, sure = (
        read(found.tables["correlations"], "expansion_input_end", "convergence_ratio", "all nets")
        for read in (correlation_of, among_these_nets)
    )
    assert wide.low < 0 < sure.low < sure.value < wide.high
    given = verdicts(found, "divergent-expand")
    assert given["these nets, all nets, ÷ input or lookup table"] == "holds"
    assert given["nets like these, all nets, ÷ input or lookup table"] == "undetermined"


@pytest.fixture
def _few_numbers(monkeypatch):
    """Correlate what claims are made of alone: all of it takes a second."""
    names = ("expansion_input_end", "expansion_layer_end", "h0_end", "h1_end")
    monkeypatch.setattr("wingbeat.studies.topology.found.MEASURED", names)


@pytest.mark.usefixtures("_few_numbers")
def test_base_seeds_that_some_nets_lack_say_nothing_of_all_nets():
    """Dense nets with ten base seeds more, in which all goes the other way, change nothing."""

    def change(a, seed):
        sign = 1 if seed < 5 else -1
        return {"expansion_input_end": math.exp(sign * 0.1 * swapped(a, seed))}

    dense = tuple(a for a in NETS if a.family == "dense")
    few, more = made(change, seeds=5), made(change, seeds=15, nets=dense)
    rows = pd.concat([few.own.done, more.own.done]).drop_duplicates(["architecture", "seed"])
    study = replace(few.study, conditions=rows)
    own = TopologyFindings(None, study, draws=9)
    for scope, seeds in (("all nets", 5), ("CNNs", 5), ("dense nets", 15)):
        assert own.of_scope(scope)["seed"].nunique() == seeds
    one, other = few.own.correlations("all nets"), own.correlations("all nets")
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.usefixtures("_few_numbers")
def test_an_open_claim_says_what_would_decide_it():
    """Base seeds, by the interval that counts them; nets, where it counts nets."""
    order = [9, 1, 5, 2, 12, 0, 16, 3, 14, 6, 4, 7, 8, 11, 15, 10, 13]

    def change(a, seed):
        place = order[PLACE[a.name]]
        turned = place if seed % 2 == 0 else 16 - place
        return {"expansion_input_end": 1.0 + turned, "convergence_ratio": 2.0 + PLACE[a.name]}

    found, pair = made(change), ("expansion_input_end", "convergence_ratio")
    found = replace(found, tables={"correlations": found.own.correlations("all nets")})
    said = {c.part: c for c in claims(found) if c.ident == "divergent-expand"}
    these = said["these nets, all nets, ÷ input or lookup table"]
    like = said["nets like these, all nets, ÷ input or lookup table"]
    assert these.verdict == like.verdict == "undetermined"
    each = [one.value for one in within_seeds(found.own.of_scope("all nets"), *pair)]
    assert these.needed == seeds_to_decide(each, 0.0, within=(-1.0, 1.0)) > len(each)
    assert f"{these.needed:,} base seeds decide it" in these.note
    one = correlation_of(found.tables["correlations"], *pair, "all nets")
    assert like.needed == 0
    assert f"it stays as it is here, {groups_to_decide(one.value):,} nets decide it" in like.note


def test_the_correlation_among_these_nets_is_the_mean_over_base_seeds():
    rows = made(seeds=3).own.done
    rows = rows.assign(convergence_ratio=np.tile([1.0, 2.0, 3.0], 17))
    sign = np.where(rows["seed"] == 2, -1.0, 1.0)
    rows = rows.assign(convergence_ratio=[PLACE[n] for n in rows["architecture"]])
    found = among_these(rows.assign(h0_end=sign * rows["convergence_ratio"]), "h0_end",
                        "convergence_ratio")  # fmt: skip
    assert found.value == pytest.approx(1 / 3)


def test_scale_is_judged_against_mean_distances():
    names = [f"{w}_{r}_end" for w in ("expansion", "size") for r in ("input", "layer")]
    same = made(lambda a, s: dict.fromkeys(names, 1 + PLACE[a.name] * wiggle(s)))
    assert set(verdicts(same, "scale").values()) == {"holds"}
    turned = made(lambda a, s: {"expansion_input_end": 1.0 + PLACE[a.name],
                                "size_input_end": 99.0 - PLACE[a.name]})  # fmt: skip
    assert verdicts(turned, "scale")["÷ input or lookup table"] == "fails"


def test_learned_is_trained_over_untrained_by_family():
    level = {"dense": 2.0, "cnn": 0.5, "transformer": 1.0}

    def change(a, seed):
        start = 3.0 + PLACE[a.name]
        grown = level[a.family] * (1 + 0.01 * (seed - 2))
        return {"expansion_input_start": start, "expansion_input_end": start * grown}

    given = verdicts(made(change), "learned")
    names = [f"{n}, ÷ input or lookup table" for n in ("Dense", "CNN", "Transformer")]
    assert [given[n] for n in names] == ["holds", "fails", "undetermined"]


def test_the_divide_reads_each_kind_by_its_own_rule():
    """The lookup table gives 60, the block 2, in both kinds: the divide is the rule's alone."""

    def change(a, seed):
        jitter = 1 + 0.01 * ((seed * (2 if a.group == "GPT" else 3)) % 5)
        return {
            f"expansion_{rule}_{pooling}_{when}": value * jitter**power
            for rule, value, power in (("input", 60.0, 1), ("layer", 2.0, -1))
            for pooling in ("mean", "read")
            for when in ("start", "end")
        }

    given = verdicts(made(change), "divide")
    assert len(given) == 8
    for part, verdict in given.items():
        assert verdict == ("holds" if "own rule" in part else "undetermined"), part
    assert set(verdicts(made(change), "conventions").values()) == {"holds"}


def test_the_divide_is_decoder_over_encoder():
    def change(a, seed):
        value = (5.0 if a.group == "GPT" else 1.0) * (1 + 0.01 * ((seed * PLACE[a.name]) % 5))
        return {"expansion_layer_mean_end": value, "expansion_layer_read_end": 1 / value}

    given = verdicts(made(change), "divide")
    assert given["both by the embedding block, mean of the words, trained"] == "holds"
    assert given["both by the embedding block, the word that is read, trained"] == "fails"
    logs = log_quotients(made(change).own, ("GPT", "BERT"), ["expansion_layer_mean_end"] * 2)
    assert np.exp(np.mean(logs)) == pytest.approx(5.0, rel=0.03)


def test_the_divide_is_over_the_base_seeds_that_both_kinds_have():
    """One net lacks two base seeds in which the others differ wildly: nothing of them counts."""

    def change(a, seed):
        value = (5.0 if a.group == "GPT" else 1.0) * (1 + 0.01 * seed)
        return {"expansion_layer_mean_end": value * (1000.0 if seed > 2 else 1.0)}

    own = made(change).own
    uneven = tuple(
        replace(n, rows=n.rows[n.rows["seed"] <= 2]) if n.architecture.name == "BERT small" else n
        for n in own.nets
    )
    own.nets = uneven
    logs = log_quotients(own, ("GPT", "BERT"), ["expansion_layer_mean_end"] * 2)
    assert np.exp(np.mean(logs)) == pytest.approx(5.0)


def test_conventions_ask_for_the_published_size():
    def change(a, seed):
        sizes = {"mean": 40.0, "read": 20.0}
        return {f"expansion_input_{p}_end": v * (1 + 0.01 * seed) for p, v in sizes.items()} | {
            f"expansion_layer_{p}_end": 1.0 for p in sizes
        }

    given = verdicts(made(change), "conventions")
    assert given == {
        "GPT, mean of the words": "holds", "GPT, the word that is read": "fails",
        "BERT, mean of the words": "holds", "BERT, the word that is read": "fails",
    }  # fmt: skip


def test_flat_is_a_small_span_and_leaves_out_nets_without_one():
    def change(a, seed):
        dead = a.name == "5-layer Tiny" and seed == 3
        wide = 0.02 if a.family == "dense" else 0.2
        span = math.nan if dead else wide * (1 + 0.01 * seed)
        return {"h0_span_end": span, "h0_span_start": 0.22 - wide + 0.001 * seed}

    found = made(change)
    given = verdicts(found, "flat")
    assert (given["Dense, trained"], given["CNN, trained"]) == ("holds", "fails")
    assert (given["Dense, untrained"], given["CNN, untrained"]) == ("fails", "holds")
    note = next(c.note for c in claims(found) if c.ident == "flat" and c.part == "Dense, trained")
    assert "1 nets" in note


def test_families_that_were_not_run_say_so():
    dense = made(nets=tuple(a for a in NETS if a.family == "dense"), whole=True)
    assert verdicts(dense, "learned")["CNN, ÷ first layer"] == "not run"
    assert set(verdicts(dense, "divide").values()) == {"not run"}
    assert set(verdicts(dense, "conventions").values()) == {"not run"}
    assert (
        correlation_of(dense.tables["correlations"], "h0_end", "convergence_ratio", "CNNs") is None
    )


def test_tables_hold_the_mean_of_their_column():
    found = made(whole=True)
    row = found.tables["architectures"].iloc[0]
    own = found.own.nets[0].rows
    for name in ("expansion_input_end", "expansion_layer_start", "convergence_ratio"):
        assert row[name] == pytest.approx(np.exp(np.log(own[name]).mean())), name
    for name in ("h0_end", "h1_start", "lyapunov_per_epoch"):
        assert row[name] == pytest.approx(own[name].mean()), name
    first = found.tables["families"].iloc[0]
    dense = found.own.done[found.own.done["family"] == "dense"]
    grown = np.log(dense["expansion_layer_end"] / dense["expansion_layer_start"]).mean()
    assert first["growth_layer"] == pytest.approx(np.exp(grown))
    assert sorted(tables(found)) == ["architectures", "conventions", "correlations", "families"]


def test_figures_hold_the_number_of_their_label():
    found = made().own
    figure = against(found, "layer")
    nets = found.nets
    assert [d.place for d in figure.dots] == [n.values["convergence_ratio"].value for n in nets]
    assert [d.value for d in figure.dots] == [n.values["expansion_layer_end"].value for n in nets]
    moments = expansion(found, "input").dots
    for word, when in (("untrained", "start"), ("trained", "end")):
        shown = [d.value for d in moments if d.group == word]
        assert shown == [n.values[f"expansion_input_{when}"].value for n in nets]
    kinds = conventions(found)
    gpt = [d.value for d in kinds.dots if d.group == "GPT"]
    assert gpt == [found.mean("GPT", f"expansion_{r}_{p}_end").value
                   for r in ("input", "layer") for p in ("mean", "read")]  # fmt: skip


def test_bars_run_from_birth_to_death():
    bars = {"h0_dies": ([0.0, 0.0], [0.5, 0.25]), "h1_dies": ([0.4], [1.0])}
    pieces, loops = barcode("k", "t", "c", bars, 1.0).lines
    assert pieces.x == (0.0, 0.25, 0.25, 0.0, 0.5, 0.5)
    assert np.array_equal(pieces.y, [0, 0, np.nan, 1, 1, np.nan], equal_nan=True)
    assert (loops.x[:2], loops.y[:2]) == ((0.4, 1.0), (2.0, 2.0))
    line, _, loops = diagram("k", "t", "c", bars, 1.0).lines
    assert (line.x, line.y) == ((0.0, 1.0), (0.0, 1.0))
    assert (loops.x[0], loops.y[0]) == (0.4, 1.0)


def test_the_headline_follows_the_verdicts_of_both_rules():
    def said(**signs):
        found = made(
            lambda a, s: {
                f"expansion_{rule}_end": math.exp(0.1 * sign * swapped(a, s))
                for rule, sign in signs.items()
            },
            whole=True,
        )
        return headline(replace(found, claims=claims(found)))

    assert said(input=1, layer=1).endswith("Among these 17: yes. For nets like these: yes.")
    assert "17: they expand less. For nets" in said(input=-1, layer=-1)
    apart = "divided by what goes in yes, divided by the first layer they expand less"
    assert said(input=1, layer=-1).count(apart) == 2


def test_an_undefined_correlation_says_why():
    found = made(lambda a, s: {"expansion_layer_start": 1.0}, whole=True)
    table = found.tables["correlations"]
    one = correlation_of(table, "expansion_layer_start", "convergence_ratio", "all nets")
    assert one.reason == "constant"
    assert isinstance(one, Estimate)
