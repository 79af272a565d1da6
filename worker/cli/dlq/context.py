"""What the commands of `trailsink dlq` share: the service with its progress line, the filter, and closing notes."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from worker.cli.output import join, print_line
from worker.dlq.letters import LetterFilter
from worker.dlq.service import DeadLetterService
from worker.dlq.sqs import make_dead_letter_queue
from worker.humanize import pluralize
from worker.settings import load_settings
from worker.wiring import make_store, now

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import timedelta

    from worker.aws.s3 import S3Store
    from worker.dlq.summary import LetterSummary
    from worker.settings import Settings


def build_filter(
    *,
    reasons: tuple[str, ...],
    prefix: str | None,
    older_than: timedelta | None,
    newer_than: timedelta | None,
    ids: tuple[str, ...] = (),
) -> LetterFilter:
    """Return the filter that the options of a command describe."""
    now_seconds = now().timestamp()
    return LetterFilter(
        frozenset(ids),
        frozenset(reasons),
        prefix or "",
        now_seconds - older_than.total_seconds() if older_than else None,
        now_seconds - newer_than.total_seconds() if newer_than else None,
    )


@dataclass(frozen=True, slots=True)
class DlqContext:
    """What a command works with. While `progress` is entered, a terminal shows the service's progress line."""

    settings: Settings
    store: S3Store
    service: DeadLetterService
    progress: AbstractContextManager[object]


def open_context() -> DlqContext:
    """Open what a command works with; raises SetupError."""
    settings = load_settings()
    settings.require("dead_letter_queue_url", "queue_url")
    queue, store = make_dead_letter_queue(settings), make_store(settings)
    display = Live(console=Console(stderr=True), transient=True, refresh_per_second=8) if sys.stderr.isatty() else None

    def report_progress(line: str) -> None:
        if display:
            display.update(Text(join(line)))

    service = DeadLetterService(
        queue,
        store,
        max_inflated=settings.max_inflated_bytes,
        sleep=time.sleep,
        report_progress=report_progress,
    )
    return DlqContext(settings, store, service, display or nullcontext())


def print_none(summary: LetterSummary) -> None:
    """Print that the queue has no letters, or none that was selected."""
    if summary.others:
        print_line(f"No matching dead letters; the queue holds {pluralize(summary.others, 'other')}.")
    else:
        print_line("No dead letters.")


def print_notes(summary: LetterSummary) -> None:
    """Print on standard error which letters could not be read."""
    if summary.in_flight:
        are = "is" if summary.in_flight == 1 else "are"
        print_line(
            f"{pluralize(summary.in_flight, 'more letter')} {are} in flight (received by another consumer); try again"
            " in a minute.",
            err=True,
        )
    if not summary.complete:
        print_line(
            f"Read {pluralize(summary.count + summary.others, 'letter')}, and SQS lets no more be in flight at once;"
            " the queue holds more.",
            err=True,
        )
