"""`trailsink dlq redrive`: moves letters back to the source queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from worker.cli.dlq.context import DlqContext, letter_filter, open_context, print_none, print_notes
from worker.cli.output import print_json, print_table
from worker.dlq.eligibility import RedriveAction
from worker.dlq.letters import counted
from worker.dlq.redrive import RedriveMethod, RedriveOptions, RedrivePlan, RedriveReport
from worker.errors import SetupError, TrailsinkError

if TYPE_CHECKING:
    from worker.dlq.move_task import MoveTask


def redrive(  # noqa: PLR0913 - one per option
    *,
    rate: int | None,
    dry_run: bool,
    force: bool,
    newest_version: bool,
    one_by_one: bool,
    attach: bool,
    cancel: bool,
    as_json: bool,
    **selection: Any,  # noqa: ANN401 - which letters, see `letter_filter`
) -> None:
    r"""Move dead letters back to the source queue: all, those with the given IDs, or those that the options mean.

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
    """
    choice = letter_filter(**selection)
    if attach and cancel:
        raise click.UsageError("--attach and --cancel exclude each other.")
    office, policy = open_context(), RedriveOptions(force, newest_version)
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


def _running(office: DlqContext, *, cancel: bool) -> tuple[MoveTask, int]:
    with office.live:
        task = office.desk.cancel() if cancel else office.desk.attach()
        if task is None:
            raise SetupError("No move task of this queue is running.")
        return task, office.desk.left()


def _move(office: DlqContext, plan: RedrivePlan, policy: RedriveOptions, rate: int | None) -> None:
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
        print_none(plan.survey)
    print_notes(plan.survey)


def _say_moved(plan: RedrivePlan, way: RedriveMethod, *, as_json: bool) -> None:
    if as_json:
        print_json(RedriveReport.here(plan, way))
    elif not plan.survey.count:
        print_none(plan.survey)
    else:
        click.echo(f"Moved {counted(plan.moved)} back to the source queue.")
        for line in plan.left:
            click.echo(f"Left {line}.")
    print_notes(plan.survey)
    plan.check_moved()


def _say_ended(task: MoveTask, left: int, plan: RedrivePlan, *, as_json: bool) -> None:
    if as_json:
        print_json(RedriveReport.by_sqs(task, left, plan))
    task.check(left)
    if not as_json:
        click.echo(f"Moved {counted(task.moved)} back to the source queue.")
