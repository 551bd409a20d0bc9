"""plotly.js as every page carries it: the bundle with flat axes only, compressed.

``plotly_js/plotly-cartesian.min.js.gz`` is the file of that name out of the npm package
``plotly.js-cartesian-dist-min`` 4.1.1, packed with gzip; its licence (MIT) lies beside it. It is a
third of the whole plotly.js, and what it leaves out (three-dimensional axes, maps of the world) no
page draws. To renew it: ``npm pack plotly.js-cartesian-dist-min``, ``gzip -9 -n``, and the digest
below.
"""

from __future__ import annotations

import base64
import gzip
from functools import cache
from pathlib import Path
from typing import Final

SHA256: Final = "79542150855a52c567260e3137095dbe2b744e6d702a5cabe67da246942fba7a"
"""Of the script as npm has it, unpacked."""
_PACKED: Final = Path(__file__).parent / "plotly_js" / "plotly-cartesian.min.js.gz"


@cache
def packed_script() -> str:
    """Return the compressed script as base64 text; the page unpacks it (about 660 kB)."""
    return base64.b64encode(_PACKED.read_bytes()).decode("ascii")


@cache
def script() -> str:
    """Return the script as the page runs it."""
    return gzip.decompress(_PACKED.read_bytes()).decode("utf-8")
