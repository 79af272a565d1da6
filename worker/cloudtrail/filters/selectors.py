"""Parses selectors: a JSON list in the syntax of CloudTrail's advanced event selectors, with its semantics of a field.

  [{"Name": "KMS noise", "FieldSelectors": [{"Field": "eventSource", "Equals": ["kms.amazonaws.com"]}]}]

Several selectors are alternatives, and all fields of one must hold. Of one field, any value of Equals, StartsWith and
EndsWith must hold, and none of NotEquals, NotStartsWith and NotEndsWith may be.
docs.aws.amazon.com/awscloudtrail/latest/userguide/filtering-data-events.html
docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedFieldSelector.html
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from worker.cloudtrail.filters.fields import field_problem
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

OPERATORS = ("Equals", "StartsWith", "EndsWith", "NotEquals", "NotStartsWith", "NotEndsWith")

# CloudTrail's own limits: of the name's characters, and of all values of a trail's selectors.
# docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedEventSelector.html
_MAX_NAME, _MAX_VALUES = 1_000, 500
MAX_BYTES = 256 << 10

_DIGEST_CHARACTERS = 12


class Condition(msgspec.Struct, frozen=True):
    """What one field must be. A field has no value, one, or those of a list.

    Without Equals, StartsWith and EndsWith, a record without the field meets it.
    """

    field: str
    equals: frozenset[str] = frozenset()
    starts_with: tuple[str, ...] = ()
    ends_with: tuple[str, ...] = ()
    not_equals: frozenset[str] = frozenset()
    not_starts_with: tuple[str, ...] = ()
    not_ends_with: tuple[str, ...] = ()

    @property
    def path(self) -> tuple[str, ...]:
        """The names of the members that lead to the field."""
        return tuple(self.field.split("."))

    @property
    def selects(self) -> bool:
        """Whether the field must have a value."""
        return bool(self.equals or self.starts_with or self.ends_with)

    @property
    def deselects(self) -> bool:
        """Whether the field must not have some values."""
        return bool(self.not_equals or self.not_starts_with or self.not_ends_with)

    def holds(self, values: Sequence[str]) -> bool:
        """Return whether the values of a record's field meet this."""
        if self.deselects and self._is_deselected(values):
            return False
        if not self.equals.isdisjoint(values):
            return True
        if self.starts_with or self.ends_with:
            return any(value.startswith(self.starts_with) or value.endswith(self.ends_with) for value in values)
        return not self.equals

    def _is_deselected(self, values: Sequence[str]) -> bool:
        return not self.not_equals.isdisjoint(values) or any(
            value.startswith(self.not_starts_with) or value.endswith(self.not_ends_with) for value in values
        )


class EventSelector(msgspec.Struct, frozen=True):
    """One selector: a record that meets all of its conditions is left out, and counted under its name."""

    name: str
    conditions: tuple[Condition, ...]


class SelectorSet(msgspec.Struct, frozen=True):
    """The selectors of one file, and a short digest of them: the same selectors in the same order have the same."""

    selectors: tuple[EventSelector, ...]
    digest: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the selectors."""
        return tuple(selector.name for selector in self.selectors)


def parse_selectors(content: bytes, source: str) -> SelectorSet:
    """Parse the selectors of a file; `source` names it in errors. Raises SetupError in one sentence."""
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SetupError(f"{source}: it is not JSON ({error}).") from error
    try:
        selectors = _selectors(document)
    except ValueError as error:
        raise SetupError(f"{source}: {error}.") from error
    return make_set(selectors)


def make_set(selectors: Sequence[EventSelector]) -> SelectorSet:
    """Return selectors with their digest."""
    text = msgspec.json.encode([_canonical(selector) for selector in selectors])
    return SelectorSet(tuple(selectors), sha256(text).hexdigest()[:_DIGEST_CHARACTERS])


def to_document(selector: EventSelector) -> dict[str, Any]:
    """Return a selector as it is written in a file."""
    name, conditions = _canonical(selector)
    return {
        "Name": name,
        "FieldSelectors": [
            {"Field": field} | {operator: values for operator, values in operators.items() if values}
            for field, operators in conditions
        ],
    }


def _canonical(selector: EventSelector) -> tuple[str, list[tuple[str, dict[str, list[str]]]]]:
    return selector.name, [
        (
            condition.field,
            {
                operator: sorted(values)
                for operator, values in zip(
                    OPERATORS,
                    (
                        condition.equals,
                        condition.starts_with,
                        condition.ends_with,
                        condition.not_equals,
                        condition.not_starts_with,
                        condition.not_ends_with,
                    ),
                    strict=True,
                )
            },
        )
        for condition in selector.conditions
    ]


def _selectors(document: Any) -> list[EventSelector]:  # noqa: ANN401 - whatever the file holds
    if not isinstance(document, list) or not document:
        raise ValueError("it must be a JSON list of selectors, each with Name and FieldSelectors")
    selectors = [_selector(entry, number) for number, entry in enumerate(document, 1)]
    names = [selector.name for selector in selectors]
    if repeated := next((name for name in names if names.count(name) > 1), ""):
        raise ValueError(f"two selectors have the name {repeated!r}, so their counts could not be told apart")
    conditions = [condition for selector in selectors for condition in selector.conditions]
    number = sum(len(values) for condition in conditions for values in msgspec.structs.astuple(condition)[1:])
    if number > _MAX_VALUES:
        raise ValueError(f"it has {number} values; CloudTrail's own limit is {_MAX_VALUES}")
    return selectors


def _selector(entry: Any, number: int) -> EventSelector:  # noqa: ANN401
    match entry:
        case {"Name": str(name), "FieldSelectors": [_, *_] as fields} if name.strip() and len(name) <= _MAX_NAME:
            pass
        case _:
            raise ValueError(
                f"selector {number} needs a Name of at most {_MAX_NAME} characters and a list of FieldSelectors"
            )
    if unknown := sorted(set(entry) - {"Name", "FieldSelectors"}):
        raise ValueError(f"{name!r} has a member {unknown[0]!r}; a selector has Name and FieldSelectors")
    return EventSelector(name, tuple(_condition(field, name) for field in fields))


def _condition(entry: Any, selector: str) -> Condition:  # noqa: ANN401
    if not isinstance(entry, dict) or not isinstance(field := entry.get("Field"), str):
        raise ValueError(f"{selector!r} has a field selector without a Field")  # noqa: TRY004 - the file is wrong
    if problem := field_problem(field):
        raise ValueError(f"{selector!r}: {field} {problem}".removesuffix("."))
    if unknown := sorted(set(entry) - {"Field", *OPERATORS}):
        raise ValueError(f"{selector!r}: {unknown[0]} is no operator; there are {', '.join(OPERATORS)}")
    values = [_values(entry.get(operator, []), f"{selector!r}: {operator} of {field}") for operator in OPERATORS]
    if not any(values):
        raise ValueError(f"{selector!r}: {field} has no operator; there are {', '.join(OPERATORS)}")
    equals, starts, ends, not_equals, not_starts, not_ends = values
    return Condition(field, frozenset(equals), starts, ends, frozenset(not_equals), not_starts, not_ends)


def _values(values: Any, where: str) -> tuple[str, ...]:  # noqa: ANN401
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise ValueError(f"{where} must be a list of texts that are not empty")
    return tuple(sorted(set(values)))
