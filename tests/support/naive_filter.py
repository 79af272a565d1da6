"""An evaluation of selectors that knows nothing of trailsink's: a record is parsed whole, and each rule is spelt out.

docs.aws.amazon.com/awscloudtrail/latest/userguide/filtering-data-events.html
"""

from __future__ import annotations

import json
from typing import Any


def matching_name(record: bytes, selectors: list[dict[str, Any]]) -> str:
    """The name of the first selector that a record matches, "" for none."""
    event = json.loads(record, parse_int=str, parse_float=str)
    for selector in selectors:
        if all(_field_matches(event, field) for field in selector["FieldSelectors"]):
            return str(selector["Name"])
    return ""


def _field_matches(event: Any, field: dict[str, Any]) -> bool:
    values = _values(event, field["Field"].split("."))
    if any(value == text for value in values for text in field.get("NotEquals", [])):
        return False
    if any(value[: len(text)] == text for value in values for text in field.get("NotStartsWith", [])):
        return False
    if any(value[-len(text) :] == text for value in values for text in field.get("NotEndsWith", [])):
        return False
    if not any(name in field for name in ("Equals", "StartsWith", "EndsWith")):
        return True
    return (
        any(value == text for value in values for text in field.get("Equals", []))
        or any(value[: len(text)] == text for value in values for text in field.get("StartsWith", []))
        or any(value[-len(text) :] == text for value in values for text in field.get("EndsWith", []))
    )


def _values(value: Any, path: list[str]) -> list[str]:
    if isinstance(value, list):
        return [text for element in value for text in _values(element, path)]
    if isinstance(value, dict):
        return _values(value[path[0]], path[1:]) if path and path[0] in value else []
    if path or value is None:
        return []
    return [{True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)]
