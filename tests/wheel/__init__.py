"""The built package, tried in a new environment away from the repository; see ``__main__``."""
