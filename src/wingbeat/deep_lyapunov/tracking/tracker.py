"""Record the trainable weights of a model during training."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from math import nan

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wingbeat import metrics
from wingbeat.errors import RequestError
from wingbeat.params import fixed, trainable
from wingbeat.typing import Vector

logger = logging.getLogger("deep_lyapunov.tracking.tracker")


def pace(hops: NDArray[np.float64], times: Sequence[float]) -> dict[str, float]:
    """Return path_length, velocity_mean and velocity_std (ddof 0) of distances between times.

    >>> pace(np.array([2.0, 2.0]), [0, 1, 3])
    {'path_length': 4.0, 'velocity_mean': 1.5, 'velocity_std': 0.5}
    """
    speed = hops / np.diff(times)
    with np.errstate(invalid="ignore"):  # infinite weights have no deviation
        spread = float(speed.std())
    return {
        "path_length": float(hops.sum()),
        "velocity_mean": float(speed.mean()),
        "velocity_std": spread,
    }


class TrajectoryTracker:
    """Keeps the weights of one model at its captures.

    The first and the latest capture are always part of the trajectory, and every
    ``record_interval``-th in between. Parameters that are frozen at first and released during
    training join with the value they had.

    Args:
        model: watched, never changed.
        track_gradients: keep gradients too, of the captures at which there are any.
        record_interval: captures between recorded ones, at least 1.

    Raises:
        RequestError: for an interval below 1.

    >>> tracker = TrajectoryTracker(nn.Linear(2, 1), record_interval=5)
    >>> for _ in range(9):
    ...     tracker.capture()
    >>> tracker.calls, tracker.get_trajectory().shape
    ([0, 5, 8], (3, 3))
    """

    def __init__(
        self, model: nn.Module, track_gradients: bool = False, record_interval: int = 1
    ) -> None:
        if record_interval < 1:
            raise RequestError(f"record_interval must be at least 1, not {record_interval}")
        self._model = model
        self._track_gradients = track_gradients
        self._interval = record_interval
        self.reset()

    def capture(self) -> None:
        """Take the present weights (and gradients) into the trajectory."""
        self._grow()
        # The latest capture stays only if the interval asks for it.
        if len(self.calls) > 1 and self.calls[-1] % self._interval:
            for kept in (self.calls, self._vectors, self._gradients):
                kept.pop()
        self.calls.append(self._captures)
        self._captures += 1
        now = self._flat({n: p.detach() for n, p in self._watched().items()})
        # Weights that did not move are kept once.
        still = bool(self._vectors) and np.array_equal(self._vectors[-1], now)
        self._vectors.append(self._vectors[-1] if still else now)
        self._gradients.append(self._gradient() if self._track_gradients else None)

    def get_trajectory(self) -> Vector:
        """Return the recorded weights, ``(snapshots, P)``, in the model's precision.

        Half precision is widened to float32, exactly.

        Raises:
            RequestError: nothing was captured.
        """
        if not self._vectors:
            raise RequestError("No snapshots captured: call capture() first")
        return np.stack(self._vectors)

    def get_gradient_trajectory(self) -> Vector | None:
        """Return ``(captures with a gradient, P)``, or None where there never was one.

        A parameter without a gradient counts as 0 beside others that have one.
        """
        found = [g for g in self._gradients if g is not None]
        return np.stack(found) if found else None

    def gradient_norms(self) -> NDArray[np.float64]:
        """Return the L2 norm of the gradient at each snapshot; NaN where there is none."""
        norms = (
            nan if g is None else float(np.linalg.norm(g.astype(float))) for g in self._gradients
        )
        return np.array(list(norms))

    def get_latest_weights(self) -> Vector | None:
        """Return the weights ``(P,)`` of the latest capture, or None before the first."""
        return self._vectors[-1] if self._vectors else None

    @property
    def vectors(self) -> list[Vector]:
        """The recorded weights without a copy: do not write to them."""
        return self._vectors

    @property
    def n_snapshots(self) -> int:
        """Number of recorded captures."""
        return len(self._vectors)

    @property
    def n_parameters(self) -> int:
        """Number of weights watched."""
        return sum(p.numel() for p in self._watched().values())

    @property
    def model(self) -> nn.Module:
        """The model that is watched."""
        return self._model

    def reset(self) -> None:
        """Forget all captures; the parameters trainable now are watched."""
        self._names = tuple(trainable(self._model))
        frozen = set(dict(self._model.named_parameters())) - set(self._names)
        self._frozen = {
            n: t.detach().cpu().clone() for n, t in fixed(self._model).items() if n in frozen
        }
        self._captures = 0
        self.calls: list[int] = []
        self._vectors: list[Vector] = []
        self._gradients: list[Vector | None] = []

    def hops(self) -> NDArray[np.float64]:
        """Return the distances between neighbouring snapshots, ``(snapshots − 1,)``."""
        return np.array([float(metrics.l2(a, b)) for a, b in pairwise(self._vectors)])

    def get_statistics(self) -> dict[str, float]:
        """Return path_length, velocity_mean and velocity_std (per capture), in weight units.

        NaN below two snapshots. As `wingbeat.metrics.path_length` and `velocity` define them.
        """
        if len(self._vectors) < 2:
            return dict.fromkeys(("path_length", "velocity_mean", "velocity_std"), nan)
        return pace(self.hops(), self.calls)

    def _watched(self) -> dict[str, nn.Parameter]:
        parameters = dict(self._model.named_parameters())
        return {name: parameters[name] for name in self._names}

    def _grow(self) -> None:
        """Take in parameters that were released since the last capture."""
        fresh = [name for name in trainable(self._model) if name in self._frozen]
        if not fresh:
            return
        past = self._flat({name: self._frozen.pop(name) for name in fresh})
        self._names = (*self._names, *fresh)
        self._vectors = [np.concatenate([v, past]) for v in self._vectors]
        zeros = np.zeros_like(past)
        self._gradients = [
            None if g is None else np.concatenate([g, zeros]) for g in self._gradients
        ]
        logger.debug("%d parameters were released and are watched now", past.size)

    def _gradient(self) -> Vector | None:
        watched = self._watched()
        if all(p.grad is None for p in watched.values()):
            return None
        return self._flat(
            {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in watched.items()}
        )

    @staticmethod
    def _flat(tensors: dict[str, Tensor]) -> Vector:
        if not tensors:
            return np.empty(0, dtype=np.float32)
        flat = torch.cat([t.detach().reshape(-1) for t in tensors.values()]).cpu()
        narrow = flat.dtype in (torch.bfloat16, torch.float16)
        return np.asarray((flat.float() if narrow else flat).numpy())
