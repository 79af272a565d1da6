"""What commands print with: tables, JSON, statuses in colour, questions, and a graceful end on a signal."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.health.findings import CheckStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from threading import Event
    from types import FrameType

_COLOURS = {CheckStatus.OK: "green", CheckStatus.WARNING: "yellow", CheckStatus.FAULT: "red"}


def confirm(question: str, *, yes: bool, undo: Callable[[], object] | None = None) -> bool:
    """Ask on the terminal, unless `yes` answers already; raises UsageError where nobody is there to answer.

    Anything but a yes takes back what was prepared, by `undo`.
    """
    agreed = yes
    try:
        agreed = agreed or _ask(question)
    finally:
        if undo and not agreed:
            undo()
    return agreed


def _ask(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort as abort:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        click.echo(err=True)
        raise click.UsageError("There is no terminal to confirm on, so nothing was changed: pass --yes.") from abort


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = (), heading: bool = True
) -> None:
    """Print rows under their headings, the columns named in `right` aligned to the right.

    A terminal gets the table fitted to its width; a pipe or a file gets each row on one line with nothing cut. Text
    from outside must have gone through `escape_control_characters`. Without `heading`, only rows: the next part of a
    long table.
    """
    right_aligned = set(right)
    if not sys.stdout.isatty():
        _print_plain(columns, rows, right_aligned, heading=heading)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=heading)
    for name in columns:
        table.add_column(name, justify="right" if name in right_aligned else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text.from_ansi(cell) for cell in row))
    console = Console()
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def _print_plain(
    columns: Sequence[str], rows: Iterable[Sequence[str]], right_aligned: set[str], *, heading: bool
) -> None:
    # Not by rich: it takes milliseconds for each very long line, and a file can have a million.
    lines = [[click.unstyle(cell) for cell in row] for row in ([columns, *rows] if heading else rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = []
        for name, cell, width in zip(columns, line, widths, strict=True):
            padding = " " * (width - cell_len(cell))
            padded.append(padding + cell if name in right_aligned else cell + padding)
        click.echo("  ".join(padded).rstrip())


@contextmanager
def graceful_shutdown(stop: Event, action: str) -> Iterator[None]:
    """Have SIGTERM and SIGINT set `stop`, and a second signal end the process; `action` says what happens meanwhile."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        click.echo(f"Stopping: {action}. A second signal ends it at once.", err=True)
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def escape_control_characters(text: str) -> str:
    r"""Return a text in which what a terminal would obey instead of show is escaped: \x1b, \n, \u202e.

    Events hold what their callers chose (a user agent, a key), so a caller could clear the screen of whoever looks, or
    turn text around.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def print_json(document: object, *, err: bool = False) -> None:
    """Print a document as one line of JSON; timestamps in ISO 8601."""
    click.echo(msgspec.json.encode(document).decode(), err=err)


def format_status(status: CheckStatus, width: int = 0) -> str:
    """Return a status in its colour, padded to a width."""
    return click.style(f"{status:<{width}}", fg=_COLOURS.get(status, "bright_black"), bold=status is CheckStatus.FAULT)
