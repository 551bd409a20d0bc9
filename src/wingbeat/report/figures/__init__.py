"""Figures as plain numbers and words: records, and what fills them from a result."""
