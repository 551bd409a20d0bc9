"""What is said of two phases, and whether these runs agree.

Each claim has a null model that its note names: what the number would be if there were nothing.
"""

from __future__ import annotations

from dataclasses import replace
from math import isfinite, nan
from typing import TYPE_CHECKING, Final

from wingbeat.metrics.structure import confinement
from wingbeat.report.figures.estimates import estimate_text
from wingbeat.stats import Estimate
from wingbeat.studies.two_phase.found import Runs, mark
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
        confined(found, ""),
        confined(found, "centred_"),
        frozen_late(found),
        frozen_at_start(found),
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


def confined(found: Analysis, prefix: str) -> Claim:
    """Judge whether the kernel stays near a fixed one over the second half of training."""
    slope, angle = mark(found, f"{prefix}slope"), mark(found, f"{prefix}plateau_degrees")
    return Claim(
        f"{prefix.replace('_', '-')}confined",
        "The kernel is confined.",
        "the same floor of 1 − cosine for every lag (2505.13900)",
        f"slope {estimate_text(slope)}, opening {estimate_text(angle)} degrees; norm × "
        f"{estimate_text(mark(found, 'growth'))}",
        RULINGS[confinement(slope)],
        "Slope of 1 − cosine against the time between two moments, in logarithms, over the longest "
        "decade of the second half of training. Null model: a fixed kernel with noise that has no "
        "memory gives 0, diffusion 1, drift 2. The angle is blind to growth: see the norm.",
        "centred kernel" if prefix else "kernel as it is",
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
