"""Operations of CloudFormation that a terminal follows: waiting for one, its events, and deleting a failed stack."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from worker.cli.output import confirm, print_line
from worker.deploy.stack import IN_REVIEW, is_in_progress
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Generator

    from worker.deploy.stack import Stack, StackEvent


def wait_until_idle(stack: Stack) -> str:
    """Wait for an operation that is in progress, as after an interrupted command; returns the stack's status."""
    status = stack.status()
    if is_in_progress(status) and status != IN_REVIEW:
        print_line(f"The stack {stack.name} is busy ({status}); waiting for it.")
        try:
            print_events(stack.follow(set()))
        except SetupError as error:  # the earlier operation failed; this command continues from there
            print_line(str(error))
        status = stack.status()
    return status


def delete_failed_stack(stack: Stack, status: str, *, yes: bool) -> None:
    """Delete a stack that can neither be used nor updated, after a confirmation."""
    print_line(f"The stack {stack.name} is {status}: it must be deleted before it can be created again.")
    if not confirm("Delete it?", yes=yes):
        raise SetupError("Nothing was changed.")
    print_events(stack.delete())


def print_events(events: Generator[StackEvent, None, None]) -> None:
    """Print what CloudFormation does, until it is done."""
    with closing(events):
        for event in events:
            reason = f": {event.reason}" if event.reason and not event.reason.startswith("User Initiated") else ""
            print_line(f"  {event.status:<28} {event.logical_id}{reason}")
