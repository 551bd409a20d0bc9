"""Checkpoint formats, a file each: how one is recognised, and how it is read."""

from wingbeat.checkpoints.formats.registry import FORMATS, CheckpointFormat, checkpoint_format

__all__ = ["FORMATS", "CheckpointFormat", "checkpoint_format"]
