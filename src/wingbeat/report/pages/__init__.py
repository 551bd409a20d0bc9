"""Self-contained HTML pages: of a run, of a study, of claims, and the notebook's summary."""
