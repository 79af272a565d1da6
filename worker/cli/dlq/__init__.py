"""What the commands of `trailsink dlq` do."""
