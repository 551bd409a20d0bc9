"""The claims of arXiv 2506.13234 about fine-tuning language models, measured and judged.

The paper gives no numbers for these, so the bounds are ours; each is named. Its comparison of
pretraining lengths needs checkpoints of one pretraining run: name them as interventions
(``checkpoint=PATH``). What stands here compares pretrained with fresh weights.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from wingbeat.studies.butterfly.rulings import claim, over_seeds, ratio
from wingbeat.study.ranges import CORRELATION
from wingbeat.study.verdicts import Claim, all_of, judge

UNCORRELATED: Final = 0.3
"""Below this size a correlation counts as almost none."""
SCRATCH: Final = "checkpoint=random"
"""The intervention that starts from fresh weights."""


def finetune_claims(values: pd.DataFrame) -> tuple[Claim, ...]:
    """Return every claim with its verdict.

    Args:
        values: one row for each replica and quantity; see ``found.VALUES``.
    """
    own = values[values["intervention"] == "standard"]
    return (_later(own), _uncorrelated(own), _pretrained(values))


def correlations(own: pd.DataFrame) -> list[float]:
    """Return the correlation of barrier and L2 over the replicas of each base seed.

    Base seeds in which either does not vary have none.

    Example:
        >>> rows = [
        ...     {"seed": 0, "kind": "gaussian", "size": size, "time": 0.0, "replica": "1",
        ...      "quantity": name, "value": factor * size}
        ...     for size in (1.0, 2.0, 3.0)
        ...     for name, factor in (("l2", 2.0), ("barrier_train", -1.0))
        ... ]
        >>> [round(r, 12) for r in correlations(pd.DataFrame(rows))]
        [-1.0]
    """
    found = []
    places = ["kind", "size", "time", "replica"]
    for _, rows in own.groupby("seed"):
        wide = rows.pivot_table(index=places, columns="quantity", values="value")
        if not {"l2", "barrier_train"} <= set(wide.columns):
            continue
        pair = wide[["l2", "barrier_train"]].dropna().to_numpy(dtype=float)
        if len(pair) > 2 and (pair.std(axis=0) > 0).all():
            found.append(float(np.corrcoef(pair.T)[0, 1]))
    return found


def _later(own: pd.DataFrame) -> Claim:
    barrier = own[own["quantity"] == "barrier_train"]
    found = ratio(barrier[barrier["time"] > 0], barrier[barrier["time"] == 0])
    return claim(
        "later",
        "A perturbation later in training leads to a lower barrier.",
        "qualitative",
        found,
        judge(found, 1.0, above=False),
        "Barrier of the training loss after the later times ÷ at the start, same kinds and sizes.",
    )


def _uncorrelated(own: pd.DataFrame) -> Claim:
    found = over_seeds(correlations(own), CORRELATION)
    return claim(
        "uncorrelated",
        "For BERT the barrier is almost uncorrelated with the L2 distance.",
        "qualitative",
        found,
        all_of(judge(found, UNCORRELATED, above=False), judge(found, -UNCORRELATED, above=True)),
        "Correlation over replicas, averaged over base seeds, −1 to 1; almost none: within "
        f"{UNCORRELATED:g} on both sides of 0.",
    )


def _pretrained(values: pd.DataFrame) -> Claim:
    barrier = values[values["quantity"] == "barrier_train"]
    fresh, read = (barrier[barrier["intervention"] == n] for n in (SCRATCH, "standard"))
    found = ratio(fresh, read)
    return claim(
        "pretrained",
        "Pretrained weights make training more stable than fresh ones.",
        "mixed: longer pretraining helps CIFAR nets and can harm language models",
        found,
        judge(found, 1.0, above=True),
        "Barrier from fresh weights of the same architecture ÷ barrier from pretrained ones, same "
        "kinds, sizes and times.",
    )
