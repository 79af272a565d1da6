"""Promises about the two custom resources, kept with real requests, S3 over HTTP and a real cluster.

CloudFormation waits an hour for an answer that does not come, so that every path answers, once, and in time.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException

from infra.local.secure import ADMIN, SecureNode
from tests.support.http_server import Reply, Service, listening
from worker.aws.bucket_notifications import OwnNotification
from worker.deploy.custom_resource import WORK, bucket_notification, cluster_setup
from worker.errors import Unavailable
from worker.opensearch.schema import VERSION
from worker.opensearch.security import loader_role, role_name

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

    from tests.conftest import Bench

SIGNATURE = "X-Amz-Signature=0123456789abcdef"
ID = "trailsink-test"
STACK = "arn:aws:cloudformation:us-east-1:000000000000:stack/trailsink/0f5b2c60-7d3e-11f0-8c8e-0e3f9d1a2b3c"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:theirs"
ROLE = "arn:aws:iam::000000000000:role/trailsink-loader"


# What the tests work with


class Remaining:
    """Lambda's context of an invocation that has so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._end - time.monotonic()) * 1000)


def late_work() -> list[threading.Thread]:
    """Threads of handlers that have answered; those that do not end by themselves."""
    late = [one for one in threading.enumerate() if one.name == WORK]
    for thread in late:
        thread.join(20)
    return [thread for thread in late if thread.is_alive()]


@pytest.fixture
def cloudformation() -> Iterator[Service]:
    """Where CloudFormation waits for the answer; work that was late is over before the test is."""
    with listening(Service()) as service:
        yield service
        assert not late_work()


Handler = Callable[[dict[str, Any], Remaining], None]


def request(kind: str, waits: Service, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A request as CloudFormation sends it."""
    return {
        "RequestType": kind,
        "ServiceToken": FUNCTION,
        "ResponseURL": f"{waits.url}/cloudformation-custom-resource-response/one?{SIGNATURE}",
        "StackId": STACK,
        "RequestId": str(uuid.uuid4()),
        "LogicalResourceId": "Notification",
        "ResourceType": "Custom::BucketNotification",
        "ResourceProperties": {"ServiceToken": FUNCTION, **properties},
        **more,
    }


def ask(handler: Handler, waits: Service, event: dict[str, Any], seconds: float = 30) -> dict[str, Any]:
    """Send one request and return the one answer that CloudFormation took."""
    before, context = len(waits.answers), Remaining(seconds)

    handler(event, context)

    assert context.get_remaining_time_in_millis() > 0, "Lambda would have ended it"
    answers = waits.answers[before:]
    assert len(answers) == 1
    for copied in ("StackId", "RequestId", "LogicalResourceId"):
        assert answers[0][copied] == event[copied]
    return dict(answers[0])


def notify(  # noqa: PLR0913
    waits: Service,
    kind: str,
    properties: dict[str, Any],
    *,
    id_: str = "",
    old: dict[str, Any] | None = None,
    seconds: float = 30,
    handler: Handler = bucket_notification,
) -> dict[str, Any]:
    more = ({"PhysicalResourceId": id_} if id_ else {}) | ({"OldResourceProperties": old} if old else {})
    return ask(handler, waits, request(kind, waits, properties, **more), seconds)


set_up = partial(notify, handler=cluster_setup)


def made(answer: dict[str, Any]) -> str:
    """The physical id of what went well."""
    assert answer["Status"] == "SUCCESS", answer["Reason"]
    return str(answer["PhysicalResourceId"])


# The bucket's notifications


@dataclass(frozen=True)
class Place:
    """A bucket and two queues of S3's stand-in."""

    s3: S3Client
    sqs: SQSClient
    bucket: str
    queue: str
    other_queue: str

    def properties(self, **more: Any) -> dict[str, Any]:
        own = {"Bucket": self.bucket, "QueueArn": self.queue, "ConfigurationId": ID}
        return own | {"Prefix": "AWSLogs/", "Suffix": ".json.gz", "EventBridge": "false"} | more

    def there(self, bucket: str = "") -> dict[str, Any]:
        answer: Any = self.s3.get_bucket_notification_configuration(Bucket=bucket or self.bucket)
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    def put(self, configuration: dict[str, Any]) -> None:
        self.s3.put_bucket_notification_configuration(
            Bucket=self.bucket,
            NotificationConfiguration=configuration,  # type: ignore[arg-type]
        )

    def ids(self, bucket: str = "") -> list[str]:
        there = self.there(bucket)
        return sorted(one["Id"] for kind in there if kind.endswith("Configurations") for one in there[kind])

    def foreign(self) -> dict[str, Any]:
        """Put what others have: a queue, a function and EventBridge; return it as S3 tells it."""
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
        return self.there()


def make_queue(sqs: SQSClient, name: str) -> str:
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


@pytest.fixture
def place(environment: dict[str, str]) -> Place:  # noqa: ARG001 - it is set while this is used
    """A fresh bucket that announces nothing yet."""
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    s3.create_bucket(Bucket="trail")
    return Place(s3, sqs, "trail", make_queue(sqs, "ours"), make_queue(sqs, "theirs"))


@pytest.fixture
def between(place: Place, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:  # noqa: ARG001
    """Stands between the handlers and S3, and meddles when it is told to."""
    with listening(Service(target=environment["AWS_ENDPOINT_URL"])) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", service.url)
        yield service


def error(code: str, message: str = "no") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def test_a_created_notification_announces_new_objects(place: Place, cloudformation: Service) -> None:
    """This is what the stack is for; the answer is as CloudFormation's signature covers it."""
    physical_id = made(notify(cloudformation, "Create", place.properties()))

    place.s3.put_object(Bucket=place.bucket, Key="AWSLogs/1/CloudTrail/x.json.gz", Body=b"x")

    url = place.sqs.get_queue_url(QueueName="ours")["QueueUrl"]
    bodies = [place.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages", []) for _ in range(2)]
    assert any("AWSLogs/1/CloudTrail/x.json.gz" in one["Body"] for several in bodies for one in several)
    assert (place.bucket in physical_id, ID in physical_id) == (True, True)
    method, path, headers, body, _ = cloudformation.seen[0]
    assert (method, path.endswith(SIGNATURE), len(body) < 4096) == ("PUT", True, True)
    assert {name.lower(): value for name, value in headers.items()}["content-type"] == ""


def test_nobody_elses_notifications_are_touched(place: Place, cloudformation: Service) -> None:
    """They are of other teams, who would find out by what is missing."""
    before = place.foreign()

    physical_id = made(notify(cloudformation, "Create", place.properties()))
    with_ours = place.there()
    again = notify(
        cloudformation, "Update", place.properties(Prefix="o-1/AWSLogs/"), id_=physical_id, old=place.properties()
    )
    assert ID in place.ids()
    gone = notify(cloudformation, "Delete", place.properties(Prefix="o-1/AWSLogs/"), id_=physical_id)

    assert [again["Status"], gone["Status"]] == ["SUCCESS", "SUCCESS"]
    assert with_ours["LambdaFunctionConfigurations"] == before["LambdaFunctionConfigurations"]
    assert place.there() == before


@pytest.mark.parametrize(
    ("events", "prefix"), [(["s3:ObjectCreated:*"], ""), (["s3:ObjectCreated:Put"], "AWSLogs/000000000000/")]
)
def test_an_overlapping_notification_is_named(
    place: Place, cloudformation: Service, *, events: list[str], prefix: str
) -> None:
    """S3's own sentence names nothing; and the failed Create's Delete leaves it alone."""
    rules = [{"Name": "prefix", "Value": prefix}] if prefix else []
    entry = {"Id": "siem", "QueueArn": place.other_queue, "Events": events}
    place.put({"QueueConfigurations": [entry | ({"Filter": {"Key": {"FilterRules": rules}}} if rules else {})]})
    before = place.there()

    failed = notify(cloudformation, "Create", place.properties())
    gone = notify(cloudformation, "Delete", place.properties(), id_=failed["PhysicalResourceId"])

    assert (failed["Status"], gone["Status"]) == ("FAILED", "SUCCESS")
    for named in ("siem", place.other_queue, "queue", events[0], prefix or "any prefix"):
        assert named in failed["Reason"]
    assert place.there() == before


def test_a_repeated_request_puts_nothing(place: Place, between: Service, cloudformation: Service) -> None:
    """Lambda may deliver a request twice; every put is a window in which another tool's change is lost."""
    first = made(notify(cloudformation, "Create", place.properties()))
    second = made(notify(cloudformation, "Create", place.properties()))

    assert (first, between.asked("PUT")) == (second, 1)


def test_a_new_prefix_or_queue_is_put_in_place(place: Place, cloudformation: Service) -> None:
    """The physical id stays, so that no Delete follows."""
    physical_id = made(notify(cloudformation, "Create", place.properties()))

    answer = notify(
        cloudformation,
        "Update",
        place.properties(Prefix="AWSLogs/1", QueueArn=place.other_queue),
        id_=physical_id,
        old=place.properties(),
    )

    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", physical_id)
    assert [(one["Id"], one["QueueArn"]) for one in place.there()["QueueConfigurations"]] == [(ID, place.other_queue)]
    assert place.there()["QueueConfigurations"][0]["Filter"]["Key"]["FilterRules"][0]["Value"] == "AWSLogs/1"


def test_another_bucket_is_a_move(place: Place, cloudformation: Service) -> None:
    """The new physical id has CloudFormation delete the old one, which takes away the old place only."""
    place.s3.create_bucket(Bucket="second")
    old_id = made(notify(cloudformation, "Create", place.properties()))
    moved = notify(cloudformation, "Update", place.properties(Bucket="second"), id_=old_id, old=place.properties())
    in_both = place.ids(), place.ids("second")

    gone = notify(cloudformation, "Delete", place.properties(), id_=old_id)

    assert (moved["Status"], gone["Status"]) == ("SUCCESS", "SUCCESS")
    assert moved["PhysicalResourceId"] != old_id
    assert (in_both, place.ids(), place.ids("second")) == (([ID], [ID]), [], [ID])


def test_another_id_in_the_same_bucket_replaces_ours_and_survives_the_old_ones_delete(
    place: Place, cloudformation: Service
) -> None:
    """Old and new would overlap, so the old one goes in the same put."""
    old_id = made(notify(cloudformation, "Create", place.properties()))
    renamed = place.properties(ConfigurationId="renamed")
    answer = notify(cloudformation, "Update", renamed, id_=old_id, old=place.properties())

    notify(cloudformation, "Delete", place.properties(), id_=old_id)

    assert answer["Status"] == "SUCCESS"
    assert answer["PhysicalResourceId"] != old_id
    assert place.ids() == ["renamed"]


def test_a_failed_update_keeps_the_physical_id_and_its_rollback_cleans_up(
    place: Place, cloudformation: Service
) -> None:
    """CloudFormation sends no Delete for a place that it was never told of."""
    place.s3.create_bucket(Bucket="second")
    old_id = made(notify(cloudformation, "Create", place.properties()))
    wanted = place.properties(Bucket="second")
    # The move got as far as the put, and then its time was over.
    half_done: Any = {"QueueConfigurations": [OwnNotification(ID, place.queue, "AWSLogs/", ".json.gz").entry]}
    place.s3.put_bucket_notification_configuration(Bucket="second", NotificationConfiguration=half_done)
    failed = notify(
        cloudformation, "Update", place.properties(Bucket="no-such-bucket"), id_=old_id, old=place.properties()
    )

    back = notify(cloudformation, "Update", place.properties(), id_=old_id, old=wanted)

    assert (failed["Status"], failed["PhysicalResourceId"]) == ("FAILED", old_id)
    assert "There is no bucket no-such-bucket" in failed["Reason"]
    assert (back["Status"], back["PhysicalResourceId"]) == ("SUCCESS", old_id)
    assert (place.ids(), place.ids("second")) == ([ID], [])


def test_a_rollback_is_not_stopped_by_the_mistake_that_it_undoes(place: Place, cloudformation: Service) -> None:
    """What was wanted before may be what was wrong."""
    old_id = made(notify(cloudformation, "Create", place.properties()))

    answer = notify(cloudformation, "Update", place.properties(), id_=old_id, old={"EventBridge": "perhaps"})

    assert (answer["Status"], answer["PhysicalResourceId"], place.ids()) == ("SUCCESS", old_id, [ID])


@pytest.mark.parametrize("properties", [{}, {"Bucket": ""}, {"Bucket": "trail", "ConfigurationId": ""}])
def test_a_failed_create_is_deleted_by_an_id_that_cloudformation_made_up(
    place: Place, cloudformation: Service, properties: dict[str, str]
) -> None:
    """A Delete that fails leaves a stack that cannot be removed."""
    before = place.foreign()
    failed = notify(cloudformation, "Create", properties)

    gone = notify(cloudformation, "Delete", properties, id_="trailsink-Notification-1ABCDEF234567")

    assert (failed["Status"], gone["Status"]) == ("FAILED", "SUCCESS")
    assert "Wrong properties" in failed["Reason"]
    assert gone["PhysicalResourceId"] == "trailsink-Notification-1ABCDEF234567"
    assert place.there() == before


def test_what_a_create_left_that_never_answered_is_deleted(place: Place, cloudformation: Service) -> None:
    """Left there, it would announce to a queue that is gone, and S3 would refuse everybody's next change."""
    before = place.foreign()
    made(notify(cloudformation, "Create", place.properties()))

    gone = notify(cloudformation, "Delete", place.properties(), id_="trailsink-Notification-1ABCDEF234567")

    assert (gone["Status"], place.there()) == ("SUCCESS", before)


def test_a_delete_leaves_our_id_alone_when_it_feeds_another_queue(place: Place, cloudformation: Service) -> None:
    """Another stack, of the same name in another account say, has taken the place since."""
    physical_id = made(notify(cloudformation, "Create", place.properties()))
    made(notify(cloudformation, "Create", place.properties(QueueArn=place.other_queue)))

    gone = notify(cloudformation, "Delete", place.properties(), id_=physical_id)

    assert (gone["Status"], place.ids()) == ("SUCCESS", [ID])


def test_a_bucket_that_is_gone_does_not_stop_a_deletion(place: Place, cloudformation: Service) -> None:
    """Nobody can bring it back to have a stack deleted."""
    physical_id = made(notify(cloudformation, "Create", place.properties()))
    place.s3.delete_bucket(Bucket=place.bucket)

    gone = notify(cloudformation, "Delete", place.properties(), id_=physical_id)

    assert gone["Status"] == "SUCCESS"
    assert "is gone" in gone["Reason"]


def test_a_delete_that_is_refused_fails_at_once_and_says_what_is_left(
    place: Place, between: Service, cloudformation: Service
) -> None:
    """What is left makes trouble for others, so it is not passed over in silence."""
    physical_id = made(notify(cloudformation, "Create", place.properties()))
    between.replies += [(403, error("AccessDenied", "Access Denied"))] * 9
    began = time.monotonic()

    gone = notify(cloudformation, "Delete", place.properties(), id_=physical_id)

    assert gone["Status"] == "FAILED"
    for named in ("AccessDenied", ID, place.bucket, "by hand"):
        assert named in gone["Reason"]
    assert time.monotonic() - began < 5


def test_a_create_that_is_refused_can_be_deleted(place: Place, between: Service, cloudformation: Service) -> None:
    """The refusal goes on, and the stack has to go all the same: nothing of ours was ever there."""
    between.replies += [(403, error("AccessDenied", "Access Denied"))] * 99

    failed = notify(cloudformation, "Create", place.properties(), seconds=4)
    gone = notify(cloudformation, "Delete", place.properties(), id_=failed["PhysicalResourceId"])

    assert (failed["Status"], gone["Status"]) == ("FAILED", "SUCCESS")
    assert "AccessDenied" in failed["Reason"]


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (409, "OperationAborted"), (503, "SlowDown"), (500, "InternalError")]
)
def test_what_passes_is_waited_for(
    place: Place, between: Service, cloudformation: Service, *, status: int, code: str
) -> None:
    """A new role's rights take seconds; another tool's change is under way; S3 is busy."""
    between.replies += [(status, error(code)), (0, b"")]

    made(notify(cloudformation, "Create", place.properties()))

    assert place.ids() == [ID]


def test_a_queue_that_s3_cannot_send_to_yet_is_waited_for(place: Place, cloudformation: Service) -> None:
    """Its policy was made a second ago and is not everywhere yet."""
    late = place.queue.replace(":ours", ":late")
    timer = threading.Timer(1.5, place.sqs.create_queue, kwargs={"QueueName": "late"})
    timer.start()

    made(notify(cloudformation, "Create", place.properties(QueueArn=late)))

    timer.join()
    assert place.ids() == [ID]


def test_a_queue_that_s3_can_never_send_to_is_told_in_time(place: Place, cloudformation: Service) -> None:
    """With S3's own words, which name the destination."""
    answer = notify(
        cloudformation, "Create", place.properties(QueueArn=place.queue.replace(":ours", ":never")), seconds=4
    )

    assert answer["Status"] == "FAILED"
    assert "Unable to validate the following destination configurations" in answer["Reason"]
    assert ":never" in answer["Reason"]


def test_a_broken_destination_of_others_does_not_stop_a_deletion(place: Place, cloudformation: Service) -> None:
    """S3 validates all of them at each put, and theirs is not for us to mend."""
    place.foreign()
    physical_id = made(notify(cloudformation, "Create", place.properties()))
    place.sqs.delete_queue(QueueUrl=place.sqs.get_queue_url(QueueName="theirs")["QueueUrl"])

    gone = notify(cloudformation, "Delete", place.properties(), id_=physical_id)

    assert (gone["Status"], place.ids()) == ("SUCCESS", ["removals", "thumbnails"])


def test_another_tool_that_overwrites_ours_does_not_win(
    place: Place, between: Service, cloudformation: Service
) -> None:
    """S3 has no lock: what another read before our put, it puts after it, and ours would be gone unseen."""
    between.after_put += [place.foreign]

    made(notify(cloudformation, "Create", place.properties()))

    assert place.ids() == ["removals", "thumbnails", ID]
    assert "EventBridgeConfiguration" in place.there()


def test_a_tool_that_never_stops_overwriting_is_told_in_time(
    place: Place, between: Service, cloudformation: Service
) -> None:
    """Bounded, and with the cause."""
    between.after_put += [place.foreign] * 99

    answer = notify(cloudformation, "Create", place.properties(), seconds=10)

    assert answer["Status"] == "FAILED"
    assert "Somebody else changes the notifications" in answer["Reason"]


def test_event_bridge_is_switched_on_and_left_on(place: Place, cloudformation: Service) -> None:
    """Others may listen there by the time that we go."""
    properties = place.properties(QueueArn="", EventBridge="true")
    physical_id = made(notify(cloudformation, "Create", properties))
    on = place.there()

    gone = notify(cloudformation, "Delete", properties, id_=physical_id)

    assert on == place.there() == {"EventBridgeConfiguration": {}}
    assert (gone["Status"], "EventBridge" in gone["Reason"]) == ("SUCCESS", True)


def test_another_source_takes_our_configuration_out(place: Place, cloudformation: Service) -> None:
    """Announced by both, each event would be read twice."""
    physical_id = made(notify(cloudformation, "Create", place.properties()))

    answer = notify(cloudformation, "Update", place.properties(QueueArn=""), id_=physical_id, old=place.properties())

    assert (answer["Status"], answer["PhysicalResourceId"], place.there()) == ("SUCCESS", physical_id, {})


# The answer


@pytest.mark.parametrize("trouble", [[(503, b"")], [(0, b"")], [(500, b""), (0, b""), (403, b"")]])
def test_an_answer_that_is_not_taken_is_given_again(
    place: Place, cloudformation: Service, trouble: list[Reply]
) -> None:
    """S3, behind the ResponseURL, has bad moments as well."""
    cloudformation.replies += trouble

    answer = notify(cloudformation, "Create", place.properties())

    assert answer["Status"] == "SUCCESS"
    assert len(cloudformation.seen) == len(trouble) + 1


def test_an_answer_that_is_never_taken_raises_in_time_and_tells_no_secret(
    place: Place, cloudformation: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    """Then Lambda runs it again, a minute later; the address must not be in any log."""
    cloudformation.replies += [(503, b"")] * 99
    context = Remaining(4)

    with pytest.raises(Unavailable) as caught:
        bucket_notification(request("Create", cloudformation, place.properties()), context)

    logged = "".join(capfd.readouterr()) + str(caught.value)
    assert context.get_remaining_time_in_millis() > 0
    assert "503" in logged
    assert "Signature" not in logged
    assert cloudformation.url not in logged


def test_the_log_says_what_was_done_and_not_where_it_was_answered(
    place: Place, cloudformation: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    """The ResponseURL lets whoever has it answer for the stack."""
    physical_id = made(notify(cloudformation, "Create", place.properties()))

    out, err = capfd.readouterr()
    line = json.loads(out)
    assert (line["request"], line["status"], line["physical_id"]) == ("Create", "SUCCESS", physical_id)
    assert "Signature" not in out + err


@pytest.mark.parametrize("kind", ["Create", "Update", "Delete"])
def test_a_fault_of_our_own_is_answered(
    place: Place,
    cloudformation: Service,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    """CloudFormation would wait an hour; what the error quotes stays out of answer and log."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "no-address?secret=hunter2")
    physical_id = f"trailsink-notification:{place.bucket}:{ID}"
    id_ = "" if kind == "Create" else physical_id

    answer = notify(cloudformation, kind, place.properties(), id_=id_)

    logged = "".join(capfd.readouterr())
    assert (answer["Status"], answer["PhysicalResourceId"]) == (
        "FAILED",
        id_ or "trailsink-not-made",
    )
    assert "ValueError" in answer["Reason"]
    assert "custom_resource.py" in logged
    assert "hunter2" not in logged + answer["Reason"]


@pytest.mark.parametrize(
    "change", [{"RequestType": "Replace"}, {"ResourceProperties": None}, {"ResourceProperties": {"Bucket": "UPPER"}}]
)
@pytest.mark.parametrize("handler", [bucket_notification, cluster_setup])
def test_a_request_that_makes_no_sense_is_answered(
    environment: dict[str, str],  # noqa: ARG001 - it is set while this is used
    cloudformation: Service,
    handler: Handler,
    change: dict[str, Any],
) -> None:
    """Whatever it is, it has an address to be answered at."""
    answer = ask(handler, cloudformation, request("Create", cloudformation, {}, **change))

    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith(("This is no request", "Wrong properties"))


def test_a_long_reason_is_cut_to_what_cloudformation_takes(place: Place, cloudformation: Service) -> None:
    """A longer answer is refused, and the stack waits an hour."""
    entries = [
        {
            "Id": f"{at}-{'ü' * 200}",
            "QueueArn": place.other_queue,
            "Events": ["s3:ObjectCreated:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": f"AWSLogs/{at:03}"}]}},
        }
        for at in range(30)
    ]
    place.put({"QueueConfigurations": entries})

    answer = notify(cloudformation, "Create", place.properties())

    assert answer["Status"] == "FAILED"
    assert "0-ü" in answer["Reason"]
    assert 2000 < len(cloudformation.seen[0][3]) < 4096


@pytest.mark.parametrize("kind", ["Create", "Update", "Delete"])
def test_a_deadline_is_answered_before_it_and_late_work_stops(
    place: Place, between: Service, cloudformation: Service, kind: str
) -> None:
    """Two seconds are left and S3 hangs. Work that went on after FAILED would undo the rollback."""
    physical_id = made(notify(cloudformation, "Create", place.properties()))
    puts, released = between.asked("PUT"), threading.Event()

    def hang() -> None:
        released.wait(30)

    between.replies += [hang]
    id_ = "" if kind == "Create" else physical_id
    answer = notify(cloudformation, kind, place.properties(Prefix="AWSLogs/2"), seconds=2, id_=id_)
    released.set()

    assert answer["Status"] == "FAILED"
    assert "time of the function is over" in answer["Reason"]
    assert answer["PhysicalResourceId"] == id_ or "trailsink-not-made"
    assert not late_work()
    assert between.asked("PUT") == puts
    assert len(cloudformation.answers) == 2


def test_a_put_that_breaks_off_after_the_answer_is_not_sent_again(
    place: Place, between: Service, cloudformation: Service
) -> None:
    """A frozen function wakes up in a later invocation, the rollback's Delete say: its SDK must not try once more."""
    released = threading.Event()

    def hang() -> Reply:
        released.wait(30)
        return 0, b""

    between.only, between.replies = "PUT", [hang]
    answer = notify(cloudformation, "Create", place.properties(), seconds=2)
    released.set()

    assert not late_work()
    assert (answer["Status"], between.asked("PUT"), place.ids()) == ("FAILED", 1, [])


# The cluster


def cluster_properties(bench: Bench, **more: str) -> dict[str, str]:
    own = {"OpensearchUrl": bench.settings.opensearch_url, "OpensearchAuth": "auto", "OpensearchService": "auto"}
    none = {"OpensearchSecretArn": "", "LoaderRoleArn": ""}
    return own | none | {"IndexPrefix": bench.prefix, "RetentionDays": "30", "Replicas": "0", "Mapping": "1"} | more


def template(bench: Bench) -> dict[str, Any]:
    found: Any = bench.opensearch.indices.get_index_template(name=f"trailsink-{bench.prefix}")
    return dict(found["index_templates"][0]["index_template"])


def test_a_cluster_is_set_up_once_and_kept(bench: Bench, cloudformation: Service) -> None:
    """What `trailsink setup` does; a deletion never takes users' data or what it is searched by."""
    bench.opensearch.indices.delete_index_template(name=f"trailsink-{bench.prefix}")
    properties = cluster_properties(bench)

    physical_id = made(set_up(cloudformation, "Create", properties))
    updated = set_up(
        cloudformation, "Update", properties | {"Mapping": "2", "Replicas": "1"}, id_=physical_id, old=properties
    )
    gone = set_up(cloudformation, "Delete", properties, id_=physical_id)

    assert (updated["Status"], updated["PhysicalResourceId"]) == ("SUCCESS", physical_id)
    assert (gone["Status"], "stay" in gone["Reason"]) == ("SUCCESS", True)
    assert template(bench)["_meta"]["version"] == VERSION
    assert template(bench)["template"]["settings"]["index"]["number_of_replicas"] == "1"


def test_a_server_without_roles_is_set_up_and_told_so(bench: Bench, cloudformation: Service) -> None:
    """A cluster of one's own may have no security plugin; the role is then nobody's."""
    answer = set_up(cloudformation, "Create", cluster_properties(bench, LoaderRoleArn=ROLE))

    assert answer["Status"] == "SUCCESS"
    assert "no fine-grained access control" in answer["Reason"]


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_cluster_that_does_not_answer_is_asked_until_the_time_is_over(
    bench: Bench, cloudformation: Service, kind: str
) -> None:
    """Then comes the sentence that says why; a Delete does not need the cluster at all."""
    with listening(Service()) as nobody:
        pass
    properties = cluster_properties(bench, OpensearchUrl=nobody.url)
    id_ = "" if kind == "Create" else "trailsink-cluster-setup:Setup"

    failed = set_up(cloudformation, kind, properties, seconds=2, id_=id_)
    gone = set_up(cloudformation, "Delete", properties, seconds=2, id_="made-up-1ABC")

    assert (failed["Status"], gone["Status"]) == ("FAILED", "SUCCESS")
    assert "OpenSearch does not answer" in failed["Reason"]


def test_a_cluster_that_hangs_is_answered_for_in_time(bench: Bench, cloudformation: Service) -> None:
    """The watchdog's case: the work cannot answer, because it waits."""
    released = threading.Event()

    def hang() -> Reply:
        released.wait(30)
        return 503, b"{}"

    with listening(Service(replies=[hang] * 9)) as cluster:
        answer = set_up(cloudformation, "Create", cluster_properties(bench, OpensearchUrl=cluster.url), seconds=2)
        released.set()

    assert answer["Status"] == "FAILED"
    assert "time" in answer["Reason"]


def test_a_domain_that_lets_nobody_in_yet_is_waited_for(bench: Bench, cloudformation: Service) -> None:
    """A new domain answers 403, or nothing at all, for minutes."""
    refused = json.dumps({"error": {"type": "security_exception", "reason": "no permissions"}, "status": 403}).encode()
    early: list[Reply | Callable[[], Reply | None]] = [(0, b""), (403, refused), (503, b"{}"), (403, refused)]
    with listening(Service(target=bench.settings.opensearch_url, replies=early)) as domain:
        made(set_up(cloudformation, "Create", cluster_properties(bench, OpensearchUrl=domain.url)))

    assert template(bench)["_meta"]["version"] == VERSION


def test_a_domain_that_never_lets_us_in_is_told_in_time(bench: Bench, cloudformation: Service) -> None:
    """With the sentence that says what the operator has to change."""
    refused = json.dumps({"error": {"type": "security_exception", "reason": "no permissions"}, "status": 403}).encode()
    with listening(Service(replies=[(403, refused)] * 99)) as domain:
        answer = set_up(cloudformation, "Create", cluster_properties(bench, OpensearchUrl=domain.url), seconds=3)

    assert answer["Status"] == "FAILED"
    assert "refuses with 403" in answer["Reason"]
    assert "may not do this" in answer["Reason"]


def test_what_no_time_mends_is_told_at_once(bench: Bench, cloudformation: Service) -> None:
    """Somebody else's template is in the way: waiting for minutes would help nobody."""
    bench.opensearch.indices.put_index_template(
        name=f"theirs-{bench.prefix}", body={"index_patterns": [f"{bench.prefix}-2*"], "priority": 900}
    )
    began = time.monotonic()

    answer = set_up(cloudformation, "Create", cluster_properties(bench))

    bench.opensearch.indices.delete_index_template(name=f"theirs-{bench.prefix}")
    assert answer["Status"] == "FAILED"
    assert f"theirs-{bench.prefix}" in answer["Reason"]
    assert time.monotonic() - began < 5


# A cluster with roles


@pytest.fixture(scope="module")
def secure() -> Iterator[SecureNode]:
    """A real node with the security plugin, as a domain with fine-grained access control."""
    with SecureNode() as node:
        yield node


def log_in(node: SecureNode, user: str, password: str) -> OpenSearch:
    return OpenSearch([node.url], http_auth=(user, password), ca_certs=str(node.certificate_authority), timeout=30)


@dataclass(frozen=True)
class Guarded:
    """The secured node, the properties that set it up, and a user whom AWS would call an IAM role."""

    admin: OpenSearch
    loader: OpenSearch
    prefix: str
    properties: dict[str, str]

    def load(self, index: str) -> int:
        """Create one document as the pipeline does; return its status, or that of the request."""
        lines = [{"create": {"_index": index, "_id": uuid.uuid4().hex}}, {"eventName": "AssumeRole"}]
        body = "".join(json.dumps(line) + "\n" for line in lines)
        try:
            answer: Any = self.loader.transport.perform_request("POST", "/_bulk", body=body)
        except AuthorizationException as refused:
            return int(refused.status_code)
        return int(answer["items"][0]["create"]["status"])


@pytest.fixture
def guarded(secure: SecureNode, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    """A user with an IAM role's ARN as backend role: what a managed domain makes of a signed request."""
    prefix = environment["TRAILSINK_INDEX_PREFIX"]
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_CA_FILE", str(secure.certificate_authority))
    secret = json.dumps({"username": ADMIN, "password": secure.passwords[ADMIN]})
    arn = boto3.client("secretsmanager").create_secret(Name=f"master-{prefix}", SecretString=secret)["ARN"]
    admin, password = log_in(secure, ADMIN, secure.passwords[ADMIN]), f"7x{uuid.uuid4().hex}"
    user = {"password": password, "backend_roles": [ROLE]}
    admin.transport.perform_request("PUT", f"/_plugins/_security/api/internalusers/u{prefix}", body=user)
    properties = {"OpensearchUrl": secure.url, "OpensearchSecretArn": arn, "IndexPrefix": prefix, "Replicas": "0"}
    loader = log_in(secure, f"u{prefix}", password)
    yield Guarded(admin, loader, prefix, properties | {"LoaderRoleArn": ROLE})
    admin.close()
    loader.close()


def test_the_loader_is_let_in_and_may_load_and_nothing_else(guarded: Guarded, cloudformation: Service) -> None:
    """Without the mapping every batch is parked; with more than this, a stolen role reads the audit trail."""
    index = f"{guarded.prefix}-2026-01-31"
    before = guarded.load(index)

    answer = set_up(cloudformation, "Create", guarded.properties)

    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert (before, guarded.load(index), guarded.load("another-2026-01-31")) == (403, 201, 403)
    assert guarded.loader.info()["version"]["distribution"] == "opensearch"
    for refused in (
        lambda: guarded.loader.search(index=index),
        lambda: guarded.loader.indices.delete(index=index),
        lambda: guarded.loader.indices.put_mapping(index=index, body={}),
        guarded.loader.indices.get_index_template,
        guarded.loader.cluster.health,
        lambda: guarded.loader.transport.perform_request("GET", "/_plugins/_security/api/roles"),
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
def test_letting_in_keeps_others_and_mends_the_role(
    guarded: Guarded, cloudformation: Service, wider: dict[str, Any]
) -> None:
    """Somebody mapped a user of theirs to the role, and somebody widened it."""
    api, name = "/_plugins/_security/api", role_name(guarded.prefix)
    guarded.admin.transport.perform_request("PUT", f"{api}/roles/{name}", body=loader_role(guarded.prefix) | wider)
    mapping = {"users": ["ann"], "hosts": ["10.0.0.*"], "backend_roles": ["backfill"], "description": "of ours"}
    guarded.admin.transport.perform_request("PUT", f"{api}/rolesmapping/{name}", body=mapping)

    physical_id = made(set_up(cloudformation, "Create", guarded.properties))
    again = set_up(cloudformation, "Update", guarded.properties, id_=physical_id)

    mapped: Any = guarded.admin.transport.perform_request("GET", f"{api}/rolesmapping/{name}")
    role: Any = guarded.admin.transport.perform_request("GET", f"{api}/roles/{name}")
    assert mapped[name] | mapping | {"backend_roles": ["backfill", ROLE]} == mapped[name]
    assert role[name]["cluster_permissions"] == loader_role(guarded.prefix)["cluster_permissions"]
    assert [one["index_patterns"] for one in role[name]["index_permissions"]] == [[f"{guarded.prefix}-*"]]
    assert role[name]["tenant_permissions"] == []
    assert f"role {name} already exists" in again["Reason"]
    assert "already has the role" in again["Reason"]


def test_a_wrong_password_is_told(guarded: Guarded, cloudformation: Service) -> None:
    """After a while: a domain that is new does not know its own master user yet."""
    wrong = json.dumps({"username": ADMIN, "password": "wrong"})
    arn = boto3.client("secretsmanager").create_secret(Name=f"wrong-{guarded.prefix}", SecretString=wrong)["ARN"]

    answer = set_up(cloudformation, "Create", guarded.properties | {"OpensearchSecretArn": arn}, seconds=8)

    assert answer["Status"] == "FAILED"
    assert "refuses with 401" in answer["Reason"]
    assert "wrong" not in answer["Reason"]
