"""Values that are valid by default; a test changes only what it is about."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import msgspec

from worker.cloudtrail.filters.matching import RecordFilter
from worker.cloudtrail.filters.selectors import parse_selectors
from worker.cloudtrail.inflate import Inflated
from worker.cloudtrail.records import Record, Rejection, read_record
from worker.pipeline.documents import FIRST_EVENT, Action, IndexNaming, Provenance, to_actions
from worker.pipeline.limits import Partition
from worker.pipeline.objects import ObjectRef
from worker.pipeline.ports import Message

BUCKET = "trail-bucket"
ACCOUNT = "123456789012"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TOPIC = f"arn:aws:sns:eu-central-1:{ACCOUNT}:trail"


def as_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


# Records


def event(number: int = 0, **changes: Any) -> dict[str, Any]:
    """An API event; a change of `...` leaves the member out."""
    whole = {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": "AROAEXAMPLE:session",
            "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/session",
            "accountId": ACCOUNT,
            "accessKeyId": "ASIAEXAMPLE",
            "sessionContext": {
                "sessionIssuer": {"type": "Role", "userName": "reader", "accountId": ACCOUNT},
                "attributes": {"creationDate": "2026-11-23T09:00:00Z", "mfaAuthenticated": "false"},
            },
        },
        "eventTime": "2026-11-23T10:00:00Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": "GetObject",
        "awsRegion": "eu-central-1",
        "sourceIPAddress": "192.0.2.10",
        "userAgent": "aws-cli/2.31",
        "requestParameters": {"bucketName": "somebody", "key": f"object/{number}"},
        "responseElements": None,
        "requestID": f"REQUEST{number:08d}",
        "eventID": event_id(number),
        "readOnly": True,
        "eventType": "AwsApiCall",
        "managementEvent": False,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Data",
    } | changes
    return {name: value for name, value in whole.items() if value is not ...}


def event_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def insight(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.08",
        "eventTime": "2026-11-23T10:00:00Z",
        "awsRegion": "eu-central-1",
        "eventID": event_id(number),
        "eventType": "AwsCloudTrailInsight",
        "recipientAccountId": ACCOUNT,
        "sharedEventID": event_id(9_000 + number),
        "insightDetails": {
            "state": "Start",
            "eventSource": "ec2.amazonaws.com",
            "eventName": "RunInstances",
            "insightType": "ApiCallRateInsight",
            "insightContext": {"statistics": {"baseline": {"average": 0.0020833333}, "insight": {"average": 6.0}}},
        },
        "eventCategory": "Insight",
    } | changes


def aggregated(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.0",
        "accountId": ACCOUNT,
        "eventId": event_id(number),
        "eventCategory": "Aggregated",
        "eventType": "AwsAggregatedEvent",
        "awsRegion": "eu-central-1",
        "eventSource": "s3.amazonaws.com",
        "timeWindow": {
            "windowStart": "2026-11-23T10:00:00Z",
            "windowEnd": "2026-11-23T10:05:00Z",
            "windowSize": "PT5M",
        },
        "summary": {"primaryDimension": {"dimension": "eventName", "statistics": [{"name": "GetObject", "value": 7}]}},
    } | changes


def network_activity(number: int = 0, **changes: Any) -> dict[str, Any]:
    return (
        event(
            number,
            userAgent=...,
            requestParameters=...,
            readOnly=...,
            eventType="AwsVpceEvent",
            eventCategory="NetworkActivity",
            errorCode="VpceAccessDenied",
            vpcEndpointId="vpce-0123456789abcdef0",
        )
        | changes
    )


def read(raw: bytes | dict[str, Any], position: int = 0, *, max_depth: int = 64) -> Record | Rejection:
    """Read one record as the pipeline does with one that msgspec accepts."""
    text = raw if isinstance(raw, bytes) else as_json(raw)
    return read_record(msgspec.Raw(text), position, max_depth=max_depth, max_bytes=1 << 20)


def record(raw: bytes | dict[str, Any] | None = None, position: int = 0) -> Record:
    found = read(event() if raw is None else raw, position)
    assert isinstance(found, Record)
    return found


# Filters


def record_filter(**fields: list[str]) -> RecordFilter:
    """A filter with a selector for each field, named like it, that leaves out records with one of these values."""
    document = [
        {"Name": field, "FieldSelectors": [{"Field": field, "Equals": values}]} for field, values in fields.items()
    ]
    return RecordFilter(parse_selectors(as_json(document), "test"))


# Files


def file_text(*records: dict[str, Any] | bytes) -> bytes:
    """The text of a CloudTrail file: records as objects, or as the bytes that stand in it."""
    return b'{"Records":[' + b",".join(one if isinstance(one, bytes) else as_json(one) for one in records) + b"]}"


def text(content: bytes, *, truncated: bool = False) -> Inflated:
    return Inflated(content, truncated)


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def log_file(*records: dict[str, Any] | bytes) -> bytes:
    return packed(file_text(*records))


def key(name: str = "one", *, kind: str = "CloudTrail", delivered: str = "20261123T1005Z") -> str:
    return f"AWSLogs/{ACCOUNT}/{kind}/eu-central-1/2026/11/23/{ACCOUNT}_{kind}_eu-central-1_{delivered}_{name}.json.gz"


def ref(name: str = "one", **changes: Any) -> ObjectRef:
    return ObjectRef(**{"bucket": BUCKET, "key": key(name)} | changes)


# Notices


def s3_entry(encoded_key: str, **changes: Any) -> dict[str, Any]:
    """One entry of an S3 notification, as S3 writes it; the key is taken as it is, encoded or not."""
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-central-1",
        "eventTime": "2026-11-23T10:05:30.123Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:EXAMPLE"},
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "trail",
            "bucket": {"name": BUCKET, "ownerIdentity": {"principalId": "A3NL1KOZZKExample"}, "arn": f"arn:{BUCKET}"},
            "object": {
                "key": encoded_key,
                "size": 1024,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                "sequencer": "0055AED6DCD90281E5",
            },
        },
    } | changes


def s3_notice(*entries: dict[str, Any] | str) -> str:
    whole = [s3_entry(one) if isinstance(one, str) else one for one in entries]
    return as_json({"Records": whole}).decode()


def configuration_test_event() -> str:
    return as_json(
        {
            "Service": "Amazon S3",
            "Event": "s3:TestEvent",
            "Time": "2026-11-23T10:00:00.000Z",
            "Bucket": BUCKET,
            "RequestId": "5582815E1AEA5ADF",
            "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3e",
        }
    ).decode()


def in_sns(message: str, **changes: Any) -> str:
    return as_json(
        {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC,
            "Subject": "Amazon S3 Notification",
            "Message": message,
            "Timestamp": "2026-11-23T10:05:31.000Z",
            "SignatureVersion": "1",
            "Signature": "EXAMPLE=",
            "SigningCertURL": "https://sns.example.com/cert.pem",
            "UnsubscribeURL": "https://sns.example.com/unsubscribe",
        }
        | changes
    ).decode()


def bridge_event(plain_key: str, **changes: Any) -> str:
    return as_json(
        {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": "Object Created",
            "source": "aws.s3",
            "account": ACCOUNT,
            "time": "2026-11-23T10:05:30Z",
            "region": "eu-central-1",
            "resources": [f"arn:aws:s3:::{BUCKET}"],
            "detail": {
                "version": "0",
                "bucket": {"name": BUCKET},
                "object": {
                    "key": plain_key,
                    "size": 1024,
                    "etag": "b1946ac92492d2347c6235b4d2611184",
                    "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
                    "sequencer": "617f08299329d189",
                },
                "request-id": "N4N7GDK58NMKJ12R",
                "requester": ACCOUNT,
                "source-ip-address": "192.0.2.4",
                "reason": "PutObject",
            },
        }
        | changes
    ).decode()


def cloudtrail_notice(*plain_keys: str) -> str:
    return as_json({"s3Bucket": BUCKET, "s3ObjectKey": list(plain_keys)}).decode()


def message(body: str, number: int = 1, *, receive_count: int = 1) -> Message:
    return Message(f"message-{number}", f"receipt-{number}", body, receive_count)


# Documents

ROUTING = IndexNaming("cloudtrail", Partition.DAY, FIRST_EVENT, "2026-11-24T12:00:00Z", 100)
ORIGIN = Provenance(f"s3://{BUCKET}/{key()}", "2026-11-23T10:05:00Z", "2026-11-23T12:00:00Z")


def action(raw: bytes | dict[str, Any] | None = None, position: int = 0) -> Action:
    (made,) = to_actions([record(raw, position)], 0, ORIGIN, ROUTING)
    return made


def bulk_actions(count: int) -> list[Action]:
    return [action(event(number), number) for number in range(count)]


def document(made: Action) -> dict[str, Any]:
    """The document of an action, read back."""
    whole: dict[str, Any] = json.loads(made.lines.split(b"\n")[1])
    return whole


def address(made: Action) -> dict[str, str]:
    """The `_index` and `_id` of an action."""
    found: dict[str, str] = json.loads(made.lines.split(b"\n")[0])["create"]
    return found
