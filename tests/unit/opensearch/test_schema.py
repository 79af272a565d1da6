"""Promises about the JSON of the index template and of the retention policy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.factories import action, aggregated, document, event, insight, network_activity
from worker.cloudtrail.picking import OURS
from worker.opensearch.profiles import Profile
from worker.opensearch.schema import VERSION, index_policy, index_template, retention_policy
from worker.pipeline.limits import Partition

if TYPE_CHECKING:
    from collections.abc import Iterator

FREE_FORM = {"requestParameters", "responseElements", "serviceEventDetails", "insightDetails", "edgeDeviceDetails"}
# docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
_WORDS = """
    eventTime eventVersion userIdentity eventSource eventName awsRegion sourceIPAddress userAgent errorCode
    errorMessage additionalEventData requestID eventID readOnly apiVersion resources eventType recipientAccountId
    sharedEventID vpcEndpointId managementEvent eventCategory addendum sessionCredentialFromConsole tlsDetails
    vpcEndpointAccountId eventContext timeWindow summary eventId accountId
"""
DOCUMENTED = FREE_FORM | set(_WORDS.split())


def properties(**options: Any) -> dict[str, Any]:
    mapped: dict[str, Any] = index_template("cloudtrail", **options)["template"]["mappings"]["properties"]
    return mapped


def fields(mapped: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field with its path, sub-fields too."""
    for name, field in mapped.items():
        yield f"{path}{name}", field
        yield from fields(field.get("properties", {}), f"{path}{name}.")
        yield from fields(field.get("fields", {}), f"{path}{name}.")


def test_every_field_that_cloudtrail_documents_is_mapped() -> None:
    """A search for an unmapped field finds nothing, without an error."""
    assert set(properties()) >= DOCUMENTED


@pytest.mark.parametrize("raw", [event(), insight(), aggregated(), network_activity()])
def test_every_root_member_of_a_document_is_mapped(raw: dict[str, Any]) -> None:
    """The mapping and the documents agree."""
    assert set(document(action(raw))) <= set(properties())


def test_the_members_that_we_add_are_mapped() -> None:
    """Otherwise nobody could search for the file of an event."""
    assert set(properties()["trailsink"]["properties"]) == {
        "object",
        "position",
        "indexed_at",
        "request",
        "degraded",
        "unchecked",
        "unsearchable",
        "raw",
    }
    assert set(properties()["trailsink"]["properties"]) == set(OURS)  # a record with such a member would forge it
    assert properties()["@timestamp"]["type"] == "date"


def test_unknown_members_create_no_fields() -> None:
    """Dynamic mapping refused a third of real events: over a thousand fields, and objects in place of values."""
    mappings = index_template("cloudtrail")["template"]["mappings"]

    assert mappings["dynamic"] is False
    objects = [field for _, field in fields(mappings["properties"]) if field.get("type") == "object"]
    assert all(field["dynamic"] is False for field in objects if "properties" in field)


def test_no_keyword_is_too_long_to_be_indexed() -> None:
    """Lucene refuses a term over 32,766 bytes, and the document with it: 8,191 characters of four bytes fit."""
    keywords = [(name, field) for name, field in fields(properties()) if field.get("type") == "keyword"]

    unbounded = [name for name, field in keywords if field.get("ignore_above") != 8191]

    assert unbounded == ["trailsink.raw"]
    assert properties()["trailsink"]["properties"]["raw"] == {"type": "keyword", "index": False, "doc_values": False}


def test_no_address_or_number_can_cost_a_document() -> None:
    """`sourceIPAddress` may be "AWS Internal/3", and counts have been text."""
    strict = [
        name
        for name, field in fields(properties())
        if field.get("type") in ("ip", "long", "integer", "float", "double") and not field.get("ignore_malformed")
    ]

    assert strict == ["trailsink.position"]


def test_aliases_point_to_fields_and_hide_none_of_cloudtrails() -> None:
    """ECS names are aliases of the same values; one that has the name of a real field would hide it."""
    mapped = dict(fields(properties()))
    aliases = {name: field["path"] for name, field in mapped.items() if field.get("type") == "alias"}

    assert aliases["event.action"] == "eventName"
    assert set(aliases.values()) <= set(mapped)
    assert not {name.split(".")[0] for name in aliases} & DOCUMENTED


def test_free_form_fields_can_be_searched() -> None:
    """A flat_object accepts any object without a field for each of its members."""
    assert {name for name in FREE_FORM if properties()[name] == {"type": "flat_object"}} == FREE_FORM


def test_the_compatibility_mapping_uses_nothing_that_other_servers_lack() -> None:
    """Elasticsearch 7.10 knows neither `flat_object` nor `match_only_text`. Every field is still stored."""
    full, compatible = dict(fields(properties())), dict(fields(properties(profile=Profile.COMPATIBILITY)))

    kinds = {field.get("type") for field in compatible.values()}
    assert not kinds & {"flat_object", "match_only_text"}
    assert set(compatible) == set(full)
    assert compatible["requestParameters"] == {"type": "object", "enabled": False}
    assert compatible["errorMessage"]["type"] == "text"
    assert {name for name in full if full[name] != compatible[name] and "properties" not in full[name]} == {
        name for name, field in full.items() if field.get("type") in ("flat_object", "match_only_text")
    }


def test_the_template_names_its_mapping() -> None:
    """For an operator who wonders why a field cannot be searched."""
    assert index_template("x", Profile.COMPATIBILITY)["_meta"]["mapping"] == "compatibility"
    assert index_template("x")["_meta"].get("mapping") != "compatibility"


def test_the_template_applies_only_to_its_prefix() -> None:
    """The templates of two prefixes do not affect each other."""
    template = index_template("trail-of-mine")

    assert template["index_patterns"] == ["trail-of-mine-*"]
    assert template["_meta"]["owner"] == "trailsink"
    assert template["_meta"]["version"] == VERSION


@pytest.mark.parametrize(("replicas", "expected"), [(None, 1), (0, 0), (2, 2)])
def test_the_operator_chooses_the_replicas(replicas: int | None, expected: int) -> None:
    """With a replica, a cluster of one node would stay yellow for ever."""
    assert index_template("x", replicas=replicas)["template"]["settings"]["number_of_replicas"] == expected


def test_each_template_is_a_copy() -> None:
    """A caller may change it."""
    template = index_template("x")
    template["template"]["mappings"]["properties"].clear()

    assert index_template("x")["template"]["mappings"]["properties"]


def test_a_read_only_step_of_no_days_is_none() -> None:
    """The default: a late file of an old day still finds its index open."""
    assert index_policy("trail", 30, 0) == retention_policy("trail", 30)
    assert index_policy("trail", 0, 0) is None


def test_the_retention_policy_deletes_our_indices_after_its_days() -> None:
    """It attaches to them by itself, when they are created."""
    policy = retention_policy("trail", 30)["policy"]

    (kept, deleted) = policy["states"]
    assert kept["transitions"] == [{"state_name": "deleted", "conditions": {"min_index_age": "31d"}}]
    assert policy["default_state"] == kept["name"] == "kept"
    assert "delete" in deleted["actions"][0]
    assert policy["ism_template"][0]["index_patterns"] == ["trail-2*", "trail-undated*"]
    assert "30 days" in policy["description"]


@pytest.mark.parametrize(
    ("partition", "created", "last_event"),
    [
        (Partition.DAY, datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 1, 23, 59, 59, tzinfo=UTC)),
        (Partition.MONTH, datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("days", [1, 30, 90, 365])
def test_no_event_is_deleted_before_its_days_are_over(
    partition: Partition, created: datetime, last_event: datetime, days: int
) -> None:
    """ISM counts from the creation of an index, whose last events come up to a day or a month later."""
    conditions = retention_policy("trail", days, partition)["policy"]["states"][0]["transitions"][0]["conditions"]

    deleted = created + timedelta(days=int(conditions["min_index_age"].removesuffix("d")))

    assert deleted - last_event >= timedelta(days=days)
    assert deleted - last_event <= timedelta(days=days + 2)


def test_a_policy_says_what_its_days_are_counted_from() -> None:
    """By its description, the doctor sees that the partition was changed."""
    by_day, by_month = (retention_policy("trail", 90, one)["policy"]["description"] for one in Partition)

    assert by_day == "Delete indices of trailsink after 90 days"
    assert by_month == "Delete indices of trailsink after 90 days, counted from the end of their month"
