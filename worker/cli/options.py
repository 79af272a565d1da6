"""What commands are declared with: shared options, durations, timestamps, and a link to what does the work."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import update_wrapper
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click
from click.core import ParameterSource

from worker.cloudtrail.keys import ACCOUNT, ORGANISATION

if TYPE_CHECKING:
    from collections.abc import Callable

    Command: TypeAlias = Callable[..., Any]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MAX_DURATION = timedelta(days=36_500)


class _Duration(click.ParamType[timedelta]):
    """A length of time: a number and one of s, m, h, d, w."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"([0-9]{1,9})([smhdw])", str(value).strip())
        if match is None:
            self.fail(
                f"{value!r} is not a duration: give a number and a unit, as in 90s, 15m, 2h, 30d or 4w.", param, ctx
            )
        duration = timedelta(**{_UNITS[match[2]]: int(match[1])})
        if not timedelta() < duration <= _MAX_DURATION:
            self.fail(f"{value!r} is out of bounds: more than nothing, and at most 36500d.", param, ctx)
        return duration


class _Timestamp(click.ParamType[datetime]):
    """A day or an instant in ISO 8601; UTC where it names no offset."""

    name = "timestamp"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            timestamp = datetime.fromisoformat(str(value).strip())
        except ValueError:
            self.fail(f"{value!r} is not a date: write 2025-01-31 or 2025-01-31T10:00:00Z.", param, ctx)
        return timestamp.replace(tzinfo=UTC) if timestamp.tzinfo is None else timestamp.astimezone(UTC)


DURATION = _Duration()
TIMESTAMP = _Timestamp()


def option(
    *names: str,
    help: str,  # noqa: A002 - as click names it
    default_text: str | None = None,
    example: str = "",
    **attributes: Any,  # noqa: ANN401
) -> Callable[[Command], Command]:
    """Declare an option: its help, what happens without it, and an example of its value.

    `default_text` stands where click has no default of its own to show.
    """
    parts = [help, f"[default: {default_text}]" if default_text else "", f"Example: {example}" if example else ""]
    return click.option(*names, help="  ".join(filter(None, parts)), **attributes)


def flag(*names: str, help: str, default_text: str, **attributes: Any) -> Callable[[Command], Command]:  # noqa: A002, ANN401
    """Declare an option without a value: its help, and what happens without it."""
    return option(*names, help=help, default_text=default_text, is_flag=True, **attributes)


def since_option(
    help: str,  # noqa: A002
    *,
    default_text: str = "the first file",
    example: str = "2025-01-01",
) -> Callable[[Command], Command]:
    """Declare `--since`, the start of a time."""
    return option("--since", type=TIMESTAMP, metavar="TIME", help=help, default_text=default_text, example=example)


def until_option(
    help: str,  # noqa: A002
    *,
    default_text: str = "now",
    example: str = "2025-02-01",
) -> Callable[[Command], Command]:
    """Declare `--until`, the end of a time."""
    return option("--until", type=TIMESTAMP, metavar="TIME", help=help, default_text=default_text, example=example)


def last_option(
    help: str = "The time before now: s, m, h, d or w.",  # noqa: A002
    *,
    default_text: str = "all time",
    example: str = "30d",
) -> Callable[[Command], Command]:
    """Declare `--last`, a time that ends now."""
    return option("--last", type=DURATION, metavar="DURATION", help=help, default_text=default_text, example=example)


def check_times(since: datetime | None, until: datetime | None, last: timedelta | None) -> None:
    """Raise UsageError for a time that two options set, or that ends before it starts."""
    if last and (since or until):
        raise click.UsageError("--last cannot be combined with --since or --until.")
    if since and until and since >= until:
        raise click.UsageError("--since must be earlier than --until.")


def start_time(now: datetime, since: datetime | None, last: timedelta | None) -> datetime | None:
    """Return the start of a time that may end before now; raises UsageError when two options set it."""
    if last and since:
        raise click.UsageError("--last and --since both set the start; pass only one.")
    return now - last if last else since


def matching(pattern: re.Pattern[str], noun: str) -> Callable[..., tuple[str, ...]]:
    """Return a check of an option's values: each must match, and `noun` says what it should be."""

    def check(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not pattern.fullmatch(value):
                raise click.BadParameter(f"{value!r} is not {noun}.")
        return values

    return check


def is_given(name: str) -> bool:
    """Return whether an option stands on the command line, as opposed to its default."""
    context = click.get_current_context(silent=True)
    return context is not None and context.get_parameter_source(name) is ParameterSource.COMMANDLINE


# Where the context keeps the name of the stack that a command works with, and where `--stack` stands in it.
STACK_NAME = "trailsink.stack"


def stack_name() -> str:
    """Return the name of the stack that this command works with, "" for the settings of the shell."""
    context = click.get_current_context(silent=True)
    return str(context.meta.get(STACK_NAME) or "") if context else ""


class Implementation:
    """The callback of a command: imports `module:function` when it is called, and hands it the options.

    What only declares commands must not load the AWS SDK, or every TAB at the prompt would.
    """

    def __init__(self, declaration: Command, target: str, *, has_stack: bool) -> None:
        self._module, _, self._function = target.partition(":")
        self._has_stack = has_stack
        update_wrapper(self, declaration)

    def __call__(self, **options: Any) -> Any:  # noqa: ANN401 - whatever the command declares
        """Run the command, pointed at its stack."""
        name = click.get_current_context().meta.get(STACK_NAME) if self._has_stack else None
        if name:
            import_module("worker.cli.context").use_stack(name)
        return self.load()(**options)

    def load(self) -> Command:
        """Import the function."""
        function: Command = getattr(import_module(self._module), self._function)
        return function


def implemented_by(target: str, *, has_stack: bool = True) -> Callable[[Command], Command]:
    """Have a command call `module:function` with its options.

    With `has_stack` it also gets `--stack`, which takes all settings from a deployed stack.
    """

    def implement(declaration: Command) -> Command:
        implementation = Implementation(declaration, target, has_stack=has_stack)
        return _STACK(implementation) if has_stack else implementation

    return implement


def _keep_stack(ctx: click.Context, _param: click.Parameter, name: str | None) -> None:
    if name:
        ctx.meta[STACK_NAME] = name


_STACK = option(
    "--stack",
    "stack_name",
    metavar="NAME",
    expose_value=False,
    callback=_keep_stack,
    default_text="the settings of the shell",
    example="trailsink",
    help="Take all settings from this stack.",
)


def examples(*lines: str) -> str:
    """Return the end of a command's help: whole commands to start with, each on a line that is not wrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


JSON = flag("--json", "as_json", help="Print one JSON document.", default_text="text")
JSON_LINES = flag("--json", "as_json", help="Print one JSON document per line.", default_text="text")
YES = flag("--yes", help="Do not ask for confirmation.", default_text="ask")
PREFIXES = option(
    "--prefix",
    multiple=True,
    metavar="PREFIX",
    example="security/",
    default_text="all that are found, down to three folders",
    help="Path before AWSLogs/ in the keys; may be repeated.",
)
ACCOUNTS = option(
    "--account",
    multiple=True,
    metavar="ID",
    callback=matching(ACCOUNT, "an account id of 12 digits"),
    default_text="all",
    example="123456789012",
    help="Only this account; may be repeated.",
)
GEOIP = option(
    "--geoip",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    default_text="no countries or networks",
    example="GeoLite2-Country.mmdb",
    help="A database of yours, in MaxMind's format, that knows the countries or the networks of addresses; may be"
    " repeated. Needs the extra trailsink[geoip].",
)
ORGANISATIONS = option(
    "--org",
    multiple=True,
    metavar="ID",
    default_text="all",
    example="o-a1b2c3d4e5",
    callback=matching(ORGANISATION, "an organisation id, as in o-a1b2c3d4e5"),
    help="Only the trails of this organisation; may be repeated.",
)
REGIONS = option(
    "--region",
    multiple=True,
    metavar="NAME",
    default_text="all",
    example="eu-west-1",
    help="Only this region; may be repeated.",
)
