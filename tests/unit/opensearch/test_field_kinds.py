"""Promises about the kinds of fields: what the server reports, and the template where it says nothing."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from worker.opensearch.field_kinds import FieldKinds, Kind, read_field_kinds


class Reporting(OpenSearch):
    """A cluster that reports these fields, or refuses to."""

    def __init__(self, fields: dict[str, Any] | None) -> None:
        super().__init__()
        self.fields = fields

    def field_caps(self, **_: Any) -> Any:
        if self.fields is None:
            raise TransportError(403, "security_exception", {})
        return {"fields": self.fields}


def of_template(fields: dict[str, Any] | None = None) -> FieldKinds:
    return read_field_kinds(Reporting(fields), "trail")


@pytest.mark.parametrize("fields", [None, {}])
def test_without_an_answer_the_template_says_what_fields_are(fields: dict[str, Any] | None) -> None:
    """A role that may only search still gets true answers."""
    kinds = of_template(fields)

    assert kinds.kind("eventName") is Kind.KEYWORD
    assert kinds.kind("requestParameters.a.b") is Kind.FREE_FORM
    assert kinds.is_free_form_root("requestParameters")
    assert not kinds.is_free_form_root("requestParameters.a")
    assert kinds.kind("errorMessage.keyword") is Kind.KEYWORD
    assert kinds.kind("userIdentity") is Kind.OBJECT
    assert kinds.kind("additionalEventData.new") is Kind.STORED
    assert kinds.kind("eventNaem") is Kind.UNKNOWN


def test_the_server_knows_better_than_the_template() -> None:
    """Older servers store free-form fields without an index; some indices may have them indexed all the same."""
    fields: dict[str, Any] = {
        "@timestamp": {"date": {}},
        "requestParameters": {"object": {}},
        "responseElements": {"object": {}, "flat_object": {}},
        "eventName": {"keyword": {}},
        "_id": {"_id": {}},
    }

    kinds = of_template(fields)

    assert kinds.kind("requestParameters.a") is Kind.STORED
    assert kinds.kind("responseElements.a") is Kind.FREE_FORM
    assert kinds.kind("awsRegion") is Kind.UNKNOWN
    assert set(kinds.bare) == {"eventName", "responseElements"}


def test_a_bare_word_searches_the_records_own_fields() -> None:
    """Not ours: a word in the name of a file is not in the event."""
    bare = of_template().bare

    assert {"eventName", "errorMessage", "requestParameters", "userIdentity.arn", "resources.ARN"} <= set(bare)
    assert not any(name.startswith("trailsink.") for name in bare)


def test_the_leaves_of_an_object_are_its_fields_with_values() -> None:
    """`exists` of an object asks each of them."""
    types = {"a": "object", "a.b": "object", "a.b.c": "keyword", "a.d": "flat_object", "a.d.": "flat_object"}

    assert FieldKinds(types, ()).leaves("a") == ["a.b.c", "a.d"]


def test_the_forms_of_free_form_members_are_known_by_their_fields() -> None:
    """The server reports neither the root nor the paths of the dynamic profile, but the field with all values."""
    dynamic: dict[str, Any] = {"@timestamp": {"date": {}}, "trailsink.values.requestParameters": {"keyword": {}}}
    mixed = dynamic | {"requestParameters": {"flat_object": {}, "object": {}}}

    for fields, searched in (
        (dynamic, ["trailsink.values.requestParameters"]),
        (mixed, ["requestParameters", "trailsink.values.requestParameters"]),
    ):
        kinds = of_template(fields)
        assert kinds.kind("requestParameters.a.b") is Kind.FREE_FORM
        assert kinds.is_free_form_root("requestParameters")
        assert kinds.has_free_form
        assert kinds.has_keyword_paths("requestParameters.a")
        assert kinds.is_flat("requestParameters.a") is ("requestParameters" in searched)
        assert kinds.searched("requestParameters") == searched
        assert kinds.searched("requestParameters.a") == ["requestParameters.a"]
        assert kinds.kind("responseElements.a") is Kind.UNKNOWN
        assert kinds.bare == ("requestParameters",)


def test_a_role_that_may_not_read_fields_asks_for_both_forms() -> None:
    """A field that no index has finds nothing, and one that was not asked for finds nothing, either."""
    assert of_template(None).searched("responseElements") == ["responseElements", "trailsink.values.responseElements"]
