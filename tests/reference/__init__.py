"""Slow versions of the estimators: plain loops, written from the definitions."""
