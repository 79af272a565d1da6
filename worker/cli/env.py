"""`trailsink env`: the settings of a stack as commands of the shell."""

from __future__ import annotations

import shlex

from worker.aws.session import open_session
from worker.cli.output import Safe, print_line
from worker.deploy.deployed import describe_stack, stack_variables
from worker.errors import SetupError


def env(*, name: str) -> None:
    """Print the settings; raises SetupError when the stack is not there or has no parts."""
    session = open_session()
    deployed = describe_stack(session.client("cloudformation"), name)
    if not deployed.values.get("QueueUrl"):
        raise SetupError(f"The stack {name} is {deployed.status}, and has no queue.")
    print_line(f"export AWS_REGION={shlex.quote(session.region_name)}")
    for variable, value in stack_variables(deployed).items():
        # Quoted for the shell, which reads it: escapes for a terminal would change it.
        print_line(Safe(f"export {variable}={shlex.quote(value)}" if value else f"unset {variable}"))
