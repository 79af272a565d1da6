"""What the demo prints with: colours on a terminal, plain lines of a fixed width in a pipe."""

import sys

from rich.console import Console

out = Console(width=None if sys.stdout.isatty() else 110, highlight=False)


def say(text: str) -> None:
    """Print plain text, at once: what a child process prints next comes after it."""
    out.print(text, markup=False, soft_wrap=True)
    out.file.flush()


def heading(text: str) -> None:
    """Begin a part."""
    out.print(f"\n[bold]{text}[/]")
