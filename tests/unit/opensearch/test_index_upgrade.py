"""Promises about indices that exist: fields are added to them, and what cannot be changed is named."""

from __future__ import annotations

from typing import Any

from tests.support.opensearch_server import connected
from worker.opensearch.index_upgrade import add_missing_fields

FIELDS = {"a": {"type": "keyword"}, "b": {"type": "ip"}}


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
    lines, written = upgrade(old={"a": {"type": "keyword"}}, new=FIELDS)

    assert written == [("/old/_mapping", {"properties": {"b": {"type": "ip"}}})]
    assert lines[0] == "Mapping: fields were added to 1 of 2 indices: old to old."


def test_a_field_of_another_type_is_named_and_left() -> None:
    """Only loading the day again changes it; the rest is added all the same."""
    lines, written = upgrade(odd={"a": {"type": "text"}})

    assert written == [("/odd/_mapping", {"properties": {"b": {"type": "ip"}}})]
    assert lines[-1] == "Fields of another type cannot be changed in odd: load these days again."


def test_a_second_run_changes_nothing() -> None:
    """It is safe to repeat."""
    lines, written = upgrade(new=FIELDS)

    assert written == []
    assert lines == ["Mapping: all 1 indices have the template's fields."]


def test_indices_of_several_profiles_keep_them() -> None:
    """A profile is for new indices, and a search of all of them is what people do."""

    def answer(_method: str, _path: str, _query: dict[str, list[str]], _body: Any) -> tuple[int, Any]:
        profiles = {"trail-1": "flat", "trail-2": "dynamic", "trail-3": "dynamic"}
        return 200, {
            name: {"mappings": {"_meta": {"profile": profile}, "properties": FIELDS}}
            for name, profile in profiles.items()
        }

    with connected(answer) as client:
        lines = list(add_missing_fields(client, "trail", lambda _mappings: FIELDS))

    assert lines[-1] == "Each index keeps its profile (2 dynamic, 1 flat); trailsink searches all of them."
