"""`trailsink dlq show`: everything about one letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from worker.cli.dlq.context import DlqContext, open_context
from worker.cli.dlq.list import BODY_CHARACTERS
from worker.cli.output import escape_control_characters, print_json
from worker.dlq.eligibility import RedriveAction
from worker.dlq.redrive import RedriveOptions
from worker.dlq.views import LetterDetail, read_again
from worker.errors import SetupError, StoreUnavailable
from worker.humanize import format_duration
from worker.wiring import now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.dlq.letters import Letter
    from worker.dlq.views import FileNow


def show(*, id_: str, records: bool, limit: int, max_bytes: int, as_json: bool) -> None:
    """Show everything about one letter: what it announces, why it is here, what a redrive would do.

    ID is what `trailsink dlq list` shows first of each. With --records the object is read from S3, in the version that
    the letter names, and cut the way the consumer does.
    """
    office = open_context()
    with office.live:
        letter = office.desk.find(id_)
        (judged,) = office.desk.assess([letter], RedriveOptions())
    file = _file_of(office, letter, limit, max_bytes) if records else None
    detail = LetterDetail.of(letter, judged, now().timestamp(), file)
    if as_json:
        print_json(detail)
        return
    for label, value in _labelled(detail):
        click.echo(f"{label:<9} {escape_control_characters(value)}")
    for position, why in detail.letter.rejected[:limit]:
        click.echo(f"  position {position}: {escape_control_characters(why)}")
    if file:
        _print_file(file)


def _file_of(office: DlqContext, letter: Letter, most: int, most_bytes: int) -> FileNow:
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
    yield "sent", f"{letter.sent_at}, {format_duration(letter.age_seconds)} ago"
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
        yield "body", one.body[: 10 * BODY_CHARACTERS]
    if letter.rejected:
        yield "rejected", f"by position, {len(letter.rejected):,} named"


_DOES = {
    RedriveAction.AS_IT_IS: "moves it",
    RedriveAction.NEWEST: "moves it, announcing the object as it is now",
    RedriveAction.STAYS: "leaves it, unless forced",
}


def _print_file(file: FileNow) -> None:
    wrong = f"; {file.reason}: {escape_control_characters(file.detail or '')}" if file.reason else ""
    click.echo(f"file      {file.records:,} records can be read{wrong}")
    for one in file.rejected:
        if one.text is None:
            click.echo(f"record {one.position}, {one.reason}: the file holds no such record now")
            continue
        click.echo(f"record {one.position}, {one.reason}, {one.bytes:,} bytes:")
        click.echo(f"  {escape_control_characters(one.text)}{' ... (--bytes 0 shows all)' if one.cut else ''}")
