"""Make a piece of orbit as fast as the machine's dispatch allows, with the map's own bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.func import vmap

from wingbeat.errors import RunError
from wingbeat.lyapunov.maps.numpy_replay import numpy_replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from wingbeat.lyapunov.maps.validate_map import FlatMap


class Orbit:
    """Iterate a map that does not look at its step index from several states at once.

    Small maps are replayed with NumPy. After 1, 2, 4, 8, … steps the replay is compared with
    the map: where they differ by rounding the map itself takes over, where they differ by more
    the map depends on something besides its state.

    Args:
        flow: the map of flat vectors.
        t: what it is given as index.
    """

    def __init__(self, flow: FlatMap, t: int) -> None:
        self._flow, self._t = flow, t
        self._replay: Callable[[Any], Any] | None = None
        self._steps = 0

    def __call__(self, x: Tensor, steps: int) -> Tensor:
        """Return the orbit ``(steps + 1, B, n)`` that begins with ``x (B, n)``.

        Raises:
            RunError: if the map depends on something besides its state.
        """
        if self._steps == 0:
            self._replay = numpy_replay(self._function(x), self._own(x))
        path, done = [x[None]], 0
        while done < steps:
            count = min(steps - done, self._until_comparison()) if self._replay else steps - done
            path.append(self._piece(path[-1][-1], count))
            done += count
        return torch.cat(path)

    def _until_comparison(self) -> int:
        """Return the number of steps to the next power of two."""
        return int((1 << self._steps.bit_length()) - self._steps)

    def _piece(self, x: Tensor, count: int) -> Tensor:
        """Return ``(count, B, n)``; compare its last step if it ends at a power of two."""
        self._steps += count
        if self._replay is None:
            return self._direct(x, count)
        path = torch.from_numpy(_iterate(self._replay, self._own(x).numpy(), count))
        path = path.reshape(count, *x.shape)
        if self._steps & (self._steps - 1):
            return path
        before = path[-2] if count > 1 else x
        exact = self._function(x)(self._own(before)).reshape(x.shape)
        if not torch.equal(exact.nan_to_num(), path[-1].nan_to_num()):
            _check_rounding(exact, path[-1], self._steps)
            self._replay = None
            path[-1] = exact
        return path

    def _direct(self, x: Tensor, count: int) -> Tensor:
        if x.shape[0] > 1:
            mapped, rows = self._function(x), []
            for _ in range(count):
                x = mapped(x)
                rows.append(x)
            return torch.stack(rows)
        layout, states = self._flow.layout, []
        state = layout.unflatten(x[0])
        for _ in range(count):
            state = self._flow.step(state, self._t)
            states.append(state)
        if layout.single:
            return layout.flatten(torch.stack(states))[:, None]
        stacked = {name: torch.stack([s[name] for s in states]) for name in layout.names}
        return layout.flatten(stacked)[:, None]

    def _function(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        def one(y: Tensor) -> Tensor:
            return self._flow(y, self._t)

        mapped: Callable[[Tensor], Tensor] = vmap(one, randomness="different")
        return one if x.shape[0] == 1 else mapped

    @staticmethod
    def _own(x: Tensor) -> Tensor:
        return x[0] if x.shape[0] == 1 else x


def _iterate(
    replay: Callable[[Any], Any], x: NDArray[np.floating], count: int
) -> NDArray[np.floating]:
    path = np.empty((count, *x.shape), dtype=x.dtype)
    with np.errstate(all="ignore"):  # an orbit that diverges is found afterwards
        for i in range(count):
            x = replay(x)
            path[i] = x
    return path


def _check_rounding(exact: Tensor, found: Tensor, steps: int) -> None:
    scale = exact.abs().max().nan_to_num() + 1.0
    tolerance = 1e3 * torch.finfo(exact.dtype).eps * float(scale)
    if float((exact - found).abs().nan_to_num().max()) > tolerance:
        raise RunError(
            f"step {steps} does not repeat the recorded step: the map depends on something "
            "besides its state; put it into the state"
        )
