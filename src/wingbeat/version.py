"""The version of this package, known without its being installed."""

from __future__ import annotations

__version__ = "0.1.0"
