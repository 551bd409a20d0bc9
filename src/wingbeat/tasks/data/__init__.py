"""Where the samples of the built-in tasks come from: files, downloads and stand-ins."""
