"""What `trailsink filter` does: tries selectors on the index or on files, and suggests some."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from worker.backfill.filter_trial import FileTrial
from worker.backfill.listing import LISTINGS, list_files
from worker.backfill.selection import Selection, time_range
from worker.backfill.sources import BucketLister, LocalTree
from worker.cli.filter_report import TrialReport
from worker.cli.options import check_times
from worker.cli.output import announced_wait, print_document, print_line
from worker.cli.sources import choose_sources
from worker.cloudtrail.filters.matching import RecordFilter
from worker.cloudtrail.filters.selectors import to_document
from worker.errors import SetupError
from worker.humanize import pluralize
from worker.opensearch.errors import translate_errors
from worker.opensearch.field_kinds import read_field_kinds
from worker.opensearch.filter_suggestion import suggest_selectors
from worker.opensearch.filter_trial import IndexTrial
from worker.opensearch.selector_query import left_out_clauses
from worker.settings import load_settings
from worker.wiring import make_client, make_s3_client, make_selector_file, make_store, now, open_s3_session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from worker.cloudtrail.filters.selectors import SelectorSet
    from worker.cloudtrail.filters.trial import TrialCounts
    from worker.pipeline.ports import Store
    from worker.settings import Settings

_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOptions:
    """The options of `trailsink filter test`, under the names that the command declares."""

    file: str
    local: Path | None
    bucket: str | None
    prefix: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    last: timedelta | None
    rules: tuple[Path, ...]
    replicas: int
    price: float
    as_json: bool

    def check(self) -> None:
        """Raise UsageError when options contradict each other."""
        check_times(self.since, self.until, self.last)
        if self.local and self.bucket:
            raise click.UsageError("--local and --bucket exclude each other.")
        if self.rules and self.reads_files:
            raise click.UsageError("--rules searches the index: leave out --local and --bucket.")
        if self.prefix and not self.reads_files:
            raise click.UsageError("--prefix is for files: pass --bucket or --local.")

    @property
    def reads_files(self) -> bool:
        """Whether the filter is tried on files, not on the index."""
        return bool(self.local or self.bucket)

    def time(self) -> tuple[datetime | None, datetime]:
        """Return the start and the end of the time."""
        last = self.last or (None if self.since or self.local else _WEEK)
        return time_range(now(), since=self.since, until=self.until, last=last)


def try_filter(**options: Any) -> None:  # noqa: ANN401 - the fields of TrialOptions
    """Print what a filter would leave out; raises SetupError."""
    checked = TrialOptions(**options)
    checked.check()
    settings = load_settings()
    selectors = make_selector_file(settings, checked.file).read()
    since, until = checked.time()
    if checked.reads_files:
        counts, place = _try_on_files(checked, settings, selectors, since, until)
        lost: list[tuple[str, int, int]] = []
    else:
        counts, lost = _try_on_index(checked, settings, selectors, since, until)
        place = f"{settings.index_prefix}-*"
    report = TrialReport(
        checked.file, selectors, counts, place, since, until, settings.retention_days, checked.replicas, checked.price
    )
    for document in report.documents(lost) if checked.as_json else ():
        print_document(f"{document}\n")
    if not checked.as_json:
        report.print_text(lost, has_rules=bool(checked.rules))


def _try_on_index(
    options: TrialOptions, settings: Settings, selectors: SelectorSet, since: datetime | None, until: datetime
) -> tuple[TrialCounts, list[tuple[str, int, int]]]:
    client, prefix = make_client(settings).connect(), settings.index_prefix
    with translate_errors():
        kinds = read_field_kinds(client, prefix)
    with announced_wait("OpenSearch"):
        counts = IndexTrial(client, prefix, since, until).run(selectors.selectors, kinds)
    if not options.rules:
        return counts, []
    left_out = left_out_clauses(selectors.selectors, kinds)
    return counts, list(_lost_hits(options.rules, left_out, since, until))


def _lost_hits(
    rules: tuple[Path, ...], left_out: list[dict[str, Any]], since: datetime | None, until: datetime
) -> Iterator[tuple[str, int, int]]:
    """Yield the title of each rule that would have lost hits, how many, and of how many."""
    # Imported when needed: only the extra brings pySigma.
    from worker.cli.detect import open_rules  # noqa: PLC0415
    from worker.detect.backtest import run_backtest  # noqa: PLC0415

    client, prefix, rule_set = open_rules(rules, None)
    before = run_backtest(client, prefix, rule_set.rules, since, until)
    kept = [replace(rule, clause={"bool": {"filter": [rule.clause], "must_not": left_out}}) for rule in rule_set.rules]
    after = run_backtest(client, prefix, kept, since, until)
    for first, second in zip(before, after, strict=True):
        if error := first.error or second.error:
            raise SetupError(f"The rule {first.rule.info.title} could not be searched for: {error}")
        if second.hits < first.hits:
            yield first.rule.info.title, first.hits - second.hits, first.hits


def _try_on_files(
    options: TrialOptions, settings: Settings, selectors: SelectorSet, since: datetime | None, until: datetime
) -> tuple[TrialCounts, str]:
    bucket, store, lister = _open_files(options, settings)
    trial = FileTrial(store, bucket, settings.limits, RecordFilter(selectors), now)
    with ThreadPoolExecutor(LISTINGS, "list") as listings:
        sources = choose_sources(lister, options.prefix)
        for file in list_files(lister, listings, Selection(until, since), sources):
            trial.add(file.key)
    if trial.unreadable:
        print_line(f"{pluralize(trial.unreadable, 'file')} could not be read.", err=True)
    return trial.counts, f"{pluralize(trial.files, 'file')} of {options.local or bucket}"


def _open_files(options: TrialOptions, settings: Settings) -> tuple[str, Store, LocalTree | BucketLister]:
    if options.local:
        tree = LocalTree(options.local)
        return "local", tree, tree
    bucket = options.bucket or ""
    client = make_s3_client(settings, open_s3_session(settings), connections=LISTINGS)
    return bucket, make_store(settings.model_copy(update={"buckets": bucket})), BucketLister(client, bucket)


def suggest(
    *, since: datetime | None, until: datetime | None, last: timedelta | None, limit: int, share: float
) -> None:
    """Print suggested selectors as a file, and what each would leave out on standard error."""
    check_times(since, until, last)
    settings = load_settings()
    start, end = time_range(now(), since=since, until=until, last=last or (None if since else _WEEK))
    trial = IndexTrial(make_client(settings).connect(), settings.index_prefix, start, end)
    with announced_wait("OpenSearch"):
        suggestions = list(suggest_selectors(trial, limit=limit, share=share / 100))
        total = trial.count({"match_all": {}})
    if not suggestions:
        raise SetupError(f"No read-only event is {share:g} % of the {total:,} events: there is nothing to suggest.")
    document = [to_document(suggestion.selector) for suggestion in suggestions]
    print_document(json.dumps(document, indent=2) + "\n")
    for suggestion in suggestions:
        percent = 100 * suggestion.events / total
        print_line(f"{suggestion.events:>12,}  {percent:4.1f} %  {suggestion.selector.name}", err=True)
    print_line("Try them before you set them: trailsink filter test FILE --rules RULES", err=True)
