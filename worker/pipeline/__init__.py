"""Notifications in, verdicts out: the pure core of the consumer."""
