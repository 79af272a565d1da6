"""What the commands share: tables, JSON, spans and moments for options, ages in words, and a gentle end by a signal."""

from __future__ import annotations

import re
import signal
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
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

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36_500)
_COLOURS = {CheckStatus.OK: "green", CheckStatus.WARNING: "yellow", CheckStatus.FAULT: "red"}


class _Span(click.ParamType[timedelta]):
    """A length of time: a number and one of s, m, h, d, w."""

    name = "span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        told = re.fullmatch(r"([0-9]{1,9})([smhdw])", str(value).strip())
        if told is None:
            self.fail(f"{value!r} is no span: give a number and a unit, as in 90s, 15m, 2h, 30d or 4w.", param, ctx)
        span = timedelta(**{_UNITS[told[2]]: int(told[1])})
        if not timedelta() < span <= _LONGEST:
            self.fail(f"{value!r} is out of bounds: more than nothing, and at most 36500d.", param, ctx)
        return span


class _Moment(click.ParamType[datetime]):
    """A day or an instant in ISO 8601; UTC where it names no offset."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            told = datetime.fromisoformat(str(value).strip())
        except ValueError:
            self.fail(f"{value!r} is no date: write 2025-01-31 or 2025-01-31T10:00:00Z.", param, ctx)
        return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)


def examples(*lines: str) -> str:
    """Write the end of a command's manual: whole commands to begin with, each in a line that is not wrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def confirmed(question: str, *, yes: bool, undo: Callable[[], object] | None = None) -> bool:
    """Ask on the terminal, unless `yes` says it all; raises UsageError where nobody is there to answer.

    Anything but a yes takes back what was prepared, by `undo`.
    """
    agreed = yes
    try:
        agreed = agreed or _asked(question)
    finally:
        if undo and not agreed:
            undo()
    return agreed


def _asked(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort as stop:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        click.echo(err=True)
        raise click.UsageError("There is no terminal to ask on, so nothing was changed: give --yes.") from stop


SPAN = _Span()
MOMENT = _Moment()


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = (), heading: bool = True
) -> None:
    """Print rows under their headings, the columns named in `right` to the right.

    A terminal gets the table fitted to its width; a pipe or a file gets each row in one line with nothing cut. What
    comes from outside must have gone through `visible`. Without `heading`, rows only: the next part of a long table.
    """
    to_right = set(right)
    if not sys.stdout.isatty():
        _print_plain(columns, rows, to_right, heading=heading)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=heading)
    for name in columns:
        table.add_column(name, justify="right" if name in to_right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text.from_ansi(cell) for cell in row))
    console = Console()
    with console.capture() as written:
        console.print(table)
    for line in written.get().splitlines():
        click.echo(line.rstrip())


def _print_plain(columns: Sequence[str], rows: Iterable[Sequence[str]], to_right: set[str], *, heading: bool) -> None:
    # Not by rich: for lines without end it takes milliseconds each, and a file can have a million.
    lines = [[click.unstyle(cell) for cell in row] for row in ([columns, *rows] if heading else rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = []
        for name, cell, width in zip(columns, line, widths, strict=True):
            space = " " * (width - cell_len(cell))
            padded.append(space + cell if name in to_right else cell + space)
        click.echo("  ".join(padded).rstrip())


@contextmanager
def stopping(stop: Event, held: str) -> Iterator[None]:
    """Let SIGTERM and SIGINT end what is done inside gently, and a second one at once; `held` says what gently is."""

    def heard(number: int, _frame: FrameType | None) -> None:
        click.echo(f"Stopping: {held}. A second signal ends it at once.", err=True)
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def visible(text: str) -> str:
    r"""Write what a terminal would obey instead of show as an escape: \x1b, \n, \u202e.

    Events hold what their callers chose (a user agent, a key), so a caller could clear the screen of whoever looks, or
    turn text around.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def print_json(document: object, *, err: bool = False) -> None:
    """Print a document as one line of JSON; moments in ISO 8601."""
    click.echo(msgspec.json.encode(document).decode(), err=err)


def coloured(verdict: CheckStatus, width: int = 0) -> str:
    """Write a verdict in its colour, filled up to a width."""
    return click.style(
        f"{verdict:<{width}}", fg=_COLOURS.get(verdict, "bright_black"), bold=verdict is CheckStatus.FAULT
    )


def age(seconds: float) -> str:
    """Write a length of time in its largest whole unit: 42s, 5m, 3h, 12d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"
