"""`trailsink dlq redrive`: moves letters back to the source queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from worker.cli.dlq.context import build_filter, open_context, print_none, print_notes
from worker.cli.options import is_given
from worker.cli.output import print_json, print_line, print_table
from worker.dlq.eligibility import RedriveAction
from worker.dlq.redrive import RedriveMethod, RedriveOptions, RedrivePlan, RedriveReport
from worker.errors import SetupError, TrailsinkError
from worker.humanize import pluralize

if TYPE_CHECKING:
    from worker.cli.dlq.context import DlqContext
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
    **selection: Any,  # noqa: ANN401 - which letters, see `build_filter`
) -> None:
    """Plan which letters move, then move them: by SQS's move task, or one by one."""
    letter_filter = build_filter(**selection)
    if attach and cancel:
        raise click.UsageError("--attach and --cancel exclude each other.")
    if attach or cancel:
        _refuse_other_options()
    context, options = open_context(), RedriveOptions(force, newest_version)
    if attach or cancel:
        _end_running_task(context, cancel=cancel, as_json=as_json)
        return
    with context.progress:
        if letter_filter.selects_all and not one_by_one:
            context.service.move_tasks.require_idle()
        plan = context.service.redriver.plan(letter_filter, options)
    plan.check(letter_filter, force=force, dry_run=dry_run)
    method = plan.method(letter_filter, one_by_one=one_by_one)
    if dry_run:
        _print_plan(plan, method, as_json=as_json)
    elif method is RedriveMethod.MOVE_TASK:
        with context.progress:
            task, remaining = context.service.move_tasks.run(rate), context.service.depth()
        _print_task(task, remaining, plan, as_json=as_json)
    else:
        _move(context, plan, options, rate)
        _print_moved(plan, method, as_json=as_json)


def _refuse_other_options() -> None:
    """Raise UsageError for what would be ignored: the running task moves the letters that it was started for."""
    taken = ("attach", "cancel", "as_json", "stack_name")
    parameters = click.get_current_context().command.params
    given = [one.opts[0] for one in parameters if one.name and one.name not in taken and is_given(one.name)]
    if given:
        raise click.UsageError(f"{', '.join(given)} cannot go with --attach or --cancel: the task runs already.")


def _end_running_task(context: DlqContext, *, cancel: bool, as_json: bool) -> None:
    """Follow the running move task to its end, or cancel it."""
    with context.progress:
        move_tasks = context.service.move_tasks
        task = move_tasks.cancel() if cancel else move_tasks.attach()
        if task is None:
            raise SetupError("No move task of this queue is running.")
        remaining = context.service.depth()
    _print_task(task, remaining, RedrivePlan(), as_json=as_json)


def _move(context: DlqContext, plan: RedrivePlan, options: RedriveOptions, rate: int | None) -> None:
    try:
        with context.progress:
            context.service.redriver.move(plan, options, rate=rate)
    except TrailsinkError as cause:
        moved = pluralize(plan.moved, "letter")
        raise SetupError(f"{str(cause).rstrip('.')}; {moved} moved before that.") from cause
    except KeyboardInterrupt as interrupt:
        moved = pluralize(plan.moved, "letter")
        raise SetupError(f"Stopped after {moved}; the others are handed back.") from interrupt


def _print_plan(plan: RedrivePlan, method: RedriveMethod, *, as_json: bool) -> None:
    if as_json:
        print_json(RedriveReport.of_plan(plan, method))
    elif plan.summary.count:
        rows = [
            (line.reason, f"{line.letters:,}", "no" if line.action is RedriveAction.STAYS else "yes", line.why)
            for line in plan.lines
        ]
        print_table(("reason", "letters", "moves", "why"), rows, right=("letters",))
        by_sqs = " by SQS's own move task" if method is RedriveMethod.MOVE_TASK else ""
        print_line(f"{pluralize(len(plan.movable), 'letter')} would be moved{by_sqs}; nothing was.")
    else:
        print_none(plan.summary)
    print_notes(plan.summary)


def _print_moved(plan: RedrivePlan, method: RedriveMethod, *, as_json: bool) -> None:
    if as_json:
        print_json(RedriveReport.of_move(plan, method))
    elif not plan.summary.count:
        print_none(plan.summary)
    else:
        print_line(f"Moved {pluralize(plan.moved, 'letter')} back to the source queue.")
        for line in plan.staying:
            print_line(f"Left {line}.")
    print_notes(plan.summary)
    plan.check_moved()


def _print_task(task: MoveTask, remaining: int, plan: RedrivePlan, *, as_json: bool) -> None:
    if as_json:
        print_json(RedriveReport.of_move_task(task, remaining, plan))
    task.check(remaining)
    if not as_json:
        print_line(f"Moved {pluralize(task.moved, 'letter')} back to the source queue.")
