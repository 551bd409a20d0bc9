"""Exponents of any map whose step can be called: with derivatives and without."""
