"""Figure records drawn: on matplotlib's axes and as plotly specifications."""
