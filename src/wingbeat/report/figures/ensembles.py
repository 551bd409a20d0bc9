"""The figure of ensembles: what averaging predictions gains, against how they differ."""

from __future__ import annotations

import math
from typing import Final

from wingbeat.report.figures.families import drawn_names, family_note, joined
from wingbeat.report.figures.marks import Dot, DotFigure
from wingbeat.report.prose import interval, number
from wingbeat.report.result_access import ResultLike, entry, rows

GAIN: Final = "ensemble_loss_gain"
DIVERSITY: Final = "ensemble_diversity"


def gain_against_diversity(result: ResultLike) -> DotFigure | None:
    """Gain of each perturbation's ensemble against its diversity, step by step; None without data.

    A dot for every recorded step; the last one has the interval of the summary.
    """
    dots: list[Dot] = []
    for style, name in enumerate(drawn_names(result)):
        gains = rows(result, GAIN, perturbation=name).groupby("step")["value"].mean()
        apart = rows(result, DIVERSITY, perturbation=name).groupby("step")["value"].mean()
        final = entry(result, GAIN, name)
        for step in gains.index:
            gain, place = float(gains[step]), float(apart.get(step, math.nan))
            if not (math.isfinite(gain) and math.isfinite(place)):
                continue
            last = step == gains.index[-1]
            low, high = (final.low, final.high) if last else (math.nan, math.nan)
            bounds = f" [{interval(final)}]" if last and final.has_interval else ""
            said = f"{name}, step {step:,}: gain {number(gain)}{bounds} at {number(place)}"
            dots.append(Dot(place, gain, low, high, name, style, said))
    if not dots:
        return None
    return DotFigure(
        key="gain_against_diversity",
        title="Does it pay to average the replicas' predictions?",
        caption=joined(
            "A dot for each recorded step. Gain: mean loss of the replicas of a perturbation less "
            "the loss of the mean of their probabilities, above 0 where the ensemble is better. "
            "Diversity: share of held-out cases on which replica and reference differ, over the "
            "replica's error rate; 0 = the same predictions, about 1 = independent errors.",
            "The last step has a 95 % interval where there are three base seeds or more.",
            family_note(result),
        ),
        place_label="diversity (disagreement ÷ error rate)",
        value_label="gain of the ensemble (nats)",
        dots=tuple(dots),
    )
