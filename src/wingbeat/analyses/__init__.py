"""Questions that take many runs of one task: since when is it stable, which noise matters."""
