"""The CloudFormation door: the two custom resources of the deployed stack, each a Lambda handler.

`bucket_notification` has a bucket announce new objects to our queue; `cluster_setup` does what `trailsink setup` does,
and lets the loader in. CloudFormation waits, up to an hour, for one answer by HTTP PUT to the request's ResponseURL.
docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requests.html

The work is done in a thread, and the invocation's own thread is its watchdog: it alone answers, with what the work came
to or, shortly before the deadline, with FAILED. So there is exactly one answer on every path. Work that is late stops
by itself: Lambda freezes it with the process and would let it go on in the next invocation, which may be the Delete.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import urllib3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from opensearchpy.exceptions import AuthenticationException, SSLError, TransportError
from opensearchpy.exceptions import ConnectionError as NoConnection
from tenacity import Retrying, retry_if_exception_type, wait_random_exponential

from worker.aws.bucket_notifications import (
    OwnNotification,
    add_event_bridge,
    add_queue,
    conflicts,
    equivalent,
    normalized,
    remove_queue,
)
from worker.aws.errors import error_code, error_text
from worker.aws.session import config, open_session
from worker.errors import OutOfTime, SetupError, TrailsinkError, Unavailable
from worker.opensearch.security import grant_loader_access
from worker.opensearch.setup import SetupOptions, install
from worker.settings import load_settings
from worker.wiring import make_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opensearchpy import OpenSearch
    from types_boto3_s3 import S3Client

    from worker.aws.lambda_context import LambdaContext

# Kept for the answer, with its own attempts; half of what is left when the invocation has less than twice that.
_ANSWER_SECONDS = 15.0
_ANSWER_PAUSES = (0.0, 0.1, 0.3, 1.0, 3.0, 5.0)
_ANSWER_PATIENCE = 5.0
_ANSWER_BYTES = 4096

# What S3 refuses because a policy of this same stack has not reached it yet, or because two put at once: a minute.
_S3_SECONDS = 60.0
_S3_ANSWER_SECONDS = 10
_S3_PASSING = (403, 409, 429)
# A new domain lets nobody in for minutes, and how many is up to AWS, so it has all the time there is; a wrong password
# or an unreadable secret is told sooner.
_CLUSTER_SECONDS = 3_600.0
_CLUSTER_PASSING = (403, 429, 502, 503, 504)
_SECRET_SECONDS = 60.0
_CLUSTER_ANSWER_SECONDS = 30.0

WORK = "custom-resource"  # the thread's name
_NOT_MADE = "trailsink-not-made"
_NOTIFICATION = "trailsink-notification"


# At DEBUG it logs each address with its query, which here is the signature.
logging.getLogger("urllib3.connectionpool").setLevel(logging.WARNING)


class _Request(msgspec.Struct, frozen=True, rename="pascal"):
    """What CloudFormation asks for."""

    request_type: Literal["Create", "Update", "Delete"]
    stack_id: str
    request_id: str
    logical_resource_id: str
    physical_resource_id: str = ""
    resource_properties: dict[str, Any] = {}
    old_resource_properties: dict[str, Any] = {}


class _Answer(msgspec.Struct, frozen=True, rename="pascal"):
    """What CloudFormation is answered."""

    status: Literal["SUCCESS", "FAILED"]
    reason: str
    physical_resource_id: str
    stack_id: str
    request_id: str
    logical_resource_id: str


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What the work came to; `physical_id` is "" where it does not change."""

    physical_id: str
    text: str
    failed: bool = False


class _NotYet(Unavailable):
    """What may well go otherwise in a while; the text is what is said when it does not."""


class _Clock:
    """The time that the work has. Once it is over, nothing more is begun."""

    def __init__(self, context: LambdaContext) -> None:
        self._context = context
        self._reserve = min(_ANSWER_SECONDS, self.until_the_end() / 2)
        self._over = threading.Event()
        self.trouble = ""

    def until_the_end(self) -> float:
        """Seconds until Lambda ends the invocation."""
        return self._context.get_remaining_time_in_millis() / 1000

    def left(self) -> float:
        """Seconds for the work."""
        return 0.0 if self._over.is_set() else max(0.0, self.until_the_end() - self._reserve)

    def check(self) -> None:
        """Raise OutOfTime when nothing more may be begun: asked before everything that changes something."""
        if self.left() <= 0:
            raise OutOfTime("The time of the function is over.")

    def end(self) -> None:
        """Call the work off."""
        self._over.set()

    def insist(self, work: Callable[[], None], seconds: float) -> None:
        """Do the work until it does not raise _NotYet, for some seconds and never longer than there is time."""
        began = time.monotonic()

        def over(state: Any) -> bool:  # noqa: ANN401 - tenacity's RetryCallState
            self.trouble = str(state.outcome.exception())
            return time.monotonic() - began >= seconds or self.left() <= state.upcoming_sleep

        retrying = Retrying(
            retry=retry_if_exception_type(_NotYet),
            # By chance, because two stacks that are made at once may share a bucket.
            wait=wait_random_exponential(multiplier=0.5, min=0.2, max=8),
            stop=over,
            sleep=self._sleep,
            reraise=True,
        )
        retrying(work)

    def _sleep(self, seconds: float) -> None:
        self._over.wait(seconds)


# The handlers


def bucket_notification(event: Mapping[str, Any], context: LambdaContext) -> None:
    """Keep our notification configuration in a bucket: `Custom::BucketNotification`.

    Properties: `Bucket`, `ConfigurationId`, `QueueArn` (none: nothing of ours is in the bucket), `Prefix`, `Suffix`,
    `EventBridge`. EventBridge, once on, stays on when the resource is deleted: it is one switch for all who listen.
    """
    _serve(event, context, _notify)


def cluster_setup(event: Mapping[str, Any], context: LambdaContext) -> None:
    """Set a cluster up and let the loader in: `Custom::ClusterSetup`.

    Properties: `OpensearchUrl`, `OpensearchAuth`, `OpensearchService`, `OpensearchSecretArn`, `IndexPrefix`,
    `RetentionDays`, `Replicas`, `LoaderRoleArn`, and `Mapping`, which says by changing that there is a new template.
    A deletion asks nothing of the cluster: events, template, policy and role stay.
    """
    _serve(event, context, _set_up_cluster)


def _serve(event: Mapping[str, Any], context: LambdaContext, work: Callable[[_Request, _Clock], _Outcome]) -> None:
    """Do the work and answer, once.

    Raises Unavailable when CloudFormation cannot be answered: then Lambda runs it all again, twice at most.
    """
    clock = _Clock(context)
    done: list[_Outcome] = []
    thread = threading.Thread(target=lambda: done.append(_outcome(event, clock, work)), name=WORK, daemon=True)
    thread.start()
    thread.join(clock.left())
    clock.end()
    answer = _answer(event, done[0] if done else _late(clock))
    _log(event, answer)
    _send(event, answer, clock)


def _outcome(event: Mapping[str, Any], clock: _Clock, work: Callable[[_Request, _Clock], _Outcome]) -> _Outcome:
    try:
        return work(_read(event), clock)
    except OutOfTime:
        return _late(clock)
    except TrailsinkError as error:
        return _Outcome("", str(error), failed=True)
    except Exception as error:  # noqa: BLE001 - CloudFormation would wait for an hour; the log has the place
        # Where, and not what: the text of a foreign error may quote a signed URL or a password.
        sys.stderr.write("".join([*traceback.format_tb(error.__traceback__), type(error).__name__, "\n"]))
        return _Outcome("", f"A fault in trailsink: {type(error).__name__}; the function's log has more.", failed=True)


def _read(event: Mapping[str, Any]) -> _Request:
    try:
        return msgspec.convert(dict(event), _Request)
    except msgspec.ValidationError as error:
        raise SetupError(f"This is no request of CloudFormation: {error}.") from error


def _late(clock: _Clock) -> _Outcome:
    return _Outcome("", f"The time of the function is over. {clock.trouble}".rstrip(), failed=True)


# The answer


def _answer(event: Mapping[str, Any], outcome: _Outcome) -> _Answer:
    """Write the answer; a physical id that is there stays, unless the work says otherwise."""
    return _Answer(
        "FAILED" if outcome.failed else "SUCCESS",
        outcome.text,
        outcome.physical_id or event.get("PhysicalResourceId") or _NOT_MADE,
        event.get("StackId", ""),
        event.get("RequestId", ""),
        event.get("LogicalResourceId", ""),
    )


def _body(answer: _Answer) -> bytes:
    """Write what is sent, with as much of the reason as there is room for."""
    reason = "".join(character if character.isprintable() else " " for character in answer.reason)
    while len(body := msgspec.json.encode(msgspec.structs.replace(answer, reason=reason))) >= _ANSWER_BYTES and reason:
        reason = reason[: len(reason) * 3 // 4]
    return body


def _send(event: Mapping[str, Any], answer: _Answer, clock: _Clock) -> None:
    """Put the answer where CloudFormation waits for it. The address is a credential: no error may tell it."""
    body, said_last = _body(answer), "no ResponseURL"
    with urllib3.PoolManager(maxsize=1) as pool:
        for pause in _ANSWER_PAUSES if "ResponseURL" in event else ():
            time.sleep(min(pause, max(0.0, clock.until_the_end() - 0.3)))
            seconds = min(_ANSWER_PATIENCE, clock.until_the_end() - 0.1)
            if seconds <= 0:
                break
            try:
                # The signature covers an empty content type.
                given = pool.request(
                    "PUT",
                    event["ResponseURL"],
                    body=body,
                    headers={"content-type": ""},
                    timeout=urllib3.Timeout(total=seconds),
                    retries=False,
                )
            except urllib3.exceptions.HTTPError as error:
                said_last = type(error).__name__
            else:
                if given.status in range(200, 300):
                    return
                said_last = str(given.status)
    raise Unavailable(f"CloudFormation could not be answered: {said_last}.")


def _log(event: Mapping[str, Any], answer: _Answer) -> None:
    line = {
        "event": "custom_resource",
        "request": event.get("RequestType", ""),
        "resource": answer.logical_resource_id,
        "physical_id": answer.physical_resource_id,
        "status": answer.status,
        "reason": answer.reason,
    }
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")


def _given(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the template gives as an empty string: that is how it says "none"."""
    return {name: value for name, value in properties.items() if value != ""}


# The bucket's notifications


class _Target(msgspec.Struct, frozen=True, rename="pascal"):
    """What is wanted of a bucket."""

    bucket: str
    configuration_id: str
    queue_arn: str = ""
    prefix: str = ""
    suffix: str = ""
    event_bridge: bool = False

    @property
    def physical_id(self) -> str:
        """Names what a deletion takes away; a new prefix or queue changes it in place."""
        return f"{_NOTIFICATION}:{self.bucket}:{self.configuration_id}"

    @property
    def ours(self) -> OwnNotification:
        return OwnNotification(self.configuration_id, self.queue_arn, self.prefix, self.suffix)


def _target(properties: Mapping[str, Any]) -> _Target:
    try:
        return msgspec.convert(_given(properties), _Target, strict=False)
    except msgspec.ValidationError as error:
        raise SetupError(f"Wrong properties: {error}.") from error


def _target_before(properties: Mapping[str, Any]) -> _Target | None:
    """Read what was wanted before; when a failed update is rolled back, that may be the very mistake."""
    try:
        return _target(properties)
    except SetupError:
        return None


def _notify(request: _Request, clock: _Clock) -> _Outcome:
    if request.request_type == "Delete":
        return _Outcome("", _stop_announcing(request, clock))
    target = _target(request.resource_properties)
    before = _target_before(request.old_resource_properties)
    change = partial(_announced, target=target, before=before)
    _Bucket(target.bucket, clock).change(change)
    if before and before.bucket != target.bucket and request.physical_resource_id == target.physical_id:
        # A move that failed half-way is rolled back: CloudFormation knows nothing of the new place, so sends no Delete.
        with suppress(TrailsinkError):
            _leave(before, clock, proven=False)
    return _Outcome(target.physical_id, f"Bucket {target.bucket} announces {_words(target)}.")


def _words(target: _Target) -> str:
    queue = (
        f"{target.prefix}*{target.suffix} to {target.queue_arn}" if target.queue_arn else "nothing to a queue of ours"
    )
    return queue + (", and everything to EventBridge" if target.event_bridge else "")


def _announced(there: Mapping[str, Any], *, target: _Target, before: _Target | None) -> dict[str, Any]:
    """Return what the bucket's configuration is to be; raises SetupError when another is in the way."""
    for old in (before, target):
        if old and old.bucket == target.bucket:
            there = remove_queue(there, old.configuration_id, old.queue_arn)
    if target.event_bridge:
        there = add_event_bridge(there)
    if not target.queue_arn:
        return normalized(there)
    if in_the_way := conflicts(there, target.ours):
        raise SetupError(
            f"Bucket {target.bucket} cannot announce {target.prefix}*{target.suffix} to our queue, because "
            f"{' and '.join(in_the_way)}; S3 has one destination for each key: choose another prefix, or have "
            "the queue fed by that topic or by EventBridge."
        )
    return add_queue(there, target.ours)


def _stop_announcing(request: _Request, clock: _Clock) -> str:
    """Take away what the physical id names.

    Any other physical id is of a resource that was never made, for all that CloudFormation knows: made up by it, or
    ours of a failed Create. What such a Create may have left is taken away all the same, but no refusal is a failure.
    """
    try:
        target = _target(request.resource_properties)
    except SetupError:
        if request.physical_resource_id.startswith(f"{_NOTIFICATION}:"):
            raise
        return "Nothing was made, and nothing is removed."
    return _leave(target, clock, proven=request.physical_resource_id == target.physical_id)


def _leave(target: _Target, clock: _Clock, *, proven: bool) -> str:
    """Take our configuration out of a bucket; a bucket that is gone has none.

    A refusal is a failure where our configuration is known to be there: left behind, with its queue gone, it would make
    S3 refuse every later change of the bucket's notifications, whoever makes it.
    """
    if not target.queue_arn:
        return "No configuration of ours is in the bucket; EventBridge, if on, stays on for others."
    try:
        bucket = _Bucket(target.bucket, clock, leaving=True)
        bucket.change(lambda there: remove_queue(there, target.configuration_id, target.queue_arn))
    except _NoBucketError:
        return f"Bucket {target.bucket} is gone, and its notifications with it."
    except _RefusedError as error:
        if proven:
            raise SetupError(
                f"{error} Configuration {target.configuration_id} is still there and will announce to a queue that is "
                "gone: allow it and delete again, or remove it by hand and retain this resource."
            ) from error
        return f"Whether bucket {target.bucket} has a configuration of ours cannot be seen, and none was promised."
    return f"Configuration {target.configuration_id} is not in bucket {target.bucket} any more; others stay."


class _NoBucketError(SetupError):
    """There is no such bucket."""


class _RefusedError(SetupError):
    """We may not, and have been allowed before."""


class _Bucket:
    """The notifications of one bucket: got, changed, put and looked at again, because S3 has no lock for that."""

    def __init__(self, name: str, clock: _Clock, *, leaving: bool = False) -> None:
        self._name, self._clock, self._leaving = name, clock, leaving
        # One attempt only: what botocore tries again, it would also try again after our answer.
        once = Config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=_S3_ANSWER_SECONDS)
        self._s3: S3Client = open_session().client("s3", config=config(connections=1).merge(once))

    def change(self, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        """Make the bucket's configuration what `change` makes of it; nothing is put where it is so already."""
        self._clock.insist(lambda: self._settle(change), _S3_SECONDS)

    def _settle(self, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        try:
            there = self._get()
            wanted = change(there)
            if equivalent(there, wanted):
                return
            self._put(wanted)
            if equivalent(self._get(), wanted):
                return
        except ClientError as error:
            raise self._fault(error) from error
        except HTTPClientError as error:
            raise _NotYet(f"S3 does not answer: {error_text(error)}.") from error
        except BotoCoreError as error:
            raise SetupError(f"S3 cannot be asked about bucket {self._name}: {error_text(error)}.") from error
        raise _NotYet(f"Somebody else changes the notifications of bucket {self._name} at the same time.")

    def _get(self) -> dict[str, Any]:
        self._clock.check()
        return normalized(self._s3.get_bucket_notification_configuration(Bucket=self._name))

    def _put(self, wanted: dict[str, Any]) -> None:
        self._clock.check()
        self._s3.put_bucket_notification_configuration(
            Bucket=self._name,
            NotificationConfiguration=wanted,  # type: ignore[arg-type]
            # A broken destination of somebody else must not keep ours there.
            SkipDestinationValidation=self._leaving,
        )

    def _fault(self, error: ClientError) -> TrailsinkError:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        if error_code(error) == "NoSuchBucket":
            return _NoBucketError(f"There is no bucket {self._name}.")
        sentence = f"S3 refuses to have the notifications of bucket {self._name} read or changed: {_whole(error)}."
        if status == HTTPStatus.FORBIDDEN and self._leaving:
            return _RefusedError(sentence)
        # A new role's policy takes seconds to reach S3 (403), as does a new queue's, which it cannot validate before.
        if status in _S3_PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR or "Unable to validate" in sentence:
            return _NotYet(sentence)
        return SetupError(sentence)


def _whole(error: ClientError) -> str:
    """Say also which destination, where S3 tells: `ArgumentName1` is its ARN and `ArgumentValue1` what is wrong."""
    given: Mapping[str, Any] = error.response.get("Error", {})
    more = [str(value) for name, value in sorted(given.items()) if name.startswith("Argument")]
    return error_text(error) + (f" ({', '.join(more)})" if more else "")


# The cluster


class _Cluster(msgspec.Struct, frozen=True, rename="pascal"):
    """What is wanted of a cluster; all but the last two are settings by the same name."""

    opensearch_url: str
    opensearch_auth: str = "auto"
    opensearch_service: str = "auto"
    opensearch_secret_arn: str = ""
    index_prefix: str = "cloudtrail"
    retention_days: int = 0
    replicas: int | None = None
    loader_role_arn: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        own = ("replicas", "loader_role_arn")
        return {name: value for name, value in msgspec.structs.asdict(self).items() if name not in own}


def _set_up_cluster(request: _Request, clock: _Clock) -> _Outcome:
    if request.request_type == "Delete":
        return _Outcome("", "Events, index template, retention policy and role stay in the cluster.")
    try:
        cluster = msgspec.convert(_given(request.resource_properties), _Cluster, strict=False)
    except msgspec.ValidationError as error:
        raise SetupError(f"Wrong properties: {error}.") from error
    began, lines = time.monotonic(), list[str]()

    def once() -> None:
        try:
            lines[:] = _set_up(cluster, clock)
        except SetupError as error:
            if _passes(error.__cause__, time.monotonic() - began):
                raise _NotYet(str(error)) from error
            raise

    clock.insist(once, _CLUSTER_SECONDS)
    physical_id = request.physical_resource_id or f"trailsink-cluster-setup:{request.logical_resource_id}"
    return _Outcome(physical_id, " ".join(lines))


def _set_up(cluster: _Cluster, clock: _Clock) -> Iterator[str]:
    """Set up and let in, from the beginning: each step leaves alone what is there already."""
    clock.check()
    settings = load_settings(**cluster.settings, request_seconds=min(_CLUSTER_ANSWER_SECONDS, clock.left()))
    wanted = SetupOptions(cluster.index_prefix, cluster.retention_days, cluster.replicas, settings.is_serverless)
    client = make_client(settings).connect()
    try:
        for line in chain(install(client, wanted), _let_in(client, cluster, serverless=wanted.serverless)):
            yield line
            clock.check()
    finally:
        client.close()


def _let_in(client: OpenSearch, cluster: _Cluster, *, serverless: bool) -> Iterator[str]:
    if not cluster.loader_role_arn:
        return
    if serverless:
        yield "Access: Serverless lets in by its data access policies."
        return
    yield from grant_loader_access(client, cluster.index_prefix, cluster.loader_role_arn)


def _passes(cause: BaseException | None, waited: float) -> bool:
    """Say whether it is worth asking a cluster again that did not do what was asked."""
    match cause:
        case SSLError():
            return False
        case NoConnection():
            return True
        case ClientError() | BotoCoreError() | AuthenticationException():
            return waited < _SECRET_SECONDS
        case TransportError():
            return cause.status_code in _CLUSTER_PASSING
        case _:
            return False
