"""Figure records as plotly specifications, a file for each kind."""
