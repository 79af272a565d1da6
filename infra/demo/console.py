"""Where the demo prints: with colours on a terminal, as plain lines of a fixed width in a pipe."""

import sys

from rich.console import Console

out = Console(width=None if sys.stdout.isatty() else 110, highlight=False)


def say(text: str) -> None:
    """Print plain text at once, before anything that a child process prints next."""
    out.print(text, markup=False, soft_wrap=True)
    out.file.flush()


def heading(text: str) -> None:
    """Print the heading of a step."""
    out.print(f"\n[bold]{text}[/]")
