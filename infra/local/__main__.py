"""The local stack's command line: python -m infra.local up|down|status|run."""

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from . import background
from .errors import LocalStackError
from .folders import LOCAL
from .node import DEFAULT_VERSION
from .stack import Stack, as_shell, program_environment

# what shells give for a command that an interrupt ended
INTERRUPTED = 130


def say(line: str) -> None:
    """Tell the user at once, also through a pipe."""
    print(line, file=sys.stderr, flush=True)


def run(command: list[str], version: str) -> int:
    """Run a command beside a stack of its own; without a command, keep the stack until an interrupt."""
    with Stack(version=version, quick=False) as stack:
        say(f"OpenSearch answers at {stack.opensearch_url}, MiniStack at {stack.aws.url}")
        if command:
            return subprocess.run(command, env=program_environment(stack.environment), check=False).returncode
        print(as_shell(stack.environment), end="", flush=True)
        say("Interrupt to stop it.")
        signal.pause()
    return 0


def stop_in_order(number: int, _frame: FrameType | None) -> NoReturn:
    """End like on an interrupt, so that everything that was started is stopped."""
    raise SystemExit(128 + number)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    described = argparse.ArgumentParser(prog="python -m infra.local", description="OpenSearch, S3 and SQS, local")
    described.add_argument("--folder", type=Path, default=LOCAL, help="where state, logs and env go (.local)")
    described.add_argument("--version", default=DEFAULT_VERSION, help=f"of OpenSearch ({DEFAULT_VERSION})")
    commands = described.add_subparsers(dest="verb", required=True)
    started = commands.add_parser("up", help="start it in the background")
    started.add_argument("--port", type=int, help="of OpenSearch (any free one)")
    stopped = commands.add_parser("down", help="stop what up started, and keep its data")
    stopped.add_argument("--clean", action="store_true", help="delete the data, too")
    commands.add_parser("status", help="tell what runs; exit 1 unless all of it does")
    beside = commands.add_parser("run", help="run one command beside a stack of its own")
    beside.add_argument("command", nargs=argparse.REMAINDER)
    return described


def do(arguments: argparse.Namespace) -> int:
    """Do what the command line says; return the exit code."""
    folder = arguments.folder.absolute()
    match arguments.verb:
        case "up":
            background.up(folder, say, version=arguments.version, port=arguments.port)
        case "down":
            background.down(folder, say, clean=arguments.clean)
        case "status":
            return 0 if background.status(folder, say) else 1
        case "run":
            return run([word for word in arguments.command if word != "--"], arguments.version)
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Run one command."""
    signal.signal(signal.SIGTERM, stop_in_order)
    signal.signal(signal.SIGHUP, stop_in_order)
    try:
        return do(parser().parse_args(words))
    except LocalStackError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("Interrupted.")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
