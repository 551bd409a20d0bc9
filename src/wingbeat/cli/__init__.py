"""The command line: ``wingbeat run``, ``verify``, ``report``, ``demo``."""

from wingbeat.cli.main import main

__all__ = ["main"]
