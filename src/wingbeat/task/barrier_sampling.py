"""How thoroughly the barriers of a run are measured."""

from __future__ import annotations

from dataclasses import dataclass

from wingbeat.errors import RequestError


@dataclass(frozen=True)
class BarrierSampling:
    """On how many samples, points and pairs a run's barriers are measured.

    Large models need less of each: one barrier on 1,024 samples of both splits and 25 points is
    about 50,000 forward passes.

    Args:
        samples: most samples of training and of evaluation data each, evenly spaced.
        points: on the line, an odd number, the two models included.
        between: measure replicas against each other too, at the last step; else only against
            the reference.
        along: measure to the reference at earlier recorded steps too, at as many as cost no more
            forward passes than training did; else only at the last step, and there alone also
            what ``l2_aligned`` and ``cka`` compare.

    Raises:
        RequestError: a value out of range.

    Example:
        >>> BarrierSampling(points=11).samples
        1024
    """

    samples: int = 1024
    points: int = 25
    between: bool = True
    along: bool = True

    def __post_init__(self) -> None:
        for name, value in (("samples", self.samples), ("points", self.points)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise RequestError(f"{name} of barriers is {value!r}: use a whole number above 0")
        if self.points < 3 or not self.points % 2:
            raise RequestError(f"points of barriers is {self.points}: use an odd number, 3 or more")
