"""`trailsink dlq list`: counts by reason, then the letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from worker.cli.dlq.context import letter_filter, open_context, print_none, print_notes
from worker.cli.output import escape_control_characters, print_json, print_table
from worker.dlq.summary import NewestLetters
from worker.dlq.views import LetterView
from worker.humanize import format_duration
from worker.wiring import now

if TYPE_CHECKING:
    from worker.dlq.letters import Letter
    from worker.dlq.summary import LetterSummary


_SHOWN = 50  # letters, in a table


BODY_CHARACTERS = 200  # of a letter that announces no object, in a list


def list_letters(
    *,
    summary: bool,
    limit: int | None,
    as_json: bool,
    **selection: Any,  # noqa: ANN401 - which letters, see `letter_filter`
) -> None:
    """List the dead letters: counts by reason, then reason, object, attempts and age of each.

    Attempts is how often the consumer tried; for a letter that SQS moved itself (max_receives) it is SQS's receive
    count, in which every look is one more. With --json, letters come in no order unless --limit is given.
    """
    choice = letter_filter(**selection)
    most = (0 if as_json else _SHOWN) if limit is None else limit
    today = now().timestamp()
    newest = NewestLetters(most, today)

    def take(letter: Letter) -> None:
        if as_json and not most:
            print_json(LetterView.of(letter, today))
        else:
            newest.add(letter)

    office = open_context()
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
        print_none(survey)
    print_notes(survey)


def _print_groups(survey: LetterSummary, today: float) -> None:
    rows = [
        (reason, f"{number:,}", format_duration(today - oldest), format_duration(today - newest))
        for reason, (number, oldest, newest) in survey.by_size()
    ]
    print_table(("reason", "letters", "oldest", "newest"), rows, right=("letters", "oldest", "newest"))


def _print_letters(letters: list[LetterView], all_of_them: int) -> None:
    click.echo()
    for one in sorted(letters, key=lambda letter: letter.reason):  # stable: the newest first within a reason
        attempts = "" if one.attempts is None else f"attempts {one.attempts}, "
        click.echo(f"{one.id}  {click.style(one.reason, bold=True)}  {attempts}age {format_duration(one.age_seconds)}")
        for name in one.objects or [(one.body or "")[:BODY_CHARACTERS]]:
            click.echo(f"  {escape_control_characters(name)}")
        click.echo(f"  {escape_control_characters(one.detail)}")
    if len(letters) < all_of_them:
        click.echo(f"... and {all_of_them - len(letters):,} older letters: --limit 0 shows all.")
