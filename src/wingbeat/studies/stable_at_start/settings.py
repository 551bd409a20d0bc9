"""What the search may choose, and settings that are run beside it because they are known."""

from __future__ import annotations

from typing import Any, Final

Setting = dict[str, Any]
"""Arguments of `wingbeat.tasks.settings.settings_task`."""
USUAL_RATES: Final = {"sgd": 0.1, "adamw": 1e-3}
"""Learning rates of which the search tries multiples."""
FACTORS: Final = (1e-3, 10.0)
"""Of the usual rate: from hardly training to breaking down."""
WIDTHS: Final = (4, 7)
"""Logarithm of the width, base 2: 16 to 128, a trial within ten seconds."""
GAINS: Final = (-1.0, 2.0)
"""Logarithm of the initial weights' factor, base 2; at 1.29 (√6) a ReLU net keeps signals' size."""
LANDMARKS: Final[dict[str, Setting]] = {
    "linear": {"depth": 0, "lr": 1e-3},
    "usual AdamW": {"lr": 1e-3},
    "usual SGD": {"optimizer": "sgd", "lr": 0.05},
    "fast AdamW": {"lr": 1e-2},
    "hardly training": {"optimizer": "sgd", "lr": 1e-4},
    "lazy": {"optimizer": "sgd", "width": 128, "gain": 4.0, "lr": 1e-4},
}
"""A convex model, usual settings, ten times the usual rate, and two trivial ways to be stable."""


def proposed(trial: Any) -> Setting:
    """Return the setting that a trial of Optuna stands for."""
    optimizer = trial.suggest_categorical("optimizer", sorted(USUAL_RATES))
    factor = trial.suggest_float("rate_factor", *FACTORS, log=True)
    return {
        "optimizer": optimizer,
        "lr": USUAL_RATES[optimizer] * factor,
        "warmup": trial.suggest_float("warmup", 0.0, 0.5),
        "decay": trial.suggest_categorical("decay", ["none", "linear", "cosine"]),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
        "batch_size": 2 ** trial.suggest_int("log2_batch_size", 6, 8),
        "width": 2 ** trial.suggest_int("log2_width", *WIDTHS),
        "norm": trial.suggest_categorical("norm", ["none", "layer", "batch"]),
        "gain": 2.0 ** trial.suggest_float("log2_gain", *GAINS),
    }
