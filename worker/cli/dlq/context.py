"""What the commands of `trailsink dlq` share: the service with its progress line, the filter, and closing notes."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from worker.dlq.letters import LetterFilter
from worker.dlq.service import DeadLetterService
from worker.dlq.sqs import make_dead_letter_queue
from worker.settings import load_settings
from worker.wiring import make_store, now

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import timedelta

    from worker.aws.s3 import S3Store
    from worker.dlq.summary import LetterSummary
    from worker.settings import Settings


def letter_filter(
    *,
    reasons: tuple[str, ...],
    prefix: str | None,
    older_than: timedelta | None,
    newer_than: timedelta | None,
    ids: tuple[str, ...] = (),
) -> LetterFilter:
    """Return the filter that the options of a command describe."""
    today = now().timestamp()
    return LetterFilter(
        frozenset(ids),
        frozenset(reasons),
        prefix or "",
        today - older_than.total_seconds() if older_than else None,
        today - newer_than.total_seconds() if newer_than else None,
    )


@dataclass(frozen=True, slots=True)
class DlqContext:
    """What a command works with, opened once: while `live` is entered, a terminal is told how far the desk is."""

    settings: Settings
    store: S3Store
    desk: DeadLetterService
    live: AbstractContextManager[object]


def open_context() -> DlqContext:
    """Open what a command works with; raises SetupError."""
    settings = load_settings()
    queue, store = make_dead_letter_queue(settings), make_store(settings)
    display = Live(console=Console(stderr=True), transient=True, refresh_per_second=8) if sys.stderr.isatty() else None

    def say(line: str) -> None:
        if display:
            display.update(Text(line))

    return DlqContext(
        settings, store, DeadLetterService(queue, store, sleep=time.sleep, say=say), display or nullcontext()
    )


def print_none(survey: LetterSummary) -> None:
    """Print that there are no letters, or none of those that were selected."""
    others = f"{survey.others:,} other{' is' if survey.others == 1 else 's are'} there"
    click.echo(f"No such dead letters; {others}." if survey.others else "No dead letters.")


def print_notes(survey: LetterSummary) -> None:
    """Print on standard error which letters could not be looked at."""
    if survey.hidden:
        one = "letter is" if survey.hidden == 1 else "letters are"
        click.echo(f"Not shown: {survey.hidden:,} {one} in somebody else's hands; look again in a minute.", err=True)
    if not survey.complete:
        click.echo(
            f"SQS lets no more than {survey.count + survey.others:,} be looked at at once; there are more.", err=True
        )
