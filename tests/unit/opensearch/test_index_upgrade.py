"""Promises about indices that exist: fields are added to them, and what cannot be changed is named."""

from __future__ import annotations

from typing import Any

from tests.support.opensearch_server import connected
from worker.opensearch.index_upgrade import add_missing_fields

FIELDS = {"a": {"type": "keyword"}, "b": {"type": "ip"}}

OLD = "trail-2026-01-01"


def upgrade(**indices: dict[str, Any]) -> tuple[list[str], list[tuple[str, Any]]]:
    """The lines, and the requests that write."""
    written: list[tuple[str, Any]] = []

    def answer(method: str, path: str, _query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if method == "GET":
            return 200, {name: {"mappings": {"properties": fields}} for name, fields in indices.items()}
        written.append((path, body))
        return 200, {"acknowledged": True}

    with connected(answer) as client:
        return list(add_missing_fields(client, "trail", lambda _mappings: FIELDS)), written


def test_a_field_that_is_new_is_added_to_all_days() -> None:
    """An upgrade must not cost the index of today."""
    lines, written = upgrade(**{OLD: {"a": {"type": "keyword"}}, "trail-2026-01-02": FIELDS})

    assert written == [(f"/{OLD}/_mapping", {"properties": {"b": {"type": "ip"}}})]
    assert lines[0] == f"Mapping: fields were added to 1 of 2 indices: {OLD} to {OLD}."


def test_another_tool_s_index_gets_none_of_our_fields() -> None:
    """Its name starts with the same prefix."""
    lines, written = upgrade(**{"trail-insights-2026": {"a": {"type": "keyword"}}, OLD: FIELDS})

    assert written == []
    assert lines == ["Mapping: all 1 indices have the template's fields."]


def test_a_reindexed_day_gets_new_fields_by_its_own_name() -> None:
    """It is behind an alias with the day's name."""
    copy = f"trailsink-reindexed1-{OLD}"

    assert upgrade(**{copy: {"a": {"type": "keyword"}}})[1][0][0] == f"/{copy}/_mapping"


def test_a_field_of_another_type_is_named_and_left() -> None:
    """Only loading the day again changes it; the rest is added all the same."""
    lines, written = upgrade(**{OLD: {"a": {"type": "text"}}})

    assert written == [(f"/{OLD}/_mapping", {"properties": {"b": {"type": "ip"}}})]
    assert lines[-1] == (
        f"Fields of another type cannot be changed in {OLD}: `trailsink doctor` shows how to rebuild them."
    )


def test_a_second_run_changes_nothing() -> None:
    """It is safe to repeat."""
    lines, written = upgrade(**{OLD: FIELDS})

    assert written == []
    assert lines == ["Mapping: all 1 indices have the template's fields."]


def test_indices_of_several_profiles_keep_them() -> None:
    """A profile is for new indices, and a search of all of them is what people do."""

    def answer(_method: str, _path: str, _query: dict[str, list[str]], _body: Any) -> tuple[int, Any]:
        profiles = {OLD: "flat", "trail-2026-01-02": "dynamic", "trail-2026-01-03": "dynamic"}
        return 200, {
            name: {"mappings": {"_meta": {"profile": profile}, "properties": FIELDS}}
            for name, profile in profiles.items()
        }

    with connected(answer) as client:
        lines = list(add_missing_fields(client, "trail", lambda _mappings: FIELDS))

    assert lines[-1] == "Each index keeps its profile (2 dynamic, 1 flat); trailsink searches all of them."
