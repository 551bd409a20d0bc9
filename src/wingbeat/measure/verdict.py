"""What a verdict carries besides its word, so that it cannot be misread; declared here once.

`wingbeat.measure.summary` makes the numbers, `Verdict.of` reads them, and page, command line,
notebook and JSON say what it holds: whether the reference trained at all, how many of the copies
grew, whether ratio and exponent contradict each other, and whether there is one exponent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    Summary = Mapping[str, Mapping[str, Any]]

LEAST_R2: Final = 0.8
"""A line that explains less of ln distance gives no headline: one rate does not describe it."""


@dataclass(frozen=True)
class Number:
    """One scalar of a summary; NaN where it is undefined or absent."""

    value: float = nan
    low: float = nan
    high: float = nan

    @property
    def side(self) -> int:
        """Say on which side of 0 its whole interval lies: 1, −1, or 0 where it holds 0."""
        return int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True)
class Verdict:
    """The verdict on one perturbation, with what must be known to read it.

    Attributes:
        behavior: "convergent", "divergent" or "undetermined".
        ratio: convergence ratio, with the interval of 95 %.
        judged: the wider interval that the word rests on.
        copies: replicas of all base seeds; 0 where it is not known which grew.
        grown: how many of them end further from the reference than they began.
        growth: smallest and largest last ÷ first distance; NaN where one is undefined.
        exponent: of the fitted line, per step.
        r2: what share of ln distance the line explains; NaN where that is constant or undefined.
        training: what the summary holds of the reference's training, by name without
            "training_"; empty where no loss was recorded.
    """

    behavior: str
    ratio: Number
    judged: Number
    copies: int
    grown: int
    growth: tuple[float, float]
    exponent: Number
    r2: float
    training: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, summary: Summary, perturbation: str | None = None) -> Verdict:
        """Read it out of a summary; None as perturbation means the first one."""
        prefix = "" if perturbation is None else f"{perturbation}/"

        def number(name: str) -> Number:
            return _number(summary.get(prefix + name, {}))

        grown = number("copies_grown").value
        copies = number("copies").value
        growth = number("growth_smallest").value, number("growth_largest").value
        word = summary.get(f"{prefix}behavior", {})
        training = _training(summary)
        # From a reference that broke down no distance is a growth of the copies.
        known = isfinite(copies) and isfinite(grown) and training.get("change") != "not finite"
        return cls(
            behavior=str(word.get("value") or "undetermined"),
            ratio=number("convergence_ratio"),
            judged=_number({**word, "value": None}),
            copies=int(copies) if known else 0,
            grown=int(grown) if known else 0,
            growth=growth,
            exponent=number("lyapunov"),
            r2=number("lyapunov_r2").value,
            training=training,
        )

    @property
    def training_failed(self) -> bool:
        """Whether the loss of a reference rose beyond doubt or broke down."""
        return self.training.get("state") == "failed"

    @property
    def training_unproven(self) -> bool:
        """Whether nothing shows that the reference learnt."""
        return self.training.get("state") == "unproven"

    @property
    def mixed(self) -> bool:
        """Whether some copies grew and others did not."""
        return 0 < self.grown < self.copies

    @property
    def poor_fit(self) -> bool:
        """Whether there is an exponent that does not describe the growth: see `LEAST_R2`."""
        return isfinite(self.exponent.value) and self.r2 < LEAST_R2

    @property
    def one_rate(self) -> bool:
        """Whether one exponent describes the growth."""
        return isfinite(self.exponent.value) and not self.poor_fit

    @property
    def contradicted(self) -> bool:
        """Whether ratio and exponent have opposite signs beyond doubt."""
        below, above = self.ratio.high < 1.0, self.ratio.low > 1.0
        side = self.exponent.side if self.one_rate else 0
        return (below and side > 0) or (above and side < 0)

    def to_json(self) -> dict[str, Any]:
        """Return what it carries as JSON: an exponent that is no headline is null there."""
        return {
            "behavior": self.behavior,
            "training": _defined(self.training) or None,
            "copies": self.copies,
            "copies_grown": self.grown,
            "growth": [g if isfinite(g) else None for g in self.growth],
            "ratio_and_exponent_disagree": self.contradicted,
            "exponent": self.exponent.value if self.one_rate else None,
            "exponent_r2": self.r2 if isfinite(self.r2) else None,
        }


def training_failure(summary: Summary) -> str:
    """Return in a sentence that training itself failed, "" where it did not."""
    found = _training(summary)
    if found.get("state") != "failed":
        return ""
    others = int(found["failed"]) - 1
    more = f", and in {others} more base seed{'s' * (others > 1)}" if others else ""
    where = f"in base seed {int(found['seed'])}{more}"
    start, end = found["loss_start"], found["loss_end"]
    if found["change"] == "rose":
        return (
            f"Training itself failed: the reference's loss rose from {start:.3g} to {end:.3g} "
            f"({where}). What the copies do says nothing about training that works."
        )
    return (
        f"Training itself failed: the reference's loss or class scores broke down "
        f"({where}). What the copies do says nothing about training that works."
    )


def of_all(summary: Summary) -> dict[str, Verdict]:
    """Return the verdict on each perturbation that a summary knows by name."""
    names = [key.rpartition("/")[0] for key in summary if key.endswith("/behavior")]
    return {name: Verdict.of(summary, name) for name in names}


def _number(entry: Mapping[str, Any]) -> Number:
    values = (entry.get(part) for part in ("value", "low", "high"))
    return Number(*(float(v) if isinstance(v, int | float) else nan for v in values))


def _defined(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if isinstance(v, str) or isfinite(v)}


def _training(summary: Summary) -> dict[str, Any]:
    if "training" not in summary:
        return {}
    found = {"state": summary["training"]["value"]}
    for key, entry in summary.items():
        if key.startswith("training_"):
            value = entry["value"]
            found[key.removeprefix("training_")] = nan if value is None else value
    return found
