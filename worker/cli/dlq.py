"""The operator's door to the dead letters: `trailsink dlq`."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from worker.cli.options import SPAN, age, confirmed, examples, print_json, print_table, visible
from worker.dlq.eligibility import RedriveAction
from worker.dlq.export import STREAM, reading, writing
from worker.dlq.letters import REASONS, LetterFilter, counted
from worker.dlq.redrive import RedriveMethod, RedriveOptions, RedrivePlan, RedriveReport
from worker.dlq.service import DeadLetterService
from worker.dlq.sqs import make_dead_letter_queue
from worker.dlq.summary import NewestLetters
from worker.dlq.views import LetterDetail, LetterView, read_again
from worker.errors import SetupError, StoreUnavailable, TrailsinkError
from worker.settings import load_settings
from worker.wiring import make_store, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import timedelta

    from worker.aws.s3 import S3Store
    from worker.dlq.letters import Letter
    from worker.dlq.move_task import MoveTask
    from worker.dlq.summary import LetterSummary
    from worker.dlq.views import FileNow
    from worker.settings import Settings

_SHOWN = 50  # letters, in a table
_RECORDS = 10
_RECORD_BYTES = 2_000
_BODY_CHARACTERS = 200  # of a letter that announces no object, in a list

Command: TypeAlias = "Callable[..., Any]"


class _Dlq(click.Group):
    """Hands letters back however a command is ended, short of SIGKILL."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        for number in (signal.SIGTERM, signal.SIGHUP):
            before = signal.signal(number, signal.default_int_handler)
            ctx.call_on_close(lambda number=number, before=before: signal.signal(number, before))
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise SetupError("Stopped; the letters that were held are handed back.") from stop


@click.group(
    cls=_Dlq,
    short_help="Look at dead letters, move them back, keep or discard them.",
    epilog=examples(
        "trailsink dlq list",
        "trailsink dlq redrive --dry-run        # what would go, and what stays?",
    ),
)
def dlq() -> None:
    """Look at dead letters, move them back, keep or discard them.

    Looking leaves every letter where it is. SQS knows no other way to look than to receive, so each letter is hidden
    from others while a command looks, for a minute or so, and is handed back at the end, after an interrupt too; its
    receive count rises by one, on which nothing acts: a dead-letter queue gives no letter up.

    \b
    Reasons: malformed_message, not_found, empty, truncated, corrupt, too_large,
    not_json, no_records, records_rejected, too_scattered and archived are the
    consumer's; max_receives is a letter that SQS moved here itself; unknown is
    one that somebody else sent.
    """  # noqa: D301 - click wants the character, not its name


def _choosing(*, by_id: bool) -> Callable[[Command], Command]:
    """Add the options that say which letters are meant; the command is given a `choice` in their place."""

    def add(command: Command) -> Command:
        @wraps(command)
        def chosen(
            *,
            reasons: tuple[str, ...],
            prefix: str | None,
            older_than: timedelta | None,
            newer_than: timedelta | None,
            ids: tuple[str, ...] = (),
            **others: Any,  # noqa: ANN401 - the command's own options
        ) -> None:
            today = now().timestamp()
            choice = LetterFilter(
                frozenset(ids),
                frozenset(reasons),
                prefix or "",
                today - older_than.total_seconds() if older_than else None,
                today - newer_than.total_seconds() if newer_than else None,
            )
            command(choice=choice, **others)

        for option in reversed(_CHOICE):
            chosen = option(chosen)
        return click.argument("ids", nargs=-1, metavar="[ID]...")(chosen) if by_id else chosen

    return add


_CHOICE: list[Callable[[Any], Any]] = [
    click.option("--reason", "reasons", multiple=True, type=click.Choice(REASONS), metavar="CODE",
                 help="Only letters with this reason, one of those that `trailsink dlq --help` lists; may be given "
                      "many times.  [default: all]  Example: truncated"),
    click.option("--object", "prefix", metavar="PREFIX",
                 help="Only letters about objects that begin so: s3://BUCKET/KEY, or a key.  [default: all]  "
                      "Example: s3://acme-trail/AWSLogs/"),
    click.option("--older-than", type=SPAN, metavar="SPAN",
                 help="Only letters sent longer ago: s, m, h, d or w. For one that SQS moved itself, its message's "
                      "age counts.  [default: all]  Example: 2d"),
    click.option("--newer-than", type=SPAN, metavar="SPAN",
                 help="Only letters sent since: s, m, h, d or w.  [default: all]  Example: 12h"),
]  # fmt: skip

_JSON_LINES = click.option("--json", "as_json", is_flag=True, help="Print one JSON document per line.  [default: text]")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.  [default: text]")


@dataclass(frozen=True, slots=True)
class _Office:
    """What a command works with, opened once: while `live` is entered, a terminal is told how far the desk is."""

    settings: Settings
    store: S3Store
    desk: DeadLetterService
    live: AbstractContextManager[object]


def _open() -> _Office:
    settings = load_settings()
    queue, store = make_dead_letter_queue(settings), make_store(settings)
    display = Live(console=Console(stderr=True), transient=True, refresh_per_second=8) if sys.stderr.isatty() else None

    def say(line: str) -> None:
        if display:
            display.update(Text(line))

    return _Office(
        settings, store, DeadLetterService(queue, store, sleep=time.sleep, say=say), display or nullcontext()
    )


# list


@dlq.command(
    "list",
    short_help="List them, counted by reason.",
    epilog=examples(
        "trailsink dlq list --summary",
        "trailsink dlq list --reason truncated --newer-than 12h",
        "trailsink dlq list --json | jq -r .object",
    ),
)
@_choosing(by_id=False)
@click.option("--summary", is_flag=True,
              help="Only the counts by reason, with the oldest and the newest.  "
                   "[default: each letter, too]")  # fmt: skip
@click.option("--limit", type=click.IntRange(0), metavar="LETTERS",
              help="Most letters shown, the newest ones; 0 for all.  [default: 50, with --json all]  "
                   "Example: 500")  # fmt: skip
@_JSON_LINES
def list_letters(
    *,
    choice: LetterFilter,
    summary: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the dead letters: counts by reason, then reason, object, attempts and age of each.

    Attempts is how often the consumer tried; for a letter that SQS moved itself (max_receives) it is SQS's receive
    count, in which every look is one more. With --json, letters come in no order unless --limit is given.
    """
    most = (0 if as_json else _SHOWN) if limit is None else limit
    today = now().timestamp()
    newest = NewestLetters(most, today)

    def take(letter: Letter) -> None:
        if as_json and not most:
            print_json(LetterView.of(letter, today))
        else:
            newest.add(letter)

    office = _open()
    with office.live:
        survey = office.desk.look(choice, (lambda _: None) if summary else take)
    if as_json:
        for line in survey.as_groups() if summary else newest.letters:
            print_json(line)
    elif survey.count:
        _print_groups(survey, today)
        if not summary:
            _print_letters(newest.letters, survey.count)
    else:
        _print_none(survey)
    _note(survey)


def _print_groups(survey: LetterSummary, today: float) -> None:
    rows = [
        (reason, f"{number:,}", age(today - oldest), age(today - newest))
        for reason, (number, oldest, newest) in survey.by_size()
    ]
    print_table(("reason", "letters", "oldest", "newest"), rows, right=("letters", "oldest", "newest"))


def _print_letters(letters: list[LetterView], all_of_them: int) -> None:
    click.echo()
    for one in sorted(letters, key=lambda letter: letter.reason):  # stable: the newest first within a reason
        attempts = "" if one.attempts is None else f"attempts {one.attempts}, "
        click.echo(f"{one.id}  {click.style(one.reason, bold=True)}  {attempts}age {age(one.age_seconds)}")
        for name in one.objects or [(one.body or "")[:_BODY_CHARACTERS]]:
            click.echo(f"  {visible(name)}")
        click.echo(f"  {visible(one.detail)}")
    if len(letters) < all_of_them:
        click.echo(f"... and {all_of_them - len(letters):,} older letters: --limit 0 shows all.")


def _print_none(survey: LetterSummary) -> None:
    others = f"{survey.others:,} other{' is' if survey.others == 1 else 's are'} there"
    click.echo(f"No such dead letters; {others}." if survey.others else "No dead letters.")


def _note(survey: LetterSummary) -> None:
    if survey.hidden:
        one = "letter is" if survey.hidden == 1 else "letters are"
        click.echo(f"Not shown: {survey.hidden:,} {one} in somebody else's hands; look again in a minute.", err=True)
    if not survey.complete:
        click.echo(
            f"SQS lets no more than {survey.count + survey.others:,} be looked at at once; there are more.", err=True
        )


# show


@dlq.command(
    short_help="Show everything about one.",
    epilog=examples("trailsink dlq show 7dbf9545-79b8-4e26-8e8e-39081499f037 --records"),
)
@click.argument("id_", metavar="ID")
@click.option("--records", is_flag=True,
              help="Read the object, and show the text of the records that were rejected.  "
                   "[default: their positions only]")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), default=_RECORDS, metavar="RECORDS",
              help="With --records: most records shown.  Example: 100")  # fmt: skip
@click.option("--bytes", "most_bytes", type=click.IntRange(0), default=_RECORD_BYTES, metavar="BYTES",
              help="With --records: most bytes shown of each; 0 for all.  Example: 100000")  # fmt: skip
@_JSON
def show(*, id_: str, records: bool, limit: int, most_bytes: int, as_json: bool) -> None:
    """Show everything about one letter: what it announces, why it is here, what a redrive would do.

    ID is what `trailsink dlq list` shows first of each. With --records the object is read from S3, in the version that
    the letter names, and cut the way the consumer does.
    """
    office = _open()
    with office.live:
        letter = office.desk.find(id_)
        (judged,) = office.desk.assess([letter], RedriveOptions())
    file = _file_of(office, letter, limit, most_bytes) if records else None
    detail = LetterDetail.of(letter, judged, now().timestamp(), file)
    if as_json:
        print_json(detail)
        return
    for label, value in _labelled(detail):
        click.echo(f"{label:<9} {visible(value)}")
    for position, why in detail.letter.rejected[:limit]:
        click.echo(f"  position {position}: {visible(why)}")
    if file:
        _print_file(file)


def _file_of(office: _Office, letter: Letter, most: int, most_bytes: int) -> FileNow:
    if len(letter.objects) != 1:
        raise SetupError(f"The letter {letter.id} announces {len(letter.objects)} objects; --records needs just one.")
    limit = office.settings.max_inflated_bytes
    try:
        return read_again(office.store, letter, limit=limit, most=most, most_bytes=most_bytes or None)
    except StoreUnavailable as cause:
        raise SetupError(f"The object {letter.objects[0]} cannot be read: {cause}.") from cause


def _labelled(one: LetterDetail) -> Iterator[tuple[str, str]]:
    letter = one.letter
    yield "id", letter.id
    yield "reason", f"{letter.reason}: {one.meaning}"
    yield "detail", letter.detail
    for name in letter.objects:
        yield "object", name
    known = {"size": one.size, "eTag": one.etag}
    if any(value is not None for value in known.values()):
        yield "announced", ", ".join(f"{name} {value}" for name, value in known.items() if value is not None)
    yield "sent", f"{letter.sent_at}, {age(letter.age_seconds)} ago"
    if letter.attempts is not None:
        yield "attempts", f"{letter.attempts:,}"
    yield "receives", f"{letter.receives:,}; each look of anybody is one, and nothing acts on it"
    if letter.source_message_id:
        yield "message", f"{letter.source_message_id} in the source queue"
    if one.source_queue:
        yield "moved by", f"SQS, from {one.source_queue}"
    if one.trailsink_version:
        yield "written", f"by trailsink {one.trailsink_version}"
    yield "redrive", f"{_DOES[one.redrive]}: {one.redrive_why}"
    if letter.body is not None:
        yield "body", one.body[: 10 * _BODY_CHARACTERS]
    if letter.rejected:
        yield "rejected", f"by position, {len(letter.rejected):,} named"


_DOES = {
    RedriveAction.AS_IT_IS: "moves it",
    RedriveAction.NEWEST: "moves it, announcing the object as it is now",
    RedriveAction.STAYS: "leaves it, unless forced",
}


def _print_file(file: FileNow) -> None:
    wrong = f"; {file.reason}: {visible(file.detail or '')}" if file.reason else ""
    click.echo(f"file      {file.records:,} records can be read{wrong}")
    for one in file.rejected:
        if one.text is None:
            click.echo(f"record {one.position}, {one.reason}: the file holds no such record now")
            continue
        click.echo(f"record {one.position}, {one.reason}, {one.bytes:,} bytes:")
        click.echo(f"  {visible(one.text)}{' ... (--bytes 0 shows all)' if one.cut else ''}")


# redrive


@dlq.command(
    short_help="Move them back to the source queue.",
    epilog=examples(
        "trailsink dlq redrive --dry-run",
        "trailsink dlq redrive --reason truncated --reason corrupt",
        "trailsink dlq redrive 7dbf9545-79b8-4e26-8e8e-39081499f037 --force",
    ),
)
@_choosing(by_id=True)
@click.option("--rate", type=click.IntRange(1, 500), metavar="PER_SECOND",
              help="Most letters moved in a second.  [default: as fast as it goes]  Example: 10")  # fmt: skip
@click.option("--dry-run", is_flag=True,
              help="Say what would be done with which letters, and why; move none.  [default: move them]")  # fmt: skip
@click.option("--force", is_flag=True,
              help="Move letters, too, that would only come back.  [default: they stay]")  # fmt: skip
@click.option("--newest-version", is_flag=True,
              help="Have each letter announce the newest version of its object, whatever S3 says of it.  "
                   "[default: only where S3 says that it was written anew]")  # fmt: skip
@click.option("--one-by-one", is_flag=True,
              help="Do without SQS's own move task.  [default: all letters are moved by it]")  # fmt: skip
@click.option("--attach", is_flag=True,
              help="Only follow the move task that is running; interrupted, it runs on.  "
                   "[default: start one]")  # fmt: skip
@click.option("--cancel", is_flag=True,
              help="Only end the move task that is running.  [default: start one]")  # fmt: skip
@_JSON
def redrive(  # noqa: PLR0913 - one per option
    *,
    choice: LetterFilter,
    rate: int | None,
    dry_run: bool,
    force: bool,
    newest_version: bool,
    one_by_one: bool,
    attach: bool,
    cancel: bool,
    as_json: bool,
) -> None:
    """Move dead letters back to the source queue: all, those with the given IDs, or those that the options mean.

    \b
    A letter whose cause no time can mend stays, because it would only come back:
      malformed_message                            always
      empty, truncated, corrupt, not_json,
      no_records, records_rejected                 while its object is what it was
      not_found, archived                          while its object cannot be read

    S3 is asked. An object that was written anew is announced as it is now, so that a letter that names a broken version
    brings the mended one. --force moves what would stay.

    All letters are moved by SQS's own message move task, where none stays and none has to be announced anew; an
    interrupt cancels it. Others are received, sent and deleted one by one.
    """  # noqa: D301 - click wants the character, not its name
    if attach and cancel:
        raise click.UsageError("--attach and --cancel exclude each other.")
    office, policy = _open(), RedriveOptions(force, newest_version)
    if attach or cancel:
        task, left = _running(office, cancel=cancel)
        _say_ended(task, left, RedrivePlan(), as_json=as_json)
        return
    with office.live:
        if choice.is_everything and not one_by_one:
            office.desk.idle()
        plan = office.desk.plan(choice, policy)
    plan.check(choice, force=force, dry_run=dry_run)
    way = plan.way(choice, one_by_one=one_by_one)
    if dry_run:
        _say_planned(plan, way, as_json=as_json)
    elif way is RedriveMethod.MOVE_TASK:
        with office.live:
            task, left = office.desk.move_all(rate), office.desk.left()
        _say_ended(task, left, plan, as_json=as_json)
    else:
        _move(office, plan, policy, rate)
        _say_moved(plan, way, as_json=as_json)


def _running(office: _Office, *, cancel: bool) -> tuple[MoveTask, int]:
    with office.live:
        task = office.desk.cancel() if cancel else office.desk.attach()
        if task is None:
            raise SetupError("No move task of this queue is running.")
        return task, office.desk.left()


def _move(office: _Office, plan: RedrivePlan, policy: RedriveOptions, rate: int | None) -> None:
    try:
        with office.live:
            office.desk.move(plan, policy, rate=rate)
    except TrailsinkError as cause:
        raise SetupError(f"{str(cause).rstrip('.')}; {counted(plan.moved)} went before that.") from cause
    except KeyboardInterrupt as stop:
        raise SetupError(f"Stopped after {counted(plan.moved)}; the others are handed back.") from stop


def _say_planned(plan: RedrivePlan, way: RedriveMethod, *, as_json: bool) -> None:
    if as_json:
        print_json(RedriveReport.planned(plan, way))
    elif plan.survey.count:
        rows = [
            (one.reason, f"{one.letters:,}", "no" if one.verdict is RedriveAction.STAYS else "yes", one.why)
            for one in plan.lines
        ]
        print_table(("reason", "letters", "moves", "why"), rows, right=("letters",))
        by = " by SQS's own move task" if way is RedriveMethod.MOVE_TASK else ""
        click.echo(f"{counted(len(plan.going))} would be moved{by}; nothing was.")
    else:
        _print_none(plan.survey)
    _note(plan.survey)


def _say_moved(plan: RedrivePlan, way: RedriveMethod, *, as_json: bool) -> None:
    if as_json:
        print_json(RedriveReport.here(plan, way))
    elif not plan.survey.count:
        _print_none(plan.survey)
    else:
        click.echo(f"Moved {counted(plan.moved)} back to the source queue.")
        for line in plan.left:
            click.echo(f"Left {line}.")
    _note(plan.survey)
    plan.check_moved()


def _say_ended(task: MoveTask, left: int, plan: RedrivePlan, *, as_json: bool) -> None:
    if as_json:
        print_json(RedriveReport.by_sqs(task, left, plan))
    task.check(left)
    if not as_json:
        click.echo(f"Moved {counted(task.moved)} back to the source queue.")


# discard, export, import


class _Discarded(msgspec.Struct, frozen=True):
    discarded: int
    file: str


class _Exported(msgspec.Struct, frozen=True):
    exported: int
    file: str


class _Imported(msgspec.Struct, frozen=True):
    imported: int
    to: str


@dlq.command(
    short_help="Delete them, kept in a file.",
    epilog=examples(
        "trailsink dlq discard --reason not_json --older-than 7d",
        "trailsink dlq discard --all --to gone.jsonl --yes",
    ),
)
@_choosing(by_id=True)
@click.option("--all", "everything", is_flag=True,
              help="Discard all letters, when nothing else says which.  [default: none]")  # fmt: skip
@click.option("--to", "path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="New file that the letters are written to first.  [default: dead-letters-TIME.jsonl, here]  "
                   "Example: gone.jsonl")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.  [default: ask]")
@_JSON
def discard(
    *,
    choice: LetterFilter,
    everything: bool,
    path: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete dead letters: those with the given IDs, those that the options mean, or --all.

    They are written to a file first, from which `trailsink dlq import` brings them back; then it asks.
    """
    if choice.is_everything is not everything:
        raise click.UsageError("Say which letters: ids, options that choose, or --all alone.")
    path = path or Path(f"dead-letters-{now():%Y%m%dT%H%M%SZ}.jsonl")
    if path == STREAM:
        raise click.UsageError("--to needs a file: on a pipe nobody can say that the letters arrived.")
    office = _open()
    with writing(path) as write, office.live:
        survey = office.desk.export(choice, write)
        survey.refuse_unknown(choice, "; nothing was discarded")
    if not survey.count:
        path.unlink()
        _print_none(survey)
        return
    _confirm(survey, path, yes=yes)
    try:
        with office.live:
            gone, failed = office.desk.discard(survey.ids)
    except KeyboardInterrupt as stop:
        raise SetupError(f"Stopped; some letters are deleted, and all of them are in {path}.") from stop
    if as_json:
        print_json(_Discarded(gone, str(path)))
    else:
        click.echo(f"Discarded {counted(gone)}, kept in {path}.")
    if gone < survey.count:
        raise SetupError(
            f"{counted(survey.count - gone)} of {path} could not be deleted:"
            f" {'SQS refused' if failed else 'somebody else has them'}."
        )


def _confirm(survey: LetterSummary, path: Path, *, yes: bool) -> None:
    by_reason = ", ".join(f"{number:,} {reason}" for reason, (number, _, _) in survey.by_size())
    question = f"Kept in {path}: {counted(survey.count)} ({by_reason}). Discard them now?"
    if not confirmed(question, yes=yes, undo=path.unlink):
        raise SetupError("Nothing was discarded.")


@dlq.command(
    "export",
    short_help="Write them to a file; they stay.",
    epilog=examples(
        "trailsink dlq export letters.jsonl",
        "trailsink dlq export - --reason truncated | jq -r .body",
    ),
)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@_choosing(by_id=True)
@_JSON
def export_letters(
    *,
    path: Path,
    choice: LetterFilter,
    as_json: bool,
) -> None:
    """Write dead letters to FILE, or to standard output (-), a JSON document per line; they stay in the queue.

    All letters, those with the given IDs, or those that the options mean. FILE must be a new one.
    """
    office = _open()
    with writing(path) as write, office.live:
        survey = office.desk.export(choice, write)
        survey.refuse_unknown(choice, "; nothing was exported")
    if as_json:
        print_json(_Exported(survey.count, str(path)), err=path == STREAM)
    else:
        click.echo(f"Exported {counted(survey.count)}.", err=path == STREAM)
    _note(survey)


@dlq.command(
    "import",
    short_help="Bring exported ones back.",
    epilog=examples(
        "trailsink dlq import letters.jsonl",
        "trailsink dlq import letters.jsonl --to source",
    ),
)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@click.option("--to", type=click.Choice(["dead-letters", "source"]), default="dead-letters", metavar="QUEUE",
              help="Where to: `dead-letters`, or `source` to have the consumer try them.  Example: source")  # fmt: skip
@_JSON
def import_letters(*, path: Path, to: str, as_json: bool) -> None:
    """Send the letters of an exported FILE, or of standard input (-), with body and attributes as they were.

    All lines are checked before the first is sent. A letter that is sent twice is there twice, which changes nothing.
    """
    with reading(path) as lines:
        count = sum(1 for _ in lines())
        office = _open()
        with office.live:
            done = office.desk.bring_in(lines(), to_source=to == "source")
    if as_json:
        print_json(_Imported(done, to))
    else:
        queue = "source" if to == "source" else "dead-letter"
        click.echo(f"Sent {counted(done)} of {count:,} to the {queue} queue.")
