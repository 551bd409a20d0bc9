"""Set-ups by optimizer: rules of torch, state loaded in the factory, objects of other people.

Rates are small: a rule that divides by the gradient's size makes rounding visible, the more the
nearer a gradient is to zero. The dense net has no gradient that is zero but for rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from plain_optimizers import (
    ClosureWithoutGrad,
    EagerLookahead,
    IgnoresClosure,
    Lookahead,
    MuonAdamW,
    NoClosure,
    Sam,
    SamAfterBackward,
    adafactor,
    by_axes,
)
from plain_setup import CURVE, EXACT, POINTS, Setup, dense, of, refused, squared
from torch import optim

RULES: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": partial(optim.SGD, lr=0.05),
    "sgd momentum": partial(
        optim.SGD, lr=0.02, momentum=0.9, dampening=0.1, weight_decay=0.01, foreach=True
    ),
    "sgd nesterov": partial(optim.SGD, lr=0.02, momentum=0.8, nesterov=True),
    "adam": partial(optim.Adam, lr=2e-3, betas=(0.8, 0.95), eps=1e-6),
    "adam amsgrad": partial(optim.Adam, lr=2e-3, amsgrad=True, weight_decay=0.05),
    "adamw": partial(optim.AdamW, lr=2e-3, weight_decay=0.1),
    "rmsprop": partial(optim.RMSprop, lr=1e-3, alpha=0.9),
    "rmsprop centered": partial(optim.RMSprop, lr=1e-3, centered=True, momentum=0.5),
    "adagrad": partial(optim.Adagrad, lr=5e-3, lr_decay=0.1, initial_accumulator_value=0.1),
    "nadam": partial(optim.NAdam, lr=1e-3, decoupled_weight_decay=True, weight_decay=0.01),
    "radam": partial(optim.RAdam, lr=1e-3, weight_decay=0.01),
    "adamw groups": partial(by_axes, kind=optim.AdamW, lr=2e-3),
    "sgd groups": partial(by_axes, kind=optim.SGD, lr=0.02, momentum=0.9),
    "sgd rate as a tensor": lambda params: optim.SGD(params, lr=torch.tensor(0.05)),
}
"""Rules with a pure form, which lock step must take."""
OBJECTS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "adamax": partial(optim.Adamax, lr=1e-3),
    "adadelta": partial(optim.Adadelta, lr=0.1),
    "asgd": partial(optim.ASGD, lr=0.01, t0=5),
    "rprop": partial(optim.Rprop, lr=1e-4),
    "adafactor": partial(optim.Adafactor, lr=1e-3),
    "adam maximize": partial(optim.SGD, lr=1e-3, maximize=True),
    "no closure": NoClosure,
    "ignores closure": IgnoresClosure,
    "closure under no_grad": ClosureWithoutGrad,
    "lookahead": lambda params: Lookahead(optim.SGD(params, lr=0.02, momentum=0.9)),
    "lookahead over adam": lambda params: Lookahead(optim.Adam(params, lr=1e-3), k=2),
    "eager lookahead": EagerLookahead,
    "muon and adamw": MuonAdamW,
    "hugging face adafactor": partial(
        adafactor, lr=1e-3, scale_parameter=False, relative_step=False
    ),
    "hugging face adafactor without lr": partial(adafactor, lr=None, warmup_init=True),
}
"""Objects that a plain loop calls with ``step()`` after ``backward()``."""
WITH_CLOSURE: dict[str, Callable[[Any], optim.Optimizer]] = {
    "lbfgs": partial(optim.LBFGS, lr=0.05, max_iter=3, history_size=4),
    "lbfgs wolfe": partial(optim.LBFGS, lr=0.5, max_iter=3, line_search_fn="strong_wolfe"),
    "sam": partial(Sam, lr=0.02, momentum=0.9),
    "closure": partial(optim.SGD, lr=0.02, momentum=0.9),
}
AMPLIFYING = {"rprop", "lbfgs", "lbfgs wolfe", "muon and adamw"}
"""Rules that decide by a sign, a line search or half precision: one rounding may show whole. They
never run in lock step, so float64 is where they are compared."""


def resumed(kind: Callable[[Any], optim.Optimizer]) -> Callable[[Any], optim.Optimizer]:
    """Return a factory that loads the state of an earlier training, as a resumed script does."""
    torch.manual_seed(9)
    model = dense()
    earlier = kind(list(model.parameters()))
    for start in (0, 8, 16):
        earlier.zero_grad()
        squared(model, (POINTS[start : start + 8], CURVE[start : start + 8])).backward()
        earlier.step()
    saved = earlier.state_dict()

    def factory(params: Any) -> optim.Optimizer:
        optimizer = kind(params)
        optimizer.load_state_dict(copy.deepcopy(saved))  # torch shares tensors, and steps in place
        return optimizer

    return factory


def step_hooked(params: Any) -> optim.Optimizer:
    """Shrink the weights after each step, by a hook on the optimizer."""
    optimizer = optim.SGD(params, lr=0.05)

    def shrink(self: optim.Optimizer, *rest: Any) -> None:
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.mul_(0.99)

    optimizer.register_step_post_hook(shrink)
    return optimizer


def _dtypes(name: str) -> dict[str, Any]:
    return {"dtypes": (torch.float64,)} if name in AMPLIFYING else {}


def named(rules: Any, pins: str, **options: Any) -> dict[str, Setup]:
    """Return a set-up for each rule of a table."""
    return {n: of(f"{pins}: {n}", optimizer=o, **_dtypes(n), **options) for n, o in rules.items()}


SETUPS = {
    **named(RULES, "a rule of torch", stacks=True),
    **named(OBJECTS, "an optimizer object"),
    **named(WITH_CLOSURE, "an optimizer that is given a closure", closure=True),
    **{
        f"resumed {name}": of(
            f"state loaded in the factory: {name}", optimizer=resumed(RULES[name])
        )
        for name in RULES
        if name not in ("sgd", "sgd rate as a tensor")
    },
    "resumed adamax": of("state loaded into an object", optimizer=resumed(OBJECTS["adamax"])),
    "resumed custom": of("state loaded into a custom object", optimizer=resumed(IgnoresClosure)),
    "sam after backward": Setup(
        "gradients must be there before step(closure), which returns nothing",
        of("", optimizer=partial(SamAfterBackward, lr=0.02)).recipe,
        accepts=(EXACT, refused("closure|SamAfterBackward")),
        closure="after",
    ),
    "step hook": of("a hook on the optimizer's step", optimizer=step_hooked),
}
