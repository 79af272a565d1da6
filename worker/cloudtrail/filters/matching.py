"""Finds the selector that a record meets. Only the members that selectors name are picked out of its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from worker.cloudtrail.filters.fields import SCALARS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.cloudtrail.filters.selectors import Condition, SelectorSet

    Scalar = str | bool | None

# Members with few different values in a file: what selectors make of a combination of them is remembered.
_REPEATED_MEMBERS = (
    "eventVersion eventSource eventName awsRegion errorCode eventType eventCategory apiVersion recipientAccountId"
    " accountId sessionCredentialFromConsole readOnly managementEvent"
)
_REPEATED = frozenset(_REPEATED_MEMBERS.split())
_MAX_COMBINATIONS = 4_096

# The same caller makes many calls: what selectors make of an identity of this size is remembered, too.
_IDENTITY = "userIdentity"
_MAX_IDENTITY_BYTES = 1_024
_MAX_IDENTITIES = 4_096

_read_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_text = msgspec.json.Decoder(str).decode


class _FieldCheck(NamedTuple):
    """A condition, with the member of the root and the path below it that it looks at."""

    root: str
    path: tuple[str, ...]
    condition: Condition


# Selectors by name, each with what remains to be looked at.
Candidates = Sequence[tuple[str, Sequence[_FieldCheck]]]


class _Narrowed(NamedTuple):
    """The selectors that records of one combination may meet, each with what remains to be looked at."""

    number: int
    names_identity: bool
    candidates: Candidates


class RecordFilter:
    """A set of selectors, ready to be held against records.

    `members` are the members that have to be picked out of a record's root, as fields of a msgspec struct: `match`
    takes an object that has them. Most fields have few different values, so what selectors make of a combination of
    them is remembered. Thread-safe: what is remembered is only ever added to, or replaced.
    """

    def __init__(self, selectors: SelectorSet) -> None:
        self.selectors = selectors
        self._checks = [
            (selector.name, [_check(condition) for condition in selector.conditions])
            for selector in selectors.selectors
        ]
        roots = dict.fromkeys(check.root for _, checks in self._checks for check in checks)
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
        self._groups: dict[tuple[Scalar, ...], _Narrowed] = {}
        self._by_identity: dict[tuple[int, bytes], Candidates] = {}
        self._numbers = count()

    @property
    def digest(self) -> str:
        """The digest of the selectors."""
        return self.selectors.digest

    @property
    def remembered(self) -> int:
        """How many combinations are remembered."""
        return len(self._groups)

    def match(self, members: Any) -> str:  # noqa: ANN401 - an object with `members`
        """Return the name of the first selector that a record meets, "" for none."""
        combination = self._combination(members)
        group = self._groups.get(combination) or self._narrow(combination)
        candidates = group.candidates
        if not candidates:
            return ""
        try:
            if group.names_identity:
                candidates = self._narrow_by_identity(group, members.userIdentity)
            values: dict[str, Sequence[str]] = {}
            for name, checks in candidates:
                if all(check.condition.holds(_picked_values(members, check, values)) for check in checks):
                    return name
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""  # picking skips the escapes in a text: this one has a wrong one
        return ""

    def match_text(self, record: bytes) -> str:
        """Return what `match` does, of the text of a record; a text that cannot be read meets no selector."""
        try:
            root = _read_object(record)
            return next((name for name, checks in self._checks if _meets(checks, root)), "")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""

    def _narrow(self, combination: tuple[Scalar, ...]) -> _Narrowed:
        """Return the selectors that records with these values may meet."""
        values = dict(zip(self._names, combination, strict=False))
        candidates = []
        for name, checks in self._checks:
            decided = [check for check in checks if check.root in values]
            if all(check.condition.holds(_scalar_values(values[check.root])) for check in decided):
                candidates.append((name, [check for check in checks if check.root not in values]))
        if len(self._groups) >= _MAX_COMBINATIONS:
            self._groups = {}
        names_identity = any(check.root == _IDENTITY for _, checks in candidates for check in checks)
        group = self._groups[combination] = _Narrowed(next(self._numbers), names_identity, candidates)
        return group

    def _narrow_by_identity(self, group: _Narrowed, identity: msgspec.Raw | msgspec.UnsetType) -> Candidates:
        """Return the selectors of a group that a record of this caller may meet, with what remains."""
        text = b"" if identity is msgspec.UNSET else bytes(identity)
        if len(text) > _MAX_IDENTITY_BYTES:
            return group.candidates
        candidates = self._by_identity.get((group.number, text))
        if candidates is None:
            if len(self._by_identity) >= _MAX_IDENTITIES:
                self._by_identity = {}
            candidates = self._by_identity[group.number, text] = [
                (name, [check for check in checks if check.root != _IDENTITY])
                for name, checks in group.candidates
                if all(
                    check.condition.holds(_values(text, check.path) if text else ())
                    for check in checks
                    if check.root == _IDENTITY
                )
            ]
        return candidates


def _check(condition: Condition) -> _FieldCheck:
    root, *path = condition.path
    return _FieldCheck(root, tuple(path), condition)


def _meets(checks: Sequence[_FieldCheck], root: Mapping[str, msgspec.Raw]) -> bool:
    return all(
        check.condition.holds(_values(bytes(root[check.root]), check.path) if check.root in root else ())
        for check in checks
    )


def _picked_values(members: Any, check: _FieldCheck, read: dict[str, Sequence[str]]) -> Sequence[str]:  # noqa: ANN401
    """Return the values of a field; `read` holds those that were read of this record before."""
    field = check.condition.field
    values = read.get(field)
    if values is None:
        value = getattr(members, check.root)
        if not check.path:
            values = _scalar_values(value)
        else:
            values = () if value is msgspec.UNSET else _values(bytes(value), check.path)
        read[field] = values
    return values


def _scalar_values(value: Scalar) -> Sequence[str]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else ("true" if value else "false",)


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
