"""Centred kernel alignment where it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from wingbeat.calibration.check import ClosedForm, Placement, check
from wingbeat.metrics import cka as alignment

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES, FEATURES = 400, 12


@check(
    "cka",
    "CKA of turned, scaled, independent and partly equal features",
    "Kornblith et al., ICML 2019; Song et al., JMLR 13 (2012)",
)
def cka(place: Placement) -> Iterator[ClosedForm]:
    """Compare 1 under rotation and scale, cos² between two columns, 0 of independent ones."""
    x = torch.randn(SAMPLES, FEATURES, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(FEATURES, FEATURES, dtype=torch.float64))[0]
    here = x.to(place.device, place.dtype)
    turned = here @ turn.to(here) * 3.0 + 7.0
    slack = 2e3 * place.rounding
    for kind in ("debiased", "biased"):
        found = alignment(_array(here), _array(turned), kind)
        yield ClosedForm(f"turned, scaled and moved, {kind}", 1.0, found, slack)
    a, b = torch.linalg.qr(x - x.mean(dim=0))[0][:, :2].T[:, :, None].to(here)
    mixed = 0.6 * a + 0.8 * b
    found = alignment(_array(a), _array(mixed), "biased")
    yield ClosedForm("two directions at cosine .6, biased: .6²", 0.36, found, slack)
    other = torch.randn(SAMPLES, FEATURES, dtype=torch.float64).to(here)
    least = 4.0 / SAMPLES  # of 400 samples the debiased value scatters by less than .01
    found = alignment(_array(here), _array(other), "debiased")
    yield ClosedForm("independent features, debiased", 0.0, found, least, "number of samples")


def _array(x: torch.Tensor) -> torch.Tensor:
    return x.cpu()
