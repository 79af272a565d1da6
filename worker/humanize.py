"""The one way to write times, durations, sizes, counts and foreign text, for people and in documents."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_MANY = 10  # of a unit: from here on the next smaller unit says nothing
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_KIB = 1_024

_NOT_ASCII = re.compile(r"[^\n -~]")


def iso_seconds(moment: datetime) -> str:
    """Return a moment as ISO 8601 in UTC, to the second: 2026-03-01T10:00:00Z."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def iso_epoch(seconds: float) -> str:
    """Return epoch seconds as ISO 8601 in UTC, to the second."""
    return iso_seconds(datetime.fromtimestamp(seconds, UTC))


def format_minute(moment: datetime) -> str:
    """Return a moment in UTC, to the minute: 2026-03-01 10:00."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def from_epoch_milliseconds(milliseconds: float) -> datetime:
    """Return the moment that OpenSearch gives in milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1_000, UTC)


def snake_case(name: str) -> str:
    """Write a name as Terraform and Prometheus do: `TrailKmsKeyArn` becomes `trail_kms_key_arn`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def format_duration(length: timedelta | float) -> str:
    """Return a length of time in its largest two units, or one where that is plenty: 42s, 5m, 3h 20m, 6d 4h, 12d.

    A number is in seconds.
    """
    seconds = max(0, int(length.total_seconds() if isinstance(length, timedelta) else length))
    for unit, size, lesser_unit, lesser_size in (("d", _DAY, "h", _HOUR), ("h", _HOUR, "m", _MINUTE)):
        if seconds >= size:
            rest = seconds % size // lesser_size if seconds < _MANY * size else 0
            return f"{seconds // size}{unit}" + (f" {rest}{lesser_unit}" if rest else "")
    return f"{seconds // _MINUTE}m" if seconds >= _MINUTE else f"{seconds}s"


def format_size(octets: float) -> str:
    """Return a size in the binary unit that keeps it short: 390 B, 1.5 MiB, 2.0 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if octets < _KIB:
            return f"{octets:.0f} B" if unit == "B" else f"{octets:.1f} {unit}"
        octets /= _KIB
    return f"{octets:.1f} TiB"


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: "1 letter", "2,000 letters", "0 indices"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def escape_control_characters(text: str) -> str:
    r"""Return a text in which what a terminal would obey instead of show is escaped: \x1b, \n, \u202e.

    Events hold what their callers chose (a user agent, a key), so a caller could clear the screen of whoever looks, or
    turn text around. What is invisible is escaped, too: a name must not look like another.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def ascii_json(text: str) -> str:
    """Return JSON text in ASCII: beyond it are characters that a terminal obeys, such as U+009B and U+202E."""
    return _NOT_ASCII.sub(_escape_in_json, text)


def _escape_in_json(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def plain_validation(message: str) -> str:
    """Return a message of pydantic's in words for the person who set a variable."""
    text = message.removeprefix("Value error, ").partition(", unable to")[0].replace("Input should be", "it should be")
    text = text.replace("a valid integer", "a whole number").replace("a valid number", "a number")
    return text.replace("a valid boolean", "true or false")
