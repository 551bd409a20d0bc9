"""Side-by-side measurements against peers; every claim of speed in the README comes from here."""
