"""What commands print with: lines, tables, JSON, statuses in colour, questions, and a graceful end on a signal.

No other module of `worker.cli` writes to the terminal, so that foreign text is escaped in one place.
"""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.atomicfile import write_atomically
from worker.errors import SetupError
from worker.health.findings import CheckStatus
from worker.humanize import ascii_json, escape_control_characters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from threading import Event
    from types import FrameType

SILENCE_SECONDS = 2.0  # the longest that a command may be silent

_MESSAGES_TO_STDERR = "trailsink.messages_to_stderr"  # in the context of a command

_COLOURS = {CheckStatus.OK: "green", CheckStatus.WARNING: "yellow", CheckStatus.FAULT: "red"}


T = TypeVar("T")


class Safe(str):
    """Text without anything foreign that a terminal would obey: escaped, or our own style."""

    __slots__ = ()


def style(text: str, **attributes: Any) -> Safe:  # noqa: ANN401 - as click.style takes them
    """Return a text in a colour or in bold."""
    return Safe(click.style(join(text), **attributes))


def join(*parts: str) -> Safe:
    """Return one line of all parts, with control characters escaped in those that are not safe already."""
    return Safe("".join(part if isinstance(part, Safe) else escape_control_characters(part) for part in parts))


def send_messages_to_stderr() -> None:
    """Print lines on standard error from now on, in a command that prints one document at its end."""
    click.get_current_context().meta[_MESSAGES_TO_STDERR] = True


def print_line(*parts: str, err: bool = False) -> None:
    """Print one line of all parts; what others wrote cannot control the terminal."""
    context = click.get_current_context(silent=True)
    click.echo(join(*parts), err=err or bool(context and context.meta.get(_MESSAGES_TO_STDERR)))


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


def confirm_name(name: str, what: str, *, yes: bool) -> bool:
    """Ask to type a name, which no finger types by habit, unless `yes` answers already."""
    if yes:
        return True
    try:
        typed = click.prompt(join(f"Type the name of {what} to go on"), default="", show_default=False, err=True)
    except click.Abort as abort:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        print_line(err=True)
        raise click.UsageError("There is no terminal to confirm on, so nothing was changed: pass --yes.") from abort
    return bool(str(typed).strip() == name)


def _ask(question: str) -> bool:
    try:
        return click.confirm(join(question), err=True)
    except click.Abort as abort:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        print_line(err=True)
        raise click.UsageError("There is no terminal to confirm on, so nothing was changed: pass --yes.") from abort


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Iterable[str] = (),
    whole: Iterable[str] = (),
    heading: bool = True,
) -> None:
    """Print rows under their headings, the columns named in `right` aligned to the right.

    A terminal gets the table fitted to its width, where the columns named in `whole` are not broken. A pipe or a file
    gets each row on one line with nothing cut.
    Without `heading`, only rows: the next part of a long table.
    """
    right_aligned = set(right)
    rows = ([join(cell) for cell in row] for row in rows)
    if not sys.stdout.isatty():
        _print_plain(columns, rows, right_aligned, heading=heading)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=heading)
    for name in columns:
        justify: Literal["left", "right"] = "right" if name in right_aligned else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name in whole)
    for row in rows:
        table.add_row(*(Text.from_ansi(cell) for cell in row))
    console = Console()
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        print_line(Safe(line.rstrip()))


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
        print_line(Safe("  ".join(padded).rstrip()))


@contextmanager
def graceful_shutdown(stop: Event, action: str) -> Iterator[None]:
    """Have SIGTERM and SIGINT set `stop`, and a second signal end the process; `action` says what happens meanwhile."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if sys.stderr.isatty():
            click.echo(err=True)  # a progress bar may stand on this line
        print_line(f"Stopping: {action}. A second signal ends it at once.", err=True)
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def announced_wait(what: str, seconds: float | None = None) -> Iterator[None]:
    """Say on standard error what is waited for, unless it comes within some seconds."""
    seconds = SILENCE_SECONDS if seconds is None else seconds
    timer = Timer(seconds, print_line, (f"Waiting for {what} ...",), {"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def announced_each(items: Iterator[T], what: str) -> Iterator[T]:
    """Yield items, and say what is waited for when one of them takes long."""
    while True:
        with announced_wait(what):
            item = next(items, None)
        if item is None:
            return
        yield item


def print_json(document: object, *, err: bool = False) -> None:
    """Print a document as one line of JSON; timestamps in ISO 8601."""
    print_document(f"{ascii_json(msgspec.json.encode(document).decode())}\n", err=err)


def print_document(text: str, *, err: bool = False) -> None:
    """Print a text as it is: a document for programs, in which nothing can control a terminal any more."""
    click.echo(text, nl=False, err=err)


def write_document(path: Path, text: str, *, private: bool = False) -> None:
    """Write a text to a file, for its owner alone if it is private, or print it for "-"; raises SetupError."""
    if str(path) == "-":
        print_document(text)
        return
    try:
        if private:
            with write_atomically(path) as file:
                file.write(text.encode())
        else:
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}.") from error


def format_status(status: CheckStatus, width: int = 0) -> Safe:
    """Return a status in its colour, padded to a width."""
    return style(f"{status:<{width}}", fg=_COLOURS.get(status, "bright_black"), bold=status is CheckStatus.FAULT)
