"""The command lines of `trailsink hold`."""

from __future__ import annotations

import re

import click

from worker.cli.options import ACCOUNTS, JSON, YES, examples, implemented_by, option, since_option, until_option

# Part of the address of its document, and typed by people.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _check_name(_ctx: click.Context, _param: click.Parameter, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise click.BadParameter("a name has up to 100 letters, digits, dots, dashes and underscores.")
    return name


@click.group(
    short_help="Let nothing delete the events of some days.",
    epilog=examples(
        "trailsink hold add case-17 --since 2026-01-01 --until 2026-02-01",
        "trailsink hold list",
    ),
)
def hold() -> None:
    """Let nothing delete or change the events of some days: a legal hold.

    A held index loses its retention policy. Once no more events can come for it, 14 days after its last day, the
    cluster refuses to delete it, or to write to it.
    """


@hold.command(
    short_help="Hold the indices of some days.",
    epilog=examples(
        "trailsink hold add case-17 --since 2026-01-01 --until 2026-02-01",
        "trailsink hold add case-18 --account 111122223333 --reason 'ticket 4711'",
    ),
)
@click.argument("name", callback=_check_name)
@since_option("From this day on, in UTC.", default_text="the first day")
@until_option("Before this day, in UTC.", default_text="all days to come")
@ACCOUNTS
@option("--reason", metavar="TEXT", default_text="none", example="ticket 4711", help="Why, for the list.")
@YES
@implemented_by("worker.cli.hold:add")
def add() -> None:
    """Hold the indices of some days, under the name NAME, and those of the ledger for the same time.

    With --account, only the days that have events of the account. An index holds events of all accounts, so the others'
    events of these days are held, too. New days are held when `trailsink hold apply` runs.
    """


@hold.command("list", short_help="List the holds, and what each covers.", epilog=examples("trailsink hold list"))
@JSON
@implemented_by("worker.cli.hold:list_holds")
def list_() -> None:
    """List the holds: what each covers, what is not held yet, and what is gone.

    Exit codes: 0 all is held; 1 an index is not held yet, or is gone.
    """


@hold.command(short_help="Hold the indices that came since.", epilog=examples("trailsink hold apply"))
@implemented_by("worker.cli.hold:apply")
def apply() -> None:
    """Hold the indices that came since, and block those that no more events can come for.

    Run it every day while there are holds, as from cron.
    """


@hold.command(short_help="End a hold.", epilog=examples("trailsink hold release case-17"))
@click.argument("name", callback=_check_name)
@YES
@implemented_by("worker.cli.hold:release")
def release() -> None:
    """End the hold NAME. Indices that no other hold covers get their retention policy back.

    The policy may delete them soon: their age counts from their creation.
    """
