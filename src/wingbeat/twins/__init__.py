"""Fork a training that already has its own loop: `Twins` hands out copies, the loop trains them."""

from __future__ import annotations

from wingbeat.twins.copies import Copy
from wingbeat.twins.twins import Twins

__all__ = ["Copy", "Twins"]
