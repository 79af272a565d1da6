"""The operator's entry point: the `trailsink` command."""
