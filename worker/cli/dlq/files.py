"""`trailsink dlq discard`, `export` and `import`: letters in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from worker.cli.dlq.context import build_filter, open_context, print_none, print_notes
from worker.cli.output import confirm, print_json, print_line
from worker.dlq.export import STREAM, create_export, encode_line, open_export
from worker.errors import IndexUnavailable, SetupError
from worker.humanize import pluralize
from worker.opensearch.discards import record_discards
from worker.wiring import make_client, now

if TYPE_CHECKING:
    from worker.dlq.letters import Letter
    from worker.dlq.summary import LetterSummary
    from worker.pipeline.objects import ObjectRef
    from worker.settings import Settings


class DiscardReport(msgspec.Struct, frozen=True):
    """What `discard --json` prints."""

    discarded: int
    file: str


class ExportReport(msgspec.Struct, frozen=True):
    """What `export --json` prints."""

    exported: int
    file: str


class ImportReport(msgspec.Struct, frozen=True):
    """What `import --json` prints."""

    imported: int
    to: str


def discard(
    *,
    everything: bool,
    path: Path | None,
    yes: bool,
    as_json: bool,
    **selection: Any,  # noqa: ANN401 - which letters, see `build_filter`
) -> None:
    """Write letters to a new file, ask, and delete exactly these."""
    letter_filter = build_filter(**selection)
    if letter_filter.selects_all is not everything:
        raise click.UsageError("Select letters by ID or with options, or pass --all alone.")
    path = path or Path(f"dead-letters-{now():%Y%m%dT%H%M%SZ}.jsonl")
    if path == STREAM:
        raise click.UsageError("--to needs a file: nothing confirms that letters arrived at the end of a pipe.")
    context = open_context()
    refs: set[ObjectRef] = set()
    with create_export(path) as write, context.progress:

        def export(letter: Letter) -> None:
            write(encode_line(letter))
            refs.update(letter.objects)

        summary = context.service.list_letters(letter_filter, export)
        summary.require_ids(letter_filter, "; nothing was discarded")
    if not summary.count:
        path.unlink()
        print_none(summary)
        return
    _confirm(summary, path, yes=yes)
    _record(context.settings, refs)
    try:
        with context.progress:
            deleted, failed = context.service.discard(summary.ids)
    except KeyboardInterrupt as interrupt:
        raise SetupError(f"Stopped; some letters are deleted, and all of them are in {path}.") from interrupt
    if as_json:
        print_json(DiscardReport(deleted, str(path)))
    else:
        print_line(f"Discarded {pluralize(deleted, 'letter')}, kept in {path}.")
    if deleted < summary.count:
        cause = "SQS refused" if failed else "received by another consumer"
        raise SetupError(f"{pluralize(summary.count - deleted, 'letter')} of {path} could not be deleted: {cause}.")


def _confirm(summary: LetterSummary, path: Path, *, yes: bool) -> None:
    by_reason = ", ".join(f"{group.letters:,} {group.reason}" for group in summary.groups)
    question = f"Saved in {path}: {pluralize(summary.count, 'letter')} ({by_reason}). Discard them now?"
    if not confirm(question, yes=yes, undo=path.unlink):
        raise SetupError("Nothing was discarded.")


def _record(settings: Settings, refs: set[ObjectRef]) -> None:
    """Record in the ledger that nobody wants these files; where that fails, say so and go on.

    Before the letters are deleted: a letter that stays is still in the queue, where everybody sees it.
    """
    if not settings.ledger or not refs:
        return
    try:
        record_discards(make_client(settings).connect(), settings.index_prefix, refs, now())
    except (SetupError, IndexUnavailable) as error:
        sentence = str(error).rstrip(".")
        print_line(
            f"Not recorded in the ledger: {sentence}. trailsink backfill --missing will load the files again.", err=True
        )


def export_letters(
    *,
    path: Path,
    as_json: bool,
    **selection: Any,  # noqa: ANN401 - which letters, see `build_filter`
) -> None:
    """Write letters to a new file or to standard output; they stay in the queue."""
    letter_filter = build_filter(**selection)
    context = open_context()
    with create_export(path) as write, context.progress:
        summary = context.service.export(letter_filter, write)
        summary.require_ids(letter_filter, "; nothing was exported")
    if as_json:
        print_json(ExportReport(summary.count, str(path)), err=path == STREAM)
    else:
        print_line(f"Exported {pluralize(summary.count, 'letter')}.", err=path == STREAM)
    print_notes(summary)


def import_letters(*, path: Path, to: str, as_json: bool) -> None:
    """Check all lines of an exported file, then send its letters."""
    with open_export(path) as read_letters:
        count = sum(1 for _ in read_letters())
        context = open_context()
        with context.progress:
            sent = context.service.import_letters(read_letters(), to_source=to == "source")
    if as_json:
        print_json(ImportReport(sent, to))
    else:
        queue = "source" if to == "source" else "dead-letter"
        print_line(f"Sent {sent:,} of {pluralize(count, 'letter')} to the {queue} queue.")
