"""Built-in checks, a file each."""
