"""The nets of the built-in tasks."""
