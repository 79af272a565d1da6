"""Detection: Sigma rules as searches of the index, tried on the past or run on what is new."""
