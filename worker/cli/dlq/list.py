"""`trailsink dlq list`: counts by reason, then the letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.cli.dlq.context import build_filter, open_context, print_none, print_notes
from worker.cli.output import print_json, print_line, print_table, style
from worker.dlq.summary import NewestLetters
from worker.dlq.views import GroupView, LetterView
from worker.humanize import format_duration, pluralize
from worker.wiring import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.dlq.letters import Letter
    from worker.dlq.summary import LetterSummary

_DEFAULT_LIMIT = 50  # letters in a table

BODY_CHARACTERS = 200  # of a letter that announces no object, in a list


def list_letters(
    *,
    summary: bool,
    limit: int | None,
    as_json: bool,
    **selection: Any,  # noqa: ANN401 - which letters, see `build_filter`
) -> None:
    """Print counts by reason, then each letter; as JSON without a limit, each letter when it is received."""
    letter_filter = build_filter(**selection)
    if limit is None:
        limit = 0 if as_json else _DEFAULT_LIMIT
    now_seconds = now().timestamp()
    newest = NewestLetters(limit, now_seconds)

    def on_letter(letter: Letter) -> None:
        if summary:
            return
        if as_json and not limit:
            print_json(LetterView.of(letter, now_seconds))
        else:
            newest.add(letter)

    context = open_context()
    with context.progress:
        totals = context.service.list_letters(letter_filter, on_letter)
    if as_json:
        _print_as_json([GroupView.of(group) for group in totals.groups] if summary else newest.letters)
    elif totals.count:
        _print_groups(totals, now_seconds)
        if not summary:
            _print_letters(newest.letters, totals.count)
    else:
        print_none(totals)
    print_notes(totals)


def _print_as_json(views: Sequence[GroupView] | Sequence[LetterView]) -> None:
    for view in views:
        print_json(view)


def _print_groups(summary: LetterSummary, now_seconds: float) -> None:
    rows = [
        (
            group.reason,
            f"{group.letters:,}",
            format_duration(now_seconds - group.oldest),
            format_duration(now_seconds - group.newest),
        )
        for group in summary.groups
    ]
    print_table(("reason", "letters", "oldest", "newest"), rows, right=("letters", "oldest", "newest"))


def _print_letters(letters: list[LetterView], total: int) -> None:
    print_line()
    for letter in sorted(letters, key=lambda letter: letter.reason):  # stable: the newest first within a reason
        attempts = "" if letter.attempts is None else f"attempts {letter.attempts}, "
        age = format_duration(letter.age_seconds)
        print_line(f"{letter.id}  ", style(letter.reason, bold=True), f"  {attempts}age {age}")
        for line in letter.objects or [(letter.body or "")[:BODY_CHARACTERS]]:
            print_line(f"  {line}")
        print_line(f"  {letter.detail}")
    if len(letters) < total:
        print_line(f"... and {pluralize(total - len(letters), 'older letter')}: --limit 0 shows all.")
