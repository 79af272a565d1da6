"""Where the `trailsink` command starts: an interrupt while it is still being imported ends it without a traceback."""

from __future__ import annotations

import signal


def main() -> None:
    """Import the command line and run it."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # a shell's background job ignores interrupts, and goes on doing so
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from worker.cli.main import main as command_line  # noqa: PLC0415 - what takes long

    signal.signal(signal.SIGINT, handler)
    command_line()
