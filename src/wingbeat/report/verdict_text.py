"""The sentences of a verdict: each says how sure it is, and is made only where that is so.

`wingbeat.measure.verdict.Verdict` holds the facts. ``tests/report/test_certainty.py`` has for every
sentence a case in which it must not be printed.
"""

from __future__ import annotations

from math import inf, isfinite, isnan, log

from wingbeat.errors import BELOW_NOISE_FLOOR
from wingbeat.measure.verdict import LEAST_R2, Verdict
from wingbeat.report.prose import floor_text, interval, no_interval, number, percent, reason
from wingbeat.report.result_access import ResultLike, entry, first_name, text_value
from wingbeat.stats import VERDICT_LEVEL


def read(result: ResultLike, perturbation: str | None = None) -> Verdict:
    """Return the verdict on one perturbation of a result; None means the first."""
    return Verdict.of(result.summary, perturbation)


def reference(found: Verdict) -> tuple[str, str]:
    """Return in words whether the reference trained, and by which numbers."""
    if not found.training:
        return "not known", "no loss was recorded"
    words = {"trained": "trained", "failed": "training failed", "unproven": "not shown to train"}
    facts = found.training
    told = [
        f"loss {number(facts['loss_start'])} at the start, {number(facts['loss_end'])} at the end"
    ]
    if "accuracy" in facts:
        told.append(
            f"accuracy {percent(facts['accuracy'])} (commonest class {percent(facts['chance'])})"
        )
    return words[facts["state"]], "; ".join(told)


def copies(found: Verdict) -> tuple[str, str]:
    """Return how many copies grew, as "4 of 5", and by which factors."""
    if not found.copies:
        return "not known", "distances were not recorded"
    low, high = found.growth
    factors = (
        f"last ÷ first distance {number(low)} to {number(high)}"
        if isfinite(low) and isfinite(high)
        else "last ÷ first distance is not defined for all"
    )
    return f"{found.grown} of {found.copies}", factors


def failed(found: Verdict, word: str) -> str:
    """Return what stands first where training itself failed; "" elsewhere."""
    if not found.training_failed:
        return ""
    return (
        f"Training itself failed, and the verdict on the copies ({word}) is about a run that did "
        "not learn."
    )


def not_shown(found: Verdict) -> str:
    """Return that nothing shows the reference to have learnt; "" where something does."""
    if not found.training_unproven:
        return ""
    facts = found.training
    start, end = number(facts["loss_start"]), number(facts["loss_end"])
    change = {
        "fell": f"its loss fell from {start} to {end}",
        "rose": f"its loss rose from {start} to {end}",
    }.get(facts["change"], f"its loss went from {start} to {end}, which its own scatter explains")
    classes = {"no": "not above", "yes": "above"}.get(str(facts.get("above_chance", "")))
    if classes:
        change += (
            f", and its accuracy of {percent(facts['accuracy'])} is {classes} the share of the "
            f"commonest class ({percent(facts['chance'])}) beyond doubt"
        )
    return f"Whether the reference learnt anything is not shown: {change}."


def unlike_copies(found: Verdict) -> str:
    """Return that copies did not all do the same; "" where they did."""
    if not found.mixed:
        return ""
    grew, factors = copies(found)
    left = found.copies - found.grown
    return f"Not all copies did the same: {grew} grew, {left} did not ({factors})."


def contradiction(found: Verdict) -> str:
    """Return that ratio and exponent have opposite signs beyond doubt; "" where they have not."""
    if not found.contradicted:
        return ""
    sides = ("closer together", "grew") if found.exponent.value > 0 else ("further apart", "shrank")
    return (
        f"Ratio and exponent disagree beyond doubt: the copies ended {sides[0]} (ratio "
        f"{number(found.ratio.value)}), while over the fitted steps their distance to the "
        f"reference {sides[1]} (λ {number(found.exponent.value)}). Neither alone describes this "
        "run."
    )


def no_one_rate(found: Verdict) -> str:
    """Return why no exponent stands beside the headline; "" where one does, or is undefined."""
    if not found.poor_fit:
        return ""
    return (
        f"There is no one exponent: a straight line explains {percent(found.r2)} of ln distance, "
        f"less than {percent(LEAST_R2)}."
    )


def wider(found: Verdict) -> str:
    """Return why 1 outside the ratio's interval gave no verdict; "" where that is not so."""
    outside = found.ratio.low > 1 or found.ratio.high < 1
    if found.behavior != "undetermined" or not outside:
        return ""
    return (
        f"Undetermined: 1 lies outside the ratio's 95 % interval, but within the "
        f"{percent(VERDICT_LEVEL)} interval ({number(found.judged.low)} to "
        f"{number(found.judged.high)}) that a verdict asks for."
    )


def remarks(found: Verdict) -> list[str]:
    """Return what a headline adds to its word, a sentence each."""
    said = (unlike_copies(found), contradiction(found), no_one_rate(found))
    return [sentence for sentence in said if sentence]


def verdict(result: ResultLike, perturbation: str | None = None) -> str:
    """Return the recorded verdict: convergent, divergent or undetermined.

    None as perturbation means the first one.
    """
    if perturbation is None:
        first = first_name(result)
        return str(result.behavior) if first is None else verdict(result, first)
    return text_value(result, "behavior", perturbation) or "undetermined"


def headline(result: ResultLike) -> str:
    """Return the verdict on the first perturbation and what it must not be read without."""
    name = first_name(result)
    found, word = read(result, name), verdict(result)
    known = {
        "convergent": "Convergent: training drew the nudged copies closer together.",
        "divergent": "Divergent: training drove the nudged copies apart.",
    }
    first = failed(found, word) or known.get(word, "") or wider(found)
    if first == known.get(word):
        first = f"{first[:-1]}{_hardly(result, name)}."
    first = first or unmoved(result, name) or _undetermined(result, name)
    last = ["Read the warning first."] if alarms(result) else []
    return " ".join([first, *remarks(found), *last])


def _hardly(result: ResultLike, name: str | None) -> str:
    """Return by how little copies parted or drew together where it is little, else ""."""
    ratio = entry(result, "convergence_ratio", name)
    if not (ratio.defined and ratio.has_interval):
        return ""
    most = max(abs(1 - ratio.low), abs(1 - ratio.high))
    # A tenth of a distance is seen in no picture, and no use of a model feels it.
    return f", by {percent(most)} at most" if most <= 0.1 else ""


def unmoved(result: ResultLike, perturbation: str | None) -> str:
    """Return that a perturbation changed nothing, so that nothing was tried; "" elsewhere."""
    asked = next((p for p in result.perturbations if p.get("name") == perturbation), {})
    realised = asked.get("realised") or {}
    sizes = [*(realised.get("l2") or ()), *(realised.get("changed") or ())]
    if not realised.get("changed") or any(sizes):
        return ""
    if entry(result, "final_l2", perturbation).value != 0:
        return ""  # another order of the data or other noise, which moves no weight at first
    return (
        "Undetermined: the perturbation changed no weight (rounding swallows small ones), and its "
        "copies equal the reference to the last bit."
    )


def _undetermined(result: ResultLike, name: str | None) -> str:
    ratio = entry(result, "convergence_ratio", name)
    if not ratio.defined:
        return _no_ratio(result, name)
    if not ratio.has_interval:
        why = no_interval(ratio)
        return f"Undetermined: the convergence ratio has {why}."
    if number(ratio.low) == number(ratio.high) == "1":
        return "Undetermined: the copies kept their distance, neither closer nor further apart."
    if ratio.low <= 1 <= ratio.high:
        return "Undetermined: the interval holds 1, so the copies may have drawn together or apart."
    return "Undetermined: the run gives no verdict."


def _no_ratio(result: ResultLike, name: str | None) -> str:
    ratio = entry(result, "convergence_ratio", name)
    if name is None and not result.perturbations and not ratio.reason:
        return "Undetermined: one run alone, without copies, does not tell how sensitive it is."
    if ratio.reason == BELOW_NOISE_FLOOR and isnan(result.noise_floor):
        return "Undetermined: the copies begin exactly alike, and no growth starts from 0."
    why = reason(ratio)
    tail = f", because {why}." if why else "."
    return f"Undetermined: the convergence ratio is not defined{tail}"


def meaning(result: ResultLike) -> tuple[str, ...]:
    """Return what the headline number says, one paragraph each, in plain language."""
    ratio = entry(result, "convergence_ratio", first_name(result))
    said = [
        (
            "The convergence ratio is the spread of the copies at the last step divided by their "
            "spread right after the nudge. Spread is the root of the summed variance of every "
            "trainable weight that the loss depends on, over the copies. Below 1 the copies drew "
            "together, above 1 they drifted apart, and 1 means that training kept their distance."
        )
    ]
    if ratio.defined:
        said.append(
            f"Here the copies end with {number(ratio.value)} times the spread they started with"
            + (f" (95 % interval {interval(ratio)})." if ratio.has_interval else ".")
        )
    rate = entry(result, "lyapunov", first_name(result))
    if rate.defined and read(result, first_name(result)).one_rate:
        sense = "grew" if rate.value > 0 else "shrank"
        steps = log(2) / abs(rate.value) if rate.value else inf
        said.append(
            f"Over the fitted window the distance {sense} at a rate of {number(rate.value)} per "
            f"step; kept up, that would {'double' if rate.value > 0 else 'halve'} it every "
            f"{number(steps)} steps.{_fit_quality(result)}"
        )
    return tuple(said)


def _fit_quality(result: ResultLike) -> str:
    r2 = entry(result, "lyapunov_r2", first_name(result))
    if not r2.defined:
        return ""
    return f" The straight line explains {percent(r2.value)} of ln distance."


def limits(result: ResultLike) -> tuple[str, ...]:
    """Return what the headline number does not say, one paragraph each."""
    said = [
        (
            "It speaks of this model, these data, this optimizer and schedule, this size and time "
            "of the nudge, and this many steps. Training for longer can give another verdict."
        ),
        (
            "“Convergent” does not mean that training reached a minimum, and “divergent” does not "
            "mean that it failed: both speak of the distance between copies in weight space only."
        ),
        (
            "Distance in weights is not difference in function. Two nets far apart in weights can "
            "predict the same; the losses and the disagreement of predictions show that."
        ),
    ]
    learnt = not_shown(read(result, first_name(result)))
    said += [learnt] if learnt else []
    if not entry(result, "convergence_ratio", first_name(result)).has_interval:
        said.append("There is no interval, so nothing is known about the error of this value.")
    else:
        said.append(
            "The interval comes from the copies that were run. It covers the draw of the nudges, "
            "and other base seeds only where the run was asked for several."
        )
    return tuple(said)


def alarms(result: ResultLike) -> tuple[str, ...]:
    """Return what must be read before any number: the run's warnings, and a broken null twin."""
    found = [str(w) for w in result.warnings]
    if result.noise_floor != 0 and not found:
        found.append(
            f"The unperturbed twin did not stay identical to the reference "
            f"({floor_text(result.noise_floor)}). Distances at or below the floor are noise of "
            f"the execution, not sensitivity, and are marked as undefined."
        )
    return tuple(found)
