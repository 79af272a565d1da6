"""Brings the days of a time to the current mapping, one after another; what an interrupted run left is finished first.

All that a run has to know is in the cluster: a copy that is not in place carries a mark, and in its mapping's `_meta`
which index it is of and how far it has come.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from opensearchpy.exceptions import OpenSearchException, RequestError

from worker.errors import IndexUnavailable, SetupError, TrailsinkError
from worker.opensearch.errors import describe_error, translate_errors
from worker.opensearch.holds import held_indices
from worker.opensearch.index_names import check_prefix
from worker.opensearch.reindex.copying import Copying
from worker.opensearch.reindex.days import between, read_copies, read_states, read_template
from worker.opensearch.reindex.filler import CopyStopped, DocumentsRefused
from worker.opensearch.reindex.from_files import FileFiller
from worker.opensearch.reindex.lease import Lease
from worker.opensearch.reindex.replacement import IndexReplacement, abandon
from worker.opensearch.reindex.space import lack_of_room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from opensearchpy import OpenSearch

    from worker.opensearch.reindex.copy_loader import CopyLoader
    from worker.opensearch.reindex.days import Copy, IndexState, Template
    from worker.opensearch.reindex.filler import CopyFiller, CopyProgress


class DayOutcome(StrEnum):
    """What became of one day. The old index is in service for all but the first."""

    REINDEXED = "reindexed"
    SKIPPED = "skipped"  # it cannot be copied as it is, or there is no room
    REFUSED = "refused"  # the new mapping refuses an event of it, or a file no longer has all of its events
    FAILED = "failed"  # the next day would fail, too
    STOPPED = "stopped"  # by a signal; the next run goes on


@dataclass(frozen=True, slots=True)
class DayResult:
    """What became of one day: the number of its events where they were reindexed, else why not.

    Of a day that was reindexed, `detail` is a remark, or "".
    """

    index: str
    outcome: DayOutcome
    events: int = 0
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ReindexOptions:
    """What to reindex: the days of a time, those with the current mapping only by force; `rate` in events a second."""

    prefix: str
    since: datetime | None = None
    until: datetime | None = None
    force: bool = False
    rate: int = 0


class Reindexing:
    """A run over some days.

    `on_progress` is called while a day is copied, `on_wait` with the process that this one waits for. A run ends when
    `should_stop` says so, before the next window. With a `loader`, days are rebuilt from the files of their
    events.
    """

    def __init__(  # noqa: PLR0913
        self,
        client: OpenSearch,
        options: ReindexOptions,
        *,
        on_progress: Callable[[str, CopyProgress], None] = lambda _name, _progress: None,
        on_wait: Callable[[str], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] = time.sleep,
        loader: CopyLoader | None = None,
    ) -> None:
        check_prefix(options.prefix)
        self._client, self._options = client, options
        self._on_progress, self._on_wait, self._should_stop = on_progress, on_wait, should_stop
        self._sleep, self._loader = sleep, loader
        self._lease = Lease(client, options.prefix, sleep=sleep)

    def plan(self) -> list[IndexState]:
        """Return the indices to reindex, the oldest first; those that an interrupted run was at come first."""
        with translate_errors("The indices cannot be listed"):
            return self._plan(read_template(self._client, self._options.prefix))

    def _plan(self, template: Template) -> list[IndexState]:
        options = self._options
        states = read_states(self._client, options.prefix)
        unfinished = {copy.state.name for copy in read_copies(self._client, options.prefix)}
        chosen = [
            state
            for state in between(states, options.prefix, options.since, options.until)
            if options.force or template.is_newer(state)
        ]
        return [
            *(state for state in states if state.name in unfinished),
            *(state for state in chosen if state.name not in unfinished),
        ]

    def run(self) -> Iterator[DayResult]:
        """Reindex the days, and yield what became of each; raises SetupError."""
        with translate_errors("The days cannot be reindexed", hint="Run the command again: it goes on where it was."):
            template = read_template(self._client, self._options.prefix)
            self._acquire()
            try:
                yield from self._run(template)
            finally:
                self._lease.release()

    def _acquire(self) -> None:
        try:
            self._lease.acquire(self._on_wait)
        except RequestError as error:
            if error.error != "validation_exception":
                raise
            text = "The cluster may hold no more shards: delete old indices, or raise cluster.max_shards_per_node."
            raise SetupError(text) from error

    def _run(self, template: Template) -> Iterator[DayResult]:
        states = self._plan(template)
        self._clear()
        for state in states:
            result = self._reindex(state, template)
            yield result
            if result.outcome in (DayOutcome.FAILED, DayOutcome.STOPPED):
                return

    def _clear(self) -> None:
        """Delete copies that were given up, and those whose index was deleted while they were made."""
        states = {state.name: state for state in read_states(self._client, self._options.prefix)}
        for copy in read_copies(self._client, self._options.prefix):
            if copy.is_abandoned or copy.state.name not in states:
                abandon(self._client, copy, states.get(copy.state.name))

    def _hold(self, state: IndexState) -> str:
        """Return why a held index cannot be replaced, "" where nothing holds it."""
        if state.index in held_indices(self._client, self._options.prefix):
            return "it is held: `trailsink hold list` says by whom, and `trailsink hold release` ends a hold"
        return ""

    def _reindex(self, state: IndexState, template: Template) -> DayResult:
        start = time.monotonic()
        copy = self._unfinished(state)
        if (
            reason := self._hold(state)
            or state.obstacle
            or ("" if copy else lack_of_room(self._client, state, template))
        ):
            return DayResult(state.name, DayOutcome.SKIPPED, detail=reason)
        replacement = IndexReplacement(
            self._client, state, template, self._lease, partial(self._make_filler, state), sleep=self._sleep
        )
        try:
            is_finished = self._replace(replacement, state, copy)
        except (CopyStopped, DocumentsRefused, IndexUnavailable, OpenSearchException) as error:
            if replacement.give_up():
                return _failure(state.name, error)
            is_finished = True
        if not is_finished:
            return DayResult(state.name, DayOutcome.STOPPED, detail="run the command again: it goes on where it was")
        seconds = time.monotonic() - start
        return DayResult(state.name, DayOutcome.REINDEXED, replacement.events, seconds, replacement.remark)

    def _make_filler(self, state: IndexState, alias: str) -> CopyFiller:
        hold = self._lease.hold
        if self._loader is None:
            return Copying(self._client, state.index, alias, hold, self._options.rate)
        return FileFiller(
            self._client,
            self._loader,
            source=state.index,
            name=state.name,
            alias=alias,
            shards=state.shards,
            before_each=hold,
            sleep=self._sleep,
        )

    def _replace(self, replacement: IndexReplacement, state: IndexState, copy: Copy | None) -> bool:
        """Replace one index; returns False when it was stopped, which it cannot be any more under the block."""
        replacement.prepare(copy)
        for _ in self._filled(replacement, state):
            if self._should_stop():
                return False
        replacement.settle()
        for _ in self._filled(replacement, state):
            if self._should_stop():
                return False
        replacement.finish()
        return True

    def _filled(self, replacement: IndexReplacement, state: IndexState) -> Iterator[None]:
        for progress in replacement.fill():
            self._on_progress(state.name, progress)
            yield

    def _unfinished(self, state: IndexState) -> Copy | None:
        copies: Sequence[Copy] = read_copies(self._client, self._options.prefix)
        return next((copy for copy in copies if copy.state.name == state.name and not copy.is_abandoned), None)


def _failure(name: str, error: TrailsinkError | OpenSearchException) -> DayResult:
    why = f"OpenSearch: {describe_error(error)}" if isinstance(error, OpenSearchException) else str(error)
    outcome = DayOutcome.REFUSED if isinstance(error, DocumentsRefused) else DayOutcome.FAILED
    return DayResult(name, outcome, detail=f"{why}; the index is in service as before, and no copy is left")
