"""`trailsink destroy`: deletes the stack on AWS and, on request, its events."""

from __future__ import annotations

from worker.aws.session import open_session
from worker.cli.output import confirm_name, print_line
from worker.cli.stack_data import describe_queues, stack_data
from worker.cli.stack_operations import print_events, wait_until_idle
from worker.deploy.account import Account
from worker.deploy.code_bucket import CodeBucket, own_bucket_names
from worker.deploy.deployed import describe_stack
from worker.deploy.stack import Stack
from worker.errors import SetupError


def destroy(*, name: str, delete_data: bool, yes: bool) -> None:
    """Delete the stack and, with `delete_data`, the events in OpenSearch, after a confirmation."""
    session = open_session()
    account, stack = Account(session), Stack(session.client("cloudformation"), name)
    print_line(f"Account {account.id}, region {account.region}.")
    if not wait_until_idle(stack):
        print_line(f"There is no stack {name} in {account.region}.")
        return
    deployed = describe_stack(session.client("cloudformation"), name)
    data = stack_data(account, deployed)
    print_line(
        f"The stack {name} will be deleted: queues with all messages in them, function, alarms, bucket notification."
    )
    print_line(describe_queues(session, deployed))
    print_line("The trail's bucket with its files stays, and so do the notifications of others.")
    outcome = "be deleted permanently" if delete_data else "stay; --delete-data deletes it"
    print_line(f"{data.description} will {outcome}.")
    if delete_data:
        print_line(data.count())
        if reason := data.why_holds_unread():
            print_line(f"Whether a hold is on them could not be read: {reason}.")
            if yes:
                raise SetupError(
                    "Nothing was changed: events under a hold may not be deleted. Run it without --yes, and type the"
                    " stack's name."
                )
    if not confirm_name(name, "the stack", yes=yes):
        raise SetupError("Nothing was changed.")
    # Connects to the cluster now: if that fails, nothing is deleted.
    deletion = data.delete() if delete_data else iter(())
    print_events(stack.delete())
    print_line(f"The stack {name} is deleted.")
    code_bucket = deployed.values.get("CodeBucket", "")
    if code_bucket in own_bucket_names(account.id, account.region):
        print_line(CodeBucket(session, account.id, code_bucket).delete(name))
    for line in deletion:
        print_line(line)
