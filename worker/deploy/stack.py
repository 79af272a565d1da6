"""A CloudFormation stack: its change set as text, its progress, and the first cause when it fails."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_text
from worker.deploy.deployed import output_values, parameter_values
from worker.deploy.stack_change import read_change
from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import ParameterTypeDef, StackEventTypeDef

    from worker.deploy.stack_change import StackChange

    StackEvents = Generator["StackEvent", None, None]

_POLL_SECONDS = 2.0

# A change set is created in seconds; a stack with a new OpenSearch domain takes up to half an hour.
_CHANGE_SET_SECONDS = 300.0
_STACK_SECONDS = 3_600.0

# The reasons that CloudFormation gives for resources that it cancelled because another one failed.
_CONSEQUENCES = ("Resource creation cancelled", "Resource update cancelled", "The following resource(s) failed")

_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_COMPLETE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE")

# Not yet a stack: CloudFormation has created only a change set for it.
IN_REVIEW = "REVIEW_IN_PROGRESS"


@dataclass(frozen=True, slots=True)
class StackEvent:
    """One event of a stack: the resource, its new status and the reason; `is_of_stack` for the stack as a whole."""

    logical_id: str
    resource_type: str
    status: str
    reason: str
    is_of_stack: bool

    @property
    def is_final(self) -> bool:
        """Whether the resource has reached the end of an operation."""
        return not is_in_progress(self.status)


@dataclass(frozen=True, slots=True)
class StackOptions:
    """How a change set is created: tags that are added to the stack's, and the role that CloudFormation acts with."""

    tags: Mapping[str, str] = field(default_factory=dict)
    service_role: str = ""

    def request(self, existing: Mapping[str, str]) -> dict[str, Any]:
        """Return the members of a request; without tags of ours, CloudFormation keeps those of the stack."""
        tags = [{"Key": key, "Value": value} for key, value in sorted((dict(existing) | dict(self.tags)).items())]
        return ({"Tags": tags} if self.tags else {}) | ({"RoleARN": self.service_role} if self.service_role else {})


class Stack:
    """One CloudFormation stack, which may not exist yet."""

    def __init__(
        self,
        client: CloudFormationClient,
        name: str,
        *,
        options: StackOptions = StackOptions(),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self.name, self._options, self._sleep = client, name, options, sleep
        self.service_role = options.service_role
        self._change_set = ""  # the last one that was created

    def status(self) -> str:
        """Return the stack's status, "" when it does not exist."""
        try:
            return self._client.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"]
        except ClientError as error:
            if "does not exist" in error_text(error):
                return ""
            raise SetupError(f"The stack {self.name} cannot be read: {error_text(error)}.") from error
        except BotoCoreError as error:
            raise SetupError(f"CloudFormation does not answer: {error_text(error)}.") from error

    def parameters(self) -> dict[str, str]:
        """Return the stack's parameters by name, {} when it does not exist."""
        if self.status() in ("", IN_REVIEW):
            return {}
        return parameter_values(self._client.describe_stacks(StackName=self.name)["Stacks"][0])

    def outputs(self) -> dict[str, str]:
        """Return the stack's outputs by name."""
        return output_values(self._client.describe_stacks(StackName=self.name)["Stacks"][0])

    # The change set

    def create_change_set(
        self, url: str, parameters: Mapping[str, str], template_parameters: set[str]
    ) -> list[StackChange]:
        """Create a change set; returns its changes, [] when there are none (it is deleted then).

        `url` is the template's in S3: CloudFormation accepts at most 51,200 bytes in the request itself. A parameter
        that is missing from `parameters` keeps the stack's value, or gets the template's default.
        """
        exists = self.status() not in ("", IN_REVIEW)
        entries = _parameter_entries(parameters, template_parameters, self.parameters())
        self._change_set = f"trailsink-{uuid4().hex[:12]}"
        try:
            self._client.create_change_set(
                StackName=self.name,
                ChangeSetName=self._change_set,
                ChangeSetType="UPDATE" if exists else "CREATE",
                TemplateURL=url,
                Parameters=entries,
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
                **self._options.request(_tags(self._client, self.name) if exists else {}),
            )
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"The change set cannot be created: {error_text(error)}.") from error
        return self._changes()

    def _changes(self) -> list[StackChange]:
        deadline = time.monotonic() + _CHANGE_SET_SECONDS
        while time.monotonic() < deadline:
            change_set = self._client.describe_change_set(StackName=self.name, ChangeSetName=self._change_set)
            status, reason = change_set["Status"], change_set.get("StatusReason", "")
            if status == "CREATE_COMPLETE":
                return [read_change(change.get("ResourceChange", {})) for change in change_set.get("Changes", [])]
            if status == "FAILED":
                self.delete_change_set()
                if any(text in reason for text in _NO_CHANGES):
                    return []
                raise SetupError(f"The change set failed: {reason.rstrip('.')}.")
            self._sleep(_POLL_SECONDS)
        raise SetupError("CloudFormation did not finish the change set within five minutes.")

    def check_template(self, text: str) -> None:
        """Raise SetupError, and delete the change set, unless it was created from this template.

        CloudFormation reads the template from a bucket, after the upload. It runs with the deployer's permissions.
        """
        try:
            response = self._client.get_template(
                StackName=self.name, ChangeSetName=self._change_set, TemplateStage="Original"
            )
        except (ClientError, BotoCoreError) as error:
            self.delete_change_set()
            raise SetupError(f"The template of the change set cannot be read: {error_text(error)}.") from error
        body: object = response.get("TemplateBody", "")
        if not isinstance(body, str) or _lines(body) != _lines(text):
            self.delete_change_set()
            raise SetupError(
                "CloudFormation has read another template than the one that was uploaded: somebody has replaced it in"
                " the bucket. Nothing was changed. Find out who can write to the bucket."
            )

    def delete_change_set(self) -> None:
        """Delete the change set that was created, and the stack if it is nothing but that change set."""
        try:
            self._client.delete_change_set(StackName=self.name, ChangeSetName=self._change_set)
            if self.status() == IN_REVIEW:
                self._client.delete_stack(StackName=self.name)
        except (ClientError, BotoCoreError):
            return  # a change set that stays does no harm

    # The progress

    def execute_change_set(self) -> StackEvents:
        """Execute the change set and yield the events; raises SetupError with the first cause of a failure."""
        previous = self._event_ids()
        self._client.execute_change_set(StackName=self.name, ChangeSetName=self._change_set)
        yield from self.follow(previous)

    def delete(self) -> StackEvents:
        """Delete the stack and yield the events; raises SetupError with the first cause of a failure."""
        previous = self._event_ids()
        # A stack that has been deleted can be read by its id only.
        stack_id = self._client.describe_stacks(StackName=self.name)["Stacks"][0].get("StackId", self.name)
        self._client.delete_stack(StackName=self.name)
        yield from self.follow(previous, stack_id=stack_id)

    def follow(self, previous: set[str], *, stack_id: str = "") -> StackEvents:
        """Yield the events whose ids are not in `previous`, until the stack's operation ends.

        Raises SetupError with the first cause of a failure.
        """
        failures: list[StackEvent] = []
        deadline = time.monotonic() + _STACK_SECONDS
        while time.monotonic() < deadline:
            records = [record for record in reversed(self._events(stack_id)) if record["EventId"] not in previous]
            previous |= {record["EventId"] for record in records}
            events = [_event(record) for record in records]
            ended = {event.logical_id for event in events if event.is_final}
            for event in events:
                if event.status.endswith("_FAILED"):
                    failures.append(event)
                if event.is_final or event.logical_id not in ended:  # starts and ends in one poll: only the end
                    yield event
                if event.is_of_stack and event.is_final:
                    return _check_complete(self.name, event.status, failures)
            self._sleep(_POLL_SECONDS)
        raise SetupError(f"The stack {self.name} is still busy after an hour; run the command again to keep watching.")

    def _event_ids(self) -> set[str]:
        try:
            return {record["EventId"] for record in self._events()}
        except SetupError:
            return set()

    def _events(self, stack_id: str = "") -> list[StackEventTypeDef]:
        """Return all events of the stack, the newest first."""
        try:
            pages = self._client.get_paginator("describe_stack_events").paginate(StackName=stack_id or self.name)
            return [record for page in pages for record in page["StackEvents"]]
        except (ClientError, BotoCoreError) as error:
            raise SetupError(f"The events of the stack {self.name} cannot be read: {error_text(error)}.") from error


def _tags(client: CloudFormationClient, name: str) -> dict[str, str]:
    tags = client.describe_stacks(StackName=name)["Stacks"][0].get("Tags", [])
    return {tag["Key"]: tag["Value"] for tag in tags}


def _lines(template: str) -> list[str]:
    """Return a template's lines; CloudFormation may return it with other line endings."""
    return [line.rstrip() for line in template.strip().splitlines()]


def is_in_progress(status: str) -> bool:
    """Return whether CloudFormation is still working on a stack or resource of this status."""
    return status.endswith("_IN_PROGRESS")


def _parameter_entries(
    values: Mapping[str, str], template_parameters: set[str], existing: Mapping[str, str]
) -> list[ParameterTypeDef]:
    """Return the parameters of a change set; those of `existing` that are not in `values` keep their value."""
    unknown = set(values) - template_parameters
    if unknown:
        raise SetupError(f"The template has no parameter {', '.join(sorted(unknown))}.")
    unchanged = set(existing) & template_parameters - set(values)
    entries: list[ParameterTypeDef] = [
        {"ParameterKey": name, "ParameterValue": value} for name, value in sorted(values.items())
    ]
    entries += [{"ParameterKey": name, "UsePreviousValue": True} for name in sorted(unchanged)]
    return entries


def _check_complete(name: str, status: str, failures: list[StackEvent]) -> None:
    if status in _COMPLETE:
        return
    causes = [event for event in failures if not event.reason.startswith(_CONSEQUENCES)] or failures
    first = "CloudFormation gave no cause"
    if causes:
        first = f"The first failure was {causes[0].logical_id} ({causes[0].resource_type}): {causes[0].reason}"
    raise SetupError(f"The stack {name} ended as {status}. {first.rstrip('.')}.")


def _event(record: StackEventTypeDef) -> StackEvent:
    return StackEvent(
        record.get("LogicalResourceId", ""),
        record.get("ResourceType", ""),
        record.get("ResourceStatus", ""),
        record.get("ResourceStatusReason", ""),
        record.get("PhysicalResourceId") == record["StackId"],
    )
