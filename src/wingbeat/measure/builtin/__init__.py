"""The built-in metrics, one file each; every module here is loaded and declares its own."""
