"""`trailsink reindex`: brings days that exist to the current mapping, and shows how far it is."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing, nullcontext
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

import click
import msgspec

from worker.backfill.loaders import InMemoryDeadLetters
from worker.cli.options import check_times
from worker.cli.output import confirm, graceful_shutdown, print_json, print_line
from worker.errors import SetupError
from worker.humanize import format_duration, pluralize
from worker.opensearch.reindex.copy_loader import CopyLoader
from worker.opensearch.reindex.run import DayOutcome, Reindexing, ReindexOptions
from worker.settings import load_settings
from worker.wiring import make_client, make_consumer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from worker.opensearch.reindex.filler import CopyProgress
    from worker.opensearch.reindex.run import DayResult
    from worker.pipeline.consumer import Consumer
    from worker.pipeline.ports import Index
    from worker.settings import Settings

_PROGRESS_SECONDS = 5.0


def reindex(  # noqa: PLR0913 - one per option
    *,
    since: datetime | None,
    until: datetime | None,
    force: bool,
    rate: int | None,
    from_files: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Reindex the days of a time; raises SetupError when some could not be."""
    check_times(since, until, None)
    if from_files and rate:
        raise click.UsageError("--rate limits copies inside the cluster: it cannot be used with --from-files.")
    settings = load_settings()
    if settings.is_serverless:
        raise SetupError("OpenSearch Serverless has no _reindex: load the days again, under another index prefix.")
    client = make_client(settings).connect()
    options = ReindexOptions(settings.index_prefix, since, until, force, rate or 0)
    stop = Event()
    loader = CopyLoader(partial(_make_consumer, settings)) if from_files else None
    run = Reindexing(
        client,
        options,
        on_progress=_ProgressLines(),
        on_wait=lambda name: print_line(f"Waiting for another reindex: {name} ...", err=True),
        should_stop=stop.is_set,
        loader=loader,
    )
    days = run.plan()
    if not days:
        print_line(f"No index of {options.prefix}-* in this time has another mapping than the template.", err=True)
        return
    names = f"{days[0].name} to {days[-1].name}" if len(days) > 1 else days[0].name
    print_line(f"{pluralize(len(days), 'index', 'indices')} to reindex: {names}.", err=True)
    if not confirm("Copy each, and put the copy in its place?", yes=yes):
        raise SetupError("Nothing was changed.")
    outcomes = Counter[DayOutcome]()
    with (
        graceful_shutdown(stop, "finishing what must not be left half done"),
        closing(loader) if loader else nullcontext(),
    ):
        for result in run.run():
            outcomes[result.outcome] += 1
            _print(result, as_json=as_json)
            if stop.is_set():
                break
    _judge(outcomes, len(days))


def _make_consumer(settings: Settings, wrap_index: Callable[[Index], Index]) -> Consumer:
    """Build the consumer that rebuilds days; what a filter would leave out may be in them already."""
    unfiltered = settings.model_copy(update={"filters": "", "ledger": False})
    return make_consumer(unfiltered, queue=InMemoryDeadLetters(), wrap_index=wrap_index)


class _ProgressLines:
    """Prints how far a day is, every few seconds."""

    def __init__(self) -> None:
        self._printed = time.monotonic()

    def __call__(self, name: str, progress: CopyProgress) -> None:
        if time.monotonic() - self._printed >= _PROGRESS_SECONDS:
            self._printed = time.monotonic()
            print_line(f"{name}: {progress.copied:,} of {progress.total:,} {progress.unit}", err=True)


def _print(result: DayResult, *, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(result))
    elif result.outcome is DayOutcome.REINDEXED:
        remark = f"; {result.detail}" if result.detail else ""
        print_line(f"{result.index}  {pluralize(result.events, 'event')} in {format_duration(result.seconds)}{remark}")
    else:
        print_line(f"{result.index}  {result.outcome}: {result.detail}")


def _judge(outcomes: Counter[DayOutcome], planned: int) -> None:
    finished = outcomes[DayOutcome.REINDEXED]
    if finished < planned:
        raise SetupError(f"{finished:,} of {pluralize(planned, 'index', 'indices')} reindexed; run the command again.")
    print_line(f"{pluralize(finished, 'index', 'indices')} reindexed.", err=True)
