"""A run as it lies in memory or on disk: snapshots, the state to go on from, the record."""
