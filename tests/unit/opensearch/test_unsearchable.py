"""Promises about the warning that a search could miss events."""

from __future__ import annotations

from typing import Any

import pytest

from worker.opensearch.field_kinds import FieldKinds
from worker.opensearch.query import translate
from worker.opensearch.unsearchable import searched_fields, unsearchable_clause

KINDS = FieldKinds(
    {
        "eventName": "keyword",
        "errorMessage": "text",
        "errorMessage.keyword": "keyword",
        "eventTime": "date",
        "readOnly": "boolean",
        "requestParameters": "flat_object",
        "userIdentity": "object",
        "userIdentity.arn": "keyword",
    },
    bare=("eventName", "requestParameters"),
)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("eventName:a", {"eventName"}),
        ("eventName:a* AND NOT requestParameters.b:/c/", {"eventName", "requestParameters.b"}),
        ("errorMessage:a OR eventTime:[2026-01-01 TO *]", {"errorMessage", "eventTime"}),
        ("_exists_:requestParameters.b", {"requestParameters.b", "requestParameters.b.*"}),
        ("_exists_:userIdentity", {"userIdentity.arn"}),
        ("word", {"eventName", "requestParameters"}),
        ("*", set()),
    ],
)
def test_the_fields_of_a_query_are_those_of_its_clauses(query: str, fields: set[str]) -> None:
    """A clause that was forgotten would be a warning that never comes."""
    assert searched_fields(translate(query, KINDS)) == fields


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ("requestParameters.a.b", True),
        ("requestParameters.a", True),
        ("requestParameters", True),
        ("requestParameters.a.b.c", True),
        ("*", True),
        ("requestParameters.a.bc", False),
        ("requestParameters.ab", False),
        ("userAgent", False),
    ],
)
def test_a_value_counts_when_it_is_above_or_below_a_field(path: str, *, matches: bool) -> None:
    """A root that was left out hides all of its paths, and a search of a root sees all of its values."""
    alternatives: Any = unsearchable_clause({"requestParameters.a.b"})["bool"]["should"]
    terms = next(one["terms"]["trailsink.unsearchable"] for one in alternatives if "terms" in one)
    prefixes = [one["prefix"]["trailsink.unsearchable"]["value"] for one in alternatives if "prefix" in one]

    assert (path in terms or any(path.startswith(prefix) for prefix in prefixes)) is matches


def test_a_query_of_the_dynamic_profile_warns_by_the_names_that_people_know() -> None:
    """Its fields of values and of names are nobody's members, so that no event would be counted."""
    kinds = FieldKinds(
        {"responseElements": "dynamic_properties", "trailsink.values.responseElements": "keyword"}, bare=()
    )

    assert searched_fields(translate("responseElements:a", kinds)) == {"responseElements"}
    assert searched_fields(translate("_exists_:responseElements.b", kinds)) == {"responseElements.b"}
