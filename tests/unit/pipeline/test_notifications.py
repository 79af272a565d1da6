"""Promises about what a message body announces."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import (
    BUCKET,
    TOPIC,
    as_json,
    bridge_event,
    cloudtrail_notice,
    configuration_test_event,
    in_sns,
    key,
    ref,
    s3_entry,
    s3_notice,
)
from worker.errors import MalformedMessage
from worker.pipeline.notifications import Notification, parse_notification, s3_notification
from worker.pipeline.objects import ObjectRef

VALIDATION = "CloudTrail validation message."

# What S3 allows as a key: 1 to 1,024 bytes of UTF-8.
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300).filter(
    lambda text: len(text.encode()) <= 1024
)
refs = st.builds(
    ObjectRef,
    bucket=st.from_regex(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", fullmatch=True),
    key=keys,
    version_id=st.none() | st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    size=st.none() | st.integers(0, 5 << 40),
    etag=st.none() | st.from_regex(r"[0-9a-f]{32}(-[0-9]{1,4})?", fullmatch=True),
    notified_at=st.none() | st.datetimes(datetime(2013, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
)

# Shapes made of the words that notices are made of.
_WORDS = (
    "Records s3 bucket object key name Type TopicArn Message detail detail-type source eventSource eventName s3Bucket"
    " requestParameters bucketName errorCode messageType notificationCreationTime AlarmName NewStateValue size"
)
bodies = st.text() | st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text()
    | st.sampled_from(
        ["aws:s3", "ceph:s3", "aws.s3", "aws.ec2", "Notification", "AWS API Call via CloudTrail", "PutObject"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*_WORDS.split(), "s3ObjectKey", "Event"]), inner, max_size=4)
    ),
    max_leaves=12,
).map(json.dumps)


def whole(ref: ObjectRef) -> tuple[Any, ...]:
    """All members, the ones that equality leaves out too."""
    return ref.bucket, ref.key, ref.version_id, ref.size, ref.etag, ref.notified_at


# Envelopes


def test_an_s3_notification_announces_its_object_with_all_that_it_says() -> None:
    """Version and time decide what is read and how late it is; size bounds what is fetched ahead."""
    body = s3_notice(s3_entry("a/b.json.gz"))

    (found,) = parse_notification(body).objects

    assert whole(found) == (
        BUCKET,
        "a/b.json.gz",
        "096fKKXTRTtl3on89fVO.nfljtsv6qko",
        1024,
        "d41d8cd98f00b204e9800998ecf8427e",
        datetime(2026, 11, 23, 10, 5, 30, 123_000, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda body: body, id="bare"),
        pytest.param(in_sns, id="in SNS"),
        pytest.param(lambda body: in_sns(in_sns(body)), id="in SNS in SNS"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(s3_notice("a/b.json.gz"), id="S3"),
        pytest.param(bridge_event("a/b.json.gz"), id="EventBridge"),
        pytest.param(cloudtrail_notice("a/b.json.gz"), id="CloudTrail"),
    ],
)
def test_every_notice_is_read_in_every_envelope(body: str, wrap: Any) -> None:
    """Operators choose the road; each of them must end at the same object."""
    announcement = parse_notification(wrap(body))

    assert [(one.bucket, one.key) for one in announcement.objects] == [(BUCKET, "a/b.json.gz")]
    assert announcement.ignored == announcement.malformed == ()


def test_an_eventbridge_event_announces_its_object_with_all_that_it_says() -> None:
    """EventBridge spells the same facts differently."""
    body = bridge_event("a/b.json.gz")

    (found,) = parse_notification(body).objects

    assert whole(found) == (
        BUCKET,
        "a/b.json.gz",
        "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
        1024,
        "b1946ac92492d2347c6235b4d2611184",
        datetime(2026, 11, 23, 10, 5, 30, tzinfo=UTC),
    )


def test_cloudtrails_own_notice_announces_every_key() -> None:
    """CloudTrail names several files in one notice; peers read only the first."""
    body = cloudtrail_notice(key("one"), key("two"), key("three"))

    announcement = parse_notification(body)

    assert [one.key for one in announcement.objects] == [key("one"), key("two"), key("three")]


def test_an_s3_notification_of_several_entries_announces_all_of_them() -> None:
    """The list has one entry in practice, but it is documented as a list."""
    body = s3_notice("a", "b", "c")

    assert [one.key for one in parse_notification(body).objects] == ["a", "b", "c"]


@pytest.mark.parametrize("suffix", ["Put", "Post", "Copy", "CompleteMultipartUpload", "SomethingNew"])
@pytest.mark.parametrize("prefix", ["", "s3:"])
def test_every_way_of_creating_an_object_announces_it(prefix: str, suffix: str) -> None:
    """S3 adds suffixes without notice, and the name has the prefix `s3:` where configuration is quoted."""
    body = s3_notice(s3_entry("a", eventName=f"{prefix}ObjectCreated:{suffix}"))

    assert [one.key for one in parse_notification(body).objects] == ["a"]


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2", "2.3", "2.17", "2"])
def test_a_new_minor_version_of_the_notification_is_read(version: str) -> None:
    """S3 documents that minor versions only add."""
    body = s3_notice(s3_entry("a", eventVersion=version))

    assert len(parse_notification(body).objects) == 1


@pytest.mark.parametrize("version", ["3.0", "1.9", "20.1", "two", ""])
def test_a_new_major_version_of_the_notification_is_malformed(version: str) -> None:
    """S3 documents that a major version may mean something else; guessing could lose an object."""
    body = s3_notice(s3_entry("a", eventVersion=version))

    with pytest.raises(MalformedMessage, match="eventVersion"):
        parse_notification(body)


@pytest.mark.parametrize("wrap", [lambda body: body, in_sns], ids=["bare", "in SNS"])
def test_one_key_as_text_is_read(wrap: Any) -> None:
    """Forwarders write it so: the object is there, and was a dead letter for each notice."""
    body = json.dumps({"s3Bucket": BUCKET, "s3ObjectKey": key()})

    assert parse_notification(wrap(body)).objects == (ref(),)


@pytest.mark.parametrize("source", ["aws:s3", "minio:s3", "ceph:s3", "acme-2:s3"])
@pytest.mark.parametrize("event_name", ["s3:ObjectCreated:Put", "ObjectCreated:CompleteMultipartUpload"])
def test_a_notification_of_another_store_is_read(source: str, event_name: str) -> None:
    """MinIO and Ceph have S3's interface and S3's notifications, under a source of their own."""
    body = s3_notice(s3_entry(key(), eventSource=source, eventVersion="2.0", eventName=event_name))

    assert [(one.bucket, one.key) for one in parse_notification(body).objects] == [(BUCKET, key())]


@pytest.mark.parametrize(("source", "expected"), [("aws:s3", "a b=c"), ("minio:s3", "a b=c"), ("ceph:s3", "a+b%3Dc")])
def test_only_ceph_writes_keys_as_they_are(source: str, expected: str) -> None:
    """Decoded once too often, a key names another object."""
    body = s3_notice(s3_entry("a+b%3Dc", eventSource=source))

    assert [one.key for one in parse_notification(body).objects] == [expected]


@pytest.mark.parametrize("event_name", ["s3:ObjectSynced:Create", "s3:Replication:Create"])
def test_an_object_that_another_zone_wrote_is_read(event_name: str) -> None:
    """Ceph announces it so in the zone that has received it."""
    body = s3_notice(s3_entry("a", eventSource="ceph:s3", eventName=event_name))

    assert [one.key for one in parse_notification(body).objects] == ["a"]


def api_call(call: str = "PutObject", **detail: Any) -> str:
    """What EventBridge sends for a call of S3's API that CloudTrail has recorded."""
    parameters = {"bucketName": BUCKET, "key": "a b+c%2B.json.gz", "x-amz-acl": "bucket-owner-full-control"}
    whole = {"eventSource": "s3.amazonaws.com", "eventName": call, "requestParameters": parameters} | detail
    return json.dumps(
        {
            "version": "0",
            "detail-type": "AWS API Call via CloudTrail",
            "source": "aws.s3",
            "time": "2026-11-23T10:05:30Z",
            "resources": [],
            "detail": whole,
        }
    )


@pytest.mark.parametrize("call", ["PutObject", "CompleteMultipartUpload", "CopyObject"])
def test_a_recorded_call_that_wrote_an_object_announces_it(call: str) -> None:
    """Rules of this kind are older than S3's own events; their keys are not encoded."""
    (found,) = parse_notification(api_call(call)).objects

    assert whole(found) == (
        BUCKET,
        "a b+c%2B.json.gz",
        None,
        None,
        None,
        datetime(2026, 11, 23, 10, 5, 30, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (api_call("GetObject"), "event_GetObject"),
        (api_call("DeleteObjects", requestParameters={"bucketName": BUCKET}), "event_DeleteObjects"),
        (api_call("PutObjectAcl"), "event_PutObjectAcl"),
        (api_call("UploadPart"), "event_UploadPart"),
        (api_call("ListObjects", requestParameters=None), "event_ListObjects"),
        (api_call("PutObject", errorCode="AccessDenied", requestParameters=None), "event_FailedCall"),
    ],
)
def test_a_recorded_call_that_wrote_nothing_is_ignored_by_name(body: str, name: str) -> None:
    """There is nothing new to read."""
    assert parse_notification(body) == Notification(ignored=(name,))


@pytest.mark.parametrize(
    "body",
    [
        api_call("BreedObject"),
        api_call("Get" + "A" * 60),
        api_call("GetObject\n"),
        api_call(requestParameters=None),
        api_call(requestParameters={"bucketName": BUCKET}),
        api_call(requestParameters={"key": "a"}),
    ],
)
def test_a_recorded_call_that_does_not_say_what_it_wrote_is_malformed(body: str) -> None:
    """Not recognised must never mean nothing to do."""
    with pytest.raises(MalformedMessage):
        parse_notification(body)


@pytest.mark.parametrize("version", ["", None])
def test_an_empty_version_is_none(version: str | None) -> None:
    """Stores without versioning write it so; asked for, it would be another request."""
    entry = s3_entry("a")
    entry["s3"]["object"]["versionId"] = version

    assert [one.version_id for one in parse_notification(s3_notice(entry)).objects] == [None]


@pytest.mark.parametrize(
    ("size", "expected"), [("123", 123), (0, 0), ("", None), ("many", None), (-1, None), (1.5, None), ([], None)]
)
def test_a_size_that_is_no_number_costs_nothing(size: Any, expected: int | None) -> None:
    """It only limits the memory of the prefetch: which object it is, the other members say."""
    entry = s3_entry("a")
    entry["s3"]["object"]["size"] = size

    assert [(one.key, one.size) for one in parse_notification(s3_notice(entry)).objects] == [("a", expected)]
    detail = {"bucket": {"name": BUCKET}, "object": {"key": "a", "size": size}}
    assert [one.size for one in parse_notification(bridge_event("a", detail=detail)).objects] == [expected]


# Notices ignored by name


@pytest.mark.parametrize("wrap", [lambda body: body, in_sns], ids=["bare", "in SNS"])
@pytest.mark.parametrize(
    ("document", "name"),
    [
        pytest.param(
            {
                "configurationItem": {"resourceType": "AWS::S3::Bucket"},
                "notificationCreationTime": "2026-11-23T10:05:30Z",
                "messageType": "ConfigurationItemChangeNotification",
                "recordVersion": "1.3",
            },
            "notice_Config",
            id="Config",
        ),
        pytest.param(
            {"AlarmName": "a", "NewStateValue": "ALARM", "StateChangeTime": "2026-11-23T10:05:30Z"},
            "notice_CloudWatch",
            id="CloudWatch",
        ),
        pytest.param(
            {"detail-type": "GuardDuty Finding", "source": "aws.guardduty", "detail": {}},
            "event_aws.guardduty",
            id="EventBridge",
        ),
        pytest.param(
            {"detail-type": "AWS API Call via CloudTrail", "source": "aws.ec2", "detail": {}},
            "event_aws.ec2",
            id="EventBridge, recorded call",
        ),
    ],
)
def test_what_other_services_send_to_a_shared_topic_is_ignored_by_name(
    document: dict[str, Any], name: str, wrap: Any
) -> None:
    """These shapes announce no object; each was a dead letter."""
    assert parse_notification(wrap(json.dumps(document))) == Notification(ignored=(name,))


def test_a_delivery_of_config_names_its_file() -> None:
    """The file's key says that it is another service's: the same name, whoever announces it."""
    name = "AWSLogs/123456789012/Config/eu-west-1/2026/11/23/ConfigHistory/x.json.gz"
    body = json.dumps(
        {
            "s3ObjectKey": name,
            "s3Bucket": "config-bucket",
            "notificationCreationTime": "2026-11-23T10:05:30Z",
            "messageType": "ConfigurationHistoryDeliveryCompleted",
            "recordVersion": "1.1",
        }
    )

    assert [one.key for one in parse_notification(in_sns(body)).objects] == [name]


@pytest.mark.parametrize("wrap", [lambda body: body, in_sns], ids=["bare", "in SNS"])
@pytest.mark.parametrize(
    ("body", "name"),
    [
        pytest.param(configuration_test_event(), "test_event", id="s3:TestEvent"),
        pytest.param(VALIDATION, "cloudtrail_validation", id="CloudTrail validation"),
        pytest.param(f"{VALIDATION}\n", "cloudtrail_validation", id="CloudTrail validation with a line end"),
    ],
)
def test_what_aws_sends_to_try_the_road_is_ignored_by_name(body: str, name: str, wrap: Any) -> None:
    """These arrive on the day of installation: as poison they would be the first dead letters an operator sees."""
    announcement = parse_notification(wrap(body))

    assert announcement == Notification(ignored=(name,))


@pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_sns_subscription_notices_are_ignored_by_name(kind: str) -> None:
    """A topic of another account sends them to the queue; they announce nothing."""
    body = in_sns("You have chosen to subscribe", Type=kind, Token="2336412f37", SubscribeURL="https://sns.example.com")

    assert parse_notification(body) == Notification(ignored=("sns_subscription",))


@pytest.mark.parametrize(
    ("event_name", "name"),
    [
        ("ObjectRemoved:Delete", "event_ObjectRemoved"),
        ("ObjectRemoved:DeleteMarkerCreated", "event_ObjectRemoved"),
        ("s3:ObjectRemoved:Delete", "event_ObjectRemoved"),
        ("ObjectRestore:Post", "event_ObjectRestore"),
        ("ObjectRestore:Completed", "event_ObjectRestore"),
        ("ObjectTagging:Put", "event_ObjectTagging"),
        ("ObjectAcl:Put", "event_ObjectAcl"),
        ("Replication:OperationFailedReplication", "event_Replication"),
        ("ReducedRedundancyLostObject", "event_ReducedRedundancyLostObject"),
        ("LifecycleExpiration:Delete", "event_LifecycleExpiration"),
        ("LifecycleTransition", "event_LifecycleTransition"),
        ("IntelligentTiering", "event_IntelligentTiering"),
    ],
)
def test_s3_events_that_create_nothing_are_ignored_by_name(event_name: str, name: str) -> None:
    """A queue that is subscribed to `s3:*` brings them; none must cost a GetObject or a dead letter."""
    body = s3_notice(s3_entry("a", eventName=event_name))

    assert parse_notification(body) == Notification(ignored=(name,))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Object Deleted", "event_ObjectDeleted"),
        ("Object Restore Completed", "event_ObjectRestoreCompleted"),
        ("Object Tags Added", "event_ObjectTagsAdded"),
        ("Object Storage Class Changed", "event_ObjectStorageClassChanged"),
    ],
)
def test_eventbridge_events_that_create_nothing_are_ignored_by_name(kind: str, name: str) -> None:
    """EventBridge emits all object events once it is enabled; the rule may let them through."""
    body = bridge_event("a", **{"detail-type": kind})

    assert parse_notification(body) == Notification(ignored=(name,))


# Poison


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("", id="empty"),
        pytest.param("   ", id="blank"),
        pytest.param("not json", id="words"),
        pytest.param('{"Records":[', id="cut off"),
        pytest.param("{} {}", id="two documents"),
        pytest.param("{}", id="empty object"),
        pytest.param("[]", id="empty list"),
        pytest.param("[{}]", id="list"),
        pytest.param("null", id="null"),
        pytest.param("true", id="boolean"),
        pytest.param("42", id="number"),
        pytest.param('"text"', id="string"),
        pytest.param('{"Records":[]}', id="no records"),
        pytest.param('{"Records":null}', id="null records"),
        pytest.param('{"Records":{}}', id="records that are an object"),
        pytest.param('{"Records":"text"}', id="records that are text"),
        pytest.param('{"Records":[null]}', id="a record that is null"),
        pytest.param('{"Records":[{}]}', id="a record without members"),
        pytest.param('{"Records":[[]]}', id="a record that is a list"),
        pytest.param('{"Event":"s3:SomethingElse"}', id="another event"),
        pytest.param('{"s3Bucket":"b","s3ObjectKey":[]}', id="CloudTrail notice without keys"),
        pytest.param('{"s3Bucket":"","s3ObjectKey":["k"]}', id="CloudTrail notice without bucket"),
        pytest.param('{"s3Bucket":"b","s3ObjectKey":""}', id="CloudTrail notice with an empty key as text"),
        pytest.param('{"s3Bucket":"b","s3ObjectKey":7}', id="CloudTrail notice with a number as key"),
        pytest.param('{"s3Bucket":"b","s3ObjectKey":["k",null]}', id="CloudTrail notice with a null key"),
        pytest.param('{"s3Bucket":"b","s3ObjectKey":["\\ud800"]}', id="lone surrogate"),
        pytest.param("[" * 100_000, id="100,000 levels"),
        pytest.param('{"a":' * 5_000 + "1" + "}" * 5_000, id="5,000 levels"),
        pytest.param(in_sns("{}"), id="SNS with an empty object"),
        pytest.param(in_sns("hello"), id="SNS with words"),
        pytest.param(in_sns(""), id="SNS with nothing"),
        pytest.param(as_json({"Type": "Notification", "TopicArn": TOPIC}).decode(), id="SNS without a message"),
        pytest.param(in_sns("x", Message={"Records": []}), id="SNS with an object as message"),
        pytest.param(bridge_event("a", detail={}), id="EventBridge without detail"),
        pytest.param(bridge_event("a", **{"detail-type": "Object Invented"}), id="EventBridge of an unknown type"),
        pytest.param(bridge_event("a", source="acme.ec2"), id="EventBridge of somebody"),
        pytest.param(bridge_event("a", source="aws." + "x" * 50), id="EventBridge of a service with a long name"),
        pytest.param(bridge_event("a", source="aws.A\x1b"), id="EventBridge of a service with odd characters"),
        pytest.param('{"messageType":"ConfigurationHistoryDeliveryCompleted"}', id="half a notice of Config"),
        pytest.param('{"AlarmName":"a"}', id="half an alarm"),
        pytest.param(s3_notice(s3_entry("a", eventName="ObjectInvented:Put")), id="S3 event of no known family"),
        pytest.param(s3_notice(s3_entry("a", eventName=None)), id="S3 event without a name"),
        pytest.param(s3_notice(s3_entry("a", eventSource="aws:ses")), id="event of another service"),
        pytest.param(s3_notice(s3_entry("a", eventSource=":s3")), id="event of a store without a name"),
        pytest.param(s3_notice(s3_entry("a", eventSource="minio:s3\n")), id="event of a store with a line break"),
        pytest.param(s3_notice(s3_entry("a", s3=None)), id="S3 event without an object"),
        pytest.param(s3_notice(s3_entry("")), id="empty key"),
        pytest.param(s3_notice(s3_entry("%FF")), id="key that is no UTF-8"),
    ],
)
def test_anything_else_is_malformed(body: str) -> None:
    """What is not recognised must never mean "nothing to do": peers acknowledged an empty list and lost files."""
    with pytest.raises(MalformedMessage):
        parse_notification(body)


def test_sns_envelopes_without_end_are_malformed() -> None:
    """Deeper than a topic that forwards is a loop, and each level is a whole parse."""
    body = s3_notice("a")
    for _ in range(4):
        body = in_sns(body)

    with pytest.raises(MalformedMessage, match="too deep"):
        parse_notification(body)


def test_what_is_said_of_a_malformed_message_holds_none_of_its_contents() -> None:
    """It goes into a log line."""
    body = s3_notice(s3_entry("a", eventName="SECRET", eventSource="SECRET", eventVersion="SECRET"))

    with pytest.raises(MalformedMessage) as caught:
        parse_notification(body)

    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-10:00", "0001-01-01T00:00:00+00:01"]
)
def test_a_time_at_the_end_of_the_calendar_costs_at_most_its_entry(moment: str) -> None:
    """Such a time is no date in UTC: an error other than MalformedMessage would cost the whole batch."""
    body = s3_notice(s3_entry("a", eventTime=moment), "b")

    announcement = parse_notification(body)

    assert "b" in [one.key for one in announcement.objects]
    assert len(announcement.objects) + len(announcement.malformed) == 2


def test_a_time_at_the_end_of_the_calendar_is_no_fault_of_ours() -> None:
    """The same in the one event of an EventBridge message: announced or malformed, nothing else."""
    body = bridge_event("a", time="0001-01-01T00:00:00+14:00")

    try:
        found = [one.key for one in parse_notification(body).objects]
    except MalformedMessage:
        found = ["a"]

    assert found == ["a"]


# What may be missing


@pytest.mark.parametrize("name", ["size", "eTag", "versionId", "sequencer"])
@pytest.mark.parametrize("how", ["missing", "null"])
def test_an_object_without_a_detail_is_announced_all_the_same(name: str, how: str) -> None:
    """S3 leaves each of them out somewhere: unversioned buckets, copies, lifecycle."""
    entry = s3_entry("a")
    if how == "missing":
        del entry["s3"]["object"][name]
    else:
        entry["s3"]["object"][name] = None

    announcement = parse_notification(s3_notice(entry))

    assert [one.key for one in announcement.objects] == ["a"]


def test_an_entry_without_time_or_version_is_announced_all_the_same() -> None:
    """Neither says which object it is."""
    entry = s3_entry("a")
    del entry["eventTime"], entry["eventVersion"], entry["awsRegion"], entry["userIdentity"]

    assert [one.notified_at for one in parse_notification(s3_notice(entry)).objects] == [None]


def test_one_malformed_entry_costs_only_itself() -> None:
    """The readable siblings are announced, and the bad one is named by its place."""
    body = s3_notice(s3_entry("a"), s3_entry("b", s3={"bucket": {}}), s3_entry("c", eventName="ObjectRemoved:Delete"))

    announcement = parse_notification(body)

    assert [one.key for one in announcement.objects] == ["a"]
    assert announcement.ignored == ("event_ObjectRemoved",)
    assert len(announcement.malformed) == 1
    assert announcement.malformed[0].startswith("Records[1]: s3.")


def test_entries_that_are_all_malformed_make_the_message_malformed() -> None:
    """Then there is nothing to hold up, and the body goes to the dead letters as it is."""
    body = s3_notice(s3_entry("a", s3=None), s3_entry("b", s3=None))

    with pytest.raises(MalformedMessage, match=r"Records\[0\]"):
        parse_notification(body)


# Keys


@pytest.mark.parametrize(
    ("encoded", "plain"),
    [
        ("a+b", "a b"),
        ("a%2Bb", "a+b"),
        ("a%20b", "a b"),
        ("100%25", "100%"),
        ("a%252Bb", "a%2Bb"),
        ("%C3%A4/%E2%82%AC%F0%9F%90%9D.json.gz", "ä/€🐝.json.gz"),
        ("ä", "ä"),
        ("a%3D1%26b", "a=1&b"),
        ("AWSLogs/1/x.json.gz", "AWSLogs/1/x.json.gz"),
    ],
)
def test_keys_in_s3_notifications_are_form_encoded(encoded: str, plain: str) -> None:
    """A key that is not decoded, or decoded twice, is another object or none."""
    (found,) = parse_notification(s3_notice(encoded)).objects

    assert found.key == plain


@pytest.mark.parametrize("plain", ["a+b", "a%2Bb", "a b", "100%", "%FF", "ä/€🐝.json.gz", "a%252Bb"])
@pytest.mark.parametrize("make", [bridge_event, cloudtrail_notice], ids=["EventBridge", "CloudTrail"])
def test_keys_in_other_notices_are_not_encoded(make: Any, plain: str) -> None:
    """Decoding them would turn a plus into a space."""
    (found,) = parse_notification(make(plain)).objects

    assert found.key == plain


@given(ref=refs)
@pytest.mark.parametrize("wrap", [lambda body: body, in_sns], ids=["bare", "in SNS"])
def test_announcing_is_the_inverse_of_reading(ref: ObjectRef, wrap: Any) -> None:
    """Backfill, dead letters and redrive all announce: a key that changes on the way would be lost."""
    body = wrap(s3_notification(ref))

    announcement = parse_notification(body)

    assert [whole(one) for one in announcement.objects] == [whole(ref)]
    assert announcement.ignored == announcement.malformed == ()


@given(ref=refs)
def test_an_announcement_is_plain_ascii_json_where_the_key_stands(ref: ObjectRef) -> None:
    """SQS takes only XML's characters in a body; an encoded key has no others."""
    written = json.loads(s3_notification(ref))["Records"][0]["s3"]["object"]["key"]

    assert written.isascii()
    assert written.isprintable()
    assert " " not in written


@given(plain=keys)
@pytest.mark.parametrize("make", [bridge_event, cloudtrail_notice], ids=["EventBridge", "CloudTrail"])
@pytest.mark.parametrize("wrap", [lambda body: body, in_sns], ids=["bare", "in SNS"])
def test_plain_keys_come_through_unchanged(make: Any, wrap: Any, plain: str) -> None:
    """Whatever S3 allows as a key, these notices carry it as it is."""
    body = wrap(make(plain))

    assert [one.key for one in parse_notification(body).objects] == [plain]


@given(body=bodies)
def test_no_body_raises_anything_but_malformed(body: str) -> None:
    """Bodies come from outside: an error of another kind would cost the batch."""
    try:
        found = parse_notification(body)
    except MalformedMessage:
        return

    assert found.objects or found.ignored


# References


def test_references_are_the_same_when_they_name_the_same_version_of_an_object() -> None:
    """Two notices of one object differ in time and sequencer; it is read once."""
    first = ref(version_id="v1", size=1, notified_at=datetime(2026, 1, 1, tzinfo=UTC))

    assert first == replace(first, size=None, etag="x", notified_at=None)
    assert hash(first) == hash(replace(first, size=None, etag="x", notified_at=None))
    assert first != replace(first, version_id="v2")
    assert first != replace(first, bucket="another")


def test_a_reference_reads_as_the_uri_that_the_command_line_takes() -> None:
    """It is copied from a log line into `aws s3 cp`."""
    assert str(ref(key="a/b.gz")) == f"s3://{BUCKET}/a/b.gz"
    assert str(ref(key="a/b.gz", version_id="v1")) == f"s3://{BUCKET}/a/b.gz (version v1)"


def test_times_of_notices_are_read_in_utc() -> None:
    """Lag is computed from them; a time without a zone is UTC, as everything that AWS writes."""
    local = datetime(2026, 11, 23, 12, 0, tzinfo=timezone(timedelta(hours=2)))

    (with_zone,) = parse_notification(s3_notice(s3_entry("a", eventTime=local.isoformat()))).objects
    (without,) = parse_notification(s3_notice(s3_entry("a", eventTime="2026-11-23T10:00:00"))).objects

    assert with_zone.notified_at == without.notified_at == datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    assert with_zone.notified_at is not None
    assert with_zone.notified_at.tzinfo is UTC
