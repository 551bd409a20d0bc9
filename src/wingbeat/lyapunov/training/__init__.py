"""Exponents of training: its map with optimizer and all, and replicas drawn together again."""

from __future__ import annotations

from wingbeat.lyapunov.training.exponents import TrainingSpectrum, training_spectrum
from wingbeat.lyapunov.training.replicas_benettin import ReplicaExponent, replica_exponent

__all__ = ["ReplicaExponent", "TrainingSpectrum", "replica_exponent", "training_spectrum"]
