"""Arguments of `wb.run` and fields of perturbations as strangers give them.

`attack` makes one call and says how it went: "refused", "taken", or the exception that came out.
"""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import torch

import wingbeat as wb
from wingbeat.errors import WingbeatError
from wingbeat.replicas.perturb import PERTURBATIONS

NAN, INF = float("nan"), float("inf")
ODD = [
    *(None, 0, -1, 2.5, NAN, INF, -INF, 2**70, -(2**70), 10**30, 10**400, "", "x", b"x", 1j, "\0"),
    *([], [None], [1, 1], [2**70], ["x"], {}, {"a": 1}, object(), True, False, float, set()),
    *(np.float32(0.5), np.int64(2), np.array([1, 2]), np.array(1), torch.tensor(2)),
    *(torch.device("meta"), torch.float64, torch.int32, max, (1, 2), [-1], [1.5], [True]),
]
TENSORS = [
    {"weight": None},
    {"weight": [[1]]},
    {"weight": "x"},
    {"weight": torch.ones(1, 1).to_sparse()},
    {"weight": torch.ones(1, 1) * 1j},
    {"weight": torch.full((1, 1), NAN)},
    {"weight": torch.ones(1, 1, requires_grad=True)},
    {"weight": np.ones((1, 1))},
    {"weight": torch.ones(1, 1, dtype=torch.bfloat16)},
    {"weight": torch.empty(1, 1, device="meta")},
    {"weight": torch.ones(2, 2)},
    {1: torch.ones(1, 1)},
]
ARGUMENTS = (
    *("perturbations", "replicas", "record_every", "metrics", "driver", "dtype", "seeds"),
    *("device", "compiled", "checkpoint_seconds", "progress", "factory", "remeasure", "out"),
)
SIZES = {
    "gaussian": {"scale": 0.1},
    "batchgradient": {"scale": 0.1},
    "direction": {"tensors": {"weight": torch.ones(1, 1)}},
}
KINDS = (
    *("gaussian", "batchgradient", "direction", "ulp", "singleweight"),
    *("order", "augmentation", "dropout", "init"),
)
RUN = {"replicas": 1, "driver": "loop", "metrics": ["l2"]}
MUST_BE_REFUSED = {
    ("replicas", "10**30"): {"replicas": 10**30},
    ("replicas", "2**70"): {"replicas": 2**70},
    ("device", "None"): {"device": None},
    ("device", "meta"): {"device": "meta"},
    ("seeds", "0"): {"seeds": 0},
    ("seeds", "2**70"): {"seeds": [2**70]},
    ("seeds", "twice"): {"seeds": [1, 1]},
    ("perturbations", "text"): {"perturbations": ""},
    ("driver", "list"): {"driver": ["loop"]},
    ("out", "empty"): {"out": ""},
    ("checkpoint_seconds", "nan"): {"checkpoint_seconds": NAN},
    ("compiled", "text"): {"compiled": "no"},
}


def task(lr=0.1, **options):
    x = torch.linspace(-1, 1, 8).unsqueeze(1)
    return wb.Task(
        model=lambda: torch.nn.Linear(1, 1),
        loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        data=(x, 2 * x),
        optimizer=lambda params: torch.optim.SGD(params, lr=lr),
        batch_size=8,
        steps=2,
        **options,
    )


def attack(act):
    """Return "taken", "refused: words", or "raw: …" of one call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            act()
        except WingbeatError as error:
            return f"refused: {error}"
        except Exception as error:
            return f"raw: {type(error).__name__}: {str(error)[:100]}"
    return "taken"


def run(**changed):
    arguments = {"perturbations": wb.Gaussian(0.1), **RUN, **changed}
    wb.run(task(), arguments.pop("perturbations"), **arguments)


def use(kind, field, value):
    """Make a perturbation and do with it all that a run does."""
    made = PERTURBATIONS.find(kind)(**{**SIZES.get(kind, {}), field: value})
    params = dict(torch.nn.Linear(1, 1).named_parameters())
    made.check(params, 2)
    assert isinstance(made.label, str)
    made.describe()
    hash(made)
    if hasattr(made, "delta"):
        made.delta(params, lambda _: {k: torch.ones_like(v) for k, v in params.items()}, 1)
    else:
        made.derived(1)


def attacks():
    """Yield a name and what to call for every argument, field and odd value."""
    for argument in ARGUMENTS:
        for value in ODD:
            # Paths that are fine, and counts that are fine and large, are not what is asked here.
            if argument != "out" or not isinstance(value, str) or value in ("", "\0"):
                yield argument, value, lambda a=argument, v=value: run(**{a: v})
    for kind in KINDS:
        for field in dataclasses.fields(PERTURBATIONS.find(kind)):
            extra = TENSORS if field.name == "tensors" else ["(", "w|b", "(?P<a"]
            for value in (*ODD, *extra):
                yield (
                    f"{kind}.{field.name}",
                    value,
                    lambda k=kind, f=field.name, v=value: use(k, f, v),
                )
    for lr in (INF, NAN):
        yield "lr", lr, lambda r=lr: wb.run(task(r), wb.Gaussian(0.1), **RUN)
    for seed in (2**70, 2**63, None, "x", 1.5):
        yield "Task.seed", seed, lambda s=seed: wb.run(task(seed=s), wb.Gaussian(0.1), **RUN)
