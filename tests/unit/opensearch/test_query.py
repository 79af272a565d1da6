"""Promises about queries: each form is asked in a way that the server answers truly, or refused with one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from worker.errors import SetupError
from worker.opensearch.field_kinds import FieldKinds
from worker.opensearch.query import translate

KINDS = FieldKinds(
    {
        "@timestamp": "date",
        "eventTime": "date",
        "eventName": "keyword",
        "errorMessage": "match_only_text",
        "errorMessage.keyword": "keyword",
        "sourceIPAddress": "keyword",
        "sourceIPAddress.ip": "ip",
        "readOnly": "boolean",
        "userIdentity": "object",
        "userIdentity.arn": "keyword",
        "userIdentity.type": "keyword",
        "additionalEventData": "object",
        "requestParameters": "flat_object",
        "trailsink": "object",
        "trailsink.position": "integer",
    },
    ("eventName", "errorMessage", "requestParameters"),
)


def clause(query: str, *, ignore_case: bool = False) -> dict[str, Any]:
    return translate(query, KINDS, ignore_case=ignore_case)


def any_of(*clauses: dict[str, Any]) -> dict[str, Any]:
    return {"bool": {"should": list(clauses), "minimum_should_match": 1}}


def term(field: str, value: object) -> dict[str, Any]:
    return {"term": {field: {"value": value}}}


A, B, C = (term("eventName", name) for name in "ABC")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"match_all": {}}),
        ("*", {"match_all": {}}),
        ("*:*", {"match_all": {}}),
        ("eventName:GetObject", term("eventName", "GetObject")),
        ('eventName:"Get Object"', term("eventName", "Get Object")),
        (r"eventName:a\*b", term("eventName", "a*b")),
        (r"eventName:a\:b", term("eventName", "a:b")),
        (r'eventName:"a \"b\" *"', term("eventName", 'a "b" *')),
        ("eventName:Get*", {"wildcard": {"eventName": {"value": "Get*"}}}),
        (r"eventName:*a\*b\:c*", {"wildcard": {"eventName": {"value": r"*a\*b:c*"}}}),
        ("eventName:/Get.*/", {"regexp": {"eventName": {"value": "(Get.*)"}}}),
        (r"eventName:/a\/b/", {"regexp": {"eventName": {"value": "(a/b)"}}}),
        ("eventName:[A TO B}", {"range": {"eventName": {"gte": "A", "lt": "B"}}}),
        ("eventName:>=A", {"range": {"eventName": {"gte": "A"}}}),
        ("eventName:{* TO B]", {"range": {"eventName": {"lte": "B"}}}),
        ("eventName:*", {"exists": {"field": "eventName"}}),
        ("_exists_:eventName", {"exists": {"field": "eventName"}}),
        ("_exists_:userIdentity", any_of(*({"exists": {"field": f"userIdentity.{name}"}} for name in ("arn", "type")))),
        ("_exists_:_ignored", {"exists": {"field": "_ignored"}}),
        ("_id:abc", term("_id", "abc")),
        ("eventTime:2026-01-31", term("eventTime", "2026-01-31")),
        ("@timestamp:[now-1d TO now]", {"range": {"@timestamp": {"gte": "now-1d", "lte": "now"}}}),
        ('sourceIPAddress:"10.0.0.0/8"', term("sourceIPAddress.ip", "10.0.0.0/8")),
        ("sourceIPAddress:10.0.0.1", term("sourceIPAddress", "10.0.0.1")),
        ('sourceIPAddress.ip:"10.0.0.0/8"', term("sourceIPAddress.ip", "10.0.0.0/8")),
        ("readOnly:true", term("readOnly", value=True)),
        ("trailsink.position:7", term("trailsink.position", 7)),
        ('errorMessage:"not authorized"', {"match_phrase": {"errorMessage": {"query": "not authorized"}}}),
        ("errorMessage:denied", {"match_phrase": {"errorMessage": {"query": "denied"}}}),
        (
            "errorMessage:*denied*",
            any_of(
                {"wildcard": {"errorMessage": {"value": "*denied*", "case_insensitive": True}}},
                {"wildcard": {"errorMessage.keyword": {"value": "*denied*"}}},
            ),
        ),
    ],
)
def test_a_clause_is_asked_by_the_kind_of_its_field(query: str, expected: dict[str, Any]) -> None:
    """Values keep their escapes only where the DSL knows them."""
    assert clause(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("requestParameters.bucketName:acme", term("requestParameters.bucketName", "acme")),
        ("requestParameters.a.b:*x*", {"wildcard": {"requestParameters.a.b": {"value": "*x*"}}}),
        ("requestParameters:*x*", {"wildcard": {"requestParameters": {"value": "*x*"}}}),
        ("requestParameters.a:/x.*/", {"regexp": {"requestParameters.a": {"value": "(x.*)"}}}),
        ("_exists_:requestParameters", {"exists": {"field": "requestParameters"}}),
        (
            "requestParameters.a:*",
            any_of(
                {"wildcard": {"requestParameters.a": {"value": "*"}}},
                {"wildcard": {"requestParameters.a.*": {"value": "*"}}},
            ),
        ),
        ("requestParameters.n:[8 TO 12]", {"regexp": {"requestParameters.n": {"value": "([8-9]|1[0-2])"}}}),
        ("requestParameters.n:>99", {"regexp": {"requestParameters.n": {"value": "([1-9][0-9]{2}|[1-9][0-9]{3,})"}}}),
        ("requestParameters.n:{5 TO 6}", {"match_none": {}}),
    ],
)
def test_a_free_form_path_is_asked_as_a_flat_object_answers(query: str, expected: dict[str, Any]) -> None:
    """`query_string` finds nothing for most of these, without an error."""
    assert clause(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("eventName:A AND eventName:B", {"bool": {"filter": [A, B]}}),
        ("eventName:A OR eventName:B AND eventName:C", any_of(A, {"bool": {"filter": [B, C]}})),
        ("eventName:A eventName:B", any_of(A, B)),
        ("eventName:(A B)", any_of(A, B)),
        ("eventName:(A AND NOT B)", {"bool": {"filter": [A, {"bool": {"must_not": [B]}}]}}),
        ("+eventName:A -eventName:B eventName:C", {"bool": {"must_not": [B], "filter": [A]}}),
        ("eventName:A -eventName:B", {"bool": {"must_not": [B], "should": [A], "minimum_should_match": 1}}),
        ("NOT eventName:A", {"bool": {"must_not": [A]}}),
    ],
)
def test_clauses_are_combined_as_lucene_does(query: str, expected: dict[str, Any]) -> None:
    """Without an operator any of them will do."""
    assert clause(query) == expected


def test_a_bare_word_is_looked_for_in_every_field_and_in_free_form_values() -> None:
    """An analyst pastes an access key or a name without knowing where it is."""
    assert clause("acme") == any_of(
        term("eventName", "acme"),
        {"match_phrase": {"errorMessage": {"query": "acme"}}},
        term("requestParameters", "acme"),
    )


def test_a_network_is_one_only_behind_the_name_of_a_field() -> None:
    """Who looks for "0.0.0.0/0" means the text in a rule; as a network it is every event with an address."""
    kinds = FieldKinds({"sourceIPAddress": "keyword", "sourceIPAddress.ip": "ip"}, ("sourceIPAddress",))

    assert translate('"0.0.0.0/0"', kinds) == term("sourceIPAddress", "0.0.0.0/0")
    assert translate('sourceIPAddress:"0.0.0.0/0"', kinds) == term("sourceIPAddress.ip", "0.0.0.0/0")


def test_case_is_ignored_on_request() -> None:
    """CloudTrail says No where a rule says NO."""
    for query in ("eventName:listbuckets", "requestParameters:x", "eventName:list*", "eventName:/list.*/"):
        ((_, fields),) = clause(query, ignore_case=True).items()
        ((_, options),) = fields.items()
        assert options["case_insensitive"] is True


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("requestParameters.a:x1", {"regexp": {"requestParameters.a": {"value": "([Xx]1)"}}}),
        ("requestParameters.a:*x?", {"regexp": {"requestParameters.a": {"value": "(.*[Xx].)"}}}),
        (
            "requestParameters.a:/x/",
            {
                "bool": {
                    "filter": [
                        {"regexp": {"requestParameters.a": {"value": "(x)", "case_insensitive": True}}},
                        {"wildcard": {"requestParameters.a": {"value": "*"}}},
                    ]
                }
            },
        ),
    ],
)
def test_the_path_of_a_free_form_value_keeps_its_case(query: str, expected: dict[str, Any]) -> None:
    """The server compares path and value as one term: it would find `A` where `a` was asked for."""
    assert clause(query, ignore_case=True) == expected


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("eventName:(A", "The query cannot be parsed: "),
        ("userIdentity.arn:arn:aws:iam::1:user/ada", "The query cannot be parsed: "),
        ("eventName:A^2", "A boost (^) changes the order of results"),
        ("eventName:A~1", "An approximate search (~) is not supported."),
        ('"a b"~2', "An approximate search (~) is not supported."),
        ("eventName:A && eventName:B", "Use AND, OR and NOT in place of &&, || and !."),
        ("requestParameters.key:-a*", "A value that starts with - needs a backslash before it, or quotes."),
        ("requestParameters.key:+a", "A value that starts with + needs a backslash before it, or quotes."),
        ("event*:A", "A wildcard in the name of a field is not supported: event*."),
        ("eventNaem:A", "No index has a field eventNaem; names are case-sensitive."),
        ("_exists_:eventNaem", "No index has a field eventNaem; names are case-sensitive."),
        ("userIdentity:ada", "userIdentity is an object. Search for one of its members, such as userIdentity.arn"),
        ("additionalEventData.new:x", "additionalEventData.new is stored with each event, but not indexed"),
        ("[1 TO 2]", "A range needs a field, "),
        ("requestParameters:[1 TO 2]", "A range needs one member of requestParameters, "),
        ("requestParameters.n:[a TO b]", "A range of requestParameters.n compares whole numbers "),
        ("errorMessage:[a TO b]", "errorMessage is text, and has no ranges."),
        ("eventTime:2026*", "eventTime is a time. Search for a day, "),
        ("sourceIPAddress.ip:10.*", "sourceIPAddress.ip is an address. "),
        ("readOnly:maybe", "readOnly is true or false."),
        ("trailsink.position:x", "trailsink.position is a number."),
    ],
)
def test_what_cannot_be_answered_is_refused_with_one_sentence(query: str, sentence: str) -> None:
    """No events found would be a lie."""
    with pytest.raises(SetupError) as refusal:
        clause(query)

    assert str(refusal.value).startswith(sentence)
    assert "\n" not in str(refusal.value)


MIXED = FieldKinds(
    {
        "eventName": "keyword",
        "requestParameters": "flat_object",
        "trailsink.values.requestParameters": "keyword",
        "responseElements": "dynamic_properties",
        "trailsink.values.responseElements": "keyword",
    },
    bare=("eventName", "responseElements"),
)
REQUEST, RESPONSE = "trailsink.values.requestParameters", "trailsink.values.responseElements"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("responseElements:a*", {"wildcard": {RESPONSE: {"value": "a*"}}}),
        (
            "requestParameters:a",
            any_of(*({"term": {name: {"value": "a"}}} for name in ("requestParameters", REQUEST))),
        ),
        ("responseElements.a:*b*", {"wildcard": {"responseElements.a": {"value": "*b*"}}}),
        ("_exists_:responseElements", {"exists": {"field": RESPONSE}}),
        (
            "_exists_:requestParameters",
            any_of(*({"exists": {"field": name}} for name in ("requestParameters", REQUEST))),
        ),
        ("_exists_:responseElements.a", {"term": {"_field_names": {"value": "responseElements.a"}}}),
        (
            "requestParameters.a:*",
            any_of(
                {"wildcard": {"requestParameters.a": {"value": "*"}}},
                {"wildcard": {"requestParameters.a.*": {"value": "*"}}},
                {"term": {"_field_names": {"value": "requestParameters.a"}}},
            ),
        ),
        ("a", any_of(*({"term": {name: {"value": "a"}}} for name in ("eventName", RESPONSE)))),
    ],
)
def test_each_form_of_a_free_form_member_is_asked_for(query: str, expected: dict[str, Any]) -> None:
    """Indices of both profiles answer one search, each by the fields that it has."""
    assert translate(query, MIXED) == expected


def test_a_range_of_all_values_of_a_member_is_refused_in_each_form() -> None:
    """The field with all values is a keyword, which would compare texts."""
    for root in ("requestParameters", "responseElements"):
        with pytest.raises(SetupError, match=f"A range needs one member of {root}"):
            translate(f"{root}:[1 TO 5]", MIXED)
