"""`trailsink env`: the settings of a stack as commands of the shell."""

from __future__ import annotations

import shlex

from worker.cli.context import stack_environment
from worker.cli.output import Safe, print_line


def env(*, name: str) -> None:
    """Print the settings; raises SetupError when the stack is not there or has no parts."""
    for variable, value in stack_environment(name).items():
        # Quoted for the shell, which reads it: escapes for a terminal would change it.
        print_line(Safe(f"export {variable}={shlex.quote(value)}" if value else f"unset {variable}"))
