"""`trailsink dlq show`: everything about one letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cli.dlq.context import open_context
from worker.cli.dlq.list import BODY_CHARACTERS
from worker.cli.output import print_json, print_line
from worker.dlq.eligibility import RedriveAction
from worker.dlq.redrive import RedriveOptions
from worker.dlq.views import LetterDetail, read_again
from worker.errors import SetupError, StoreUnavailable
from worker.humanize import format_duration, pluralize
from worker.wiring import now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.cli.dlq.context import DlqContext
    from worker.dlq.letters import Letter
    from worker.dlq.views import FileNow

_ACTIONS = {
    RedriveAction.AS_IT_IS: "moves it",
    RedriveAction.NEWEST: "moves it, announcing the object as it is now",
    RedriveAction.STAYS: "leaves it, unless forced",
}


def show(*, id_: str, records: bool, limit: int, max_bytes: int, as_json: bool) -> None:
    """Print what a letter announces, why it is here, and what a redrive would do with it."""
    context = open_context()
    with context.progress:
        letter = context.service.find(id_)
        (assessment,) = context.service.redriver.assess([letter], RedriveOptions())
    file = _read_file(context, letter, limit, max_bytes) if records else None
    detail = LetterDetail.of(letter, assessment, now().timestamp(), file)
    if as_json:
        print_json(detail)
        return
    for label, text in _labelled_lines(detail):
        print_line(f"{label:<9} {text}")
    for position, reason in detail.letter.rejected[:limit]:
        print_line(f"  position {position}: {reason}")
    if file:
        _print_file(file)


def _read_file(context: DlqContext, letter: Letter, max_records: int, max_bytes: int) -> FileNow:
    if len(letter.objects) != 1:
        announced = pluralize(len(letter.objects), "object")
        raise SetupError(f"The letter {letter.id} announces {announced}; --records needs exactly one.")
    try:
        return read_again(
            context.store,
            letter,
            max_inflated=context.settings.max_inflated_bytes,
            max_records=max_records,
            max_record_bytes=max_bytes or None,
        )
    except StoreUnavailable as cause:
        raise SetupError(f"The object {letter.objects[0]} cannot be read: {cause}.") from cause


def _labelled_lines(detail: LetterDetail) -> Iterator[tuple[str, str]]:
    letter = detail.letter
    yield "id", letter.id
    yield "reason", f"{letter.reason}: {detail.meaning}"
    yield "detail", letter.detail
    for name in letter.objects:
        yield "object", name
    announced = {"size": detail.size, "eTag": detail.etag}
    if any(value is not None for value in announced.values()):
        yield "announced", ", ".join(f"{name} {value}" for name, value in announced.items() if value is not None)
    yield "sent", f"{letter.sent_at}, {format_duration(letter.age_seconds)} ago"
    if letter.attempts is not None:
        yield "attempts", f"{letter.attempts:,}"
    yield "receives", f"{letter.receives:,}; every read by anyone adds one, and nothing acts on it"
    if letter.source_message_id:
        yield "message", f"{letter.source_message_id} in the source queue"
    if detail.source_queue:
        yield "moved by", f"SQS, from {detail.source_queue}"
    if detail.trailsink_version:
        yield "written", f"by trailsink {detail.trailsink_version}"
    yield "redrive", f"{_ACTIONS[detail.redrive]}: {detail.redrive_why}"
    if letter.body is not None:
        yield "body", detail.body[: 10 * BODY_CHARACTERS]
    if letter.rejected:
        yield "rejected", f"by position, {len(letter.rejected):,} named"


def _print_file(file: FileNow) -> None:
    problem = f"; {file.reason}: {file.detail or ''}" if file.reason else ""
    print_line(f"file      {pluralize(file.records, 'record')} can be read{problem}")
    for record in file.rejected:
        if record.text is None:
            print_line(f"record {record.position}, {record.reason}: the file has no such record now")
            continue
        print_line(f"record {record.position}, {record.reason}, {record.bytes:,} bytes:")
        rest = " ... (--bytes 0 shows all)" if record.cut else ""
        print_line(f"  {record.text}{rest}")
