"""What the first screen says: what was trained, the answer with its doubt, a row a perturbation."""

from __future__ import annotations

import re

import pytest
from report_cases import full, perturbation, scalar

from wingbeat.report import render_page
from wingbeat.report.drawing.any_figure import drawn
from wingbeat.report.figures import curves, maps
from wingbeat.report.figures.small_multiples import split
from wingbeat.report.pages import plotting_script
from wingbeat.report.pages.first_screen import answer, answers, extent, others
from wingbeat.report.what_was_trained import subject

CONDITION = {
    "task": {
        "name": "digits, small net",
        "model": {"builder": "mine:net#0123", "parameters": 12345},
        "data": "50000 samples of CIFAR10 #0123",
        "optimizer": {"class": "AdamW", "groups": [{"lr": 0.001}]},
        "steps": 2000,
        "batch_size": 64,
    },
    "eval_data": "1000 samples #0123",
}
STARTED = {"wingbeat": "0.1.0", "started": "2026-11-27T06:25:03+00:00"}


def result(**changes):
    base = full()
    own = {f"{p['name']}/{k}": scalar(v) for p in base.perturbations for k, v in GREW.items()}
    known = {"condition": CONDITION, "environment": STARTED, "summary": base.summary | own}
    return base.but(**(known | changes))


GREW = {"copies": 5, "copies_grown": 4, "growth_smallest": 0.9, "growth_largest": 70.0}


FORK = {"fork": {"script": "train.py", "from": "500.pt", "command": "python nets/train.py {out}"}}


@pytest.mark.parametrize(
    ("condition", "name"),
    [
        (CONDITION, "digits, small net"),
        ({"task": {"name": ""}, "factory": {"place": "nets.py:small"}}, "nets.py:small"),
        ({"task": {"model": {"builder": "mine:net#0123"}}}, "mine:net"),
        ({"task": {"model": {"builder": "functools:partial#01"}}}, "a run without a name"),
        ({"task": {"model": {"builder": "a:f.<locals>.<lambda>#01"}}}, "a run without a name"),
        ({"checkpoints": "runs/seed-*.pt"}, "runs/seed-*.pt"),
        ({**FORK, "checkpoints": "x/view/{replica}/step-{step}"}, "train.py, forked from 500.pt"),
        ({"train": "mine:fit#0123", "checkpoints": "x/{replica}"}, "mine:fit"),
        ({"train": "a:f.<locals>.<lambda>#01", "checkpoints": "x"}, "copies of a training"),
        ({"loop": "your own", "build": "mine:build#0123"}, "mine:build"),
        ({"loop": "your own", "build": "__main__:f.<locals>.build#0123"}, "f.build"),
        ({}, "a run without a name"),
    ],
)
def test_what_was_trained_is_named(condition, name) -> None:
    assert subject(full().but(condition=condition)).name == name


def test_model_data_training_and_day_are_told_in_title_tab_and_header() -> None:
    about = subject(result())
    assert about.facts == (
        "12,345 weights",
        "trained on 50,000 samples of CIFAR10, evaluated on 1,000 samples",
        "AdamW, learning rate 0.001, 2,000 steps, batches of 64",
    )
    html = render_page(result())
    assert "<title>digits, small net: divergent, 27 Nov 2026 | wingbeat</title>" in html
    header = html[html.index("<header>") : html.index("</header>")]
    for part in ("digits, small net", "27 November 2026, 06:25 UTC", *about.facts):
        assert part in header
    assert subject(result(environment={})).when == ""
    assert subject(result(environment={"started": "yesterday"})).when == ""


def test_of_a_forked_script_it_is_told_what_it_was_run_from() -> None:
    (fact,) = subject(full().but(condition=FORK)).facts
    assert fact == (
        "the script run from the checkpoint, from an untouched copy and from 10 nudged ones"
    )


def test_the_answer_has_its_size_its_doubt_and_what_qualifies_it() -> None:
    happened, rest = answer(result())
    assert happened == "Divergent: training drove the nudged copies apart."
    assert rest.startswith("Not all copies did the same: 4 of 5 grew, 1 did not")
    assert extent(result()) == (
        "2,000 steps on, the copies of gaussian-0.01@0 lie 61.6 times as far from one another as "
        "right after the nudge (95 % interval 48.2 to 77.9); 4 of 5 grew."
    )
    assert others(result()) == "Of 2 perturbations: 2 divergent."
    bare = result().summary | {"gaussian-0.01@0/convergence_ratio": scalar(61.6)}
    assert "right after the nudge, without an interval; 4 of 5" in extent(result(summary=bare))
    none = result().summary | {"gaussian-0.01@0/convergence_ratio": scalar(None, reason="diverged")}
    assert extent(result(summary=none)) == ""


def test_each_perturbation_has_a_row_and_heads_lead_to_definitions() -> None:
    found = answers(result(), {"convergence ratio": "def-4"})
    assert [(c.head, c.term) for c in found.columns][4] == ("ratio", "def-4")
    heads = ["perturbation", "size (L2)", "at step", "verdict", "ratio", "grew", "accuracy"]
    assert [c.head for c in found.columns] == [*heads, "disagreement"]
    assert [row[0].value for row in found.rows] == [*(n["name"] for n in result().perturbations),
                                                    "reference"]  # fmt: skip
    first = found.rows[0]
    assert [cell.value for cell in first[1:6]] == ["0.102", "0", "divergent", "61.6 ×", "4 of 5"]
    assert (first[1].below, first[4].below) == ("0.1 to 0.104", "48.2 to 77.9")
    table = result().table
    last = table[(table.metric == "accuracy") & (table.step == 2000)]
    mine = last[last.b.str.startswith("gaussian-0.01@0#")].value
    assert first[6].value == f"{100 * mine.mean():.1f} %"
    assert (first[7].value, first[7].below) == ("2.1 %", "1.2 % to 3.3 %")
    assert found.rows[-1][6].value == f"{100 * last[last.b == 'reference'].value.item():.1f} %"


def test_a_barrier_has_a_column_where_it_was_measured_and_a_reason_where_it_is_undefined() -> None:
    one = "gaussian-0.01@0/final_barrier_train"
    measured = result(summary=result().summary | {one: scalar(None, reason="diverged")})
    found = answers(measured, {})
    assert found.columns[-1].head == "loss barrier"
    assert found.rows[0][-1] == ("undefined", "a replica has weights or a loss that are not finite")


def many(count: int):
    names = tuple(f"gaussian-{i}@0" for i in range(count))
    return full(names=names, replicas=3)


def test_more_than_five_perturbations_are_folded_below_the_first() -> None:
    found = answers(many(7), {})
    assert [len(found.rows), len(found.folded)] == [6, 2]  # five, and the reference
    assert "2 more perturbations</summary>" in render_page(many(7))


def test_many_bands_become_small_multiples_on_the_same_scales() -> None:
    distance = curves.distance(many(7))
    assert distance is not None
    panels = split(distance)
    assert [title for title, _ in panels] == [*(f"gaussian-{i}@0" for i in range(7))]
    assert len({(p.x_limits, p.y_limits) for _, p in panels}) == 1
    low, high = panels[0][1].y_limits
    for line in distance.lines:
        assert low <= min(y for y in (*line.y, *(line.low or ())) if y > 0)
        assert max((*line.y, *(line.high or ()))) <= high
    shown = drawn(distance, "x")
    assert len({str(p.spec["layout"]["yaxis"]["range"]) for p in shown.panels}) == 1
    few = curves.distance(many(4))
    assert few is not None
    assert split(few) == ()


def test_heat_maps_have_one_scale_of_colours() -> None:
    found = maps.layers_of_all(full(), ("gaussian-0.01@0", "gaussian-0.0001@500"))
    assert len({heat.limits for heat in found}) == 1
    for heat in found:
        values = [v for row in heat.values for v in row if v == v]
        assert heat.limits[0] <= min(values)
        assert max(values) <= heat.limits[1]
    alone = maps.layers(full(), "gaussian-0.0001@500")
    assert alone is not None
    assert alone.limits != found[1].limits


def test_definitions_request_execution_and_projection_are_folded_away() -> None:
    html = render_page(result())
    for ident in ("projection", "perturbations", "asked", "definitions", "cite"):
        assert f'<details class="part" id="{ident}">' in html
    links = set(re.findall(r'href="#(def-\d+)"', html))
    assert len(links) >= 6
    assert links <= set(re.findall(r'<dt id="(def-\d+)"', html))


def test_a_page_is_under_a_megabyte() -> None:
    assert len(render_page(result()).encode()) < 1_000_000
    assert len(plotting_script.packed_script()) < 700_000


def test_training_that_failed_is_a_banner() -> None:
    failed = result().summary | {
        "training": scalar("failed"),
        "training_change": scalar("rose"),
        "training_loss_start": scalar(2.3),
        "training_loss_end": scalar(80.0),
        "training_failed": scalar(1),
    }
    html = render_page(
        result(summary=failed, warnings=("Training itself failed: ...", "b", "c", "d"))
    )
    assert 'class="alarm failed"' in html
    assert "<h2>Training failed</h2>" in html
    assert "1 more warning</summary>" in html
    assert 'class="alarm failed"' not in render_page(result(warnings=("mind this",)))


def test_a_perturbation_without_a_size_has_a_dash() -> None:
    asked = (perturbation("order@0") | {"realised": {}},)
    assert answers(result(perturbations=asked), {}).rows[0][1].value == "–"
