"""The words of the study, with what is a choice of this study and not of the paper."""

from __future__ import annotations

from typing import Final

DEFINITIONS: Final = (
    (
        "nudge",
        (
            "Each kernel weight is moved by a uniform draw from (−ε, ε); biases stay. N = 70 "
            "weights. The same draws, multiplied by ε, serve every ε."
        ),
    ),
    (
        "distance d",
        "Σ |w − w′| over all kernels and biases. d ÷ (εN) is 0.5 on average at the nudge.",
    ),
    (
        "nMLE",
        (
            "Of each initialisation: ln of the mean distance over 5 nudges, a line on every window "
            "[m, m + w) with m = 0, 5, …, 100 and w = 30, 35, …, 100, the one with the best R²; "
            "accepted if R² > 0.9 and the slope > 0.05; then the mean over accepted ones."
        ),
    ),
    (
        "renormalised exponent",
        (
            "Two orbits whose Euclidean distance is reset to 1e-8 after every update (Benettin); "
            "mean growth of ln distance. No window is chosen and no run dropped."
        ),
    ),
    (
        "without neutral directions",
        (
            "The same for differences without what shifts all logits alike: 11 directions that "
            "every step carries over unchanged, with an exponent of exactly 0."
        ),
    ),
    (
        "settled, period",
        (
            "Of the last 256 losses: they vary by less than 0.1 % of their size; they repeat after "
            "p updates to within 0.1 % of their range. No period: none up to 64."
        ),
    ),
    (
        "expansion rate",
        (
            "The paper's recipe on the losses from update 2700 on: 1000 reference points, all "
            "other points within 5e-5, the mean difference after n updates without the first, "
            "a line, p ≤ 0.05. Open in the text and chosen here: points at random; neighbours at "
            "least 25 updates away; windows of 10 to 25 points from n = 1, best R²; p of that "
            "window; series that have not settled."
        ),
    ),
    (
        "time to accuracy",
        (
            "First update at which at least 27 of the 30 test rows are right; median over "
            "initialisations."
        ),
    ),
    (
        "training rows",
        "120 of 150, drawn at random once. The paper's own rows are not stated.",
    ),
    (
        "same map",
        (
            "The measurements use one update written out for many nets at once. In every condition "
            "the engine trains one net and two nudged copies, and each recorded step is predicted "
            "from the one before."
        ),
    ),
)
