"""Train perturbed copies of a model under the same noise and compare them."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from wingbeat.deep_lyapunov import advice, training
from wingbeat.deep_lyapunov.assess import assess
from wingbeat.deep_lyapunov.config import AnalyzerConfig, MetricsConfig
from wingbeat.deep_lyapunov.copies import Copies, each_metrics
from wingbeat.deep_lyapunov.replay import Replay
from wingbeat.deep_lyapunov.results import AnalysisResults
from wingbeat.determinism import derive, seed_all
from wingbeat.errors import RequestError
from wingbeat.params import trainable

logger = logging.getLogger("deep_lyapunov.analyzer")


class StabilityAnalyzer:
    """Measures whether copies of a model part or come together during training.

    Copy 0 is not perturbed, copy i is perturbed with seed ``seed + i``. All are trained under
    the same noise (data order, dropout, augmentation), as far as it is drawn from the global
    generators of torch, NumPy and Python or from one that the loader, its data or the training
    function hold. What the copies are called with is compared, and a warning says if it differs.

    Args:
        model: its weights are where training starts; it is not changed.
        config: all settings at once; the other arguments are its fields, see `AnalyzerConfig`.

    Attributes:
        metrics_config: how numbers become a verdict, a `MetricsConfig`; may be replaced.

    Raises:
        RequestError: a setting is out of range, the device is not there, or no parameter of
            the model is trainable (a ``ValueError``).

    >>> def train(model, loader, n_epochs):
    ...     optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ...     for x, y in loader:
    ...         optimizer.zero_grad()
    ...         loss = (model(x) - y).square().mean()
    ...         loss.backward()
    ...         optimizer.step()
    ...     return {"loss": loss.item()}
    >>> x = torch.linspace(-1, 1, 8)[:, None]
    >>> analyzer = StabilityAnalyzer(nn.Linear(1, 1), device="cpu", verbose=False)
    >>> results = analyzer.analyze(train, [(x, 2 * x)], n_epochs=40)
    >>> results.behavior, results.n_checkpoints
    ('convergent', 41)
    """

    def __init__(
        self,
        model: nn.Module,
        perturbation_scale: float = 0.01,
        n_trajectories: int = 5,
        n_pca_components: int = 10,
        track_gradients: bool = False,
        record_interval: int = 1,
        device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        seed: int = 42,
        verbose: bool = True,
        config: AnalyzerConfig | None = None,
    ) -> None:
        given = AnalyzerConfig(
            perturbation_scale,
            n_trajectories,
            n_pca_components,
            track_gradients,
            record_interval,
            device,
            seed,
            verbose,
        )
        if config is not None and given not in (AnalyzerConfig(), config):
            warnings.warn(
                "config overrides every other argument; give one or the other",
                UserWarning,
                stacklevel=2,
            )
        self._config = given if config is None else config
        if not trainable(model):
            raise RequestError("no parameter of the model is trainable; unfreeze at least one")
        self._model = model
        self._device = resolve_device(self._config.device)
        self.metrics_config = MetricsConfig()
        self._copies: Copies | None = None

    @property
    def model(self) -> nn.Module:
        """The model that the copies are made of; it is never trained by the analyzer."""
        return self._model

    @property
    def config(self) -> AnalyzerConfig:
        """The settings in force."""
        return self._config

    def analyze(
        self,
        train_fn: Callable[..., Any],
        train_loader: Any,
        n_epochs: int,
        test_loader: Any = None,
        **train_kwargs: Any,
    ) -> AnalysisResults:
        """Train every copy with a function and compare them.

        Args:
            train_fn: ``train_fn(model, train_loader, n, **train_kwargs)`` trains the model for
                n epochs. It is called with n = 1 for each epoch; mark it with `all_epochs` to
                have it called once with all. It may return a dictionary with ``loss`` and
                ``accuracy`` or ``test_acc``, a number, or nothing.
            train_loader: a ``DataLoader`` or anything that can be iterated. Its generators are
                set back for every copy, and batches are moved to the device.
            n_epochs: at least 1.
            test_loader: handed to a ``train_fn`` that has a parameter of this name; where no
                accuracy is returned it is measured on these batches.
            **train_kwargs: handed to ``train_fn``.

        Returns:
            The results. All random generators are then where they were before.

        Raises:
            RequestError: fewer than one epoch.
            RuntimeError: a manual recording is going on.
        """
        self._refuse_if_recording()
        if n_epochs < 1:
            raise RequestError(f"n_epochs is {n_epochs}; train for at least 1")
        self._say(
            f"Starting stability analysis: {self._config.n_trajectories} trajectories, "
            f"{n_epochs} epochs on {self._device}"
        )
        copies = self._copies = Copies.of(self._model, self._config, self._device)
        job = training.Job(
            train_fn, train_loader, n_epochs, self._device, test_loader, dict(train_kwargs)
        )
        done = self._train_all(job, copies)
        copies.times = done[0].times
        return self._measure([one.metrics for one in done], advice.on_training(done, n_epochs))

    def start_recording(self) -> None:
        """Make the copies and record their initial state, for a training loop of your own.

        Raises:
            RuntimeError: a recording is going on.
        """
        self._refuse_if_recording()
        copies = self._copies = Copies.of(self._model, self._config, self._device)
        copies.watch(self._model, self._config.record_interval)
        self._say(f"Recording started: tracking {copies.trackers[0].n_parameters:,} parameters")

    def record_checkpoint(self) -> None:
        """Record the present state of all copies: call it once per epoch.

        Raises:
            RuntimeError: no recording is going on.
        """
        if self._copies is None or not self._copies.manual:
            raise RuntimeError("Not recording. Call start_recording() first.")
        self._copies.record()
        logger.debug("Checkpoint %d recorded", len(self._copies.times) - 1)

    def get_models(self) -> list[nn.Module]:
        """Return the copies: these are to be trained, each in the same way.

        Raises:
            RuntimeError: there are none yet.
        """
        return self._need_copies().models

    @contextlib.contextmanager
    def shared_noise(self, *sources: object) -> Iterator[None]:
        """Give every copy the same random numbers in a training loop of your own.

        Between two checkpoints, each block starts with all generators in the state in which
        the first block found them.

        Args:
            *sources: loaders, or anything else that holds generators of its own.

        Raises:
            RuntimeError: there are no copies yet.

        >>> analyzer = StabilityAnalyzer(nn.Linear(1, 1), verbose=False, device="cpu")
        >>> analyzer.start_recording()
        >>> drawn = []
        >>> for model in analyzer.get_models()[:2]:
        ...     with analyzer.shared_noise():
        ...         drawn.append(torch.rand(1))
        >>> bool(drawn[0] == drawn[1])
        True
        """
        self._need_copies().rewind(sources)
        yield

    def compute_metrics(
        self, training_metrics: list[dict[str, Any]] | None = None
    ) -> AnalysisResults:
        """Compare what was recorded. Recording may go on afterwards.

        Args:
            training_metrics: for each copy a dictionary with ``loss`` and ``accuracy``.

        Raises:
            RuntimeError: fewer than two checkpoints.
            RequestError: another number of dictionaries than of copies.
        """
        return self._measure(training_metrics, [])

    def reset(self) -> None:
        """Forget copies and recordings."""
        cleared = 0 if self._copies is None else len(self._copies.times)
        if self._copies is not None:
            self._copies.release()
        self._copies = None
        self._say(f"Analyzer reset (cleared {cleared} checkpoints)")

    def _refuse_if_recording(self) -> None:
        if self._copies is not None and self._copies.manual:
            raise RuntimeError(advice.BUSY)

    def _need_copies(self) -> Copies:
        if self._copies is None:
            raise RuntimeError("Models not created. Call start_recording() first.")
        return self._copies

    def _train_all(self, job: training.Job, copies: Copies) -> list[training.Trained]:
        """Train the copies one after another, each from the same state of all generators."""
        done = []
        held = (job.train_loader, job.test_loader, job.train_fn, job.kwargs)
        with Replay(*held).undone():
            seed_all(derive(self._config.seed, "deep_lyapunov", "training"))
            start = Replay(*held)
            pairs = zip(copies.models, copies.trackers, strict=True)
            for i, (model, tracker) in enumerate(pairs):
                self._say(f"Training trajectory {i + 1}/{len(copies.models)}...")
                start.rewind()
                done.append(training.train(job, model, tracker))
        return done

    def _measure(
        self, training_metrics: list[dict[str, Any]] | None, notes: list[str]
    ) -> AnalysisResults:
        copies, given = self._copies, training_metrics or []
        if copies is None or len(copies.times) < 2:
            raise RuntimeError("Insufficient trajectory data. Record at least 2 checkpoints.")
        if training_metrics is not None and len(given) != len(copies.models):
            raise RequestError(
                f"{len(given)} training_metrics for {len(copies.models)} trajectories"
            )
        self._say("Computing stability metrics...")
        trackers, recording, found = copies.comparable()
        results = assess(recording, self._config.n_pca_components, self.metrics_config)
        each = each_metrics(trackers, recording.times, given)
        norms = np.stack([t.gradient_norms() for t in trackers], axis=1)
        notes = [*found, *notes, *advice.on_results(results, each)]
        for note in notes:
            warnings.warn(note, UserWarning, stacklevel=3)
        self._say(
            f"Analysis complete: {results.behavior}, "
            f"convergence_ratio={results.convergence_ratio:.4g}, lyapunov={results.lyapunov:.4g}"
        )
        return replace(
            results,
            trajectory_metrics=each,
            gradient_norms=norms if self._config.track_gradients else None,
            notes=[*notes, *advice.remarks(results, self.metrics_config)],
        )

    def _say(self, message: str) -> None:
        """Log progress; with ``verbose`` it is shown also where logging would not show it."""
        logger.info(message)
        if self._config.verbose and not logger.isEnabledFor(logging.INFO):
            sys.stderr.write(f"deep_lyapunov: {message}\n")


def resolve_device(name: str) -> str:
    """Return the device that a setting means.

    Raises:
        RequestError: it is not there.

    >>> resolve_device("cpu")
    'cpu'
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return next(device for device, found in there.items() if found)
    if not there.get(name, False):
        raise RequestError(f"device {name!r} is not available here; use 'auto' or 'cpu'")
    return name
