"""The Lambda handler of `Custom::BucketNotification`: has the trail's bucket announce new objects to our queue."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from worker.aws.bucket_notifications import (
    OwnNotification,
    add_event_bridge,
    add_queue,
    conflicts,
    equivalent,
    normalized,
    remove_queue,
)
from worker.aws.errors import error_code, error_status, error_text
from worker.aws.session import config, expect_bucket_owner, open_session
from worker.deploy.custom_resource import RetryableFailure, WorkResult, read_variables, serve
from worker.errors import SetupError, TrailsinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import NotificationConfigurationTypeDef

    from worker.aws.lambda_context import LambdaContext
    from worker.deploy.custom_resource import CustomResourceRequest, InvocationClock

# How long to retry transient failures: a policy of this stack may not have reached S3 yet, or another client may put
# at the same time.
_RETRY_SECONDS = 60.0
_READ_SECONDS = 10
_TRANSIENT_STATUSES = (403, 409, 429)

_PHYSICAL_ID = "trailsink-notification"

# While CloudFormation creates a stack, it deletes nothing; after a failure the status is another one.
_CREATING = ("CREATE_IN_PROGRESS", "REVIEW_IN_PROGRESS")


def bucket_notification(event: Mapping[str, Any], context: LambdaContext) -> None:
    """Keep our entry in a bucket's notification configuration: `Custom::BucketNotification`.

    The function's environment says what the entry is. Once enabled, EventBridge stays so when the resource is deleted:
    everyone shares the one switch.
    """
    serve(event, context, _apply)


class NotificationVariables(msgspec.Struct, frozen=True):
    """What the environment says that the bucket must announce, and where.

    With `event_bridge`, the bucket announces everything to EventBridge and has no entry of ours. `bucket_account` must
    own the bucket, "" to let any account.
    """

    bucket: str
    notification_id: str
    queue_arn: str
    notification_prefix: str = ""
    notification_suffix: str = ""
    event_bridge: bool = False
    bucket_account: str = ""

    @property
    def physical_id(self) -> str:
        """What a deletion removes; a new prefix or queue changes the resource in place."""
        return f"{_PHYSICAL_ID}:{self.bucket}:{self.notification_id}"

    @property
    def notification(self) -> OwnNotification:
        """Our entry."""
        return OwnNotification(self.notification_id, self.queue_arn, self.notification_prefix, self.notification_suffix)

    def __str__(self) -> str:
        if self.event_bridge:
            return f"Bucket {self.bucket} announces everything to EventBridge, and nothing to our queue"
        keys = f"{self.notification_prefix}*{self.notification_suffix}"
        return f"Bucket {self.bucket} announces {keys} to {self.queue_arn}"

    def previous(self, physical_id: str) -> NotificationVariables:
        """Return what the environment said when a resource got its id; the same where the id is not one of ours."""
        kind, _, place = physical_id.partition(":")
        bucket, _, id_ = place.partition(":")
        if kind != _PHYSICAL_ID or not bucket or not id_:
            return self
        return msgspec.structs.replace(self, bucket=bucket, notification_id=id_)


def _apply(request: CustomResourceRequest, clock: InvocationClock) -> WorkResult:
    try:
        variables = read_variables(NotificationVariables)
    except SetupError:
        if request.request_type != "Delete" or request.physical_resource_id.startswith(f"{_PHYSICAL_ID}:"):
            raise
        return WorkResult("", "Nothing was created, so nothing is removed.")
    if request.request_type == "Delete":
        return WorkResult("", _delete(request, variables, clock))
    previous = variables.previous(request.physical_resource_id)
    change = partial(updated_configuration, variables=variables, previous=previous)
    BucketNotifications(variables, clock).change(change)
    return WorkResult(variables.physical_id, f"{variables}.")


def updated_configuration(
    existing: Mapping[str, Any], *, variables: NotificationVariables, previous: NotificationVariables
) -> dict[str, Any]:
    """Return the bucket's new configuration; raises SetupError when it has an entry that conflicts with ours."""
    for own in (previous, variables):
        if own.bucket == variables.bucket:
            existing = remove_queue(existing, own.notification_id, own.queue_arn)
    if variables.event_bridge:
        return add_event_bridge(existing)
    if conflicting := conflicts(existing, variables.notification):
        keys = f"{variables.notification_prefix}*{variables.notification_suffix}"
        raise SetupError(
            f"Bucket {variables.bucket} cannot announce {keys} to our queue, because {' and '.join(conflicting)}. S3"
            " allows one destination for each key: choose another prefix, or feed the queue from that topic or from"
            " EventBridge."
        )
    return add_queue(existing, variables.notification)


# Deletion


def _delete(request: CustomResourceRequest, variables: NotificationVariables, clock: InvocationClock) -> str:
    """Remove what the physical id names; returns a sentence that says what was done.

    Any other physical id belongs to a resource that was never created, as far as CloudFormation knows: CloudFormation
    generated the id, or our failed Create returned it. An entry that such a Create may have left is removed, too, but a
    refusal is no failure then.
    """
    clock.retry_until_deadline(lambda: _check_stack_changes(request.stack_id, clock), _RETRY_SECONDS)
    own = variables.previous(request.physical_resource_id)
    return _remove_from_bucket(own, clock, confirmed=request.physical_resource_id == own.physical_id)


def _check_stack_changes(stack_id: str, clock: InvocationClock) -> None:
    """Raise SetupError unless CloudFormation is changing the stack: at any other time a Delete is somebody else's.

    Without the entry, no file is loaded any more.
    """
    clock.check()
    try:
        client = open_session().client("cloudformation", config=_single_attempt())
        status = client.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"]
    except (ClientError, HTTPClientError) as error:  # the policy of a role that was just changed takes seconds
        raise RetryableFailure(f"The stack's status cannot be read: {error_text(error)}.") from error
    if not status.endswith("_IN_PROGRESS") or status in _CREATING:
        raise SetupError(f"CloudFormation deletes nothing while the stack is {status}, so nothing was removed.")


def _remove_from_bucket(variables: NotificationVariables, clock: InvocationClock, *, confirmed: bool) -> str:
    """Remove our entry from a bucket; a bucket that no longer exists has none.

    `confirmed` says that a Create or an Update has put our entry there. Then a refusal is a failure: an entry whose
    queue is deleted makes S3 refuse every later change of the bucket's notifications, by anyone.
    """
    id_, bucket = variables.notification_id, variables.bucket
    if variables.event_bridge:
        return "The bucket has no entry of ours. EventBridge, if enabled, stays enabled for others."
    try:
        notifications = BucketNotifications(variables, clock, removing=True)
        notifications.change(lambda existing: remove_queue(existing, id_, variables.queue_arn))
    except MissingBucketError:
        return f"Bucket {bucket} no longer exists, nor do its notifications."
    except AccessDeniedError as error:
        if confirmed:
            raise SetupError(
                f"{error} Configuration {id_} is still in the bucket and announces to a queue that will be deleted. "
                "Allow the change and delete again, or remove the configuration by hand and retain this resource."
            ) from error
        return f"Bucket {bucket} could not be checked for an entry of ours, and none is known to have been added."
    return f"Configuration {id_} is no longer in bucket {bucket}; all others stay."


# The bucket


class MissingBucketError(SetupError):
    """The bucket does not exist."""


class AccessDeniedError(SetupError):
    """S3 denies access during a removal. Our role's policy has long reached it by then, so no retry would help."""


class BucketNotifications:
    """The notification configuration of one bucket: read, changed, put and read again, because S3 cannot lock it."""

    def __init__(self, variables: NotificationVariables, clock: InvocationClock, *, removing: bool = False) -> None:
        self._bucket, self._clock, self._removing = variables.bucket, clock, removing
        self._s3: S3Client = open_session().client("s3", config=_single_attempt())
        expect_bucket_owner(self._s3, variables.bucket_account)

    def change(self, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        """Put the configuration that `change` returns for the existing one; if they are equivalent, put nothing."""
        self._clock.retry_until_deadline(lambda: self._change_once(change), _RETRY_SECONDS)

    def _change_once(self, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        try:
            existing = self._get()
            changed = change(existing)
            if equivalent(existing, changed):
                return
            self._put(changed)
            if equivalent(self._get(), changed):
                return
        except ClientError as error:
            raise self._failure(error) from error
        except HTTPClientError as error:
            raise RetryableFailure(f"S3 does not answer: {error_text(error)}.") from error
        except BotoCoreError as error:
            raise SetupError(
                f"The notifications of bucket {self._bucket} cannot be read: {error_text(error)}."
            ) from error
        raise RetryableFailure(f"Another client changes the notifications of bucket {self._bucket} at the same time.")

    def _get(self) -> dict[str, Any]:
        self._clock.check()
        return normalized(self._s3.get_bucket_notification_configuration(Bucket=self._bucket))

    def _put(self, configuration: dict[str, Any]) -> None:
        self._clock.check()
        self._s3.put_bucket_notification_configuration(
            Bucket=self._bucket,
            NotificationConfiguration=cast("NotificationConfigurationTypeDef", configuration),
            # A broken destination of another entry must not keep ours in the bucket.
            SkipDestinationValidation=self._removing,
        )

    def _failure(self, error: ClientError) -> TrailsinkError:
        status = error_status(error) or HTTPStatus.INTERNAL_SERVER_ERROR
        if error_code(error) == "NoSuchBucket":
            return MissingBucketError(f"There is no bucket {self._bucket}.")
        sentence = f"S3 rejects the request for the notifications of bucket {self._bucket}: {_full_text(error)}."
        if status == HTTPStatus.FORBIDDEN and self._removing:
            return AccessDeniedError(sentence)
        # The policy of a new role takes seconds to reach S3 (403). So does that of a new queue, which S3 cannot
        # validate until then.
        if (
            status in _TRANSIENT_STATUSES
            or status >= HTTPStatus.INTERNAL_SERVER_ERROR
            or "Unable to validate" in sentence
        ):
            return RetryableFailure(sentence)
        return SetupError(sentence)


def _single_attempt() -> Config:
    """Return a configuration without retries: one of botocore's could come after our response."""
    single_attempt = Config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=_READ_SECONDS)
    return config(connections=1).merge(single_attempt)


def _full_text(error: ClientError) -> str:
    """Describe an error of S3, with its arguments: `ArgumentName1` is a destination, `ArgumentValue1` what is wrong."""
    members: Mapping[str, Any] = error.response.get("Error", {})
    arguments = [str(value) for name, value in sorted(members.items()) if name.startswith("Argument")]
    return error_text(error) + (f" ({', '.join(arguments)})" if arguments else "")
