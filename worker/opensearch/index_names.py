"""Names of the indices of a prefix: a day's own index, and the index that a reindexed day has behind an alias.

A name beside `{prefix}-*` keeps a copy out of all searches until one request gives it the day's name as an alias.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from worker.errors import SetupError

_REINDEXED = "trailsink-reindexed"
_REINDEXED_NAME = re.compile(rf"{_REINDEXED}(\d+)-(.+)")
_UNFINISHED, _ABANDONED = "trailsink-unfinished-", "trailsink-abandoned-"
# How the aliases begin that mark a copy.
MARKS = (_UNFINISHED, _ABANDONED)

_PERIOD = re.compile(r"(undated-)?(\d{4}-\d{2}(?:-\d{2})?)|undated")


def public_name(index: str) -> str:
    """Return the name under which events are written and searched: that of a reindexed day is an alias."""
    match = _REINDEXED_NAME.fullmatch(index)
    return match[2] if match else index


def is_own_name(name: str, prefix: str) -> bool:
    """Return whether an index, or its alias, is one that trailsink names: cloudtrail-insights-2026 is not."""
    return name.startswith(f"{prefix}-") and _PERIOD.fullmatch(name.removeprefix(f"{prefix}-")) is not None


def is_own_index(index: str, prefix: str) -> bool:
    """Return the same for an index by its own name, which for a reindexed day is that of the copy."""
    return is_own_name(public_name(index), prefix)


def period_of(name: str, prefix: str) -> str:
    """Return the day or month of an index by its public name, "" for the one of events without any time."""
    match = _PERIOD.fullmatch(name.removeprefix(f"{prefix}-"))
    return (match[2] or "") if match else ""


def next_copy(name: str, current: str) -> str:
    """Return the name for a copy of the index that has, or stands behind, a public name."""
    match = _REINDEXED_NAME.fullmatch(current)
    return f"{_REINDEXED}{int(match[1]) + 1 if match else 1}-{name}"


def copies_pattern(prefix: str) -> str:
    """Return the pattern of all copies; names of another prefix that begins with this one match it, too."""
    return f"{_REINDEXED}*-{prefix}-*"


def unfinished_mark(name: str, nonce: str) -> str:
    """Return the alias that a copy has until it replaces the index with this public name; each process has its own."""
    return f"{_UNFINISHED}{name}.{nonce}"


def abandoned_mark(name: str) -> str:
    """Return the alias of a copy that is going to be deleted, once the write block of its index is lifted."""
    return f"{_ABANDONED}{name}"


def marked_name(mark: str) -> tuple[str, bool]:
    """Return the public name in a mark, and whether the copy is abandoned; "" for any other alias."""
    if mark.startswith(_UNFINISHED):
        return mark.removeprefix(_UNFINISHED).rpartition(".")[0], False
    return (mark.removeprefix(_ABANDONED), True) if mark.startswith(_ABANDONED) else ("", False)


def lease_index(prefix: str) -> str:
    """Return the index that holds which process is reindexing; it exists only meanwhile."""
    return f"trailsink-reindex-{prefix}"


def check_prefix(prefix: str) -> None:
    """Raise SetupError where a copy would be searched as it grows, because the prefix is a part of its name."""
    for name in (next_copy(f"{prefix}-2026-01-31", ""), _UNFINISHED, _ABANDONED, lease_index(prefix)):
        if fnmatchcase(name, f"{prefix}-*"):
            raise SetupError(
                f"The index {name} would be among the events of {prefix}-*: days of this TRAILSINK_INDEX_PREFIX cannot"
                " be reindexed."
            )
