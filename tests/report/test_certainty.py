"""Every sentence about certainty, with a result of which it must not be printed.

One table for the page, the notebook's card and the command line: a piece of the sentence, a change
of the summary that makes it true, and those that make it false. `test_the_table_is_complete` reads
the source, so that a sentence cannot be added without its row.
"""

from __future__ import annotations

import ast
import io
import math
from pathlib import Path

import pytest
from report_cases import FakeResult, full, scalar
from rich.console import Console

from wingbeat.cli import show
from wingbeat.report import verdict_text
from wingbeat.report.pages.notebook import notebook_html
from wingbeat.report.pages.page_text import texts

NAME = "gaussian-0.01@0"
TRAINED = {
    "training": scalar("trained"), "training_change": scalar("fell"),
    "training_failed": scalar(0.0), "training_seed": scalar(0.0),
    "training_loss_start": scalar(2.3), "training_loss_end": scalar(0.31),
}  # fmt: skip
UNPROVEN = TRAINED | {"training": scalar("unproven"), "training_change": scalar("unclear")}
FAILED = TRAINED | {
    "training": scalar("failed"), "training_change": scalar("rose"), "training_failed": scalar(1.0),
    "training_loss_start": scalar(0.7), "training_loss_end": scalar(7e5),
}  # fmt: skip
CHANCE = {
    "training_accuracy": scalar(0.11, 0.09, 0.13), "training_chance": scalar(0.1),
    "training_above_chance": scalar("no"),
}  # fmt: skip


def case(whole=None, warnings=(), floor=0.0, **own):
    """A divergent run of five copies that all grew, with changes of the summary."""
    mine = {
        "copies": scalar(5.0), "copies_grown": scalar(5.0), "growth_smallest": scalar(50.0),
        "growth_largest": scalar(80.0), "lyapunov_r2": scalar(0.95),
        "behavior": scalar("divergent", 40.0, 90.0), **own,
    }  # fmt: skip
    result = full(names=(NAME,)).but(metrics=("l2", "spread"))
    summary = {**result.summary, **(TRAINED if whole is None else whole)}
    summary |= {f"{NAME}/{k}": v for k, v in mine.items()}
    environment = {"driver": "loop", "mode": "object", "driver_reason": "asked for", "threads": 1}
    return result.but(
        summary=summary, warnings=warnings, noise_floor=floor, environment=environment
    )


def undetermined(low, high, **judged):
    wide = judged.get("judged", (low, high))
    return case(
        convergence_ratio=scalar(math.sqrt(low * high), low, high),
        behavior=scalar("undetermined", *wide),
    )


def alone():
    """A single run of somebody's checkpoints: there is nothing beside it."""
    return case({}, copies=scalar(None), copies_grown=scalar(None)).but(
        perturbations=(),
        noise_floor=math.nan,
        behavior="undetermined",
        summary={"behavior": scalar("undetermined")},
    )


def unmoved(size=0.0, last=0.0):
    """A perturbation that rounding swallowed, unless it has a size or something moves later."""
    result = case(**NO_RATIO, final_l2=scalar(last))
    own = {"realised": {"l2": [size] * 5, "changed": [size] * 5}}
    return result.but(perturbations=tuple({**p, **own} for p in result.perturbations))


FOUR = {"copies_grown": scalar(4.0), "growth_smallest": scalar(1.0)}
CURVED = {"lyapunov_r2": scalar(0.49)}
SHRANK = {"lyapunov": scalar(-0.003, -0.004, -0.002)}
NO_RATIO = {
    "convergence_ratio": scalar(None, reason="below_noise_floor"),
    "behavior": scalar("undetermined", reason="below_noise_floor"),
}
BARE = {
    "convergence_ratio": scalar(2.0) | {"interval_reason": "too_few_replicas"},
    "behavior": scalar("undetermined", reason="too_few_replicas"),
}
CONVERGENT = case(
    convergence_ratio=scalar(0.4, 0.3, 0.5), behavior=scalar("convergent", 0.25, 0.6), **SHRANK
)
CALM = {"behavior": scalar("convergent", 0.99, 0.999)}
WARNED = {"warnings": ("mind this",)}

# a piece of the sentence, what makes it true, and what must not print it
TABLE = {
    "Convergent: training drew": (CONVERGENT, [case(), undetermined(0.5, 2.0), case(FAILED)]),
    "copies closer together, by 0.3 % at most": (
        case(**SHRANK, **CALM, convergence_ratio=scalar(0.998, 0.997, 0.999)),
        [CONVERGENT, case(**SHRANK, **CALM, convergence_ratio=scalar(0.9, 0.8, 0.99))],
    ),
    "Divergent: training drove": (case(), [CONVERGENT, undetermined(0.5, 2.0), case(FAILED)]),
    "Training itself failed, and the verdict": (case(FAILED), [case(), case(UNPROVEN), case({})]),
    "Whether the reference learnt anything is not shown": (
        case(UNPROVEN), [case(), case(FAILED), case({})],
    ),
    "which its own scatter explains": (
        case(UNPROVEN), [case(UNPROVEN | {"training_change": scalar("fell")}), case()],
    ),
    "is not above the share of the": (
        case(UNPROVEN | CHANCE),
        [case(UNPROVEN), case(UNPROVEN | CHANCE | {"training_above_chance": scalar("yes")})],
    ),
    "Not all copies did the same": (
        case(**FOUR), [case(), case(copies_grown=scalar(0.0)), case(copies=scalar(None))],
    ),
    "Ratio and exponent disagree beyond doubt": (
        case(**SHRANK),
        [case(), case(**SHRANK, **CURVED), case(lyapunov=scalar(-0.003, -0.007, 0.001)),
         case(**SHRANK, convergence_ratio=scalar(1.1, 0.9, 1.3))],
    ),
    "There is no one exponent": (
        case(**CURVED),
        [case(), case(lyapunov_r2=scalar(0.8)), case(lyapunov_r2=scalar(None, reason="constant")),
         case(**CURVED, lyapunov=scalar(None, reason="saturated"))],
    ),
    "1 lies outside the ratio's 95 % interval": (
        undetermined(1.1, 4.0, judged=(0.8, 5.5)),
        [case(), CONVERGENT, undetermined(0.8, 4.0, judged=(0.5, 6.0)), case(**NO_RATIO)],
    ),
    "the interval holds 1, so the copies may": (
        undetermined(0.8, 4.0),
        [case(), undetermined(1.1, 4.0, judged=(0.8, 5.5)), case(**NO_RATIO), case(**BARE)],
    ),
    "the convergence ratio is not defined, because": (
        case(**NO_RATIO), [case(), case(**BARE), alone(), case(**NO_RATIO, floor=math.nan)],
    ),
    "the copies begin exactly alike": (
        case(**NO_RATIO, floor=math.nan), [case(), case(**NO_RATIO), case(**BARE)],
    ),
    "one run alone, without copies": (alone(), [case(), case(**NO_RATIO), case(**BARE)]),
    "the copies kept their distance": (
        undetermined(0.9999, 1.0001), [case(), undetermined(0.99, 1.01), case(**NO_RATIO)],
    ),
    "the perturbation changed no weight": (
        unmoved(), [case(), unmoved(0.1), unmoved(last=0.2), case(**NO_RATIO)],
    ),
    "the convergence ratio has no interval": (case(**BARE), [case(), case(**NO_RATIO)]),
    "the run gives no verdict": (
        case(behavior=scalar("something else")), [case(), undetermined(0.5, 2.0), CONVERGENT],
    ),
    "Read the warning first.": (case(**WARNED), [case()]),
    "The unperturbed twin did not stay identical": (
        case(floor=1e-6), [case(), case(floor=1e-6, **WARNED)],
    ),
    "There is no interval, so nothing is known about the error": (case(**BARE), [case()]),
    "The interval comes from the copies that were run": (case(), [case(**BARE)]),
    "Here the copies end with": (case(), [case(**NO_RATIO)]),
    "Over the fitted window the distance grew at a rate": (
        case(), [case(**SHRANK), case(**CURVED), case(lyapunov=scalar(None, reason="saturated"))],
    ),
    "Over the fitted window the distance shrank at a rate": (CONVERGENT, [case()]),
    "The straight line explains": (
        case(), [case(**CURVED), case(lyapunov_r2=scalar(None, reason="constant"))],
    ),
}  # fmt: skip


def page(result: FakeResult) -> str:
    found = texts(result)
    facts = [f"{f['name']}: {f['value']} ({f['below']})" for f in found["facts"]]
    said = [*found["alarms"], found["headline"], *facts, *found["meaning"], *found["limits"]]
    return "\n".join(said)


def printed(result: FakeResult) -> str:
    out = io.StringIO()
    show.result(Console(file=out, width=400), result, Path("report.html"))
    return out.getvalue()


@pytest.mark.parametrize("sentence", TABLE)
def test_it_is_said_where_it_is_true(sentence):
    assert sentence in page(TABLE[sentence][0])


@pytest.mark.parametrize(
    ("sentence", "number"), [(s, i) for s, (_, n) in TABLE.items() for i in range(len(n))]
)
def test_it_is_not_said_where_it_is_false(sentence, number):
    result = TABLE[sentence][1][number]
    assert sentence not in page(result)
    assert sentence not in printed(result)
    assert sentence not in notebook_html(result)


SAID = (
    "Not all",
    "Ratio and",
    "There is no one",
    "1 lies",
    "Whether the",
    "the perturbation changed",
)
PRINTED = [s for s in TABLE if s.startswith(SAID)]


@pytest.mark.parametrize("sentence", PRINTED)
def test_the_command_line_says_it_too(sentence):
    assert sentence in printed(TABLE[sentence][0])


def test_a_failed_training_is_the_first_thing_printed():
    from wingbeat.measure.verdict import training_failure

    result = case(FAILED, warnings=(training_failure(FAILED),))
    first = "Training itself failed: the reference's loss rose from 0.7 to 7e+05"
    assert printed(result).startswith(f"warning {first}")
    assert texts(result)["alarms"][0].startswith(first)
    assert texts(result)["headline"].startswith("Training itself failed")
    card = notebook_html(result)
    assert 0 < card.index("Training itself failed") < card.index("convergence ratio")


def test_one_ratio_is_never_printed_alone():
    text = " ".join(printed(case(**FOUR)).split())
    assert "copies that grew 4 of 5, last ÷ first distance 1 to 80" in text
    facts = {f["name"]: f for f in texts(case(**FOUR))["facts"]}
    assert facts["copies that grew"]["value"] == "4 of 5"
    assert "4 of 5" in notebook_html(case(**FOUR))


def test_an_exponent_that_explains_little_stands_in_the_details_only():
    curved, straight = case(**CURVED), case()
    facts = {f["name"]: f for f in texts(curved)["facts"]}
    assert facts["exponent λ per step"]["value"] == "none"
    assert "49 %" in facts["exponent λ per step"]["below"]
    cells = dict(texts(curved)["results"][0]["cells"])
    assert cells["λ per step"].startswith("0.00312")
    assert cells["R² of the λ fit"] == "0.49"
    assert "none (R² 0.49)" in notebook_html(curved)
    assert "none" not in notebook_html(straight)
    text = printed(curved)
    assert text.index("of the fit, R² 0.49:") < text.index("λ per step")
    assert "of the fit" not in printed(straight)


def test_the_table_is_complete():
    """Each sentence of `verdict_text` that a reader sees has a row above."""
    tree = ast.parse(Path(verdict_text.__file__).read_text(encoding="utf-8"))
    documented = {ast.get_docstring(n) for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    whole = "".join(page(said) for said, _ in TABLE.values())
    for sentence in _sentences(tree):
        if sentence not in documented:
            assert sentence in whole, sentence


def _sentences(tree):
    """Return the longest constant piece of each text that ends in a full stop."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [v.value for v in node.values if isinstance(v, ast.Constant)]
            if parts and parts[-1].endswith("."):
                yield max(parts, key=len)


def test_results_without_any_facts_are_not_judged():
    empty = case({}, copies=scalar(None), copies_grown=scalar(None), growth_smallest=scalar(None))
    facts = {f["name"]: f for f in texts(empty)["facts"]}
    assert facts["reference"]["value"] == "not known"
    assert facts["copies that grew"]["value"] == "not known"
