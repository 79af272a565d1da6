"""Promises about a template's content: what somebody changed is seen, and what is the operator's own is kept."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from worker.opensearch.schema import index_template
from worker.opensearch.template_content import changed_parts, missing_fields, shadowing_template, with_additions

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def changed(**changes: Any) -> dict[str, Any]:
    """Our template as a server returns it, with changes by path: `a__b=value`."""
    template = deepcopy(index_template("trail"))
    for path, value in changes.items():
        *parents, last = path.split("__")
        node: dict[str, Any] = template["template"]
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return template


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (changed(), []),
        (changed(settings={"index": {"codec": "best_compression", "number_of_shards": "3"}}), []),
        (changed(settings={"index": {"codec": "default"}}), ["index.codec"]),
        (changed(mappings__dynamic=True), ["dynamic"]),
        (changed(mappings__properties__eventName={"type": "text"}), ["eventName"]),
        (changed(mappings__properties__team={"type": "keyword"}), []),
        (changed() | {"index_patterns": ["trail-2026-0*"]}, ["index_patterns"]),
        (changed() | {"index_patterns": [*index_template("trail")["index_patterns"], "more-*"]}, []),
    ],
)
def test_a_change_is_named_and_an_addition_is_none(template: dict[str, Any], expected: list[str]) -> None:
    """A digest that is stored beside the content says nothing of it."""
    assert changed_parts(index_template("trail"), template) == expected


def test_what_the_operator_has_added_stays() -> None:
    """Restoring ours must not take a field or a setting away."""
    settings = {"index": {"codec": "default", "mapping": {"total_fields": {"limit": "2000"}}}}
    existing = changed(mappings__properties__team={"type": "keyword"}, settings=settings)

    body = with_additions(index_template("trail"), existing)

    assert body["template"]["mappings"]["properties"]["team"] == {"type": "keyword"}
    assert body["template"]["settings"]["index.mapping.total_fields.limit"] == "2000"
    assert body["template"]["settings"]["index.codec"] == "best_compression"


def test_only_what_an_index_lacks_is_added() -> None:
    """A request with a field of another type would be refused as a whole."""
    expected = {"a": {"type": "keyword"}, "b": {"properties": {"c": {"type": "ip"}, "d": {"type": "date"}}}}
    actual = {"a": {"type": "text"}, "b": {"properties": {"c": {"type": "ip"}}}}

    assert missing_fields(expected, actual) == {"b": {"properties": {"d": {"type": "date"}}}}
    assert missing_fields(expected, None) == expected


@pytest.mark.parametrize(
    ("pattern", "priority", "expected"),
    [
        ("trail-*", 500, ("corp", 500)),
        ("trail-*", 200, ("corp", 200)),
        ("trail-*", 199, None),
        ("trail-2027-*", 500, ("corp", 500)),
        ("trail-undated*", 500, ("corp", 500)),
        ("trails-*", 500, None),
    ],
)
def test_a_template_that_wins_for_any_index_to_come_is_known(
    pattern: str, priority: int, expected: tuple[str, int] | None
) -> None:
    """At midnight, or on new year's day, the next index would have its fields."""
    templates: dict[str, dict[str, Any]] = {
        "corp": {"index_patterns": [pattern], "priority": priority},
        "ours": {"index_patterns": ["trail-*"]},
    }

    assert shadowing_template(templates, "ours", "trail", 200, NOW) == expected
