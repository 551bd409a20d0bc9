"""Gaussian hidden Markov models: fitted by hmmlearn, all else computed from the parameters."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
from scipy.special import logsumexp

from wingbeat.errors import RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Covariance = Literal["diag", "full"]
ITERATIONS: Final = 100
PRIOR: Final = 1e-3
"""Weight of the prior of the covariances, in variances of standardised data. hmmlearn's own 1e-2 is
added to every entry of a full matrix, which invents correlations."""


@dataclass(frozen=True)
class GaussianStates:
    """K hidden states with Gaussian emissions in D dimensions.

    Attributes:
        start: probabilities of the first state, (K,).
        transitions: (K, K), from row to column.
        means: (K, D).
        covariances: (K, D, D).
        converged: whether the fit did.
        spread: of the training log-likelihood over restarts, largest − smallest, per observation.
    """

    start: Array
    transitions: Array
    means: Array
    covariances: Array
    converged: bool = True
    spread: float = 0.0

    @property
    def count(self) -> int:
        """K."""
        return len(self.start)

    def emissions(self, sequence: Array) -> Array:
        """Return log p(z_t | s), (T, K)."""
        size = sequence.shape[1]
        found = np.empty((len(sequence), self.count))
        for k in range(self.count):
            factor = np.linalg.cholesky(self.covariances[k])
            white = np.linalg.solve(factor, (sequence - self.means[k]).T)
            found[:, k] = -0.5 * (white**2).sum(axis=0) - np.log(np.diag(factor)).sum()
        return np.asarray(found - 0.5 * size * np.log(2 * np.pi))

    def filtered(self, sequence: Array) -> tuple[Array, float]:
        """Return log p(s_t | z_1…z_t), (T, K), and the log-likelihood of the sequence."""
        local, (start, move) = self.emissions(sequence), self._logs()
        rows, total, before = [], 0.0, start
        for row in local:
            joint = before + row
            scale = float(logsumexp(joint))
            rows.append(joint - scale)
            total += scale
            before = logsumexp(rows[-1][:, None] + move, axis=0)
        return np.array(rows), total

    def log_likelihood(self, sequences: Sequence[Array]) -> float:
        """Return the log-likelihood of independent sequences (T, D) each."""
        return float(sum(self.filtered(x)[1] for x in sequences))

    def posteriors(self, sequence: Array) -> Array:
        """Return p(s_t | all of the sequence), (T, K)."""
        forward, _ = self.filtered(sequence)
        local, (_, move) = self.emissions(sequence), self._logs()
        back = np.zeros_like(forward)
        for t in range(len(sequence) - 2, -1, -1):
            row = logsumexp(move + (local[t + 1] + back[t + 1])[None, :], axis=1)
            back[t] = row - row.max()
        joint = forward + back
        return np.asarray(np.exp(joint - logsumexp(joint, axis=1, keepdims=True)))

    def decode(self, sequence: Array) -> tuple[NDArray[np.int64], float]:
        """Return the likeliest path of states, (T,), and its joint log-probability (Viterbi)."""
        local, (start, move) = self.emissions(sequence), self._logs()
        best, back = start + local[0], []
        for row in local[1:]:
            every = best[:, None] + move
            back.append(every.argmax(axis=0))
            best = every.max(axis=0) + row
        path = [int(best.argmax())]
        for pointers in reversed(back):
            path.append(int(pointers[path[-1]]))
        return np.array(path[::-1], dtype=np.int64), float(best.max())

    def influence(self, sequence: Array, state: int) -> Array:
        """Return ∂ log p(s_t = state | z_1…z_t) / ∂z_t, (T, D).

        Σ_k⁻¹(μ_k − z_t) − Σ_h p(s_t = h | z_1…z_t) Σ_h⁻¹(μ_h − z_t); source: arXiv 2308.09543.
        """
        weights = np.exp(self.filtered(sequence)[0])
        pulls = np.stack(
            [
                np.linalg.solve(self.covariances[k], (self.means[k] - sequence).T).T
                for k in range(self.count)
            ]
        )
        return np.asarray(pulls[state] - np.einsum("tk,ktd->td", weights, pulls))

    def parameters(self, covariance: Covariance) -> int:
        """Return how many free numbers the model has."""
        k, d = self.means.shape
        own = k * d if covariance == "diag" else k * d * (d + 1) // 2
        return int(k * k - 1 + k * d + own)

    def ordered(self, sequences: Sequence[Array]) -> GaussianStates:
        """Return the states numbered by the mean time at which they occur, so labels say when."""
        paths = [self.decode(x)[0] for x in sequences]
        times = [np.concatenate([np.flatnonzero(p == k) for p in paths]) for k in range(self.count)]
        place = np.argsort([t.mean() if len(t) else np.inf for t in times], kind="stable")
        return GaussianStates(
            self.start[place], self.transitions[np.ix_(place, place)], self.means[place],
            self.covariances[place], self.converged, self.spread,
        )  # fmt: skip

    def _logs(self) -> tuple[Array, Array]:
        with np.errstate(divide="ignore"):
            return np.log(self.start), np.log(self.transitions)


def fit_gaussian(
    sequences: Sequence[Array],
    states: int,
    *,
    covariance: Covariance = "diag",
    restarts: int = 10,
    seed: int = 0,
    prior: float = PRIOR,
) -> GaussianStates:
    """Fit hidden states by Baum–Welch, the best of several starts by training likelihood.

    Args:
        sequences: (T, D) each, standardised.
        states: K.
        covariance: "diag" or "full".
        restarts: random starts; of 30 single fits of two clear states, 3 fail.
        seed: of the starts.
        prior: weight of the covariances' prior; 0 is plain likelihood, and fails on constants.

    Raises:
        LostStatesError: in every start a state was lost: there are more of them than data for.
        RequestError: hmmlearn is not installed, or an argument is out of range.

    Source: Baum–Welch; computed by hmmlearn.
    """
    if covariance not in get_args(Covariance) or states < 1 or restarts < 1:
        raise RequestError(
            f"covariance is {covariance!r}, states {states}, restarts {restarts}: use 'diag' or "
            "'full', and numbers of at least 1"
        )
    size = sequences[0].shape[1]
    joined, lengths = np.concatenate(list(sequences)), [len(x) for x in sequences]
    matrix = prior * np.eye(size) if covariance == "full" else prior
    found: list[tuple[float, Any]] = []
    for number in range(1 if states == 1 else restarts):
        model = hmmlearn().GaussianHMM(
            states, covariance, covars_prior=matrix, n_iter=ITERATIONS, tol=1e-4,
            random_state=seed + number,
        )  # fmt: skip
        with _quiet():
            score = _fitted(model, joined, lengths)
        if np.isfinite(score):
            found.append((score, model))
    if not found:
        raise LostStatesError(
            f"each of {restarts} fits of {states} states lost one of them: nothing is left that "
            "it could be; ask for fewer states, or for more restarts"
        )
    best, model = max(found, key=lambda pair: pair[0])
    spread = (best - min(score for score, _ in found)) / len(joined)
    covariances = np.asarray(model.covars_, dtype=np.float64)
    return GaussianStates(
        model.startprob_, model.transmat_, model.means_, covariances,
        bool(model.monitor_.converged and np.allclose(model.transmat_.sum(axis=1), 1)), spread,
    )  # fmt: skip


class LostStatesError(RequestError):
    """No fit kept as many states as were asked for."""


def _fitted(model: Any, joined: Array, lengths: list[int]) -> float:
    """Fit a model and return its log-likelihood; NaN where a state was lost on the way.

    Such a state's mean is 0 ÷ 0, and hmmlearn then refuses its own probabilities.
    """
    try:
        with np.errstate(all="ignore"):
            model.fit(joined, lengths)
            return float(model.score(joined, lengths))
    except ValueError:
        return float("nan")


def hmmlearn() -> Any:
    """Return hmmlearn's module.

    Raises:
        RequestError: it is not installed.
    """
    try:
        return import_module("hmmlearn.hmm")
    except ImportError as error:
        msg = f"hidden states need the package hmmlearn ({error}): pip install 'wingbeat[states]'"
        raise RequestError(msg) from error


class _quiet:  # noqa: N801
    """Keep hmmlearn's remarks on absorbing last states off the screen: ``converged`` tells."""

    def __enter__(self) -> None:
        self.logger = logging.getLogger("hmmlearn")
        self.level = self.logger.level
        self.logger.setLevel(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        self.logger.setLevel(self.level)
