"""What to train, which batch comes when, and the one pure training step."""
