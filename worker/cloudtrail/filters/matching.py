"""Finds the selector that a record meets. Only the members that selectors name are picked out of its bytes."""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from worker.cloudtrail.filters.fields import SCALARS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.cloudtrail.filters.selectors import Condition, EventSelector, SelectorSet

    Scalar = str | bool | None
    Candidates = Sequence[tuple[str, Sequence[Condition]]]

# Members with few different values in a file: what selectors make of a combination of them is remembered.
_REPEATED_MEMBERS = (
    "eventVersion eventSource eventName awsRegion errorCode eventType eventCategory apiVersion recipientAccountId"
    " accountId sessionCredentialFromConsole readOnly managementEvent"
)
_REPEATED = frozenset(_REPEATED_MEMBERS.split())
_MAX_COMBINATIONS = 4_096

# The same caller makes many calls: a member of this size is read once for all of them.
_MAX_SHARED_BYTES = 1_024
_SHARED = 2_048

_read_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_text = msgspec.json.Decoder(str).decode


class RecordFilter:
    """A set of selectors, ready to be held against records. Thread-safe: what it remembers is only ever replaced.

    `members` are the members that have to be picked out of a record's root, as fields of a msgspec struct: `match`
    takes an object that has them.
    """

    def __init__(self, selectors: SelectorSet) -> None:
        self.selectors = selectors
        conditions = [condition for selector in selectors.selectors for condition in selector.conditions]
        roots = dict.fromkeys(condition.path[0] for condition in conditions)
        self.members = [
            (name, str | bool | None, None)
            if name in SCALARS
            else (name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET)
            for name in roots
        ]
        # One name gives a value and not a tuple, so there are always two.
        repeated = [name for name in roots if name in _REPEATED]
        self._names = (repeated * 2)[: max(2, len(repeated))]
        self._combination: Callable[[Any], tuple[Scalar, ...]] = attrgetter(*self._names) if repeated else lambda _: ()
        self._candidates: dict[tuple[Scalar, ...], Candidates] = {}

    @property
    def digest(self) -> str:
        """The digest of the selectors."""
        return self.selectors.digest

    @property
    def remembered(self) -> int:
        """How many combinations of repeated values are remembered."""
        return len(self._candidates)

    def match(self, members: Any) -> str:  # noqa: ANN401 - an object with `members`
        """Return the name of the first selector that a record meets, "" for none."""
        combination = self._combination(members)
        candidates = self._candidates.get(combination)
        if candidates is None:
            candidates = self._narrow(combination)
        for name, conditions in candidates:
            if all(condition.holds(_picked_values(members, condition)) for condition in conditions):
                return name
        return ""

    def match_text(self, record: bytes) -> str:
        """Return what `match` does, of the text of a record; a text that cannot be read meets no selector."""
        try:
            root = _read_object(record)
            return next((selector.name for selector in self.selectors.selectors if _meets(selector, root)), "")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""

    def _narrow(self, combination: tuple[Scalar, ...]) -> Candidates:
        """Return the selectors that records with these values may meet, each with what remains to be looked at."""
        values = dict(zip(self._names, combination, strict=False))
        candidates = []
        for selector in self.selectors.selectors:
            decided = [condition for condition in selector.conditions if condition.field in values]
            if all(condition.holds(_scalar_values(values[condition.field])) for condition in decided):
                candidates.append(
                    (selector.name, [condition for condition in selector.conditions if condition not in decided])
                )
        if len(self._candidates) >= _MAX_COMBINATIONS:
            self._candidates = {}
        self._candidates[combination] = candidates
        return candidates


def _meets(selector: EventSelector, root: Mapping[str, msgspec.Raw]) -> bool:
    return all(
        condition.holds(_values_in(root[path[0]], path[1:]) if (path := condition.path)[0] in root else ())
        for condition in selector.conditions
    )


def _picked_values(members: Any, condition: Condition) -> Sequence[str]:  # noqa: ANN401
    root, *path = condition.path
    value = getattr(members, root)
    if not path:
        return _scalar_values(value)
    return () if value is msgspec.UNSET else _values_in(value, tuple(path))


def _scalar_values(value: Scalar) -> Sequence[str]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else ("true" if value else "false",)


def _values_in(value: msgspec.Raw, path: tuple[str, ...]) -> Sequence[str]:
    text = bytes(value)
    return _shared_values(text, path) if len(text) <= _MAX_SHARED_BYTES else _values(text, path)


def _values(text: bytes, path: tuple[str, ...]) -> Sequence[str]:
    """Return the values at a path below the text of a member: those of each element where there is a list.

    Strings are without escapes; numbers, true and false are as they are written. null and objects are no values. Raises
    DecodeError for what cannot be read.
    """
    match text[:1]:
        case b"[":
            return tuple(value for element in _read_list(text) for value in _values(bytes(element), path))
        case b"{":
            member = _read_object(text).get(path[0]) if path else None
            return () if member is None else _values(bytes(member), path[1:])
        case b'"':
            return () if path else (_read_text(text),)
        case b"n":
            return ()
        case _:
            return () if path else (text.decode(),)


_shared_values = lru_cache(_SHARED)(_values)
