"""Closed forms on this machine: what is known, what is found here, and whether they agree.

check → checks/ (a file each) → calibrate
"""

from __future__ import annotations

# isort: off
from wingbeat.calibration.check import CHECKS, Check, ClosedForm, check
from wingbeat.calibration.calibrate import Calibration, calibrate

# isort: on

__all__ = ["CHECKS", "Calibration", "Check", "ClosedForm", "calibrate", "check"]
