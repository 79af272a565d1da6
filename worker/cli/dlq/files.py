"""`trailsink dlq discard`, `export` and `import`: letters in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from worker.cli.dlq.context import letter_filter, open_context, print_none, print_notes
from worker.cli.output import confirm, print_json
from worker.dlq.export import STREAM, reading, writing
from worker.dlq.letters import counted
from worker.errors import SetupError
from worker.wiring import now

if TYPE_CHECKING:
    from worker.dlq.summary import LetterSummary


class _Discarded(msgspec.Struct, frozen=True):
    discarded: int
    file: str


class _Exported(msgspec.Struct, frozen=True):
    exported: int
    file: str


class _Imported(msgspec.Struct, frozen=True):
    imported: int
    to: str


def discard(
    *,
    everything: bool,
    path: Path | None,
    yes: bool,
    as_json: bool,
    **selection: Any,  # noqa: ANN401 - which letters, see `letter_filter`
) -> None:
    """Delete dead letters: those with the given IDs, those that the options mean, or --all.

    They are written to a file first, from which `trailsink dlq import` brings them back; then it asks.
    """
    choice = letter_filter(**selection)
    if choice.is_everything is not everything:
        raise click.UsageError("Say which letters: ids, options that choose, or --all alone.")
    path = path or Path(f"dead-letters-{now():%Y%m%dT%H%M%SZ}.jsonl")
    if path == STREAM:
        raise click.UsageError("--to needs a file: on a pipe nobody can say that the letters arrived.")
    office = open_context()
    with writing(path) as write, office.live:
        survey = office.desk.export(choice, write)
        survey.refuse_unknown(choice, "; nothing was discarded")
    if not survey.count:
        path.unlink()
        print_none(survey)
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
    if not confirm(question, yes=yes, undo=path.unlink):
        raise SetupError("Nothing was discarded.")


def export_letters(
    *,
    path: Path,
    as_json: bool,
    **selection: Any,  # noqa: ANN401 - which letters, see `letter_filter`
) -> None:
    """Write dead letters to FILE, or to standard output (-), a JSON document per line; they stay in the queue.

    All letters, those with the given IDs, or those that the options mean. FILE must be a new one.
    """
    choice = letter_filter(**selection)
    office = open_context()
    with writing(path) as write, office.live:
        survey = office.desk.export(choice, write)
        survey.refuse_unknown(choice, "; nothing was exported")
    if as_json:
        print_json(_Exported(survey.count, str(path)), err=path == STREAM)
    else:
        click.echo(f"Exported {counted(survey.count)}.", err=path == STREAM)
    print_notes(survey)


def import_letters(*, path: Path, to: str, as_json: bool) -> None:
    """Send the letters of an exported FILE, or of standard input (-), with body and attributes as they were.

    All lines are checked before the first is sent. A letter that is sent twice is there twice, which changes nothing.
    """
    with reading(path) as lines:
        count = sum(1 for _ in lines())
        office = open_context()
        with office.live:
            done = office.desk.bring_in(lines(), to_source=to == "source")
    if as_json:
        print_json(_Imported(done, to))
    else:
        queue = "source" if to == "source" else "dead-letter"
        click.echo(f"Sent {counted(done)} of {count:,} to the {queue} queue.")
