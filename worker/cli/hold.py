"""`trailsink hold`: holds indices, lists what is held, and ends a hold."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from worker.cli.options import check_times
from worker.cli.output import confirm, print_json, print_line, print_table
from worker.errors import SetupError
from worker.humanize import pluralize
from worker.opensearch.errors import translate_errors
from worker.opensearch.hold_indices import WRITABLE, IndexHolder
from worker.opensearch.holds import Hold, HoldList
from worker.settings import load_settings
from worker.wiring import make_client, now

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from worker.opensearch.hold_indices import HoldState

_LIMITS = (
    "A hold cannot keep the files in S3 (use Object Lock there), snapshots, or a domain that is deleted as a whole."
    " Who may change the settings of an index can lift its block."
)


def add(  # noqa: PLR0913 - one per option
    *,
    name: str,
    since: datetime | None,
    until: datetime | None,
    account: tuple[str, ...],
    reason: str | None,
    yes: bool,
) -> None:
    """Place a hold after a confirmation; raises SetupError when there is one of that name."""
    check_times(since, until, None)
    hold = Hold(
        name=name,
        since=_first_day(since),
        until=_end_day(until),
        accounts=account,
        reason=reason or "",
        placed_at=now(),
    )
    with translate_errors("The hold was not placed"):
        holds, holder = _open()
        (state,) = holder.states([hold])
        print_line(f"The hold {name} covers {_describe(state.indices)}.")
        writable = WRITABLE // timedelta(days=1)
        print_line(
            f"The cluster will refuse to delete and to change them, from {writable} days after their last day on."
            " An event or a backfill that comes for them later is refused, too."
        )
        print_line(_LIMITS)
        if not confirm("Hold them?", yes=yes):
            raise SetupError("Nothing was changed.")
        holds.add(hold)
        _print_applied(holder.apply(hold))


def list_holds(*, as_json: bool) -> None:
    """Print every hold; raises SetupError, for exit code 1, when something is not held."""
    with translate_errors("The holds cannot be read"):
        holds, holder = _open()
        states = holder.states(holds.read())
    if as_json:
        for state in states:
            print_json(state)
    elif states:
        columns = ("hold", "days", "accounts", "blocked", "open", "not held", "gone", "placed", "reason")
        print_table(columns, map(_row, states), right=("blocked", "open", "not held", "gone"))
    else:
        print_line("There are no holds.")
    if any(state.gone for state in states):
        names = [name for state in states for name in state.gone]
        raise SetupError(f"Held, and gone: {_few(names)}. Load these days again: `trailsink backfill --since`.")
    if pending := [name for state in states for name in state.pending]:
        raise SetupError(f"Not held yet: {_few(pending)}. `trailsink hold apply` holds them.")


def apply() -> None:
    """Apply all holds again."""
    with translate_errors("The holds were not applied"):
        holds, holder = _open()
        for hold in holds.read():
            _print_applied(holder.apply(hold))


def release(*, name: str, yes: bool) -> None:
    """End a hold after a confirmation; raises SetupError when there is none of that name."""
    with translate_errors("The hold was not released"):
        holds, holder = _open()
        hold = next((hold for hold in holds.read() if hold.name == name), None)
        if hold is None:
            raise SetupError(f"There is no hold {name}; `trailsink hold list` shows those that there are.")
        print_line(f"The hold {name} is on {_describe(hold.indices)}.")
        print_line("The retention policy may delete them soon: their age counts from their creation.")
        if not confirm("End the hold?", yes=yes):
            raise SetupError("Nothing was changed.")
        released = holder.release(hold)
    print_line(f"The hold {name} has ended. Released: {_describe(released)}.")


def _open() -> tuple[HoldList, IndexHolder]:
    settings = load_settings()
    client = make_client(settings).connect()
    holds = HoldList(client, settings.index_prefix)
    return holds, IndexHolder(client, settings.index_prefix, holds, now())


def _first_day(since: datetime | None) -> date | None:
    return since.date() if since else None


def _end_day(until: datetime | None) -> date | None:
    """Return the day before which an instant is: its own at midnight, else the next."""
    return (until - timedelta(microseconds=1)).date() + timedelta(days=1) if until else None


def _print_applied(state: HoldState) -> None:
    held = len(state.blocked) + len(state.open)
    text = f"{state.hold.name}: {pluralize(held, 'index', 'indices')} held"
    if state.open:
        text += f", of which {len(state.open)} may still get events: run `trailsink hold apply` every day"
    print_line(f"{text}.")
    if state.gone:
        print_line(f"{state.hold.name}: held, and gone: {_few(state.gone)}.")


def _describe(indices: Sequence[str]) -> str:
    return f"{pluralize(len(indices), 'index', 'indices')} ({_few(indices)})" if indices else "no index"


def _few(names: Sequence[str]) -> str:
    """Return up to three names, else the first and the last."""
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]}"  # noqa: PLR2004


def _row(state: HoldState) -> tuple[str, ...]:
    hold = state.hold
    counts = (str(len(names)) for names in (state.blocked, state.open, state.pending, state.gone))
    accounts = ", ".join(hold.accounts) or "all"
    return (hold.name, hold.span, accounts, *counts, f"{hold.placed_at:%Y-%m-%d}", hold.reason)
