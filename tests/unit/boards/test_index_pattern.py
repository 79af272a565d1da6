"""Promises about the index patterns: complete, right about each field, and careful with what a user set."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from worker.boards.index_pattern import event_fields, leaf_names, pattern_attributes, with_users_settings
from worker.boards.panels import Pattern
from worker.cloudtrail.request_fields import REQUEST_FIELDS

FIELDS = {field["name"]: field for field in event_fields("cloudtrail")}
ATTRIBUTES = pattern_attributes("cloudtrail", Pattern.EVENTS)


def test_a_leaf_of_a_free_form_object_can_be_clicked_and_not_grouped_by() -> None:
    """All calls on this bucket: a click on it in an event is a filter. A group would be answered wrongly."""
    leaf = FIELDS["requestParameters.bucketName"]

    assert (leaf["type"], leaf["searchable"], leaf["aggregatable"]) == ("string", True, False)
    assert not {"requestParameters", "responseElements", "requestParameters."} & set(FIELDS)
    assert {f"requestParameters.{name}" for name in REQUEST_FIELDS} <= set(FIELDS)
    assert len(leaf_names()) >= 200


def test_each_kind_of_field_is_what_dashboards_itself_would_save() -> None:
    """As OpenSearch Dashboards 2.8 wrote them for such an index."""
    common = {"count": 0, "scripted": False}
    text = {"type": "unknown", "esTypes": ["match_only_text"], "searchable": True, "aggregatable": False}
    ip = {"type": "ip", "esTypes": ["ip"], "searchable": True, "aggregatable": True, "readFromDocValues": True}
    multi = {"subType": {"multi": {"parent": "sourceIPAddress"}}}

    assert FIELDS["errorMessage"] == common | text | {"name": "errorMessage", "readFromDocValues": False}
    assert FIELDS["sourceIPAddress.ip"] == common | ip | multi | {"name": "sourceIPAddress.ip"}
    assert not FIELDS["eventID"]["aggregatable"]
    assert not FIELDS["trailsink.raw"]["searchable"]
    assert FIELDS["cloud.region"]["esTypes"] == ["keyword"]
    assert FIELDS["_source"] == common | {
        "name": "_source",
        "type": "_source",
        "esTypes": ["_source"],
        "searchable": False,
        "aggregatable": False,
        "readFromDocValues": False,
    }


def test_a_server_that_stores_free_form_fields_cannot_search_their_leaves() -> None:
    """A filter on one would find nothing, and say nothing."""
    compatible = {field["name"]: field for field in event_fields("cloudtrail", compatible=True)}

    assert not compatible["requestParameters.bucketName"]["searchable"]
    assert compatible["errorMessage"]["type"] == "string"
    assert compatible["eventName"]["searchable"]


def test_an_import_keeps_what_a_user_set_in_the_pattern() -> None:
    """Formats, filters and scripted fields live in the pattern, and so does how often a field was chosen."""
    scripted = {
        "name": "hour",
        "type": "number",
        "scripted": True,
        "script": "doc['@timestamp'].value.hour",
        "lang": "p",
    }
    chosen = {"name": "eventName", "type": "string", "count": 7}
    existing = {
        "title": "cloudtrail-*",
        "fieldFormatMap": json.dumps({"additionalEventData.bytesTransferredOut": {"id": "bytes"}}),
        "sourceFilters": '[{"value":"trailsink.raw"}]',
        "fields": json.dumps([scripted, chosen, {"name": "gone", "type": "string"}]),
    }

    merged = with_users_settings(ATTRIBUTES, existing)
    again = with_users_settings(ATTRIBUTES, merged)

    fields = {field["name"]: field for field in json.loads(merged["fields"])}
    assert fields["hour"] == scripted
    assert fields["eventName"] == FIELDS["eventName"] | {"count": 7}
    assert set(fields) == {*FIELDS, "hour"}
    assert merged["sourceFilters"] == existing["sourceFilters"]
    formats = json.loads(merged["fieldFormatMap"])
    assert formats["additionalEventData.bytesTransferredOut"] == {"id": "bytes"}
    assert set(json.loads(ATTRIBUTES["fieldFormatMap"])) < set(formats)
    assert again == merged


def test_a_user_s_format_of_a_field_wins_over_ours() -> None:
    """Somebody wanted it so."""
    existing = {"fieldFormatMap": json.dumps({"userIdentity.arn": {"id": "truncate"}})}

    formats = json.loads(with_users_settings(ATTRIBUTES, existing)["fieldFormatMap"])

    assert formats["userIdentity.arn"] == {"id": "truncate"}


def test_a_caller_and_an_address_lead_to_the_board_that_shows_all_of_it() -> None:
    """Only of what a caller cannot write quotes into: an object's key could bring a query of its own."""
    formats = json.loads(ATTRIBUTES["fieldFormatMap"])

    assert set(formats) == {"userIdentity.arn", "sourceIPAddress"}
    template = formats["userIdentity.arn"]["params"]["urlTemplate"]
    link = template.replace("{{value}}", quote("arn:aws:sts::1:assumed-role/a/b=c,d.e@f-g+h", safe=""))
    assert re.fullmatch(
        r"dashboards#/view/trailsink-cloudtrail-investigate\?_a=\(query:\(language:lucene,query:'[\w.:%-]+'\)\)", link
    )
