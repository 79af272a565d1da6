"""Files and loaders for tests of a backfill: keys as CloudTrail writes them, and a loader in memory."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from worker.backfill.job import BackfillJob
from worker.backfill.listing import SelectedFile
from worker.backfill.progress import Finished, LoadOutcome, LoadTally, OrderedProgress, RetryLater
from worker.backfill.runner import BackfillRun
from worker.cli.backfill_options import BackfillOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.backfill.loaders import Loader
    from worker.opensearch.inventory import IndexedFile

ACCOUNTS = ("111111111111", "222222222222", "333333333333")
START = datetime(2024, 11, 20, tzinfo=UTC)


def log_key(  # noqa: PLR0913, PLR0917 - the parts of a key
    root: str, org: str, account: str, kind: str, region: str, delivered: datetime, number: int = 0
) -> str:
    """The key of a log file as CloudTrail writes it, delivered at a minute."""
    name = f"{account}_{kind}_{region}_{delivered:%Y%m%dT%H%M}Z_{number:016d}.json.gz"
    return f"{root}AWSLogs/{org + '/' if org else ''}{account}/{kind}/{region}/{delivered:%Y/%m/%d}/{name}"


def selected_file(number: int, day: str = "2025-01-31") -> SelectedFile:
    """A file of 100 bytes; a higher number comes later in the order of keys."""
    return SelectedFile(f"AWSLogs/{number:06d}", 100, "123456789012", day)


def loaded() -> Finished:
    """The end of a file with two new records."""
    return Finished(LoadOutcome.LOADED, (2, 2, 0, 0, 0))


@dataclass
class MemoryLoader:
    """Loads every file; `refuse` returns why a file cannot be loaded now, by file and attempt, "" for no reason."""

    refuse: Callable[[SelectedFile, int], str] = lambda _file, _attempt: ""
    batch_size: int = 5
    attempts: Counter[str] = field(default_factory=Counter)
    on_load: Callable[[], None] = lambda: None

    def capacity(self) -> int:
        return self.batch_size

    def record_started(self, files: int) -> None:
        assert files <= self.batch_size

    def load(self, files: Sequence[SelectedFile]) -> list[Finished | RetryLater]:
        self.on_load()
        outcomes: list[Finished | RetryLater] = []
        for file in files:
            self.attempts[file.key] += 1
            cause = self.refuse(file, self.attempts[file.key])
            outcomes.append(RetryLater(cause) if cause else loaded())
        return outcomes


def backfill_job(
    files: int,
    lookup: Callable[[list[str]], Mapping[str, IndexedFile]] | None = None,
    *,
    load_incomplete: bool = False,
) -> BackfillJob:
    """The job of loading that many files."""
    return BackfillJob(
        lambda cursor: (file for file in map(selected_file, range(files)) if file.key > cursor),
        lookup,
        load_incomplete=load_incomplete,
    )


def backfill_run(  # noqa: PLR0913 - what a test varies
    loader: Loader,
    files: int,
    *,
    tally: LoadTally | None = None,
    cursor: str = "",
    patience: float = 600,
    stop: threading.Event | None = None,
) -> BackfillRun:
    """A run of three threads over that many files, with retries that hardly wait."""
    return BackfillRun(
        loader,
        backfill_job(files).source(cursor),
        OrderedProgress(tally or LoadTally(), cursor),
        workers=3,
        patience=patience,
        stop=stop or threading.Event(),
        first_wait=0.0005,
    )


def backfill_options(**changes: Any) -> BackfillOptions:
    """The options of `trailsink backfill --yes`, with changes."""
    defaults: dict[str, Any] = {
        "bucket": None,
        "prefix": (),
        "local": None,
        "account": (),
        "org": (),
        "region": (),
        "kind": (),
        "since": None,
        "until": None,
        "last": None,
        "missing": False,
        "incomplete": False,
        "no_filters": False,
        "retry_failed": None,
        "via": "queue",
        "direct": False,
        "rate": 100,
        "max_depth": 1_000,
        "workers": 4,
        "patience": timedelta(minutes=10),
        "dry_run": False,
        "yes": True,
        "restart": False,
        "state": None,
        "report": None,
        "progress": None,
        "as_json": False,
    }
    return BackfillOptions(**(defaults | changes))
