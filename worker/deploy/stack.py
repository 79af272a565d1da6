"""CloudFormation: checks before, a change set in words, the stack's progress, and the first cause when it fails."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import said
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from boto3 import Session
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import ParameterTypeDef, StackEventTypeDef
    from types_boto3_s3 import S3Client

_POLL_SECONDS = 2.0

# A change set is made in seconds; a stack with a new OpenSearch domain takes up to half an hour.
_CHANGE_SET_SECONDS = 300.0
_STACK_SECONDS = 3_600.0

# What CloudFormation says of resources that were stopped because another one failed.
_CONSEQUENCES = ("Resource creation cancelled", "Resource update cancelled", "The following resource(s) failed")

_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a change set: what happens to which resource; `replaced` when it is made anew."""

    action: str
    name: str
    kind: str
    replaced: bool

    def __str__(self) -> str:
        words = {"Add": "make", "Modify": "change", "Remove": "remove", "Import": "adopt"}
        anew = ", replacing it" if self.replaced else ""
        return f"{words.get(self.action, self.action)} {self.name} ({self.kind}){anew}"


@dataclass(frozen=True, slots=True)
class Progress:
    """One event of a stack."""

    name: str
    kind: str
    status: str
    why: str


class Account:
    """The account and region that the environment's credentials reach."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.region: str = session.region_name

    @cached_property
    def _s3(self) -> S3Client:
        return self._session.client("s3")

    @cached_property
    def id(self) -> str:
        """Whose the credentials are; raises SetupError when they are not usable."""
        try:
            return self._session.client("sts").get_caller_identity()["Account"]
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"The AWS credentials cannot be used: {said(error)}.") from error

    def check_bucket(self, bucket: str) -> None:
        """Raise SetupError unless the trail's bucket is there, in this region: S3 notifies queues of its own only."""
        try:
            answer = self._s3.head_bucket(Bucket=bucket)
            region = answer.get("BucketRegion", self.region)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            region = headers.get("x-amz-bucket-region", "")
            if status == 404:  # noqa: PLR2004
                raise SetupError(f"There is no bucket {bucket}.") from error
            if not region or region == self.region:
                raise SetupError(f"The bucket {bucket} may not be looked at: {said(error)}.") from error
        except BotoCoreError as error:
            raise SetupError(f"S3 does not answer: {said(error)}.") from error
        if region != self.region:
            raise SetupError(f"The bucket {bucket} is in {region}, not in {self.region}: set AWS_REGION={region}.")

    def trails(self, bucket: str) -> list[str] | None:
        """Name the trails that write to a bucket; None when these credentials may not ask."""
        try:
            found = self._session.client("cloudtrail").describe_trails()["trailList"]
        except (ClientError, BotoCoreError):
            return None
        return [trail.get("Name", "") for trail in found if trail.get("S3BucketName") == bucket]

    def upload(self, body: bytes, kind: str, bucket: str) -> tuple[str, str, str]:
        """Put the bundle or the template into `bucket`, or into one that is made for them when "".

        Returns bucket, key and URL. The key is the content's hash, so an unchanged bundle is no change of the stack.
        """
        key = f"trailsink/{sha256(body).hexdigest()}.{kind}"
        try:
            bucket = bucket or self._code_bucket()
            self._s3.put_object(Bucket=bucket, Key=key, Body=body)
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"The {kind} cannot be uploaded: {said(error)}.") from error
        return bucket, key, f"{self._s3.meta.endpoint_url}/{bucket}/{key}"

    def code_bucket_name(self) -> str:
        """Name the bucket that bundles go to when none is given: one for each account and region."""
        return f"trailsink-code-{self.id}-{self.region}"

    def remove_code(self, stack: str) -> str:
        """Remove the bucket that was made for bundles, unless a stack other than `stack` has its own there.

        Returns a sentence that says what was done; a bucket that cannot be removed is no reason to fail.
        """
        bucket = self.code_bucket_name()
        try:
            others = sorted(set(self._stacks_with_code_in(bucket)) - {stack})
            if others:
                return f"The bucket {bucket} stays: the stack {others[0]} has its bundle there."
            self._empty(bucket)
            self._s3.delete_bucket(Bucket=bucket)
        except (ClientError, BotoCoreError) as error:
            return f"The bucket {bucket} with the bundle stays: {said(error)}."
        return f"The bucket {bucket} with the bundle is gone."

    def _stacks_with_code_in(self, bucket: str) -> Iterator[str]:
        for page in self._session.client("cloudformation").get_paginator("describe_stacks").paginate():
            for one in page["Stacks"]:
                given = {each.get("ParameterKey"): each.get("ParameterValue") for each in one.get("Parameters", [])}
                if given.get("CodeBucket") == bucket:
                    yield one["StackName"]

    def _empty(self, bucket: str) -> None:
        """Delete what `upload` has put there, and nothing else."""
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="trailsink/"):
            for one in page.get("Contents", []):
                self._s3.delete_object(Bucket=bucket, Key=one["Key"])

    def delete_domain(self, name: str, secret: str) -> Iterator[str]:
        """Delete a domain with all that is in it, and its master user's secret ("" where it has none)."""
        try:
            self._session.client("opensearch").delete_domain(DomainName=name)
            yield f"The domain {name} is being deleted, with all events in it; that takes some minutes."
            if secret:
                self._session.client("secretsmanager").delete_secret(SecretId=secret)
                yield "Its password is deleted; Secrets Manager keeps it for 30 days, in case it is wanted back."
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"The domain {name} could not be deleted: {said(error)}.") from error

    def _code_bucket(self) -> str:
        s3, name = self._s3, self.code_bucket_name()
        try:
            s3.head_bucket(Bucket=name)
        except ClientError:
            if self.region == "us-east-1":  # the one region that must not be named
                s3.create_bucket(Bucket=name)
            else:
                where = {"LocationConstraint": self.region}
                s3.create_bucket(Bucket=name, CreateBucketConfiguration=where)  # type: ignore[arg-type]
            s3.put_public_access_block(
                Bucket=name,
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": True,
                    "IgnorePublicAcls": True,
                    "BlockPublicPolicy": True,
                    "RestrictPublicBuckets": True,
                },
            )
        return name


class Stack:
    """One CloudFormation stack, there or not."""

    def __init__(self, client: CloudFormationClient, name: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client, self.name, self._sleep = client, name, sleep
        self._change_set = ""  # the last one that was proposed

    def status(self) -> str:
        """Return the stack's status, "" when there is none."""
        try:
            return self._client.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"]
        except ClientError as error:
            if "does not exist" in said(error):
                return ""
            raise SetupError(f"The stack {self.name} cannot be looked at: {said(error)}.") from error
        except BotoCoreError as error:
            raise SetupError(f"CloudFormation does not answer: {said(error)}.") from error

    def outputs(self) -> dict[str, str]:
        """Return the stack's outputs by name."""
        stack = self._client.describe_stacks(StackName=self.name)["Stacks"][0]
        return {one.get("OutputKey", ""): one.get("OutputValue", "") for one in stack.get("Outputs", [])}

    def propose(self, url: str, parameters: Mapping[str, str], template_parameters: set[str]) -> list[Change]:
        """Make a change set; returns its changes, [] (and no change set) when there is nothing to change.

        `url` is the template's in S3: in a request, CloudFormation takes 51,200 bytes at most. Parameters that are not
        given keep the value that the stack has, or the template's default.
        """
        status = self.status()
        exists = status not in ("", "REVIEW_IN_PROGRESS")
        self._change_set = f"trailsink-{uuid4().hex[:12]}"
        try:
            self._client.create_change_set(
                StackName=self.name,
                ChangeSetName=self._change_set,
                ChangeSetType="UPDATE" if exists else "CREATE",
                TemplateURL=url,
                Parameters=self._parameters(parameters, template_parameters, exists=exists),
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            )
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"CloudFormation refuses the template: {said(error)}.") from error
        return self._changes()

    def _parameters(self, given: Mapping[str, str], known: set[str], *, exists: bool) -> list[ParameterTypeDef]:
        unknown = set(given) - known
        if unknown:
            raise SetupError(f"The template has no parameter {', '.join(sorted(unknown))}.")
        asked: list[ParameterTypeDef] = [
            {"ParameterKey": name, "ParameterValue": value} for name, value in sorted(given.items())
        ]
        if exists:
            stack = self._client.describe_stacks(StackName=self.name)["Stacks"][0]
            kept = {one.get("ParameterKey", "") for one in stack.get("Parameters", [])} & known - set(given)
            asked += [{"ParameterKey": name, "UsePreviousValue": True} for name in sorted(kept)]
        return asked

    def _changes(self) -> list[Change]:
        until = time.monotonic() + _CHANGE_SET_SECONDS
        while time.monotonic() < until:
            found = self._client.describe_change_set(StackName=self.name, ChangeSetName=self._change_set)
            status, why = found["Status"], found.get("StatusReason", "")
            if status == "CREATE_COMPLETE":
                resources = [change.get("ResourceChange", {}) for change in found.get("Changes", [])]
                return [
                    Change(
                        one.get("Action", ""),
                        one.get("LogicalResourceId", ""),
                        one.get("ResourceType", ""),
                        one.get("Replacement") == "True",
                    )
                    for one in resources
                ]
            if status == "FAILED":
                self.withdraw()
                if any(text in why for text in _NO_CHANGES):
                    return []
                raise SetupError(f"The change set failed: {why.rstrip('.')}.")
            self._sleep(_POLL_SECONDS)
        raise SetupError("CloudFormation did not finish the change set in five minutes.")

    def withdraw(self) -> None:
        """Delete the change set that was proposed, and a stack that never became more than a proposal."""
        try:
            self._client.delete_change_set(StackName=self.name, ChangeSetName=self._change_set)
            if self.status() == "REVIEW_IN_PROGRESS":
                self._client.delete_stack(StackName=self.name)
        except (ClientError, BotoCoreError):
            return  # it does no harm there

    def execute(self) -> Iterator[Progress]:
        """Carry the change set out, yielding what happens; raises SetupError with the first cause when it fails."""
        seen = self._seen()
        self._client.execute_change_set(StackName=self.name, ChangeSetName=self._change_set)
        yield from self.follow(seen)

    def delete(self) -> Iterator[Progress]:
        """Delete the stack, yielding what happens; raises SetupError with the first cause when it fails."""
        seen = self._seen()
        name = self._client.describe_stacks(StackName=self.name)["Stacks"][0].get("StackId", self.name)
        self._client.delete_stack(StackName=self.name)
        yield from self.follow(seen, stack=name)

    def follow(self, seen: set[str], *, stack: str = "") -> Iterator[Progress]:
        """Yield the events that are not in `seen` until the stack rests."""
        failures: list[Progress] = []
        until = time.monotonic() + _STACK_SECONDS
        while time.monotonic() < until:
            events = [one for one in reversed(self._events(stack or self.name)) if one["EventId"] not in seen]
            ended = {one.get("LogicalResourceId") for one in events if _rests(one.get("ResourceStatus", ""))}
            for event in events:
                seen.add(event["EventId"])
                progress = _progress(event)
                if progress.status.endswith("_FAILED"):
                    failures.append(progress)
                if _rests(progress.status) or progress.name not in ended:  # what begins and ends at once is said once
                    yield progress
                if event.get("PhysicalResourceId") == event["StackId"] and _rests(progress.status):
                    return self._judge(progress.status, failures)
            self._sleep(_POLL_SECONDS)
        raise SetupError(f"The stack {self.name} is still busy after an hour; run the command again to go on watching.")

    def _judge(self, status: str, failures: list[Progress]) -> None:
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"):
            return
        causes = [one for one in failures if not one.why.startswith(_CONSEQUENCES)] or failures
        first = f"{causes[0].name} ({causes[0].kind}): {causes[0].why.rstrip('.')}" if causes else "no cause was told"
        raise SetupError(f"The stack {self.name} ended as {status}. It began with {first}.")

    def _seen(self) -> set[str]:
        try:
            return {event["EventId"] for event in self._events(self.name)}
        except SetupError:
            return set()

    def _events(self, stack: str) -> list[StackEventTypeDef]:
        try:
            pages = self._client.get_paginator("describe_stack_events").paginate(StackName=stack)
            return [event for page in pages for event in page["StackEvents"]]
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"The events of the stack {self.name} cannot be read: {said(error)}.") from error


def _rests(status: str) -> bool:
    return not status.endswith("_IN_PROGRESS")


def _progress(event: StackEventTypeDef) -> Progress:
    return Progress(
        event.get("LogicalResourceId", ""),
        event.get("ResourceType", ""),
        event.get("ResourceStatus", ""),
        event.get("ResourceStatusReason", ""),
    )


def parameter_names(text: str) -> set[str]:
    """Read the names of the template's parameters: two spaces of indentation below `Parameters:`."""
    lines = text.splitlines()
    body = lines[lines.index("Parameters:") + 1 :]
    end = next((at for at, line in enumerate(body) if line[:1].isalpha()), len(body))
    return {line.strip().rstrip(":") for line in body[:end] if line.startswith("  ") and line[2:3].isalpha()}
