"""`trailsink ledger rebuild`: makes the ledger of files that were loaded before there was one."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from worker.backfill.listing import LISTINGS, list_files
from worker.backfill.selection import Selection, time_range
from worker.backfill.sources import BucketLister
from worker.cli.options import check_times
from worker.cli.output import confirm, print_line
from worker.cli.sources import choose_sources
from worker.errors import SetupError
from worker.humanize import pluralize
from worker.settings import load_settings
from worker.verify.deep import FileExaminer
from worker.verify.evidence import BucketFiles, IndexedFiles
from worker.verify.known_filters import KnownFilters
from worker.verify.rebuild import LedgerRebuild, RebuildTally
from worker.wiring import make_client, make_filter_source, make_s3_client, make_store, now, open_s3_session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

# Files whose documents are looked up in one search.
_FILES_PER_LOOKUP = 200

_SHOWN = 5


def rebuild(  # noqa: PLR0913 - the options of the command
    *,
    bucket: str | None,
    prefix: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    last: timedelta | None,
    workers: int,
    yes: bool,
) -> None:
    """Record the files of a bucket that the ledger lacks; raises SetupError when some are not wholly in the index."""
    check_times(since, until, last)
    settings = load_settings()
    name = bucket or settings.required("bucket")
    if not confirm(f"Read the files of {name} that the ledger lacks?", yes=yes):
        raise SetupError("Nothing was done.")
    first, end = time_range(now(), since=since, until=until, last=last)
    client = make_s3_client(settings, open_s3_session(settings), connections=LISTINGS + workers)
    lister = BucketLister(client, name)
    store = make_store(settings.model_copy(update={"buckets": name, "fetch_ahead": workers}))
    index = IndexedFiles(make_client(settings).connect, settings.index_prefix, name)
    source = make_filter_source(settings)
    examiner = FileExaminer(
        BucketFiles(name, lister, store, client),
        index,
        settings.limits,
        percent=0.0,
        now=now,
        filters=KnownFilters(active=source.current() if source else None),
    )
    work = LedgerRebuild(index, examiner, settings.index_prefix, name, now)
    with ThreadPoolExecutor(LISTINGS, "list") as listings:
        keys = (
            file.key for file in list_files(lister, listings, Selection(end, first), choose_sources(lister, prefix))
        )
        tally = _rebuild(work, keys, workers)
    _print(tally)


def _rebuild(work: LedgerRebuild, keys: Iterator[str], workers: int) -> RebuildTally:
    total, pending = RebuildTally(), deque[Future[RebuildTally]]()
    with ThreadPoolExecutor(workers, "rebuild") as pool:
        while batch := list(islice(keys, _FILES_PER_LOOKUP)):
            pending.append(pool.submit(work.rebuild, batch))
            if len(pending) > workers:
                _add(total, pending.popleft().result())
        while pending:
            _add(total, pending.popleft().result())
    return total


def _add(total: RebuildTally, tally: RebuildTally) -> None:
    total.recorded += tally.recorded
    total.present += tally.present
    total.absent += tally.absent
    total.not_read += tally.not_read


def _print(tally: RebuildTally) -> None:
    print_line(f"{pluralize(tally.recorded, 'file')} recorded, {tally.present:,} already in the ledger.")
    for text, names in (("not wholly in the index", tally.absent), ("not readable", tally.not_read)):
        if names:
            print_line(f"{pluralize(len(names), 'file')} {text}:")
            for name in names[:_SHOWN]:
                print_line(f"  {name}")
    if tally.absent:
        raise SetupError("Load what is missing, then run this again: trailsink backfill --incomplete.")
