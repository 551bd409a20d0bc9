"""What is said of two phases, and whether these runs agree.

Each claim has a null model that its note names: what the number would be if there were nothing.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite, log2, nan
from typing import TYPE_CHECKING, Final

from wingbeat.metrics.structure import confinement
from wingbeat.report.figures.estimates import estimate_text
from wingbeat.stats import Estimate
from wingbeat.studies.two_phase.found import Runs, mark
from wingbeat.studies.two_phase.plan import AVERAGED
from wingbeat.study.analysis import Analysis
from wingbeat.study.verdicts import FAILS, HOLDS, UNDETERMINED, Claim, Verdict, all_of, judge

if TYPE_CHECKING:
    from collections.abc import Mapping

FALL: Final = 1.0
"""Doublings by which a quantity must fall to count: a factor of 2."""
NEAR: Final = 1.0
"""Doublings within which two moments coincide: forks lie one doubling apart, and where between two
of them something sharp has happened is not known."""
POINTS: Final = 0.02
"""Difference of test accuracies that counts as none: two points."""
RULINGS: Final[Mapping[str, Verdict]] = {
    "supported": HOLDS,
    "contradicted": FAILS,
    "undetermined": UNDETERMINED,
}
ZHOU: Final = "2505.13900"
KERNELS: Final = {"": "kernel as it is", "centred_": "centred kernel"}


def claims(found: Analysis) -> tuple[Claim, ...]:
    """Return the verdict on each claim."""
    return (
        transition(
            found,
            "sensitivity",
            "copies nudged later part less",
            "at steps 2,000 to 2,500 (VGG-16)",
        ),
        transition(found, "turn", "the kernel turns less", "from about 1 to 0.05 of 1 − cosine"),
        per_way(found),
        coincide(found),
        confined(found, "", "kernel as it is"),
        confined(found, "centred_", "centred kernel"),
        frozen_late(found),
        frozen_at_start(found),
        *averages(found),
        *drop(found),
    )


def transition(found: Analysis, name: str, words: str, published: str) -> Claim:
    """Judge whether a quantity falls by half and more, and at one moment."""
    fall, sharp = mark(found, f"{name}_fall"), mark(found, f"{name}_sharpness")
    return Claim(
        f"transition-{name.replace('_', '-')}",
        "A transition exists.",
        f"{published} ({ZHOU})",
        f"falls by {_doublings(fall)}; a step explains {estimate_text(sharp)} more than an even "
        "decline",
        all_of(judge(fall, FALL, above=True), judge(sharp, 0.0, above=True)),
        "Null models: nothing changes (a fall of 0 on average, since the place of the step is "
        "taken from the other base seeds), and an even decline along doublings (a step explains "
        "less).",
        words,
    )


def per_way(found: Analysis) -> Claim:
    """Judge whether the kernel comes to rest by itself, or only since the weights do."""
    fall = mark(found, "turn_per_way_fall")
    return Claim(
        "kernel-itself",
        "The kernel comes to rest by itself, not only since the weights do.",
        "the kernel leaves a chaotic for a confined phase (2505.13900)",
        f"turn of the kernel ÷ turn of the weights falls by {_doublings(fall)}",
        judge(fall, FALL, above=True),
        "Null model: a kernel that turns as far per turn of the weights late as early; 0.",
    )


def coincide(found: Analysis) -> Claim:
    """Judge whether both transitions are at one moment, within the distance of two forks."""
    apart = mark(found, "doublings_apart")
    doublings = len(_runs(found).forks) - 2
    chance = chance_within(NEAR, doublings) if doublings > 0 else nan
    return Claim(
        "coincide",
        "Both transitions coincide.",
        "both at 2,000 to 2,500 (VGG-16), 100 to 500 (ResNet-20) (2505.13900)",
        f"{_doublings(apart)} from the kernel's to that of the copies"
        if isfinite(apart.value)
        else estimate_text(apart),
        all_of(judge(apart, NEAR, above=False), judge(apart, -NEAR, above=True)),
        "Coincide: within a factor of 2 in steps, the distance of two forks. Null model: two "
        f"moments of which neither knows of the other are so near in {100 * chance:.0f} % of "
        "cases. Undefined where one of them does not fall in some base seed.",
    )


def chance_within(near: float, whole: float) -> float:
    """Return how often two independent places, even over a stretch, lie within a distance.

    >>> chance_within(1.0, 2.0), chance_within(3.0, 2.0)
    (0.75, 1.0)
    """
    return 1.0 - (1.0 - min(1.0, near / whole)) ** 2


def confined(found: Analysis, prefix: str, words: str) -> Claim:
    """Judge whether the kernel stays near a fixed one over the second half of training."""
    return _confined(
        found,
        prefix,
        words,
        "The kernel is confined.",
        "the longest decade of the second half of training",
        f"; norm × {estimate_text(mark(found, 'growth'))}",
    )


def _confined(
    found: Analysis, prefix: str, words: str, text: str, window: str, more: str = ""
) -> Claim:
    """Judge by the slope of a structure function whether a kernel stays near a fixed one."""
    slope, angle = mark(found, f"{prefix}slope"), mark(found, f"{prefix}plateau_degrees")
    return Claim(
        f"{prefix.replace('_', '-')}confined",
        text,
        "the same floor of 1 − cosine for every lag (2505.13900)",
        f"slope {estimate_text(slope)}, opening {estimate_text(angle)} degrees{more}",
        RULINGS[confinement(slope)],
        "Slope of 1 − cosine against the time between two moments, in logarithms, over "
        f"{window}. Null model: a fixed kernel with noise that has no "
        "memory gives 0, diffusion 1, drift 2. The angle is blind to growth"
        f"{': see the norm' * bool(more)}.",
        words,
    )


def averages(found: Analysis) -> tuple[Claim, ...]:
    """Judge whether averages of the weights take away the turn that is left, if it was asked."""
    if not _runs(found).has("average_plateau"):
        return ()
    claims = []
    for prefix, words in KERNELS.items():
        fall = mark(found, f"{prefix}average_fall")
        angles = (mark(found, f"{prefix}{n}_plateau_degrees") for n in ("single", "average"))
        claims.append(
            Claim(
                f"{prefix.replace('_', '-')}average-jitter",
                "What turns late is the jitter of a constant rate: averages of weights keep still.",
                "a confined phase (2505.13900), looked at through single records",
                f"1 − cosine of averages lower by {_doublings(fall)}; opening "
                f"{' for '.join(estimate_text(a) for a in angles)} degrees",
                judge(fall, FALL, above=True),
                f"Averages of {AVERAGED} successive records of the second half against the record "
                "in the middle of each, at the same times. Keep still: at least half of 1 − cosine "
                f"is gone. Null models: noise without memory falls by log₂ {AVERAGED} = "
                f"{log2(AVERAGED):.2f} doublings, drift and diffusion by none.",
                words,
            )
        )
    window = "the longest decade of the averages' times, second half of training"
    told = "The kernel of averaged weights is confined."
    return (
        *claims,
        *(_confined(found, f"{p}average_", words, told, window) for p, words in KERNELS.items()),
    )


def drop(found: Analysis) -> tuple[Claim, ...]:
    """Judge what becomes of the kernel after a drop of the learning rate, if it was asked."""
    if not _runs(found).has("dropped_late_plateau"):
        return ()
    window = "the longest decade of the last quarter, after the drop"
    told = "After a drop of the rate the kernel is confined."
    confinements = (
        _confined(found, f"dropped_{p}late_", words, told, window) for p, words in KERNELS.items()
    )
    itself = (_after_drop(found, prefix, words) for prefix, words in KERNELS.items())
    nearer = mark(found, "dropped_to_average_fall")
    return (
        *confinements,
        *itself,
        Claim(
            "drop-average",
            "A drop of the rate leads to the kernel of averaged weights.",
            "",
            f"1 − cosine to the kernel after the drop lower by {_doublings(nearer)} from an "
            "average before it than from the last record; test accuracy at the end "
            f"{estimate_text(mark(found, 'dropped_full'))} after the drop, "
            f"{estimate_text(mark(found, 'full'))} without",
            judge(nearer, 0.0, above=True),
            "Null models: a kernel without jitter gives at most 0, since the average lies further "
            "back; jitter without memory around one that both share more than 0.",
        ),
    )


def _after_drop(found: Analysis, prefix: str, words: str) -> Claim:
    fall = mark(found, f"dropped_{prefix}turn_per_way_fall")
    return Claim(
        f"{prefix.replace('_', '-')}drop-itself",
        "After a drop of the rate the kernel rests more than the weights do.",
        "",
        f"turn of the kernel ÷ turn of the weights falls by {_doublings(fall)}",
        judge(fall, FALL, above=True),
        "Against the same training at the full rate, over the last quarter, between records half "
        "of it apart. Null model: a kernel that turns as far per turn of the weights; 0.",
        words,
    )


def frozen_late(found: Analysis) -> Claim:
    """Judge whether a kernel fixed after a quarter of training serves as well as one that moves."""
    gap, gain = mark(found, "gap_at_quarter"), mark(found, "gain_at_quarter")
    return Claim(
        "fixed-kernel-late",
        "From a quarter of training on a kernel held fixed does as well as one that moves.",
        "from 15 to 45 % of training on (2010.15110); 0.82 at step 5000 (2505.13900)",
        f"test accuracy lower by {_points(gap)}; better than stopping there by {_points(gain)}",
        all_of(judge(gap, POINTS, above=False), judge(gain, 0.0, above=True)),
        "As well: within two points. Null model: stopping there, which must do worse.",
    )


def frozen_at_start(found: Analysis) -> Claim:
    """Judge whether the kernel of the start does worse."""
    gap = mark(found, "gap_at_start")
    return Claim(
        "fixed-kernel-at-start",
        "A kernel held fixed from the start on does worse.",
        "error three times as large (2010.15110); 0.13 and 0.44 (2505.13900)",
        f"test accuracy lower by {_points(gap)}",
        judge(gap, POINTS, above=True),
        "Worse: by more than two points.",
    )


def _doublings(found: Estimate) -> str:
    """Return a number of doublings, or why there is none."""
    return f"{estimate_text(found)} doublings" if isfinite(found.value) else estimate_text(found)


def _points(found: Estimate) -> str:
    """Return a difference of accuracies in points, or why there is none."""
    if not isfinite(found.value):
        return estimate_text(found)
    scaled = replace(found, value=100 * found.value, low=100 * found.low, high=100 * found.high)
    return f"{estimate_text(scaled)} points"


def _runs(found: Analysis) -> Runs:
    runs: Runs = found.own
    return runs
