"""What the study of scaling runs: dense nets of many shapes, nudged by many sizes at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from wingbeat.errors import RequestError, nearest
from wingbeat.study.condition import Condition
from wingbeat.study.plan_options import option
from wingbeat.tasks.digit_families import MASKS

SNAPSHOTS: Final = 10
"""Records of a run: enough for an exponent by least squares."""
RATE: Final = 0.05
"""Learning rate of SGD with momentum 0.9, at which every shape here trains."""
FORKS: Final = (0.0, 0.05, 0.25)
"""Where the largest nudge is made, as shares of training: which copies leave, and until when."""
PLACES: Final = "wingbeat.studies.width_depth_size.measure:sensitivity"


@dataclass(frozen=True)
class ScalingPlan:
    """What was asked of the study.

    Raises:
        RequestError: an axis without two values, or a number out of range.
    """

    widths: tuple[int, ...] = option((8, 16, 32, 64, 128), "Hidden width.", "width")
    depths: tuple[int, ...] = option((1, 2, 3), "Number of hidden layers.", "depth")
    sizes: tuple[float, ...] = option(
        (1e-4, 1e-3, 1e-2, 1e-1), "Nudge, in deviations of each tensor's initialisation.", "scale"
    )
    activations: tuple[str, ...] = option(("relu", "tanh"), "relu or tanh.", "activation")
    densities: tuple[float, ...] = option(
        (0.5, 0.25, 0.125), "Share of the weights of sparse ReLU nets, 64 wide.", "density"
    )
    masks: tuple[str, ...] = option(
        ("random",), "random or pruned: which weights of sparse nets exist.", "mask"
    )
    steps: int = option(220, "Updates.")
    replicas: int = option(2, "Copies of each nudge.")
    seeds: int = option(5, "Base seeds, from 0 on.")
    dtype: str = option("float32", "float32 or float64.")

    def __post_init__(self) -> None:
        for name in ("widths", "depths", "sizes"):
            if len(set(getattr(self, name))) < 2:
                raise RequestError(f"{name} are {getattr(self, name)}: give two or more")
        for mask in self.masks:
            if mask not in MASKS:
                raise RequestError(f"mask is {mask!r}: {nearest(mask, list(MASKS))}")
        if min(self.sizes) <= 0 or not self.activations:
            raise RequestError(f"sizes {self.sizes}, activations {self.activations}: give positive")
        if self.steps < 2 * SNAPSHOTS or self.replicas < 2 or self.seeds < 1:
            raise RequestError(
                f"steps {self.steps}, replicas {self.replicas}, seeds {self.seeds}: use "
                f"{2 * SNAPSHOTS}, 2 and 1 at least"
            )

    @property
    def nets(self) -> list[dict[str, Any]]:
        """Activation, width, depth, density and mask of each net: a grid, and the sparse ones."""
        grid = [
            {"activation": a, "width": w, "depth": d, "density": 1.0, "mask": "none"}
            for a in self.activations
            for d in self.depths
            for w in self.widths
        ]
        sparse = {"activation": "relu", "width": 64, "depth": 2}
        shares = [(mask, share) for mask in self.masks for share in self.densities]
        return grid + [{**sparse, "density": share, "mask": mask} for mask, share in shares]

    @property
    def nudges(self) -> tuple[dict[str, Any], ...]:
        """All sizes at the start, and the largest at the later forks too."""
        every = self.steps // SNAPSHOTS
        late = sorted({max(1, round(self.steps * share / every)) * every for share in FORKS[1:]})
        start = [{"kind": "gaussian", "scale": size, "at": 0} for size in sorted(self.sizes)]
        return (*start, *({**start[-1], "at": at} for at in late))


def conditions(plan: ScalingPlan) -> list[Condition]:
    """Return one condition for each net and base seed.

    Example:
        >>> len(conditions(ScalingPlan())), len(ScalingPlan().nudges)
        (165, 6)
    """
    return [
        Condition(
            factory="wingbeat.tasks.digit_families:family_task",
            arguments={
                "family": "dense",
                "shape": [net["width"]] * net["depth"],
                "lr": RATE,
                "steps": plan.steps,
                "optimizer": "sgd",
                "activation": net["activation"],
                "density": net["density"],
                **({"mask": "pruned"} if net["mask"] == "pruned" else {}),
            },
            perturbations=plan.nudges,
            replicas=plan.replicas,
            record_every=plan.steps // SNAPSHOTS,
            metrics=("l2", "spread", "train_loss", "accuracy", "disagreement", "barrier"),
            seeds=(seed,),
            dtype=plan.dtype,
            measures=(PLACES,),
            tags={**net, "seed": seed},
        )
        for net in plan.nets
        for seed in range(plan.seeds)
    ]
