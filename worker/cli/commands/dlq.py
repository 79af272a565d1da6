"""The command lines of `trailsink dlq`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli.options import DURATION, JSON, JSON_LINES, YES, examples, flag, implemented_by, option
from worker.dlq.reasons import REASONS
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.cli.options import Command


class _DlqGroup(click.Group):
    """Hands letters back however a command ends, short of SIGKILL."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run a command of the group."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            previous = signal.signal(number, signal.default_int_handler)
            ctx.call_on_close(lambda number=number, previous=previous: signal.signal(number, previous))
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise SetupError("Stopped; all letters that were held are handed back.") from interrupt


@click.group(
    cls=_DlqGroup,
    short_help="List dead letters, move them back, export or discard them.",
    epilog=examples(
        "trailsink dlq list",
        "trailsink dlq redrive --dry-run        # what would move, and what stays?",
    ),
)
def dlq() -> None:
    """List dead letters, move them back, export or discard them.

    Listing moves no letter. SQS can only show a message by receiving it, so each letter is hidden from
    others while a command reads the queue, for a minute or so. It is handed back at the end, after an interrupt too.
    Its receive count rises by one, which has no effect.

    \b
    Reasons: malformed_message, not_found, empty, truncated, corrupt, too_large,
    not_json, no_records, records_rejected, unindexable, too_scattered,
    archived and foreign_bucket are the consumer's; max_receives is a letter that
    SQS moved here itself; undelivered is one that EventBridge or SNS could not
    deliver; unknown is one that trailsink did not send.
    """  # noqa: D301 - click wants the character, not its name


def _letter_filter(*, by_id: bool) -> Callable[[Command], Command]:
    """Add the options that select letters; with `by_id` also their ids as arguments."""

    def add(command: Command) -> Command:
        for declare in reversed(_FILTERS):
            command = declare(command)
        return click.argument("ids", nargs=-1, metavar="[ID]...")(command) if by_id else command

    return add


_FILTERS: list[Callable[[Command], Command]] = [
    option(
        "--reason",
        "reasons",
        multiple=True,
        type=click.Choice(REASONS),
        metavar="CODE",
        default_text="all",
        example="truncated",
        help="Only letters with this reason (see `trailsink dlq --help`); may be repeated.",
    ),
    option(
        "--object",
        "prefix",
        metavar="PREFIX",
        default_text="all",
        example="s3://acme-trail/AWSLogs/",
        help="Only letters about objects that start with this: s3://BUCKET/KEY, or a key.",
    ),
    option(
        "--older-than",
        type=DURATION,
        metavar="DURATION",
        default_text="all",
        example="2d",
        help="Only letters sent longer ago than this: s, m, h, d or w. For a letter that SQS moved itself, the age "
        "of its message counts.",
    ),
    option(
        "--newer-than",
        type=DURATION,
        metavar="DURATION",
        default_text="all",
        example="12h",
        help="Only letters sent more recently than this: s, m, h, d or w.",
    ),
]


@dlq.command(
    "list",
    short_help="List them, counted by reason.",
    epilog=examples(
        "trailsink dlq list --summary",
        "trailsink dlq list --reason truncated --newer-than 12h",
        "trailsink dlq list --json | jq -r .object",
    ),
)
@_letter_filter(by_id=False)
@flag("--summary", help="Only the counts by reason, with the oldest and the newest.", default_text="each letter, too")
@option(
    "--limit",
    type=click.IntRange(0),
    metavar="LETTERS",
    default_text="50, with --json all",
    example="500",
    help="Maximum letters shown, the newest ones; 0 for all.",
)
@JSON_LINES
@implemented_by("worker.cli.dlq.list:list_letters")
def list_letters() -> None:
    """List the dead letters: counts by reason, then reason, object, attempts and age of each.

    Attempts is how often the consumer tried. For a letter that SQS moved itself (max_receives) it is SQS's receive
    count, which every listing raises by one. With --json, letters come in no order unless --limit is given.
    """


@dlq.command(
    short_help="Show everything about one.",
    epilog=examples("trailsink dlq show 7dbf9545-79b8-4e26-8e8e-39081499f037 --records"),
)
@click.argument("id_", metavar="ID")
@flag(
    "--records",
    help="Read the object, and show the text of the records that were rejected.",
    default_text="their positions only",
)
@option(
    "--limit",
    type=click.IntRange(1),
    default=10,
    metavar="RECORDS",
    example="100",
    help="With --records: maximum records shown.",
)
@option(
    "--bytes",
    "max_bytes",
    type=click.IntRange(0),
    default=2_000,
    metavar="BYTES",
    example="100000",
    help="With --records: maximum bytes shown of each; 0 for all.",
)
@JSON
@implemented_by("worker.cli.dlq.show:show")
def show() -> None:
    """Show everything about one letter: what it announces, why it is here, what a redrive would do.

    ID is the first thing that `trailsink dlq list` shows of each. With --records the object is read from S3, in the
    version that the letter names, and split as the consumer does it.
    """


@dlq.command(
    short_help="Move them back to the source queue.",
    epilog=examples(
        "trailsink dlq redrive --dry-run",
        "trailsink dlq redrive --reason truncated --reason corrupt",
        "trailsink dlq redrive 7dbf9545-79b8-4e26-8e8e-39081499f037 --force",
    ),
)
@_letter_filter(by_id=True)
@option(
    "--rate",
    type=click.IntRange(1, 500),
    metavar="PER_SECOND",
    default_text="unlimited",
    example="10",
    help="Maximum letters per second.",
)
@flag("--dry-run", help="Show which letters would be moved, and why; move none.", default_text="move them")
@flag("--force", help="Move letters that would fail again, too.", default_text="they stay")
@flag(
    "--newest-version",
    default_text="only where S3 says that it was replaced",
    help="Have each letter announce the newest version of its object, whatever S3 says of it.",
)
@flag("--one-by-one", help="Do not use SQS's own message move task.", default_text="it moves all letters")
@flag("--attach", help="Only follow the move task that is running; interrupted, it runs on.", default_text="start one")
@flag("--cancel", help="Only cancel the move task that is running.", default_text="start one")
@JSON
@implemented_by("worker.cli.dlq.redrive:redrive")
def redrive() -> None:
    """Move dead letters back to the source queue: all, those with the given IDs, or those that the options select.

    \b
    A letter that would only fail again stays:
      malformed_message                       always
      empty, truncated, corrupt, not_json,
      no_records                              while its object is still bad
      unindexable                             while its object is unchanged
      records_rejected                        the same, if its records are no JSON
      not_found, archived                     while its object cannot be read
      foreign_bucket                          while no setting allows its bucket

    S3 is asked. If an object was replaced, the redrive announces its current version. --force moves what would stay.
    The command does not ask; --dry-run shows what it would do.

    If every letter can move unchanged, SQS's own message move task moves them, and Ctrl-C cancels it. Otherwise they
    are received, sent and deleted one by one.
    """  # noqa: D301 - click wants the character, not its name


@dlq.command(
    short_help="Delete them, and keep them in a file.",
    epilog=examples(
        "trailsink dlq discard --reason not_json --older-than 7d",
        "trailsink dlq discard --all --to gone.jsonl --yes",
    ),
)
@_letter_filter(by_id=True)
@flag("--all", "everything", help="Discard every letter; needed without an id or a filter.", default_text="none")
@option(
    "--to",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    example="gone.jsonl",
    default_text="dead-letters-TIME.jsonl, here",
    help="New file that the letters are written to first.",
)
@YES
@JSON
@implemented_by("worker.cli.dlq.files:discard")
def discard() -> None:
    """Delete dead letters: those with the given IDs, those that the options select, or --all.

    They are written to a file first, and `trailsink dlq import` brings them back from it. Then it asks.
    """


@dlq.command(
    "export",
    short_help="Write them to a file; they stay.",
    epilog=examples(
        "trailsink dlq export letters.jsonl",
        "trailsink dlq export - --reason truncated | jq -r .body",
    ),
)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@_letter_filter(by_id=True)
@JSON
@implemented_by("worker.cli.dlq.files:export_letters")
def export_letters() -> None:
    """Write dead letters to FILE, or to standard output (-), one JSON document per line; they stay in the queue.

    All letters, those with the given IDs, or those that the options select. FILE must be a new one.
    """


@dlq.command(
    "import",
    short_help="Bring exported ones back.",
    epilog=examples(
        "trailsink dlq import letters.jsonl",
        "trailsink dlq import letters.jsonl --to source",
    ),
)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@option(
    "--to",
    type=click.Choice(["dead-letters", "source"]),
    default="dead-letters",
    metavar="QUEUE",
    example="source",
    help="Where to: `dead-letters`, or `source` to have the consumer try them.",
)
@JSON
@implemented_by("worker.cli.dlq.files:import_letters")
def import_letters() -> None:
    """Send the letters of an exported FILE, or of standard input (-), with body and attributes as they were.

    All lines are checked before the first is sent. A letter that is sent twice is there twice, which changes nothing.
    """
