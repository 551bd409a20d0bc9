"""Named studies, a folder each: what it runs, what it measures, its claims and its page."""
