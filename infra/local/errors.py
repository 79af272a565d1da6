"""The one error of the local stack: a sentence for the person who started it."""

from worker.errors import SetupError


class LocalStackError(SetupError):
    """Something on this machine is missing or did not start; the text says what, and what to do about it."""
