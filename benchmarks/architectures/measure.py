"""What one architecture shows: its groups, the residual of the check, and a permuted copy."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.architectures.case import Case
from wingbeat.errors import RequestError
from wingbeat.symmetry import PermutationSpec, aligned_distance, permutation_spec, weight_matching

RECOVERED = 1e-6
"""A copy counts as recovered below this distance, relative to the norm of the weights: a unit
that stays in the wrong place is farther by orders of magnitude, rounding nearer."""
NOISE = 0.1
"""Noise on the weights, relative to their size: new models have units that are exactly alike."""


def measured(case: Case) -> dict[str, Any]:
    """Return one row of the table as plain JSON."""
    torch.manual_seed(0)
    model = case.build().eval()
    noisy(model)
    start = time.process_time()
    spec = permutation_spec(model, case.inputs(), outputs=case.outputs)
    seconds = time.process_time() - start
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    return {
        "name": case.name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "groups": len(spec.groups),
        "units": sum(group.size for group in spec.groups),
        "residual": spec.largest_gap,
        "seconds": round(seconds, 2),
        "failed_check": sum(axis.reason == "numerical check" for axis in spec.blocked),
        **recovery(spec, state),
    }


def noisy(model: nn.Module) -> None:
    """Add noise to all weights, so that no two units are the same."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() and parameter.numel():
                size = max(float(parameter.float().square().mean() ** 0.5), 0.1)
                draws = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.add_(NOISE * size * draws)


def recovery(spec: PermutationSpec, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return whether weight matching brings a permuted copy back, and how far it stays away."""
    if not spec.groups:
        return {"recovered": None}
    hidden = spec.random(2)
    moved = hidden.apply(state)
    norm = sum(float(state[n].double().square().sum()) for n in spec.parameters) ** 0.5
    for restarts in (1, 5):
        found = weight_matching(state, moved, spec, restarts=restarts)
        apart = aligned_distance(state, moved, spec, found) / norm
        if apart <= RECOVERED:
            break
    return {"recovered": apart <= RECOVERED, "apart": apart}


def safely(case: Case) -> dict[str, Any]:
    """Return one row; of an architecture that cannot be measured, why."""
    try:
        return measured(case)
    except RequestError as error:
        why = str(error)
    except Exception as error:  # one architecture must not end the table
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename.rpartition('site-packages/')[2]}:{last.lineno}"
        why = f"{type(error).__name__}: {error} ({where})"
    return {"name": case.name, "groups": 0, "error": " ".join(why.split())[:300]}


def main() -> None:
    """Measure the architectures that are named; print a line of JSON for each, as it comes."""
    from benchmarks.architectures.every import every

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    known = every()
    for name in sys.argv[1:]:
        print("ROW " + json.dumps(safely(known[name])), flush=True)


if __name__ == "__main__":
    main()
