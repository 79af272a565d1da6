"""Promises about the two custom resources, tested with real requests, S3 over HTTP and a real cluster.

CloudFormation waits an hour for a missing response, so every path sends one response, in time.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException

from infra.local.ports import free_port
from infra.local.secure import ADMIN, SecureNode
from tests.support.custom_resources import CloudFormation, environment_of, request, waiting
from tests.support.http_server import Reply, Service, listening
from worker.aws.bucket_notifications import key_filter
from worker.deploy.cluster_handler import cluster_setup
from worker.deploy.custom_resource import LOOPBACK_VARIABLE, WORK_THREAD
from worker.deploy.notification_handler import bucket_notification
from worker.errors import TrailsinkError, Unavailable
from worker.opensearch.schema import VERSION
from worker.opensearch.security import loader_role, role_name

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import NotificationConfigurationTypeDef
    from types_boto3_sqs import SQSClient

    from tests.conftest import Bench

SIGNATURE = "X-Amz-Signature=0123456789abcdef"
ID = "trailsink-test"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:theirs"
ROLE = "arn:aws:iam::000000000000:role/trailsink-loader"


# What the tests work with


class RemainingTime:
    """Lambda's context of an invocation that has this many seconds."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._end - time.monotonic()) * 1000)


def unfinished_work() -> list[threading.Thread]:
    """The threads of handlers that have responded and do not end by themselves."""
    late = [thread for thread in threading.enumerate() if thread.name == WORK_THREAD]
    for thread in late:
        thread.join(20)
    return [thread for thread in late if thread.is_alive()]


@pytest.fixture
def cloudformation() -> Iterator[CloudFormation]:
    """The server that waits for the response; late work has ended before the test ends."""
    with waiting() as service:
        yield service
        assert not unfinished_work()


Handler = Callable[[dict[str, Any], RemainingTime], None]


def invoke(
    handler: Handler, cloudformation: CloudFormation, event: dict[str, Any], seconds: float = 30
) -> dict[str, Any]:
    """Send one request and return the one response that CloudFormation accepted; the environment is the template's."""
    before, context = len(cloudformation.answers), RemainingTime(seconds)

    with environment_of(event.get("ResourceProperties") or {}):
        handler(event, context)

    assert context.get_remaining_time_in_millis() > 0, "Lambda would have ended it"
    responses = cloudformation.answers[before:]
    assert len(responses) == 1
    for copied in ("StackId", "RequestId", "LogicalResourceId"):
        assert responses[0][copied] == event[copied]
    return dict(responses[0])


def notify(  # noqa: PLR0913
    cloudformation: CloudFormation,
    kind: str,
    properties: dict[str, Any],
    *,
    id_: str = "",
    old: dict[str, Any] | None = None,
    seconds: float = 30,
    handler: Handler = bucket_notification,
) -> dict[str, Any]:
    members = ({"PhysicalResourceId": id_} if id_ else {}) | ({"OldResourceProperties": old} if old else {})
    return invoke(handler, cloudformation, request(kind, cloudformation, properties, **members), seconds)


set_up = partial(notify, handler=cluster_setup)


def physical_id_of(response: dict[str, Any]) -> str:
    """The physical id of a response, which must be a success."""
    assert response["Status"] == "SUCCESS", response["Reason"]
    return str(response["PhysicalResourceId"])


# The bucket's notifications


@dataclass(frozen=True)
class TrailBucket:
    """A bucket and two queues of S3's stand-in."""

    s3: S3Client
    sqs: SQSClient
    bucket: str
    queue: str
    other_queue: str

    def properties(self, **changes: Any) -> dict[str, Any]:
        own = {"Bucket": self.bucket, "QueueArn": self.queue, "ConfigurationId": ID}
        return own | {"Prefix": "AWSLogs/", "Suffix": ".json.gz", "EventBridge": "false"} | changes

    def configuration(self, bucket: str = "") -> dict[str, Any]:
        response: Any = self.s3.get_bucket_notification_configuration(Bucket=bucket or self.bucket)
        return {name: value for name, value in response.items() if name != "ResponseMetadata"}

    def put(self, configuration: dict[str, Any]) -> None:
        self.s3.put_bucket_notification_configuration(
            Bucket=self.bucket,
            NotificationConfiguration=cast("NotificationConfigurationTypeDef", configuration),
        )

    def ids(self, bucket: str = "") -> list[str]:
        configuration = self.configuration(bucket)
        kinds = [kind for kind in configuration if kind.endswith("Configurations")]
        return sorted(entry["Id"] for kind in kinds for entry in configuration[kind])

    def put_foreign(self) -> dict[str, Any]:
        """Put entries of others: a queue, a function and EventBridge; return the configuration as S3 does."""
        rules = [{"Name": "prefix", "Value": "images/"}]
        self.put(
            {
                "QueueConfigurations": [
                    {"Id": "removals", "QueueArn": self.other_queue, "Events": ["s3:ObjectRemoved:*"]}
                ],
                "LambdaFunctionConfigurations": [
                    {
                        "Id": "thumbnails",
                        "LambdaFunctionArn": FUNCTION,
                        "Events": ["s3:ObjectCreated:*"],
                        "Filter": {"Key": {"FilterRules": rules}},
                    }
                ],
                "EventBridgeConfiguration": {},
            }
        )
        return self.configuration()


def make_queue(sqs: SQSClient, name: str) -> str:
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


@pytest.fixture
def trail(environment: dict[str, str]) -> TrailBucket:  # noqa: ARG001 - it is set while this is used
    """A fresh bucket that announces nothing yet."""
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    s3.create_bucket(Bucket="trail")
    return TrailBucket(s3, sqs, "trail", make_queue(sqs, "ours"), make_queue(sqs, "theirs"))


@pytest.fixture
def s3_proxy(trail: TrailBucket, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:  # noqa: ARG001
    """A proxy between the handlers and S3, which interferes as the test tells it."""
    with listening(Service(target=environment["AWS_ENDPOINT_URL"])) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", service.url)
        yield service


def error_body(code: str, message: str = "no") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def test_a_created_notification_announces_new_objects(trail: TrailBucket, cloudformation: CloudFormation) -> None:
    """This is what the stack is for. The signature of the ResponseURL covers the form of the response."""
    physical_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))

    trail.s3.put_object(Bucket=trail.bucket, Key="AWSLogs/1/CloudTrail/x.json.gz", Body=b"x")

    url = trail.sqs.get_queue_url(QueueName="ours")["QueueUrl"]
    received = [trail.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages", []) for _ in range(2)]
    assert any("AWSLogs/1/CloudTrail/x.json.gz" in message["Body"] for messages in received for message in messages)
    assert (trail.bucket in physical_id, ID in physical_id) == (True, True)
    method, path, headers, body, _ = cloudformation.seen[0]
    assert (method, path.endswith(SIGNATURE), len(body) < 4096) == ("PUT", True, True)
    assert {name.lower(): value for name, value in headers.items()}["content-type"] == ""


def test_other_notifications_are_not_changed(trail: TrailBucket, cloudformation: CloudFormation) -> None:
    """They belong to other teams, who would notice only by what is missing."""
    before = trail.put_foreign()

    physical_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))
    after_create = trail.configuration()
    updated = notify(
        cloudformation, "Update", trail.properties(Prefix="o-1/AWSLogs/"), id_=physical_id, old=trail.properties()
    )
    assert ID in trail.ids()
    deletion = notify(cloudformation, "Delete", trail.properties(Prefix="o-1/AWSLogs/"), id_=physical_id)

    assert [updated["Status"], deletion["Status"]] == ["SUCCESS", "SUCCESS"]
    assert after_create["LambdaFunctionConfigurations"] == before["LambdaFunctionConfigurations"]
    assert trail.configuration() == before


@pytest.mark.parametrize(
    ("events", "prefix"), [(["s3:ObjectCreated:*"], ""), (["s3:ObjectCreated:Put"], "AWSLogs/000000000000/")]
)
def test_an_overlapping_notification_is_named(
    trail: TrailBucket, cloudformation: CloudFormation, *, events: list[str], prefix: str
) -> None:
    """S3's own message names no entry. The failed Create's Delete leaves the other entry alone."""
    rules = [{"Name": "prefix", "Value": prefix}] if prefix else []
    entry = {"Id": "siem", "QueueArn": trail.other_queue, "Events": events}
    trail.put({"QueueConfigurations": [entry | ({"Filter": {"Key": {"FilterRules": rules}}} if rules else {})]})
    before = trail.configuration()

    failed = notify(cloudformation, "Create", trail.properties())
    deletion = notify(cloudformation, "Delete", trail.properties(), id_=failed["PhysicalResourceId"])

    assert (failed["Status"], deletion["Status"]) == ("FAILED", "SUCCESS")
    for expected in ("siem", trail.other_queue, "queue", events[0], prefix or "any prefix"):
        assert expected in failed["Reason"]
    assert trail.configuration() == before


def test_a_repeated_request_puts_nothing(trail: TrailBucket, s3_proxy: Service, cloudformation: CloudFormation) -> None:
    """Lambda may deliver a request twice; every put is a window in which another tool's change can be lost."""
    first = physical_id_of(notify(cloudformation, "Create", trail.properties()))
    second = physical_id_of(notify(cloudformation, "Create", trail.properties()))

    assert (first, s3_proxy.asked("PUT")) == (second, 1)


def test_a_new_prefix_or_queue_is_put_in_place(trail: TrailBucket, cloudformation: CloudFormation) -> None:
    """The physical id stays, so that no Delete follows."""
    physical_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))

    response = notify(
        cloudformation,
        "Update",
        trail.properties(Prefix="AWSLogs/1", QueueArn=trail.other_queue),
        id_=physical_id,
        old=trail.properties(),
    )

    entries = trail.configuration()["QueueConfigurations"]
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", physical_id)
    assert [(entry["Id"], entry["QueueArn"]) for entry in entries] == [(ID, trail.other_queue)]
    assert entries[0]["Filter"]["Key"]["FilterRules"][0]["Value"] == "AWSLogs/1"


def test_another_bucket_moves_the_entry(trail: TrailBucket, cloudformation: CloudFormation) -> None:
    """The new physical id has CloudFormation delete the old one: that removes the entry from the old bucket only."""
    trail.s3.create_bucket(Bucket="second")
    old_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))
    moved = notify(cloudformation, "Update", trail.properties(Bucket="second"), id_=old_id, old=trail.properties())
    in_both = trail.ids(), trail.ids("second")

    deletion = notify(cloudformation, "Delete", trail.properties(Bucket="second"), id_=old_id)

    assert (moved["Status"], deletion["Status"]) == ("SUCCESS", "SUCCESS")
    assert moved["PhysicalResourceId"] != old_id
    assert (in_both, trail.ids(), trail.ids("second")) == (([ID], [ID]), [], [ID])


def test_another_id_in_the_same_bucket_replaces_our_entry_and_survives_the_old_ids_delete(
    trail: TrailBucket, cloudformation: CloudFormation
) -> None:
    """The two entries would overlap, so the same put removes the old one."""
    old_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))
    renamed = trail.properties(ConfigurationId="renamed")
    response = notify(cloudformation, "Update", renamed, id_=old_id, old=trail.properties())

    notify(cloudformation, "Delete", renamed, id_=old_id)

    assert response["Status"] == "SUCCESS"
    assert response["PhysicalResourceId"] != old_id
    assert trail.ids() == ["renamed"]


def test_a_failed_update_keeps_the_physical_id_and_its_rollback_restores_the_entry(
    trail: TrailBucket, cloudformation: CloudFormation
) -> None:
    """Another id would have CloudFormation delete the entry that works."""
    old_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))
    target = trail.properties(Bucket="no-such-bucket")

    failed = notify(cloudformation, "Update", target, id_=old_id, old=trail.properties())
    rollback = notify(cloudformation, "Update", trail.properties(), id_=old_id, old=target)

    assert (failed["Status"], failed["PhysicalResourceId"]) == ("FAILED", old_id)
    assert "There is no bucket no-such-bucket" in failed["Reason"]
    assert (rollback["Status"], rollback["PhysicalResourceId"]) == ("SUCCESS", old_id)
    assert trail.ids() == [ID]


def test_a_rollback_is_not_stopped_by_the_mistake_that_it_reverts(
    trail: TrailBucket, cloudformation: CloudFormation
) -> None:
    """The old properties of a rollback are those that were wrong."""
    old_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))

    response = notify(cloudformation, "Update", trail.properties(), id_=old_id, old={"EventBridge": "perhaps"})

    assert (response["Status"], response["PhysicalResourceId"], trail.ids()) == ("SUCCESS", old_id, [ID])


@pytest.mark.parametrize("properties", [{}, {"Bucket": ""}, {"Bucket": "trail", "ConfigurationId": ""}])
def test_a_failed_create_is_deleted_by_an_id_that_cloudformation_generated(
    trail: TrailBucket, cloudformation: CloudFormation, properties: dict[str, str]
) -> None:
    """A Delete that fails leaves a stack that cannot be removed."""
    before = trail.put_foreign()
    failed = notify(cloudformation, "Create", properties)

    deletion = notify(cloudformation, "Delete", properties, id_="trailsink-Notification-1ABCDEF234567")

    assert (failed["Status"], deletion["Status"]) == ("FAILED", "SUCCESS")
    assert "The function's environment is wrong" in failed["Reason"]
    assert deletion["PhysicalResourceId"] == "trailsink-Notification-1ABCDEF234567"
    assert trail.configuration() == before


def test_an_entry_of_a_create_that_never_responded_is_removed(
    trail: TrailBucket, cloudformation: CloudFormation
) -> None:
    """Otherwise it would announce to a deleted queue, and S3 would refuse everybody's next change."""
    before = trail.put_foreign()
    physical_id_of(notify(cloudformation, "Create", trail.properties()))

    deletion = notify(cloudformation, "Delete", trail.properties(), id_="trailsink-Notification-1ABCDEF234567")

    assert (deletion["Status"], trail.configuration()) == ("SUCCESS", before)


def test_a_delete_keeps_an_entry_of_our_id_for_another_queue(
    trail: TrailBucket, cloudformation: CloudFormation
) -> None:
    """Another stack has replaced it, for example one of the same name in another account."""
    physical_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))
    physical_id_of(notify(cloudformation, "Create", trail.properties(QueueArn=trail.other_queue)))

    deletion = notify(cloudformation, "Delete", trail.properties(), id_=physical_id)

    assert (deletion["Status"], trail.ids()) == ("SUCCESS", [ID])


def test_a_bucket_that_no_longer_exists_does_not_stop_a_deletion(
    trail: TrailBucket, cloudformation: CloudFormation
) -> None:
    """Nobody could restore the bucket to delete a stack."""
    physical_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))
    trail.s3.delete_bucket(Bucket=trail.bucket)

    deletion = notify(cloudformation, "Delete", trail.properties(), id_=physical_id)

    assert deletion["Status"] == "SUCCESS"
    assert "no longer exists" in deletion["Reason"]


def test_a_delete_that_is_refused_fails_at_once_and_names_the_entry_that_stays(
    trail: TrailBucket, s3_proxy: Service, cloudformation: CloudFormation
) -> None:
    """The entry would cause failures for others, so a success would be wrong."""
    physical_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))
    s3_proxy.replies += [(403, error_body("AccessDenied", "Access Denied"))] * 9
    started = time.monotonic()

    deletion = notify(cloudformation, "Delete", trail.properties(), id_=physical_id)

    assert deletion["Status"] == "FAILED"
    for expected in ("AccessDenied", ID, trail.bucket, "by hand"):
        assert expected in deletion["Reason"]
    assert time.monotonic() - started < 20  # retrying would use up all of the function's time


def test_a_create_that_is_refused_can_be_deleted(
    trail: TrailBucket, s3_proxy: Service, cloudformation: CloudFormation
) -> None:
    """The refusal persists, but the stack must be deletable: the bucket never had an entry of ours."""
    s3_proxy.replies += [(403, error_body("AccessDenied", "Access Denied"))] * 99

    failed = notify(cloudformation, "Create", trail.properties(), seconds=20)
    deletion = notify(cloudformation, "Delete", trail.properties(), id_=failed["PhysicalResourceId"])

    assert (failed["Status"], deletion["Status"]) == ("FAILED", "SUCCESS")
    assert "AccessDenied" in failed["Reason"]


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (409, "OperationAborted"), (503, "SlowDown"), (500, "InternalError")]
)
def test_a_transient_failure_is_retried(
    trail: TrailBucket, s3_proxy: Service, cloudformation: CloudFormation, *, status: int, code: str
) -> None:
    """A new role's permissions take seconds, another tool's change is in progress, or S3 is busy."""
    s3_proxy.replies += [(status, error_body(code)), (0, b"")]

    physical_id_of(notify(cloudformation, "Create", trail.properties()))

    assert trail.ids() == [ID]


def test_a_queue_that_s3_cannot_send_to_yet_is_retried(trail: TrailBucket, cloudformation: CloudFormation) -> None:
    """Its policy was created a second ago and has not reached S3 yet."""
    late = trail.queue.replace(":ours", ":late")
    timer = threading.Timer(1.5, trail.sqs.create_queue, kwargs={"QueueName": "late"})
    timer.start()

    physical_id_of(notify(cloudformation, "Create", trail.properties(QueueArn=late)))

    timer.join()
    assert trail.ids() == [ID]


def test_a_queue_that_s3_can_never_send_to_is_reported_in_time(
    trail: TrailBucket, cloudformation: CloudFormation
) -> None:
    """With S3's own message, which names the destination."""
    response = notify(
        cloudformation, "Create", trail.properties(QueueArn=trail.queue.replace(":ours", ":never")), seconds=30
    )

    assert response["Status"] == "FAILED"
    assert "Unable to validate the following destination configurations" in response["Reason"]
    assert ":never" in response["Reason"]


def test_a_broken_destination_of_others_does_not_stop_a_deletion(
    trail: TrailBucket, cloudformation: CloudFormation
) -> None:
    """S3 validates all destinations at each put, and those of others are not for us to fix."""
    trail.put_foreign()
    physical_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))
    trail.sqs.delete_queue(QueueUrl=trail.sqs.get_queue_url(QueueName="theirs")["QueueUrl"])

    deletion = notify(cloudformation, "Delete", trail.properties(), id_=physical_id)

    assert (deletion["Status"], trail.ids()) == ("SUCCESS", ["removals", "thumbnails"])


def test_an_entry_that_another_tool_overwrites_is_put_again(
    trail: TrailBucket, s3_proxy: Service, cloudformation: CloudFormation
) -> None:
    """S3 has no lock: a tool that read before our put writes after it, and our entry would be lost unnoticed."""
    s3_proxy.after_put += [trail.put_foreign]

    physical_id_of(notify(cloudformation, "Create", trail.properties()))

    assert trail.ids() == ["removals", "thumbnails", ID]
    assert "EventBridgeConfiguration" in trail.configuration()


def test_a_tool_that_never_stops_overwriting_is_reported_in_time(
    trail: TrailBucket, s3_proxy: Service, cloudformation: CloudFormation
) -> None:
    """The retries are bounded, and the reason names the cause."""
    s3_proxy.after_put += [trail.put_foreign] * 99

    response = notify(cloudformation, "Create", trail.properties(), seconds=30)

    assert response["Status"] == "FAILED"
    assert "Another client changes the notifications" in response["Reason"]


def test_event_bridge_is_enabled_and_stays_enabled(trail: TrailBucket, cloudformation: CloudFormation) -> None:
    """Others may use it by the time that our stack is deleted."""
    properties = trail.properties(EventBridge="true")
    physical_id = physical_id_of(notify(cloudformation, "Create", properties))
    enabled = trail.configuration()

    deletion = notify(cloudformation, "Delete", properties, id_=physical_id)

    assert enabled == trail.configuration() == {"EventBridgeConfiguration": {}}
    assert (deletion["Status"], "EventBridge" in deletion["Reason"]) == ("SUCCESS", True)


def test_another_notification_source_removes_our_entry(trail: TrailBucket, cloudformation: CloudFormation) -> None:
    """With both, each file would be announced and read twice."""
    physical_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))

    changed = trail.properties(EventBridge="true")
    response = notify(cloudformation, "Update", changed, id_=physical_id, old=trail.properties())

    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", physical_id)
    assert trail.configuration() == {"EventBridgeConfiguration": {}}


# The response


@pytest.mark.parametrize("failures", [[(503, b"")], [(0, b"")], [(500, b""), (0, b""), (403, b"")]])
def test_a_response_that_is_not_accepted_is_sent_again(
    trail: TrailBucket, cloudformation: CloudFormation, failures: list[Reply]
) -> None:
    """The ResponseURL is S3's, which is sometimes unavailable."""
    cloudformation.replies += failures

    response = notify(cloudformation, "Create", trail.properties())

    assert response["Status"] == "SUCCESS"
    assert len(cloudformation.seen) == len(failures) + 1


def test_a_response_that_is_never_accepted_raises_in_time_and_shows_no_secret(
    trail: TrailBucket, cloudformation: CloudFormation, capfd: pytest.CaptureFixture[str]
) -> None:
    """Then Lambda retries the invocation, a minute later. The URL must not be in any log."""
    cloudformation.replies += [(503, b"")] * 99
    context = RemainingTime(4)

    with pytest.raises(Unavailable) as caught, environment_of(trail.properties()):
        bucket_notification(request("Create", cloudformation, trail.properties()), context)

    logged = "".join(capfd.readouterr()) + str(caught.value)
    assert context.get_remaining_time_in_millis() > 0
    assert "503" in logged
    assert "Signature" not in logged
    assert cloudformation.url not in logged


def test_the_log_says_what_was_done_and_does_not_show_the_response_url(
    trail: TrailBucket, cloudformation: CloudFormation, capfd: pytest.CaptureFixture[str]
) -> None:
    """Anyone with the ResponseURL can respond in our place."""
    physical_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))

    out, err = capfd.readouterr()
    line = json.loads(out)
    assert (line["request"], line["status"], line["physical_id"]) == ("Create", "SUCCESS", physical_id)
    assert "Signature" not in out + err


@pytest.mark.parametrize("kind", ["Create", "Update", "Delete"])
def test_an_internal_error_gets_a_response(
    trail: TrailBucket,
    cloudformation: CloudFormation,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    """CloudFormation would wait an hour. The error's text stays out of response and log."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "no-address?secret=hunter2")
    physical_id = f"trailsink-notification:{trail.bucket}:{ID}"
    id_ = "" if kind == "Create" else physical_id

    response = notify(cloudformation, kind, trail.properties(), id_=id_)

    logged = "".join(capfd.readouterr())
    assert (response["Status"], response["PhysicalResourceId"]) == (
        "FAILED",
        id_ or "trailsink-not-made",
    )
    assert "ValueError" in response["Reason"]
    assert "custom_resource.py" in logged
    assert "hunter2" not in logged + response["Reason"]


@pytest.mark.parametrize("change", [{"RequestType": "Replace"}, {"StackId": "anything"}, {"StackId": None}])
@pytest.mark.parametrize("handler", [bucket_notification, cluster_setup])
def test_an_invalid_request_gets_a_response(
    trail: TrailBucket, cloudformation: CloudFormation, handler: Handler, change: dict[str, Any]
) -> None:
    """Whatever is wrong with it, it has a ResponseURL."""
    event = request("Create", cloudformation, trail.properties(), **change)

    response = invoke(handler, cloudformation, event)

    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith(("This is not a request", "The request is of another stack"))
    assert trail.configuration() == {}


# Requests that are not CloudFormation's


def forge(handler: Handler, properties: dict[str, str], event: dict[str, Any], seconds: float = 30) -> str:
    """Invoke a deployed function as anybody with lambda:InvokeFunction can; returns what it raised."""
    with environment_of(properties):
        try:
            handler(event, RemainingTime(seconds))
        except TrailsinkError as error:
            return str(error)
    return ""


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "CREATE_IN_PROGRESS", "UPDATE_FAILED"])
def test_a_delete_while_the_stack_is_at_rest_removes_nothing(
    trail: TrailBucket, cloudformation: CloudFormation, status: str
) -> None:
    """Without its entry no file is loaded any more, and the first sign is an alarm hours later."""
    physical_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))
    before, cloudformation.status = trail.configuration(), status

    forged = notify(cloudformation, "Delete", trail.properties(), id_=physical_id)
    made_up = notify(cloudformation, "Delete", trail.properties(), id_="x")

    assert (forged["Status"], made_up["Status"]) == ("FAILED", "FAILED")
    assert f"while the stack is {status}" in forged["Reason"]
    assert trail.configuration() == before


@pytest.mark.parametrize(
    "status",
    [
        "DELETE_IN_PROGRESS",
        "ROLLBACK_IN_PROGRESS",
        "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
        "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
    ],
)
def test_a_delete_of_cloudformation_removes_the_entry(
    trail: TrailBucket, cloudformation: CloudFormation, status: str
) -> None:
    """A stack that cannot be deleted is the other mistake."""
    physical_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))
    cloudformation.status = status

    deletion = notify(cloudformation, "Delete", trail.properties(), id_=physical_id)

    assert (deletion["Status"], trail.configuration()) == ("SUCCESS", {})


def test_a_status_that_cannot_be_read_removes_nothing(trail: TrailBucket, cloudformation: CloudFormation) -> None:
    """What cannot be checked is not done; a permission that is new is retried for a while."""
    physical_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))
    cloudformation.status = ""

    deletion = notify(cloudformation, "Delete", trail.properties(), id_=physical_id, seconds=20)

    assert (deletion["Status"], trail.ids()) == ("FAILED", [ID])
    assert "The stack's status cannot be read: AccessDenied" in deletion["Reason"]


@pytest.mark.parametrize("kind", ["Create", "Update", "Delete"])
def test_properties_of_a_request_change_nothing(trail: TrailBucket, cloudformation: CloudFormation, kind: str) -> None:
    """Bucket, queue, prefix and id are those of the function's environment."""
    trail.s3.create_bucket(Bucket="second")
    physical_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))
    theirs = {"Bucket": "second", "QueueArn": trail.other_queue, "ConfigurationId": "theirs", "Prefix": "theirs/"}
    event = request(kind, cloudformation, theirs, PhysicalResourceId=physical_id, OldResourceProperties=theirs)

    assert forge(bucket_notification, trail.properties(), event) == ""

    assert trail.configuration("second") == {}
    expected = [] if kind == "Delete" else [(ID, trail.queue, "AWSLogs/")]
    entries = trail.configuration().get("QueueConfigurations", [])
    assert [(entry["Id"], entry["QueueArn"], key_filter(entry)[0]) for entry in entries] == expected


@pytest.mark.parametrize(
    ("kind", "physical_id"),
    [("Update", "trailsink-notification:second:siem"), ("Delete", "trailsink-notification:second:siem")],
)
def test_a_made_up_physical_id_removes_no_entry_of_others(
    trail: TrailBucket, cloudformation: CloudFormation, kind: str, physical_id: str
) -> None:
    """An entry is ours only with our queue."""
    trail.s3.create_bucket(Bucket="second")
    entry: Any = {"Id": "siem", "QueueArn": trail.other_queue, "Events": ["s3:ObjectCreated:*"]}
    trail.s3.put_bucket_notification_configuration(
        Bucket="second", NotificationConfiguration={"QueueConfigurations": [entry]}
    )

    notify(cloudformation, kind, trail.properties(), id_=physical_id)

    assert trail.ids("second") == ["siem"]


def test_the_master_s_password_goes_only_to_the_cluster_of_the_environment(
    bench: Bench, cloudformation: CloudFormation
) -> None:
    """The address, the sign-in and the secret of the event are the caller's."""
    secret = boto3.client("secretsmanager").create_secret(
        Name=f"master-{bench.prefix}", SecretString='{"username": "admin", "password": "hunter2"}'
    )["ARN"]
    with listening(Service()) as theirs, listening(Service(target=bench.settings.opensearch_url)) as ours:
        event = request(
            "Create",
            cloudformation,
            {
                "OpensearchUrl": theirs.url,
                "OpensearchAuth": "basic",
                "OpensearchSecretArn": secret,
                "IndexPrefix": "evil",
            }
            | {"RetentionDays": "1", "LoaderRoleArn": FUNCTION, "Replicas": "9"},
        )
        own = cluster_properties(bench, OpensearchUrl=ours.url, OpensearchAuth="basic", OpensearchSecretArn=secret)

        assert forge(cluster_setup, own, event) == ""

    assert theirs.seen == []
    assert ours.seen
    assert not bench.opensearch.indices.exists_index_template(name="trailsink-evil")
    assert cloudformation.answers[-1]["Status"] == "SUCCESS"


@pytest.mark.parametrize("handler", [bucket_notification, cluster_setup])
@pytest.mark.parametrize(
    "url",
    [
        "http://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/x",
        "https://evil.example/cloudformation-custom-resource-response-useast1.s3.amazonaws.com",
        "https://127.0.0.1:1/x",
        "http://127.0.0.1.evil.example/x",
        None,
        7,
    ],
)
def test_a_place_for_the_response_that_is_not_cloudformation_s_stops_everything(
    trail: TrailBucket, cloudformation: CloudFormation, handler: Handler, url: object
) -> None:
    """CloudFormation never sends such a request, so nothing of it is done."""
    event = request("Create", cloudformation, trail.properties(), ResponseURL=url)

    failure = forge(handler, trail.properties(), event)

    assert failure == "The request has no ResponseURL of CloudFormation in this region, so nothing was done."
    assert (trail.configuration(), cloudformation.seen) == ({}, [])


def test_this_machine_is_no_place_for_a_response_on_aws(
    trail: TrailBucket, cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template never sets the variable that lets a stand-in wait here."""
    monkeypatch.delenv(LOOPBACK_VARIABLE)

    failure = forge(bucket_notification, trail.properties(), request("Create", cloudformation, trail.properties()))

    assert failure.startswith("The request has no ResponseURL of CloudFormation")
    assert (trail.configuration(), cloudformation.seen) == ({}, [])


def test_a_long_reason_is_cut_to_the_limit_of_cloudformation(
    trail: TrailBucket, cloudformation: CloudFormation
) -> None:
    """A longer response is refused, and the stack waits an hour."""
    entries = [
        {
            "Id": f"{number}-{'ü' * 200}",
            "QueueArn": trail.other_queue,
            "Events": ["s3:ObjectCreated:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": f"AWSLogs/{number:03}"}]}},
        }
        for number in range(30)
    ]
    trail.put({"QueueConfigurations": entries})

    response = notify(cloudformation, "Create", trail.properties())

    assert response["Status"] == "FAILED"
    assert "0-ü" in response["Reason"]
    assert 2000 < len(cloudformation.seen[0][3]) < 4096


@pytest.mark.parametrize("kind", ["Create", "Update", "Delete"])
def test_a_response_precedes_the_deadline_and_late_work_stops(
    trail: TrailBucket, s3_proxy: Service, cloudformation: CloudFormation, kind: str
) -> None:
    """A few seconds remain, and S3 hangs. Work that continued after FAILED would undo the rollback."""
    physical_id = physical_id_of(notify(cloudformation, "Create", trail.properties()))
    puts, released = s3_proxy.asked("PUT"), threading.Event()

    def hang() -> None:
        released.wait(30)

    s3_proxy.replies += [hang]
    id_ = "" if kind == "Create" else physical_id
    response = notify(cloudformation, kind, trail.properties(Prefix="AWSLogs/2"), seconds=10, id_=id_)
    released.set()

    assert response["Status"] == "FAILED"
    assert "ran out of time" in response["Reason"]
    assert response["PhysicalResourceId"] == (id_ or "trailsink-not-made")
    assert not unfinished_work()
    assert s3_proxy.asked("PUT") == puts
    assert len(cloudformation.answers) == 2


def test_a_put_that_fails_after_the_response_is_not_retried(
    trail: TrailBucket, s3_proxy: Service, cloudformation: CloudFormation
) -> None:
    """A frozen function resumes in a later invocation, such as the rollback's Delete: its SDK must not retry then."""
    released = threading.Event()

    def hang() -> Reply:
        released.wait(30)
        return 0, b""

    s3_proxy.only, s3_proxy.replies = "PUT", [hang]
    response = notify(cloudformation, "Create", trail.properties(), seconds=14)
    released.set()

    assert not unfinished_work()
    assert (response["Status"], s3_proxy.asked("PUT"), trail.ids()) == ("FAILED", 1, [])


# The cluster


def cluster_properties(bench: Bench, **changes: str) -> dict[str, str]:
    own = {"OpensearchUrl": bench.settings.opensearch_url, "OpensearchAuth": "auto", "OpensearchService": "auto"}
    none = {"OpensearchSecretArn": "", "LoaderRoleArn": ""}
    return own | none | {"IndexPrefix": bench.prefix, "RetentionDays": "30", "Replicas": "0", "Mapping": "1"} | changes


def index_template(bench: Bench) -> dict[str, Any]:
    response: Any = bench.opensearch.indices.get_index_template(name=f"trailsink-{bench.prefix}")
    return dict(response["index_templates"][0]["index_template"])


def test_a_cluster_is_set_up_updated_and_kept(bench: Bench, cloudformation: CloudFormation) -> None:
    """As `trailsink setup` does it. A deletion never removes users' data, or the template and policy for it."""
    bench.opensearch.indices.delete_index_template(name=f"trailsink-{bench.prefix}")
    properties = cluster_properties(bench)

    physical_id = physical_id_of(set_up(cloudformation, "Create", properties))
    updated = set_up(
        cloudformation, "Update", properties | {"Mapping": "2", "Replicas": "1"}, id_=physical_id, old=properties
    )
    deletion = set_up(cloudformation, "Delete", properties, id_=physical_id)

    assert (updated["Status"], updated["PhysicalResourceId"]) == ("SUCCESS", physical_id)
    assert (deletion["Status"], "stay" in deletion["Reason"]) == ("SUCCESS", True)
    assert index_template(bench)["_meta"]["version"] == VERSION
    assert index_template(bench)["template"]["settings"]["index"]["number_of_replicas"] == "1"


def test_a_server_without_roles_is_set_up_and_reported_as_such(bench: Bench, cloudformation: CloudFormation) -> None:
    """A self-managed cluster may have no security plugin; then there is no role to map."""
    response = set_up(cloudformation, "Create", cluster_properties(bench, LoaderRoleArn=ROLE))

    assert response["Status"] == "SUCCESS"
    assert "no fine-grained access control" in response["Reason"]


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_cluster_that_does_not_answer_is_retried_until_the_deadline(
    bench: Bench, cloudformation: CloudFormation, kind: str
) -> None:
    """Then the reason says why. A Delete does not need the cluster at all."""
    properties = cluster_properties(bench, OpensearchUrl=f"http://127.0.0.1:{free_port()}")
    id_ = "" if kind == "Create" else "trailsink-cluster-setup:Setup"

    failed = set_up(cloudformation, kind, properties, seconds=14, id_=id_)
    deletion = set_up(cloudformation, "Delete", properties, seconds=14, id_="made-up-1ABC")

    assert (failed["Status"], deletion["Status"]) == ("FAILED", "SUCCESS")
    assert "OpenSearch does not answer" in failed["Reason"]


def test_a_cluster_that_hangs_does_not_delay_the_response(bench: Bench, cloudformation: CloudFormation) -> None:
    """The watchdog responds, because the work is blocked."""
    released = threading.Event()

    def hang() -> Reply:
        released.wait(30)
        return 503, b"{}"

    with listening(Service(replies=[hang] * 9)) as cluster:
        response = set_up(cloudformation, "Create", cluster_properties(bench, OpensearchUrl=cluster.url), seconds=6)
        released.set()

    assert response["Status"] == "FAILED"
    assert "time" in response["Reason"]


def test_a_domain_that_denies_access_at_first_is_retried(bench: Bench, cloudformation: CloudFormation) -> None:
    """A new domain responds with 403, or not at all, for minutes."""
    refused = json.dumps({"error": {"type": "security_exception", "reason": "no permissions"}, "status": 403}).encode()
    early: list[Reply | Callable[[], Reply | None]] = [(0, b""), (403, refused), (503, b"{}"), (403, refused)]
    with listening(Service(target=bench.settings.opensearch_url, replies=early)) as domain:
        physical_id_of(set_up(cloudformation, "Create", cluster_properties(bench, OpensearchUrl=domain.url)))

    assert index_template(bench)["_meta"]["version"] == VERSION


def test_a_domain_that_always_denies_access_is_reported_in_time(bench: Bench, cloudformation: CloudFormation) -> None:
    """The reason says what the operator has to change."""
    refused = json.dumps({"error": {"type": "security_exception", "reason": "no permissions"}, "status": 403}).encode()
    with listening(Service(replies=[(403, refused)] * 99)) as domain:
        response = set_up(cloudformation, "Create", cluster_properties(bench, OpensearchUrl=domain.url), seconds=20)

    assert response["Status"] == "FAILED"
    assert "refuses with 403" in response["Reason"]
    assert "may not do this" in response["Reason"]


def test_a_permanent_failure_is_reported_at_once(bench: Bench, cloudformation: CloudFormation) -> None:
    """Another template has priority over ours: retrying for minutes would not change that."""
    bench.opensearch.indices.put_index_template(
        name=f"theirs-{bench.prefix}", body={"index_patterns": [f"{bench.prefix}-2*"], "priority": 900}
    )
    started = time.monotonic()

    response = set_up(cloudformation, "Create", cluster_properties(bench))

    bench.opensearch.indices.delete_index_template(name=f"theirs-{bench.prefix}")
    assert response["Status"] == "FAILED"
    assert f"theirs-{bench.prefix}" in response["Reason"]
    assert time.monotonic() - started < 20  # retrying would use up all of the function's time


# A cluster with roles


@pytest.fixture(scope="module")
def secure_node() -> Iterator[SecureNode]:
    """A real node with the security plugin, like a domain with fine-grained access control."""
    with SecureNode() as node:
        yield node


def log_in(node: SecureNode, user: str, password: str) -> OpenSearch:
    return OpenSearch([node.url], http_auth=(user, password), ca_certs=str(node.certificate_authority), timeout=30)


@dataclass(frozen=True)
class SecuredCluster:
    """The secured node, the properties of its setup, and a user in the place of an IAM role."""

    admin: OpenSearch
    loader: OpenSearch
    prefix: str
    properties: dict[str, str]

    def load(self, index: str) -> int:
        """Create one document as the pipeline does; returns its status, or that of the request."""
        lines = [{"create": {"_index": index, "_id": uuid.uuid4().hex}}, {"eventName": "AssumeRole"}]
        body = "".join(json.dumps(line) + "\n" for line in lines)
        try:
            response: Any = self.loader.transport.perform_request("POST", "/_bulk", body=body)
        except AuthorizationException as refused:
            return int(refused.status_code)
        return int(response["items"][0]["create"]["status"])


@pytest.fixture
def secured(
    secure_node: SecureNode, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[SecuredCluster]:
    """A user with an IAM role's ARN as backend role: a managed domain treats a signed request so."""
    prefix = environment["TRAILSINK_INDEX_PREFIX"]
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_CA_FILE", str(secure_node.certificate_authority))
    secret = json.dumps({"username": ADMIN, "password": secure_node.passwords[ADMIN]})
    arn = boto3.client("secretsmanager").create_secret(Name=f"master-{prefix}", SecretString=secret)["ARN"]
    admin, password = log_in(secure_node, ADMIN, secure_node.passwords[ADMIN]), f"7x{uuid.uuid4().hex}"
    user = {"password": password, "backend_roles": [ROLE]}
    admin.transport.perform_request("PUT", f"/_plugins/_security/api/internalusers/u{prefix}", body=user)
    properties = {"OpensearchUrl": secure_node.url, "OpensearchSecretArn": arn, "IndexPrefix": prefix, "Replicas": "0"}
    loader = log_in(secure_node, f"u{prefix}", password)
    yield SecuredCluster(admin, loader, prefix, properties | {"LoaderRoleArn": ROLE})
    admin.close()
    loader.close()


def test_the_loader_gets_access_to_load_and_to_nothing_else(
    secured: SecuredCluster, cloudformation: CloudFormation
) -> None:
    """Without the mapping every batch is parked; with more permissions, a stolen role could read the audit trail."""
    index = f"{secured.prefix}-2026-01-31"
    before = secured.load(index)

    response = set_up(cloudformation, "Create", secured.properties)

    assert response["Status"] == "SUCCESS", response["Reason"]
    assert (before, secured.load(index), secured.load("another-2026-01-31")) == (403, 201, 403)
    assert secured.loader.info()["version"]["distribution"] == "opensearch"
    for refused in (
        lambda: secured.loader.search(index=index),
        lambda: secured.loader.indices.delete(index=index),
        lambda: secured.loader.indices.put_mapping(index=index, body={}),
        secured.loader.indices.get_index_template,
        secured.loader.cluster.health,
        lambda: secured.loader.transport.perform_request("GET", "/_plugins/_security/api/roles"),
    ):
        with pytest.raises(AuthorizationException):
            refused()


@pytest.mark.parametrize(
    "wider",
    [
        {"cluster_permissions": ["*"]},
        {"index_permissions": [{"index_patterns": ["*"], "allowed_actions": ["indices:data/read/search"]}]},
        {"tenant_permissions": [{"tenant_patterns": ["*"], "allowed_actions": ["kibana_all_read"]}]},
    ],
)
def test_granting_access_keeps_other_mappings_and_restores_the_role(
    secured: SecuredCluster, cloudformation: CloudFormation, wider: dict[str, Any]
) -> None:
    """Others may have mapped their own users to the role, or added permissions to it."""
    api, name = "/_plugins/_security/api", role_name(secured.prefix)
    secured.admin.transport.perform_request("PUT", f"{api}/roles/{name}", body=loader_role(secured.prefix) | wider)
    mapping = {"users": ["ann"], "hosts": ["10.0.0.*"], "backend_roles": ["backfill"], "description": "of ours"}
    secured.admin.transport.perform_request("PUT", f"{api}/rolesmapping/{name}", body=mapping)

    physical_id = physical_id_of(set_up(cloudformation, "Create", secured.properties))
    repeated = set_up(cloudformation, "Update", secured.properties, id_=physical_id)

    mapped: Any = secured.admin.transport.perform_request("GET", f"{api}/rolesmapping/{name}")
    role: Any = secured.admin.transport.perform_request("GET", f"{api}/roles/{name}")
    assert mapped[name] | mapping | {"backend_roles": ["backfill", ROLE]} == mapped[name]
    assert role[name]["cluster_permissions"] == loader_role(secured.prefix)["cluster_permissions"]
    assert [part["index_patterns"] for part in role[name]["index_permissions"]] == [
        [f"{secured.prefix}-*", f"trailsink-files-{secured.prefix}-*"],
        [f"trailsink-consumers-{secured.prefix}"],
    ]
    assert role[name]["tenant_permissions"] == []
    assert f"role {name} already exists" in repeated["Reason"]
    assert "already has the role" in repeated["Reason"]


def test_a_wrong_password_is_reported(secured: SecuredCluster, cloudformation: CloudFormation) -> None:
    """After some retries: a new domain does not know its own master user yet."""
    wrong = json.dumps({"username": ADMIN, "password": "wrong"})
    arn = boto3.client("secretsmanager").create_secret(Name=f"wrong-{secured.prefix}", SecretString=wrong)["ARN"]

    response = set_up(cloudformation, "Create", secured.properties | {"OpensearchSecretArn": arn}, seconds=40)

    assert response["Status"] == "FAILED"
    assert "refuses with 401" in response["Reason"]
    assert "wrong" not in response["Reason"]
