"""Runs one command and kills it when the process that asked for it is gone, however that ended.

    python guard.py [--user USER] -- COMMAND...

Standard input is a pipe that the asking process holds open: its end, even by SIGKILL, closes the pipe. This works
wherever there are pipes, unlike Linux's parent-death signal. The first line of standard output is the command's
process id; the command itself writes to standard error.
"""

import argparse
import contextlib
import os
import pwd
import signal
import subprocess
import sys
import threading

# What a guarded process keeps is thrown away with it, so it gets little time to put it in order.
PATIENCE_SECONDS = 3.0


def kill_group(leader: int, number: signal.Signals) -> None:
    """Signal a process and its descendants that stayed in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask the command to end, wake it in case it was stopped, and then insist."""
    kill_group(child.pid, signal.SIGTERM)
    kill_group(child.pid, signal.SIGCONT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(PATIENCE_SECONDS)
    kill_group(child.pid, signal.SIGKILL)


def end_with_parent(child: subprocess.Popen[bytes]) -> None:
    """Wait for the pipe to close."""
    os.read(sys.stdin.fileno(), 1)
    end(child)


def run(command: list[str], user: str | None) -> int:
    """Run the command; return its exit code as a shell would give it."""
    account = pwd.getpwnam(user) if user else None
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        start_new_session=True,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
    )
    signal.signal(signal.SIGTERM, lambda *_: end(child))
    print(child.pid, flush=True)
    threading.Thread(target=end_with_parent, args=(child,), daemon=True).start()
    code = child.wait()
    kill_group(child.pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="run a command that ends with its parent")
    parser.add_argument("--user")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    return run(arguments.command, arguments.user)


if __name__ == "__main__":
    sys.exit(main())
