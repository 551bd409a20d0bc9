"""Configuration of the documentation; nothing is fetched from the network."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of

project = "wingbeat"
author = "The wingbeat developers"
copyright = f"2026, {author}"
release = version_of("wingbeat")
version = release

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "jupyter_execute"]
html_theme = "furo"
html_title = f"wingbeat {release}"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

# The tutorial is executed at every build, in a folder of its own; an error fails the build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# "Fields" of a named tuple, whose members autodoc lists by themselves.
napoleon_custom_sections = ["Source", ("Fields", "params_style")]


def _escape_bars(*event):
    """Keep |x| in a docstring from being read as a substitution; examples stay as they are."""
    lines = event[-1]
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(``.*?``)", line)
            lines[i] = "".join(p if p.startswith("``") else p.replace("|", r"\|") for p in parts)


def setup(app):
    """Connect the hook above."""
    app.connect("autodoc-process-docstring", _escape_bars, priority=900)
