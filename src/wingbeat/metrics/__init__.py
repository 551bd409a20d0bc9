"""Estimators as pure functions, in the order in which a run is measured.

Points are arrays or tensors ``(..., replicas, parameters)`` of any float type; everything is
computed in float64, a few parameters at a time. A value that does not exist is NaN.

gram → distance → spread → lyapunov → pca → projection, dimension, path → disagreement,
divergence, ensemble → barrier, basins, fisher → cka, svcca, procrustes
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# isort: off
from wingbeat.moved import former_names
from wingbeat.metrics.gram import centred, gram, squared_distances
from wingbeat.metrics.distance import cosine, l2, relative_l2
from wingbeat.metrics.spread import convergence_ratio, ratio_of, spread, spread_from_gram
from wingbeat.metrics.spread_ratio import spread_ratio
from wingbeat.metrics.interval_of_spread import spread_interval
from wingbeat.metrics.mean_rate import mean_rate
from wingbeat.metrics.lyapunov import (
    Exponent,
    Window,
    early_late_ratio,
    finite_time,
    finite_time_slopes,
    fit_window,
    local_lyapunov,
)
from wingbeat.metrics.pca import PCA, trajectory_pca
from wingbeat.metrics.projection import (
    ProjectedSpread,
    legacy_ratio,
    projected_spread,
    projected_spread_from_gram,
    projected_spread_from_scores,
)
from wingbeat.metrics.dimension import participation_ratio
from wingbeat.metrics.path import Velocity, path_length, velocity
from wingbeat.metrics.disagreement import disagreement, pairwise_disagreement
from wingbeat.metrics.divergence import js, kl, logit_correlation
from wingbeat.metrics.ensemble import Diversity, Ensemble, diversity, ensemble
from wingbeat.metrics.barrier import Barrier, alpha_grid, barrier
from wingbeat.metrics.basins import Basins, Tree, basins, dendrogram
from wingbeat.metrics.fisher import gaussian_kl, fisher_precision
from wingbeat.metrics.cka import CKASums, angular_cka, cka, hsic
from wingbeat.metrics.svcca import SVCCA, svcca
from wingbeat.metrics.procrustes import procrustes

# isort: on

__all__ = [  # noqa: RUF022 (pipeline order)
    "gram",
    "squared_distances",
    "centred",
    "l2",
    "relative_l2",
    "cosine",
    "spread",
    "spread_from_gram",
    "convergence_ratio",
    "ratio_of",
    "spread_interval",
    "spread_ratio",
    "mean_rate",
    "Exponent",
    "Window",
    "finite_time",
    "finite_time_slopes",
    "fit_window",
    "local_lyapunov",
    "early_late_ratio",
    "PCA",
    "trajectory_pca",
    "ProjectedSpread",
    "projected_spread",
    "projected_spread_from_gram",
    "projected_spread_from_scores",
    "legacy_ratio",
    "participation_ratio",
    "Velocity",
    "path_length",
    "velocity",
    "disagreement",
    "pairwise_disagreement",
    "kl",
    "js",
    "logit_correlation",
    "Ensemble",
    "ensemble",
    "Diversity",
    "diversity",
    "Barrier",
    "alpha_grid",
    "barrier",
    "Basins",
    "basins",
    "Tree",
    "dendrogram",
    "gaussian_kl",
    "fisher_precision",
    "CKASums",
    "cka",
    "angular_cka",
    "hsic",
    "SVCCA",
    "svcca",
    "procrustes",
]

if not TYPE_CHECKING:
    __getattr__ = former_names(
        __name__, {"local": "local_lyapunov", "tree": "dendrogram", "precision": "fisher_precision"}
    )
