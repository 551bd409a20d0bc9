"""Adapters of other frameworks, one file each, imported only when they are asked for."""
